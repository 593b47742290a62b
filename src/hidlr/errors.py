"""Every error and warning hidlr raises: each message names the culprit and the remedy."""

__all__ = [
    "ClosureError",
    "HidlrError",
    "HidlrWarning",
    "InputError",
    "InputTypeError",
    "MissingExtraError",
    "StateError",
    "UnsupportedOptimizerError",
]


class HidlrError(Exception):
    """Base of all errors raised by hidlr; catch this to catch them all."""


class InputError(HidlrError, ValueError):
    """An argument has a value that cannot work."""


class InputTypeError(HidlrError, TypeError):
    """An argument has a type that cannot work."""


class ClosureError(HidlrError, RuntimeError):
    """The closure handed to a probe is not a forward-only scalar loss."""


class UnsupportedOptimizerError(InputTypeError):
    """The base optimizer sets its own rate, or its step is not linear in ``lr``."""


class StateError(HidlrError, ValueError):
    """A checkpoint, recipe or record does not fit, or is damaged."""


class MissingExtraError(HidlrError, ImportError):
    """An optional dependency is absent; the message quotes the pip line."""

    def __init__(self, needs: str, extra: str) -> None:
        super().__init__(f'{needs} is needed for this: pip install "hidlr[{extra}]"')


class HidlrWarning(UserWarning):
    """Something works, but not as well as it could; the message says what to change."""
