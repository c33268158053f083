"""Samplers: draws of a Gibbs measure, at fixed temperatures or along a ladder."""

from ._anneal import anneal as anneal
from ._kernel import AbstractKernel as AbstractKernel
from ._kernel import Move as Move
from ._mala import MALA as MALA
from ._nuts import NUTS as NUTS
from ._random_walk import RandomWalk as RandomWalk
from ._sample import sample as sample
from ._trace import Bridges as Bridges
from ._trace import Trace as Trace
from ._unit_moves import UnitMoves as UnitMoves
