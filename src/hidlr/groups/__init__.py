"""Parameter groups: a model's trainable parameters, each in exactly one named group."""

from .build import By, param_groups
from .layers import layer_of
from .roles import ROLES, role_of

__all__ = ["ROLES", "By", "layer_of", "param_groups", "role_of"]
