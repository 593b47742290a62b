"""Where the benchmark's data lies, and how a file that is absent gets there.

A data folder is named by `--data` or the environment's `HIDLR_DATA`. Nothing is downloaded unless one is named:
then `require` fetches what is absent from the repository that published it, checked against the SHA-256 of the
file that the committed results were made with.
"""

import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cifar10_file import pack_cifar10
from hidlr.errors import HidlrError

__all__ = ["MissingDataError", "cache_folder", "data_folder", "require"]

_RAW = "https://raw.githubusercontent.com"
_SECONDS = 30.0


class MissingDataError(HidlrError, FileNotFoundError):
    """A workload's data file is absent and cannot be fetched; the message says which and what to do."""


@dataclass(frozen=True)
class _Source:
    """A published file: path in the form `owner/repository/commit/path`, and what it must hash to."""

    path: str
    sha256: str

    @property
    def url(self) -> str:
        return f"{_RAW}/{self.path}"


_ALPS = "forest-snow/alps/43232f234087cdbb4b06cd0e3997460610a0dbfd/data/SST-2"
_COLA = "amrnag/Specialized-Transformers/fa673a9/data/CoLA"
_EMOTIONS = "monologg/GoEmotions-pytorch/b75f9d3/data/original"
_SOURCES = {
    "text/tinyshakespeare.txt": _Source(
        "karpathy/char-rnn/d1d7aa34fdb3626174bce1d753e6cc6845ce7087/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
    "housing/housing.csv": _Source(
        "ageron/handson-ml2/aa555aa16b9d0af6c84e67c7757f3317d05acb12/datasets/housing/housing.csv",
        "8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e",
    ),
    "glue/CoLA.train.tsv": _Source(
        f"{_COLA}/train.tsv", "5d66fd226d12fd480c09dd8abf7f8f200f3cc2fc92c13e0f8b0fb87caabb18bb"
    ),
    "glue/CoLA.dev.tsv": _Source(
        f"{_COLA}/dev.tsv", "2fba313f9132976e4faa4682747b8d5aa0eba05698a7be75590c6799fbe46232"
    ),
    "glue/SST-2.train.tsv": _Source(
        f"{_ALPS}/train.tsv", "8621df47b79e9b3fa010405ef4dd506cbf483319cf851f20f2b6773f61d387b5"
    ),
    "glue/SST-2.dev.tsv": _Source(
        f"{_ALPS}/dev.tsv", "54a9c12c77e402fc14d6a66a506f24d999f596b0176eb777c972cccc2f9cc4b0"
    ),
    "goemotions/train.tsv": _Source(
        f"{_EMOTIONS}/train.tsv", "1c254a142be5c00e80d819b9ae1bbd36d94b2eeb8f4b1271846508d57e57d9c5"
    ),
    "goemotions/dev.tsv": _Source(
        f"{_EMOTIONS}/dev.tsv", "575489c079c9de1097062a01738f998590d6b7ead66dd1c9fd1d2ba01fd8bc62"
    ),
    "goemotions/test.tsv": _Source(
        f"{_EMOTIONS}/test.tsv", "0587b2dd8b27b97352adbfc3fb083d46005c8946657fdc2b1ca8b1cc7f1f8be4"
    ),
    "goemotions/labels.txt": _Source(
        f"{_EMOTIONS}/labels.txt", "45c3ef86782d2a4d7fedcd6d8c111aa0d0e94720689bd164fac94fefb4495a89"
    ),
}
_PACKED: dict[str, Callable[[Path], None]] = {
    "cifar10/cifar10_train_jpeg.npz": lambda path: pack_cifar10("train", path),
    "cifar10/cifar10_test_jpeg.npz": lambda path: pack_cifar10("test", path),
}


def data_folder(argument: str | Path | None = None) -> Path | None:
    """The data folder: the argument, else the environment's HIDLR_DATA, else None."""
    named = argument or os.environ.get("HIDLR_DATA")
    return Path(named).expanduser() if named else None


def cache_folder() -> Path:
    """Where preprocessed data is kept: HIDLR_CACHE or ~/.cache/hidlr, made when absent."""
    folder = Path(os.environ.get("HIDLR_CACHE") or "~/.cache/hidlr").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def require(folder: Path | None, relative: str) -> Path:
    """The path of a data file, which is fetched first where it is absent.

    Args:
        folder: the data folder (None: HIDLR_DATA's).
        relative: path inside it, with forward slashes.

    Raises:
        MissingDataError: no folder is named, or the file is neither there nor to be had.

    Example:
        >>> require(Path("/nowhere"), "no/such.file")
        Traceback (most recent call last):
        ...
        benchmarks.data.MissingDataError: /nowhere/no/such.file is absent and has no known source: put it there.
    """
    folder = data_folder(folder)
    if folder is None:
        raise MissingDataError(f"{relative} is needed: name a data folder with --data DIR or HIDLR_DATA=DIR.")
    path = folder / relative
    if not path.exists():
        _obtain(relative, path)
    return path


def _obtain(relative: str, path: Path) -> None:
    if relative in _SOURCES:
        source, write = _SOURCES[relative].url, _downloader(_SOURCES[relative])
    elif relative in _PACKED:
        source, write = "the `datasets` library (pip install datasets)", _PACKED[relative]
    else:
        raise MissingDataError(f"{path} is absent and has no known source: put it there.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two processes may fetch at once, and either may be interrupted: only a complete file gets the name.
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            write(Path(scratch) / path.name)
            (Path(scratch) / path.name).replace(path)
    except (OSError, ImportError, ValueError) as error:
        raise MissingDataError(
            f"{path} is absent, and fetching it from {source} failed ({error}): put it there."
        ) from error


def _downloader(source: _Source) -> Callable[[Path], None]:
    def download(path: Path) -> None:
        with urllib.request.urlopen(source.url, timeout=_SECONDS) as response:
            content: bytes = response.read()
        found = hashlib.sha256(content).hexdigest()
        if found != source.sha256:
            raise ValueError(f"its SHA-256 is {found}, expected {source.sha256}")
        path.write_bytes(content)

    return download
