"""Packages that are absent or too old: the error names the pip line, and which version is there."""

import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import hidlr
import hidlr.integrations
from hidlr.errors import InputError, MissingExtraError
from hidlr.integrations.ranks import check_ranks
from hidlr.integrations.require import require


def test_an_absent_package_quotes_the_pip_line():
    with pytest.raises(MissingExtraError, match=r'no_such_package >= 2.0 is needed.*pip install "hidlr\[hf\]"'):
        require("no_such_package", "hf", "2.0")


def test_a_package_that_lacks_something_itself_says_so(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as caught:
        require("half_there", "hf")
    assert not isinstance(caught.value, MissingExtraError)


@pytest.mark.parametrize(
    ("installed", "fine"), [("2.9", False), ("2.10", True), ("2.10.0rc1", True), ("3", True), ("1.99.9", False)]
)
def test_versions(monkeypatch, installed, fine):
    monkeypatch.setitem(sys.modules, "some_package", ModuleType("some_package"))
    monkeypatch.setattr("hidlr.integrations.require.version", lambda name: installed)
    if fine:
        require("some_package", "hf", "2.10")
    else:
        with pytest.raises(MissingExtraError, match=rf"some_package >= 2.10 \({installed} is installed\)"):
            require("some_package", "hf", "2.10")


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("HiDLRTrainer", "transformers", "hf"),
        ("AcceleratedHiDLR", "accelerate", "accelerate"),
        ("HiDLRCallback", "lightning", "lightning"),
    ],
)
def test_each_integration_names_its_extra(name, package, extra):
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import hidlr, hidlr.integrations\n"
        "try:\n"
        f"    hidlr.integrations.{name}\n"
        "except hidlr.MissingExtraError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f'pip install "hidlr[{extra}]"' in done.stdout


@pytest.mark.parametrize("package", ["tensorboard", "wandb", "trackio", "mlflow"])
def test_each_logger_names_its_extra(monkeypatch, package):
    from hidlr.integrations import loggers

    monkeypatch.setitem(sys.modules, package, None)
    kind = {"tensorboard": "TensorBoardLogger", "wandb": "WandbLogger", "trackio": "TrackioLogger"}.get(package)
    with pytest.raises(MissingExtraError, match=rf'pip install "hidlr\[{package}\]"'):
        getattr(loggers, kind)(None) if kind else loggers.MLflowLogger()


def test_importing_the_package_imports_none_of_them():
    program = (
        "import hidlr.integrations, sys\n"
        "hidlr.integrations.regroup\n"
        "print([name for name in ('transformers', 'accelerate', 'lightning', 'wandb') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        hidlr.integrations.Nothing  # noqa: B018


def test_every_extra_exists():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = {"hf", "accelerate", "lightning", "peft", "tensorboard", "wandb", "trackio", "mlflow"}
    assert extras <= set(project["optional-dependencies"])


def test_several_processes_need_a_tuner_that_knows_of_them(monkeypatch):
    check_ranks(1)

    class Alone:
        def __init__(self, optimizer):
            pass

    class Together:
        def __init__(self, optimizer, process_group=None):
            pass

    monkeypatch.setattr("hidlr.integrations.ranks.HiDLR", Alone)
    with pytest.raises(InputError, match="2 processes would each choose rates of their own"):
        check_ranks(2)
    monkeypatch.setattr("hidlr.integrations.ranks.HiDLR", Together)
    check_ranks(2)
