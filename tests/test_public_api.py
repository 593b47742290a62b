"""`__all__` is what there is, and everything in it is documented; examples in docstrings run."""

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import types

import pytest

import hidlr
import hidlr.engines

CORE = [
    "compatibility", "displacement", "engines", "errors", "find", "fit", "history", "influence", "plans",
    "probe", "reduction", "schedules", "shards", "tuner",
]  # fmt: skip
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(hidlr.__path__, "hidlr.") if not module.name.endswith("__main__")
)


def imported(name):
    """The module; None where it needs a package that is not there."""
    try:
        return importlib.import_module(name)
    except hidlr.MissingExtraError:
        return None


CORE_MODULES = [name for name in MODULES if name.split(".")[1] in CORE]
PUBLIC = {
    **{f"hidlr.{name}": getattr(hidlr, name, None) for name in hidlr.__all__},
    **{f"hidlr.engines.{name}": getattr(hidlr.engines, name, None) for name in hidlr.engines.__all__},
}
CLASSES = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing)}


@pytest.mark.parametrize("module", [hidlr, hidlr.engines], ids=lambda module: module.__name__)
def test_all_is_what_there_is(module):
    there = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not (isinstance(value, types.ModuleType) and name not in module.__all__)
    }
    there -= {"PackageNotFoundError", "version"}
    assert set(module.__all__) == there
    assert list(module.__all__) == sorted(module.__all__)


SHARED = {"hidlr.probe.probe": {"as_closures"}}  # between siblings of one package, not offered beyond it


@pytest.mark.parametrize("name", CORE_MODULES)
def test_every_module_names_what_it_offers(name):
    module = importlib.import_module(name)
    assert module.__doc__
    missing = [item for item in module.__all__ if not hasattr(module, item)]
    assert missing == []
    own = {
        item
        for item, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == name and item[0] != "_"
    }
    assert own <= set(module.__all__) | SHARED.get(name, set())


def test_the_contract():
    # Other programs call these: see DESIGN, "the public API".
    for name in ("HiDLR", "param_groups", "find_rates", "Influence", "History", "StepRecord", "RateReport"):
        assert name in hidlr.__all__
    assert {"optimizer", "total_steps", "schedule", "scheduler", "overhead", "every", "engine", "history"} <= set(
        inspect.signature(hidlr.HiDLR).parameters
    )
    assert {"optimizer", "every"} <= set(inspect.signature(hidlr.HiDLR.paper).parameters)
    for name in ("step", "due", "rates", "influence", "summary", "state_dict", "load_state_dict"):
        assert hasattr(hidlr.HiDLR, name)
    assert {"ppi", "total", "sizes"} <= {field.name for field in dataclasses.fields(hidlr.Influence)}
    assert {"step", "losses", "forwards", "seconds", "groups"} <= {f.name for f in dataclasses.fields(hidlr.StepRecord)}
    assert re.match(r"\d", hidlr.__version__)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_everything_public_is_documented(name):
    thing = PUBLIC[name]
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return
    assert thing.__doc__
    assert thing.__doc__.strip().splitlines()[0].rstrip().endswith((".", ":")), "the first line is one sentence"
    for member, value in vars(thing).items():
        public = not member.startswith("_") and isinstance(value, types.FunctionType | property | classmethod)
        if public:
            assert inspect.getdoc(getattr(thing, member)), f"{name}.{member}"


def documented(section, doc):
    """Names listed in a Google-style section."""
    found = re.search(rf"^{section}:\n((?:    .*\n|\n)+)", inspect.cleandoc(doc or "") + "\n", re.MULTILINE)
    return re.findall(r"^    \**(\w+):", found.group(1), re.MULTILINE) if found else None


def callables():
    for name, thing in sorted(PUBLIC.items()):
        if inspect.isclass(thing) and not issubclass(thing, Exception):
            yield name, thing
            for member, value in vars(thing).items():
                if not member.startswith("_") and isinstance(value, types.FunctionType | classmethod):
                    yield f"{name}.{member}", getattr(thing, member)
        elif inspect.isfunction(thing):
            yield name, thing


@pytest.mark.parametrize("name", [name for name, _ in callables()])
def test_arguments_are_documented_as_they_are(name):
    thing = dict(callables())[name]
    listed = documented("Args", thing.__doc__)
    if dataclasses.is_dataclass(thing) and inspect.isclass(thing):
        fields = [field.name for field in dataclasses.fields(thing) if field.init]
        listed = documented("Attributes", thing.__doc__) or listed
        assert listed == fields or fields == []
    elif listed is not None:
        try:
            parameters = inspect.signature(thing).parameters
        except ValueError:
            return
        assert listed == [parameter for parameter in parameters if parameter not in ("self", "cls")]


@pytest.mark.parametrize("name", ["hidlr.HiDLR", "hidlr.HiDLR.paper", "hidlr.HiDLR.step", "hidlr.find_rates"])
def test_the_entrances_say_what_they_raise(name):
    thing = dict(callables())[name]
    assert documented("Args", thing.__doc__)
    if name != "hidlr.HiDLR.paper":
        assert documented("Raises", thing.__doc__)


@pytest.mark.parametrize("name", hidlr.errors.__all__)
def test_errors_may_be_caught_together_and_by_kind(name):
    kind = getattr(hidlr, name)
    if name == "HidlrWarning":
        assert issubclass(kind, UserWarning)
        return
    assert issubclass(kind, hidlr.HidlrError)
    expected = {"InputError": ValueError, "InputTypeError": TypeError, "UnsupportedOptimizerError": TypeError,
                "ClosureError": RuntimeError, "StateError": ValueError, "MissingExtraError": ImportError}  # fmt: skip
    assert issubclass(kind, expected.get(name, Exception))


def test_a_missing_extra_quotes_the_pip_line():
    assert 'pip install "hidlr[plot]"' in str(hidlr.MissingExtraError("matplotlib", "plot"))


def test_importing_takes_nothing_beyond_torch():
    heavy = ["matplotlib", "sklearn", "scipy", "pandas", "transformers", "peft", "accelerate"]
    program = f"import hidlr, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


EXAMPLES = [
    pytest.param(example, id=example.name)
    for name in MODULES
    if (module := imported(name)) is not None
    for example in doctest.DocTestFinder(exclude_empty=True).find(module)
    if example.examples
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_in_docstrings(example):
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE, verbose=False)
    runner.run(example, out=report.append)
    assert not report, "".join(report)


def test_the_main_entrances_have_examples():
    names = {parameter.values[0].name for parameter in EXAMPLES}
    assert {"hidlr.tuner.HiDLR", "hidlr.find.find_rates"} <= names
