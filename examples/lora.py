"""LoRA without a learning rate: A, B and the head each get their own, and the ratio of B to A is not set by hand.

python examples/lora.py train.tsv --model sentence-transformers/all-MiniLM-L6-v2      # pip install "hidlr[hf,peft]"
"""

import argparse
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import hidlr
from finetune_text import read  # the file beside this one


def main() -> None:
    """Wrap, train, print the rates of A and B and the accuracy on the rows held out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help='a TSV with a header and the columns "sentence" and "label"')
    parser.add_argument("--model", required=True, help="a folder of transformers, or a name on the hub")
    parser.add_argument("--targets", nargs="+", default=["query", "value"], help="which linear maps get adapters")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--start", type=float, default=1e-4, help="where the rates start")
    args = parser.parse_args()

    torch.manual_seed(0)
    texts, labels, names = read(args.data)
    base = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=len(names))
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    config = LoraConfig(task_type="SEQ_CLS", r=args.rank, lora_alpha=2 * args.rank, target_modules=args.targets)
    model = get_peft_model(base, config)
    model.print_trainable_parameters()
    test = torch.arange(0, len(texts), 10)
    train = torch.tensor([k for k in range(len(texts)) if k % 10])

    def batch(rows: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        chosen = [texts[k] for k in rows.tolist()]
        inputs = tokenizer(chosen, padding=True, truncation=True, max_length=64, return_tensors="pt")
        return dict(inputs), torch.tensor(labels)[rows]

    def loss_of(inputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(**inputs).logits, targets)

    groups = hidlr.param_groups(model, by="lora")  # lora_A, lora_B, head; what is frozen is left out
    optimizer = torch.optim.AdamW(groups, lr=args.start)
    tuner = hidlr.HiDLR(optimizer, total_steps=args.steps)

    model.train()
    for step in range(args.steps):
        inputs, targets = batch(train[torch.randint(len(train), (args.batch,))])
        loss = loss_of(inputs, targets)
        loss.backward()
        optimizer.step()
        tuner.step(lambda inputs=inputs, targets=targets: loss_of(inputs, targets))
        optimizer.zero_grad()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")

    print(tuner.summary())
    tuned = {row.name: row.rate for row in tuner.summary().rows}
    print(f"B learns {tuned['lora_B'] / tuned['lora_A']:.1f} times as fast as A")
    model.eval()
    with torch.no_grad():
        right = 0
        for rows in test.split(64):
            inputs, targets = batch(rows)
            right += int((model(**inputs).logits.argmax(1) == targets).sum())
    print(f"accuracy {right / len(test):.3f}")


if __name__ == "__main__":
    main()
