"""Model templates: `boltzax.models.TwoLayer` and its kin."""

from .core import exported as _exported
from .declare import MLP as MLP
from .declare import AbstractUnitModel as AbstractUnitModel
from .declare import DeepLinear as DeepLinear
from .declare import Function as Function
from .declare import Polynomial as Polynomial
from .declare import Transformer as Transformer
from .declare import TwoLayer as TwoLayer

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
