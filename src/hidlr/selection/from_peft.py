"""What a PEFT model trains, as a selection."""

from torch import nn

from hidlr.errors import InputError, InputTypeError
from hidlr.groups import located
from hidlr.selection.choice import GroupChoice
from hidlr.selection.selection import Selection

__all__ = ["selection_from_peft"]


def selection_from_peft(model: nn.Module) -> Selection:
    """The choice that a PEFT model has made, one group per parameter; explain it, save it, compare it.

    Args:
        model: what ``peft.get_peft_model`` gave.

    Returns:
        A group per parameter, kept where it is trained; its rule names the method.

    Raises:
        InputTypeError: the model is none of PEFT's.
        InputError: it trains nothing.

    Example:
        >>> import peft
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> model = peft.get_peft_model(model, peft.LoraConfig(r=1, target_modules=["0"]))
        >>> selection_from_peft(model).kept
        ('0.lora_A.default.weight', '0.lora_B.default.weight')
    """
    if not isinstance(model, nn.Module) or not hasattr(model, "peft_config"):
        raise InputTypeError(f"selection_from_peft takes a model of peft.get_peft_model, not {type(model).__name__}")
    found = located(model)
    groups = tuple(
        GroupChoice(
            name=name,
            kept=any(parameter.requires_grad for parameter in own.parameters),
            size=sum(parameter.numel() for parameter in own.parameters),
            parameters=(name,),
        )
        for name, own in found.items()
    )
    if not any(group.kept for group in groups):
        raise InputError("the PEFT model trains nothing: load the adapter with is_trainable=True")
    configs = getattr(model, "peft_config", {})
    kinds = ", ".join(
        sorted({str(getattr(config.peft_type, "value", config.peft_type)) for config in configs.values()})
    )
    return Selection(groups, rule=f"as PEFT has it ({kinds})", places={name: own.place for name, own in found.items()})
