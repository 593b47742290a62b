"""Kinds of problems that the benchmark lacks: recurrent, normalised by the batch, sampled, long, full-batch.

Small, and without downloads. They look for runs that break, so each is trained by optimizers that suit it badly too.
"""

import math
from abc import abstractmethod
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidlr.workloads.base import Batch, Defaults, Workload, device_of, evaluating
from hidlr.workloads.data import Split, load_sklearn, split, training_batch

__all__ = [
    "DigitsAutoencoder",
    "DigitsBatchNorm",
    "DigitsConv",
    "DigitsGru",
    "DigitsGruLong",
    "DigitsVae",
    "QuadraticFullBatch",
    "SineFullBatch",
    "TinyBert",
    "WordPairs",
    "WordPairsLong",
]

_FLOOR = -12.0


class _Outside(Workload):
    """A problem of rows that are drawn in batches, judged by its loss on other rows.

    Attributes:
        optimizers: base optimizers that it is benchmarked with.
        batch_size: rows in a batch.
        train: rows that train.
        validation: rows that are held out.
    """

    metric_name = "val_loss"
    test_name = "val_loss"
    higher_is_better = False
    optimizers: tuple[str, ...] = ("adamw", "momentum")
    batch_size = 32
    train: Split
    validation: Split

    def __init__(self, data: Path | None = None) -> None:
        del data

    def build(self, seed: int) -> nn.Module:
        """The model with PyTorch's initial values."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.model()

    @abstractmethod
    def model(self) -> nn.Module:
        """A freshly initialised model; draws from the global random state."""

    def batch(self, step: int, seed: int) -> Batch:
        """Inputs and targets."""
        return training_batch(self.train, self.batch_size, step, seed)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy (nats)."""
        inputs, targets = batch
        return functional.cross_entropy(model(inputs), targets)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss on the rows that are held out, in evaluation mode."""
        device = device_of(model)
        with evaluating(model), torch.no_grad():
            held_out = self.validation.inputs.to(device), self.validation.targets.to(device)
            return {"val_loss": self.loss(model, held_out).item()}


class _Digits(_Outside):
    """8x8 digits: 1,347 images train, the other 450 are held out."""

    defaults = Defaults(optimizer="adamw", steps=300, groups="role", weight_decay=0.01)

    def __init__(self, data: Path | None = None) -> None:
        super().__init__(data)
        self.train, self.validation = _digits()


class DigitsConv(_Digits):
    """A plain convolutional network, without any normalisation."""

    name = "digits-conv"
    description = "8x8 digits, a convolutional network of 10,000 parameters"
    optimizers = ("adamw", "momentum", "sgd")

    def model(self) -> nn.Module:
        """Two convolutions and a linear map."""
        return nn.Sequential(
            nn.Unflatten(1, (1, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
        )  # fmt: skip


class DigitsBatchNorm(_Digits):
    """A perceptron with BatchNorm and dropout."""

    name = "digits-batchnorm"
    description = "8x8 digits, a perceptron with BatchNorm and dropout"

    def model(self) -> nn.Module:
        """Two hidden layers of 128."""
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(),
            nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10),
        )  # fmt: skip


class DigitsGru(_Digits):
    """Rows of pixels one after the other, a recurrent network, the class at the end."""

    name = "digits-gru"
    description = "8x8 digits row by row, a GRU of 48 units"
    optimizers = ("adamw", "momentum", "sgd")

    def model(self) -> nn.Module:
        """A GRU and a linear map of its last output."""
        return _Gru()


class DigitsGruLong(DigitsGru):
    """The same for ten times as long: settings chosen on short runs must not be settings for short runs."""

    name = "digits-gru-long"
    description = "the same for 3,000 steps"
    optimizers = ("adamw", "momentum")
    defaults = replace(DigitsGru.defaults, steps=3000)


class DigitsAutoencoder(_Digits):
    """A narrow deep perceptron that gives its input back: mean squared error."""

    name = "digits-autoencoder"
    description = "8x8 digits, an autoencoder with a bottleneck of 8"
    batch_size = 16

    def model(self) -> nn.Module:
        """48, 8 and 48 hidden units."""
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 8), nn.GELU(),
            nn.Linear(8, 48), nn.GELU(), nn.Linear(48, 64),
        )  # fmt: skip

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean squared error of a pixel."""
        images, _ = batch
        return functional.mse_loss(model(images), images.flatten(1))


class DigitsVae(_Digits):
    """A variational autoencoder: the loss itself draws random numbers."""

    name = "digits-vae"
    description = "8x8 digits, a variational autoencoder with 8 latent variables"

    def model(self) -> nn.Module:
        """Perceptrons with a hidden layer of 128 on both sides."""
        return _Vae()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Negative evidence lower bound (nats per pixel), unit variance scaled by 10."""
        images, _ = batch
        pixels, mean, log_variance = model(images)
        error = 10 * functional.mse_loss(pixels, images.flatten(1))
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
        return error + divergence / pixels.shape[1]

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The same on the rows that are held out, with the same draws for every model."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return super().evaluate(model)


class WordPairs(_Outside):
    """Which word follows? Few of 400 words are common: most embeddings are rarely seen."""

    name = "word-pairs"
    description = "pairs of 400 words by Zipf's law, an embedding and a linear map"
    optimizers = ("adamw", "momentum", "sgd")
    defaults = Defaults(optimizer="adamw", steps=400, groups="role")
    batch_size = 64

    def __init__(self, data: Path | None = None) -> None:
        super().__init__(data)
        self.train, self.validation = _pairs()

    def model(self) -> nn.Module:
        """32 numbers a word."""
        return nn.Sequential(nn.Embedding(400, 32), nn.Linear(32, 400))


class WordPairsLong(WordPairs):
    """The same for ten times as long."""

    name = "word-pairs-long"
    description = "the same for 4,000 steps"
    optimizers = ("adamw", "sgd")
    defaults = replace(WordPairs.defaults, steps=4000)


class TinyBert(_Outside):
    """Does a token occur more often than usual? An encoder with dropout from scratch, on 512 rows."""

    name = "tiny-bert"
    description = "counting a token in 512 rows of 24, an encoder of 2 layers with dropout"
    defaults = Defaults(optimizer="adamw", steps=250, groups="role", weight_decay=0.01)

    def __init__(self, data: Path | None = None) -> None:
        super().__init__(data)
        draw = torch.Generator().manual_seed(3)
        tokens = torch.randint(30, (1024, 24), generator=draw)
        labels = ((tokens < 10).sum(1) > 8).long()
        self.train, self.validation = Split(tokens[:512], labels[:512]), Split(tokens[512:], labels[512:])

    def model(self) -> nn.Module:
        """Width 64, 4 heads."""
        return _Encoder()


class _FullBatch(_Outside):
    """Every batch is all there is: no noise; judged by the order of the training loss."""

    metric_name = "log10_loss"
    test_name = "log10_loss"
    optimizers = ("adamw", "momentum", "sgd")

    def batch(self, step: int, seed: int) -> Batch:
        """All rows."""
        del step, seed
        return self.train.inputs, self.train.targets

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """log10 of the training loss, at least -12."""
        with torch.no_grad():
            loss = self.loss(model, self.batch(0, 0)).item()
        return {"log10_loss": _FLOOR if loss <= 10**_FLOOR else math.log10(loss)}


class SineFullBatch(_FullBatch):
    """A perceptron fits a sine on 64 points, in float64."""

    name = "sine-full-batch"
    description = "a sine at 64 points, a perceptron with two layers of 32, every step on all points"
    defaults = Defaults(optimizer="adamw", steps=1000, groups="role")

    def __init__(self, data: Path | None = None) -> None:
        super().__init__(data)
        inputs = torch.linspace(-1, 1, 64, dtype=torch.float64)[:, None]
        self.train = self.validation = Split(inputs, torch.sin(4 * inputs))

    def model(self) -> nn.Module:
        """Hyperbolic tangents."""
        return nn.Sequential(
            nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)
        ).double()  # fmt: skip

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean squared error."""
        inputs, targets = batch
        return functional.mse_loss(model(inputs), targets)


class QuadraticFullBatch(_FullBatch):
    """x'Hx / 2 in 50 dimensions, H with eigenvalues from 1 down to 1/1000 in a random basis, in float64."""

    name = "quadratic-full-batch"
    description = "a quadratic of 50 dimensions and condition number 1000"
    defaults = Defaults(optimizer="adamw", steps=300, groups="all")

    def __init__(self, data: Path | None = None) -> None:
        super().__init__(data)
        draw = torch.Generator().manual_seed(5)
        basis, _ = torch.linalg.qr(torch.randn(50, 50, generator=draw, dtype=torch.float64))
        # The loss is that of least squares: half the squared norm of the root of H times x.
        root = torch.logspace(0, -1.5, 50, dtype=torch.float64)[:, None] * basis
        self.train = self.validation = Split(root, torch.zeros(50, 1, dtype=torch.float64))

    def model(self) -> nn.Module:
        """A linear map to one number, from normal weights."""
        model = nn.Linear(50, 1, bias=False).double()
        nn.init.normal_(model.weight)
        return model

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Half the sum of squares."""
        inputs, targets = batch
        return (model(inputs) - targets).square().sum() / 2


class _Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(8, 48, batch_first=True)
        self.head = nn.Linear(48, 10)

    def forward(self, rows: Tensor) -> Tensor:
        scores: Tensor = self.head(self.gru(rows)[0][:, -1])
        return scores


class _Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(images).chunk(2, 1)
        latent = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        return self.decoder(latent), mean, log_variance


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 64)
        self.position = nn.Parameter(0.02 * torch.randn(24, 64))
        layer = nn.TransformerEncoderLayer(64, 4, 128, 0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(64, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.head(self.encoder(self.embedding(tokens) + self.position)[:, 0])
        return scores


@cache
def _digits() -> tuple[Split, Split]:
    bunch = load_sklearn("digits")
    images = torch.tensor(bunch.images, dtype=torch.float32) / 16
    data = split(images, torch.tensor(bunch.target, dtype=torch.int64), held_out=450)
    parts = data.validation, data.test
    return data.train, Split(torch.cat([part.inputs for part in parts]), torch.cat([part.targets for part in parts]))


@cache
def _pairs() -> tuple[Split, Split]:
    """20,000 pairs that train and 4,000: the first by Zipf's law, the second by a law of its own for each first."""
    draw = torch.Generator().manual_seed(4)
    usual = 1 / torch.arange(1, 401, dtype=torch.float64)
    firsts = torch.multinomial(usual, 24_000, replacement=True, generator=draw)
    follows = usual * (3 * torch.randn(400, 400, generator=draw, dtype=torch.float64)).exp()
    seconds = torch.multinomial(follows[firsts], 1, generator=draw)[:, 0]
    return Split(firsts[:20_000], seconds[:20_000]), Split(firsts[20_000:], seconds[20_000:])
