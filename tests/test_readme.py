import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent


def test_the_ten_lines_train_a_model(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    model = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    x = torch.randn(128, 4)
    loader = [(part, part.sum(1, keepdim=True)) for part in x.split(32)]
    names = {"model": model, "loader": loader, "epochs": 20, "loss_fn": torch.nn.functional.mse_loss}
    before = names["loss_fn"](model(x), x.sum(1, keepdim=True)).item()
    exec(compile(code, "README.md", "exec"), names)
    assert names["loss_fn"](model(x), x.sum(1, keepdim=True)).item() < before / 10
    assert len(names["tuner"].history) > 1
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("head", "mlp", "bias", "curvature"))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if not target.startswith("http")]
    assert page != "README.md" or targets
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert missing == []
