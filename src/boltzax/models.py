"""Model templates: `boltzax.models.TwoLayer` and its kin."""

from .declare import MLP as MLP
from .declare import AbstractUnitModel as AbstractUnitModel
from .declare import DeepLinear as DeepLinear
from .declare import Function as Function
from .declare import Polynomial as Polynomial
from .declare import TwoLayer as TwoLayer
