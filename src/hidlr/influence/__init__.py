"""Which groups matter: what each takes off the loss, in all and per parameter."""

from hidlr.influence.influence import Influence, members_of
from hidlr.influence.meter import InfluenceMeter

__all__ = ["Influence", "InfluenceMeter", "members_of"]
