"""The named ways to group parameters: what ``by="role"`` and its kin mean."""

from collections.abc import Callable, Sequence
from types import MappingProxyType

from hidlr.errors import InputError

from .kinds import Kind
from .layers import site_layers
from .roles import ROLES, anatomy_of, names_bias, site_role
from .sites import Site
from .wording import listed

Scheme = Callable[[Sequence[Site]], list[str]]
"""From all parameters of a model, frozen ones included, to the group of each."""

_ADAPTERS = frozenset({"lora_A", "lora_B", "lora_magnitude"})
_TRY_PATTERNS = 'give patterns instead, e.g. by={"head": "decoder.out.*", "rest": "*"}'


def roles(sites: Sequence[Site]) -> list[str]:
    """Group by role (`hidlr.groups.role_of`)."""
    anatomy = anatomy_of(sites[0].root)
    return [site_role(site, anatomy) for site in sites]


def layers(sites: Sequence[Site]) -> list[str]:
    """Group by repeated block (`hidlr.groups.layer_of`)."""
    return site_layers(sites)


def roles_in_layers(sites: Sequence[Site]) -> list[str]:
    """Group by role within each layer: "layer_3/attention"."""
    return [f"{layer}/{role}" for layer, role in zip(site_layers(sites), roles(sites), strict=True)]


def tensors(sites: Sequence[Site]) -> list[str]:
    """Give each parameter its own group, under its name without what wrappers add."""
    return [site.plain for site in sites]


def biases(sites: Sequence[Site]) -> list[str]:
    """Set all biases apart, those of norms and of the head too.

    Raises:
        InputError: there is none, or all are frozen.
    """
    names = ["bias" if _is_bias(site) else "rest" for site in sites]
    if "bias" not in names:
        raise InputError('by="bias" on a model without biases: use by="role", or give patterns')
    return _trainable(names, sites, "bias", "call requires_grad_(True) on them first")


def head(sites: Sequence[Site]) -> list[str]:
    """Set the head apart.

    Raises:
        InputError: no head can be told, it is tied to the embedding, or it is frozen.
    """
    anatomy = anatomy_of(sites[0].root)
    names = ["head" if site_role(site, anatomy) == "head" else "rest" for site in sites]
    if "head" in names:
        return _trainable(names, sites, "head", "call requires_grad_(True) on it first")
    for site in sites:
        if any(above in anatomy.heads for slot in site.slots for above in slot.node.chain()):
            raise InputError(
                f'by="head": the head is tied to the embedding {site.name!r}, so it cannot have a group of its '
                f'own: use by="role", or {_TRY_PATTERNS}'
            )
    raise InputError(
        'by="head": no head can be told in this model (no linear map stands after its blocks): ' + _TRY_PATTERNS
    )


def lora(sites: Sequence[Site]) -> list[str]:
    """Set LoRA's A, B and magnitudes apart, and the head from the rest.

    Raises:
        InputError: the model has no LoRA, or it is frozen.
    """
    names = [name if name in _ADAPTERS or name == "head" else "rest" for name in roles(sites)]
    if not _ADAPTERS & set(names):
        raise InputError(
            'by="lora" on a model without LoRA parameters: wrap it with peft.get_peft_model first, or use by="role"'
        )
    adapters = [site for site, name in zip(sites, names, strict=True) if name in _ADAPTERS]
    if not any(site.parameter.requires_grad for site in adapters):
        raise InputError(
            f'by="lora": all of LoRA is frozen: {listed([site.name for site in adapters], "parameter")}; '
            "load the adapter with is_trainable=True, or call requires_grad_(True) on them"
        )
    return names


def everything(sites: Sequence[Site]) -> list[str]:
    """Put all parameters in one group."""
    return ["all"] * len(sites)


SCHEMES: MappingProxyType[str, Scheme] = MappingProxyType(
    {
        "role": roles,
        "layer": layers,
        "role_layer": roles_in_layers,
        "tensor": tensors,
        "bias": biases,
        "head": head,
        "lora": lora,
        "all": everything,
    }
)
"""Each value of ``by`` that is a name."""

ORDERS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "role": ROLES,
        "bias": ("bias", "rest"),
        "head": ("head", "rest"),
        "lora": ("lora_A", "lora_B", "lora_magnitude", "head", "rest"),
    }
)
"""The order of the groups of schemes whose groups are known beforehand; others follow the model."""


def _is_bias(site: Site) -> bool:
    slot = site.slots[0]
    return slot.adapter is None and slot.node.kind is not Kind.EMBEDDING and names_bias(slot.attribute)


def _trainable(names: list[str], sites: Sequence[Site], group: str, remedy: str) -> list[str]:
    """Pass the names on if the group that the scheme is about holds something trainable."""
    members = [site for site, name in zip(sites, names, strict=True) if name == group]
    if not any(site.parameter.requires_grad for site in members):
        frozen = listed([site.name for site in members], "parameter")
        raise InputError(f'by="{group}": group "{group}" holds only frozen parameters: {frozen}; {remedy}')
    return names
