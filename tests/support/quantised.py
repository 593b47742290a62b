"""AdamW with its moments in 8 bits, a block of entries sharing one scale, as bitsandbytes keeps them on GPUs."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

BLOCK = 64
LEVELS = 255


class AdamW8bit(Optimizer):
    """Decoupled weight decay; first moment in int8, square root of the second in uint8."""

    def __init__(
        self,
        params: list[dict],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> None:
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["step"] = 0
                    for name, kind in (("m", torch.int8), ("v", torch.uint8)):
                        blocks = -(-parameter.numel() // BLOCK)
                        state[name] = torch.zeros(parameter.numel(), dtype=kind)
                        state[f"{name}_scale"] = parameter.new_zeros(blocks)
                state["step"] += 1
                grad = parameter.grad.reshape(-1)
                m = first * _decode(state["m"], state["m_scale"], LEVELS // 2) + (1 - first) * grad
                v = second * _decode(state["v"], state["v_scale"], LEVELS).square() + (1 - second) * grad.square()
                root = v.sqrt()
                state["m"], state["m_scale"] = _encode(m, LEVELS // 2, torch.int8)
                state["v"], state["v_scale"] = _encode(root, LEVELS, torch.uint8)
                step = m / (1 - first ** state["step"])
                # A moment that was rounded to 0 must not be divided by: at least half a level.
                floor = _expand(state["v_scale"], len(root)) / (2 * LEVELS)
                step /= torch.maximum(root, floor) / (1 - second ** state["step"]) ** 0.5 + group["eps"]
                move = step.reshape(parameter.shape) + group["weight_decay"] * parameter
                parameter.add_(move, alpha=-float(group["lr"]))


def _expand(scale: Tensor, count: int) -> Tensor:
    return scale.repeat_interleave(BLOCK)[:count]


def _encode(values: Tensor, levels: int, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    padded = torch.nn.functional.pad(values, (0, -len(values) % BLOCK)).reshape(-1, BLOCK)
    scale = padded.abs().amax(1)
    return (values / _expand(scale, len(values)).clamp_min(1e-30) * levels).round().to(kind), scale


def _decode(codes: Tensor, scale: Tensor, levels: int) -> Tensor:
    return codes.to(scale.dtype) / levels * _expand(scale, len(codes))
