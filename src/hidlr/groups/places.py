"""Where each parameter stands in a model, by names that wrappers and adapters do not change."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from .layers import site_layers
from .roles import anatomy_of, site_role
from .sites import Site, sites_of

__all__ = ["Located", "Place", "canonical_name", "located"]

_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer"})
_BLOCK = re.compile(r"(?:^|\.)layer_(\d+)$")


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of a parameter besides its name, enough to find its like in another model.

    Attributes:
        role: one of `ROLES`.
        layer: as `layer_of` gives it: "layer_3", "embedding", "head".
        depth: the middle of its block among all blocks of its tower, in (0, 1); None outside of blocks.
    """

    role: str
    layer: str
    depth: float | None = None


@dataclass(frozen=True)
class Located:
    """The parameters under one name; mostly one.

    Attributes:
        name: without what DDP, FSDP, torch.compile and PEFT add.
        place: role, layer and depth.
        parameters: those that training is about. Parametrizations have several under one name; of a module that
            PEFT has copied (``modules_to_save``), only the copies count.
    """

    name: str
    place: Place
    parameters: tuple[nn.Parameter, ...]


def located(model: nn.Module) -> dict[str, Located]:
    """Every parameter of a model by its canonical name, in the model's order.

    Args:
        model: any module, wrapped (DDP, torch.compile, FSDP2, PEFT) or not.

    Raises:
        InputTypeError: the model is no ``nn.Module``.
        InputError: a parameter has no shape yet, or FSDP1 has flattened it.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> located(model)["0.bias"].place
        Place(role='bias', layer='layer_0', depth=0.5)
    """
    sites = sites_of(model)
    if not sites:
        return {}
    anatomy = anatomy_of(sites[0].root)
    layers = site_layers(sites)
    depths = _depths(layers)
    members: dict[str, list[Site]] = {}
    places: dict[str, Place] = {}
    for site, layer in zip(sites, layers, strict=True):
        name = _name(site)
        place = Place(site_role(site, anatomy), layer, depths.get(layer))
        members.setdefault(name, []).append(site)
        places.setdefault(name, place)
    return {name: Located(name, places[name], _trained(own)) for name, own in members.items()}


def canonical_name(name: str) -> str:
    """A parameter's name without what wrappers add, told from the name alone.

    Example:
        >>> canonical_name("module._orig_mod.encoder.0.weight")
        'encoder.0.weight'
        >>> canonical_name("base_model.model.encoder.query.base_layer.weight")
        'encoder.query.weight'
        >>> canonical_name("base_model.model.classifier.modules_to_save.default.weight")
        'classifier.weight'
    """
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    while len(parts) > 1 and parts[0] == "module":
        parts = parts[1:]
    if parts[:2] == ["base_model", "model"]:
        parts = parts[2:]
    kept: list[str] = []
    skip = 0
    for part in parts:
        if skip:
            skip -= 1
        elif part == "original_module":
            continue
        elif part == "modules_to_save":
            skip = 1  # the adapter's name
        else:
            kept.append(part)
    return ".".join(kept)


def _trained(sites: list[Site]) -> tuple[nn.Parameter, ...]:
    copies = [site for site in sites if "modules_to_save" in site.name.split(".")]
    return tuple(site.parameter for site in copies or sites)


def _name(site: Site) -> str:
    slot = site.slots[0]
    return ".".join((*slot.node.path, slot.attribute))


def _depths(layers: list[str]) -> Mapping[str, float]:
    counts: dict[str, set[int]] = {}
    for layer in layers:
        if match := _BLOCK.search(layer):
            counts.setdefault(layer[: match.start()], set()).add(int(match[1]))
    return {
        layer: (int(match[1]) + 0.5) / (max(counts[layer[: match.start()]]) + 1)
        for layer in layers
        if (match := _BLOCK.search(layer))
    }
