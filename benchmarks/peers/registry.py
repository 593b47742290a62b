"""Every peer: a new one joins by adding a row."""

import difflib
from types import MappingProxyType

from benchmarks.peers import averaged, curvature, layerwise, self_setting
from benchmarks.peers.peer import Peer
from hidlr.errors import InputError

__all__ = ["PEERS", "get", "names"]

_ROWS = (
    Peer(
        "prodigy",
        package="prodigyopt",
        rates={"adamw": 1.0},
        schedule="cosine",
        sets_own_rate=True,
        documented="README: lr=1, no scheduler or cosine annealing to the last step; of the two, the one that decays",
        make=self_setting.prodigy,
    ),
    Peer(
        "dadapt",
        package="dadaptation",
        rates={"adamw": 1.0, "momentum": 1.0, "sgd": 1.0, "lion": 1.0},
        schedule="linear",
        sets_own_rate=True,
        documented=(
            "README: lr=1, the scheduler that one would normally use, decouple=True in place of AdamW; the variant of "
            "Lion is called highly experimental"
        ),
        make=self_setting.dadaptation,
    ),
    Peer(
        "mechanic",
        package="mechanic-pytorch",
        rates={"adamw": 1.0, "momentum": 1.0, "sgd": 1.0, "lion": 1.0, "muon": 1.0},
        schedule="linear",
        sets_own_rate=True,
        documented="README: lr=1.0 and any schedule; s_decay=0.01 and six betas by default",
        make=self_setting.mechanic,
    ),
    Peer(
        "dog",
        package="dog-optimizer",
        rates={"momentum": 1.0, "sgd": 1.0},
        schedule="constant",
        sets_own_rate=True,
        documented="README: lr=1, no decay but polynomial averaging, reps_rel=1e-6 (1e-4 with batch normalisation)",
        make=averaged.dog,
    ),
    Peer(
        "ldog",
        package="dog-optimizer",
        rates={"momentum": 1.0, "sgd": 1.0},
        schedule="constant",
        sets_own_rate=True,
        documented="as dog, one rate for each tensor",
        make=averaged.ldog,
    ),
    Peer(
        "schedulefree",
        package="schedulefree",
        rates={"adamw": 0.0025, "momentum": 1.0, "sgd": 1.0},
        schedule="constant",
        sets_own_rate=False,
        documented=(
            "defaults of AdamWScheduleFree and SGDScheduleFree; README: warm-up recommended (2% as in its AlgoPerf "
            "settings), 50 training batches before evaluation with batch normalisation"
        ),
        make=averaged.schedule_free,
    ),
    Peer(
        "adahessian",
        package="pytorch_optimizer",
        rates={"adamw": 0.1},
        schedule="linear",
        sets_own_rate=False,
        documented="defaults; without the paper's spatial averaging, which this package does not have",
        make=curvature.adahessian,
        needs_graph=True,
    ),
    Peer(
        "sophia",
        package="pytorch_optimizer",
        rates={"adamw": 0.06},
        schedule="linear",
        sets_own_rate=False,
        documented="defaults of SophiaH: an estimate every tenth step",
        make=curvature.sophia,
        needs_graph=True,
    ),
    Peer(
        "lars",
        package="pytorch_optimizer",
        rates={"momentum": 1e-3, "sgd": 1e-3},
        schedule="linear",
        sets_own_rate=False,
        documented="defaults, momentum 0.9 among them",
        make=layerwise.lars,
    ),
    Peer(
        "lamb",
        package="pytorch_optimizer",
        rates={"adamw": 1e-3},
        schedule="linear",
        sets_own_rate=False,
        documented="defaults",
        make=layerwise.lamb,
    ),
)

PEERS: MappingProxyType[str, Peer] = MappingProxyType({peer.name: peer for peer in _ROWS})
"""Every peer by name."""


def names(base_optimizer: str | None = None) -> tuple[str, ...]:
    """Names of all peers, or of those that stand beside one base optimizer."""
    return tuple(name for name, peer in PEERS.items() if base_optimizer is None or base_optimizer in peer.applies_to)


def get(name: str) -> Peer:
    """The peer of a name.

    Raises:
        InputError: no such peer; the message suggests the nearest.
    """
    if name not in PEERS:
        near = difflib.get_close_matches(name, PEERS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"unknown peer {name!r}: {hint}There are {', '.join(PEERS)}.")
    return PEERS[name]
