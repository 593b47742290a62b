"""Parameter groups: a model's trainable parameters, each in exactly one named group."""

from .build import By, param_groups
from .layers import layer_of
from .places import Located, Place, canonical_name, located
from .roles import ROLES, role_of

__all__ = ["ROLES", "By", "Located", "Place", "canonical_name", "layer_of", "located", "param_groups", "role_of"]
