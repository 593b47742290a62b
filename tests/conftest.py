"""Every test starts from the same seed, on one thread, and leaves the global states as it found them."""

import random
from collections.abc import Iterator

import hypothesis
import numpy as np
import pytest
import torch

from support.traces import RandomStates

torch.set_num_threads(1)  # the machine is shared, and the models here are tiny
# The same examples on each run and machine: a test that fails once fails always.
hypothesis.settings.register_profile(
    "hidlr",
    derandomize=True,
    deadline=None,
    max_examples=20,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("hidlr")


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    """Seed Python, numpy and torch; set their states and the default dtype back afterwards."""
    before, dtype = RandomStates.take(), torch.get_default_dtype()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(dtype)
    before.set_back()


@pytest.fixture
def float64() -> None:
    """Exact oracles: new tensors are float64 until the test ends (`seed` sets the default back)."""
    torch.set_default_dtype(torch.float64)


@pytest.fixture
def isolated() -> Iterator[None]:
    """The test as a whole must not draw from Python's, numpy's or torch's global generator."""
    before = RandomStates.take()
    yield
    before.assert_same()
