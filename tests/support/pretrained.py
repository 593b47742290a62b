"""A small "pretrained" model folder, made on the spot, and a text task that a bag of words can solve."""

import json
import random
from pathlib import Path

import pytest

GOOD, BAD = ("good", "great", "fine", "nice", "happy"), ("bad", "awful", "poor", "sad", "wrong")
FILLERS = ("the", "a", "film", "was", "very", "quite", "this", "day", "and", "it", "so", "then")


def save_tiny_bert(folder: Path) -> Path:
    """A BERT of width 16 with a word-level vocabulary, as `save_pretrained` writes them."""
    transformers = pytest.importorskip("transformers")
    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *GOOD, *BAD, *FILLERS]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = transformers.BertTokenizerFast(vocab={word: index for index, word in enumerate(words)})
    tokenizer.save_pretrained(folder)
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, vocab_size=len(words),
        max_position_embeddings=32,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def reviews(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts and labels: the side with more of its words."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        label = draw.choice(("neg", "pos"))
        words = [draw.choice(GOOD if label == "pos" else BAD) for _ in range(2)]
        words += [draw.choice(FILLERS) for _ in range(draw.randrange(3, 8))]
        draw.shuffle(words)
        rows.append((" ".join(words), label))
    return rows


def write_tsv(path: Path, rows: list[tuple[str, str]], header: str = "sentence\tlabel") -> Path:
    path.write_text("\n".join([header, *("\t".join(row) for row in rows)]) + "\n")
    return path


def write_jsonl(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return path
