"""PEFT's own configs stand for a selection, and its models give one back."""

import pytest
import torch
from test_applying import chosen, network

import hidlr
from hidlr.selection import GroupChoice

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning"),  # of its own LNTuning
]


def bert(layers=3):
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=16, vocab_size=20,
        max_position_embeddings=16, num_labels=2,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config).eval()


def queries(*layers):
    return [f"bert.encoder.layer.{k}.attention.self.query.weight" for k in layers]


def trained(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_norms_become_layer_norm_tuning():
    model = bert()
    norms = [group["name"] for group in hidlr.param_groups(model, "role_layer") if group["name"].endswith("/norm")]
    export = chosen(model, *norms, "head/head", by="role_layer").to_peft(task_type="SEQ_CLS")
    assert type(export.config).__name__ == "LNTuningConfig"
    assert export.cannot == ()
    wrapped = peft.get_peft_model(model, export.config)
    expected = {name for name, _ in bert().named_parameters() if "LayerNorm" in name or name.startswith("classifier")}
    found = {hidlr.groups.canonical_name(name) for name in trained(wrapped)}
    # LNTuning calls its own wrapper's parts differently.
    assert {name.replace(".ln_tuning_layers.default", "") for name in found} == expected


def test_matrices_become_lora_in_their_layers():
    export = chosen(bert(), *queries(0, 2), "classifier.weight", "classifier.bias").to_peft()
    config = export.config
    assert config.target_modules == {"attention.self.query"}
    assert (config.layers_to_transform, config.layers_pattern) == ([0, 2], "layer")
    assert config.modules_to_save == ["classifier"]
    wrapped = peft.get_peft_model(bert(), config)
    assert {hidlr.groups.canonical_name(name) for name in trained(wrapped)} == {
        *(f"bert.encoder.layer.{k}.attention.self.query.lora_{part}.default.weight" for k in (0, 2) for part in "AB"),
        "classifier.weight", "classifier.bias",
    }  # fmt: skip
    assert "stay frozen" in export.cannot[0]


def test_names_that_would_match_too_much_are_given_in_full():
    # "output.dense" also ends "attention.output.dense".
    names = [f"bert.encoder.layer.{k}.output.dense.weight" for k in range(3)]
    config = chosen(bert(), *names).to_peft().config
    assert config.layers_to_transform is None
    wrapped = peft.get_peft_model(bert(), config)
    assert {name.partition(".lora_")[0] for name in trained(wrapped)} == {
        f"base_model.model.{name.removesuffix('.weight')}" for name in names
    }


def test_more_influence_gets_more_rank():
    selection = chosen(bert(), *queries(0, 1, 2))
    ppi = dict(zip(queries(0, 1, 2), (1.0, 4.0, 9.0), strict=True))
    groups = tuple(
        GroupChoice(g.name, g.kept, g.size, ppi.get(g.name, g.ppi), g.total, g.parameters) for g in selection.groups
    )
    config = hidlr.Selection(groups, "", selection.places).to_peft(r=8).config
    wrapped = peft.get_peft_model(bert(), config)
    ranks = {name: p.shape[0] for name, p in wrapped.named_parameters() if "lora_A" in name}
    assert list(ranks.values()) == [4, 8, 12]  # in proportion to 1, 2, 3; 8 on average
    layers = [wrapped.base_model.model.bert.encoder.layer[k].attention.self.query for k in range(3)]
    assert [layer.scaling["default"] for layer in layers] == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("keep", "bias", "told"),
    [
        (lambda n: n in queries(0), "none", ""),
        (lambda n: n in queries(0) or n == queries(0)[0].replace("weight", "bias"), "lora_only", ""),
        (lambda n: n in queries(0) or (n.endswith("bias") and "Norm" not in n), "all", "normalizations"),
        (lambda n: n in queries(0) or n == "bert.pooler.dense.bias", "none", "biases stay frozen"),
    ],
)
def test_biases(keep, bias, told):
    model = bert()
    export = chosen(model, *(name for name, _ in model.named_parameters() if keep(name))).to_peft()
    assert export.config.bias == bias
    assert told in " ".join(export.cannot)


def test_what_peft_has_no_method_for():
    model = bert()
    biases = [name for name, _ in model.named_parameters() if name.endswith("dense.bias")]
    with pytest.raises(hidlr.InputError, match="no method"):
        chosen(model, *biases).to_peft()
    with pytest.raises(hidlr.InputError, match="r=0"):
        chosen(model, *queries(0)).to_peft(r=0)
    with pytest.raises(hidlr.StateError, match="role"):
        hidlr.Selection((GroupChoice("a", True, 1, parameters=("x.weight",)),)).to_peft()


def test_adapters_save_and_load(tmp_path):
    base = bert()
    state = {name: value.clone() for name, value in base.state_dict().items()}
    export = chosen(base, *queries(0, 2), "classifier.weight", "classifier.bias").to_peft(task_type="SEQ_CLS")
    model = peft.get_peft_model(base, export.config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    model.save_pretrained(tmp_path)
    fresh = bert()
    fresh.load_state_dict(state)
    loaded = peft.PeftModel.from_pretrained(fresh, tmp_path).eval()
    ids = torch.arange(6)[None]
    torch.testing.assert_close(loaded(ids).logits, model.eval()(ids).logits)


def test_a_peft_model_gives_its_selection(tmp_path):
    config = peft.LoraConfig(target_modules=["query", "value"], modules_to_save=["classifier"], task_type="SEQ_CLS")
    model = peft.get_peft_model(bert(), config)
    selection = hidlr.selection_from_peft(model)
    assert selection.parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert "Resembles LoRA (100% of the tensors in common), and the head." in selection.explain()
    assert selection.rule == "as PEFT has it (LORA)"
    selection.save(tmp_path / "recipe.json")
    other = peft.get_peft_model(bert(), config)
    before = trained(other)
    for parameter in other.parameters():
        parameter.requires_grad_(False)
    hidlr.Selection.load(tmp_path / "recipe.json").apply(other)
    assert trained(other) == before
    # And on to a deeper one.
    deep = peft.get_peft_model(bert(6), config)
    assert len(selection.transfer(deep).match.unmatched) == 0


def test_selection_from_other_models():
    with pytest.raises(hidlr.InputTypeError, match="Sequential"):
        hidlr.selection_from_peft(network())
    model = peft.get_peft_model(bert(), peft.LoraConfig(target_modules=["query"]))
    model.requires_grad_(False)
    with pytest.raises(hidlr.InputError, match="trains nothing"):
        hidlr.selection_from_peft(model)


def test_without_peft(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(hidlr.MissingExtraError, match=r"hidlr\[peft\]"):
        chosen(network(), "2.weight").to_peft()


@pytest.mark.parametrize(
    ("keep", "named"),
    [
        (lambda n: n.endswith("bias") and "classifier" not in n, "BitFit (100% of the tensors in common)."),
        (lambda n: "LayerNorm" in n or n.startswith("classifier"), "LayerNorm tuning"),
        (lambda n: n.startswith("classifier"), "the head alone"),
        (lambda n: "word_embeddings" in n, "no known method: its nearest, tuning the embeddings, shares 33%"),
        (lambda n: True, "full fine-tuning"),
        (lambda n: "word_embeddings" not in n and "dense.weight" not in n, "no known method: its nearest, BitFit"),
    ],
)
def test_known_methods_are_named(keep, named):
    model = bert()
    names = [name for name, _ in model.named_parameters() if keep(name)]
    assert named in chosen(model, *names).explain()
