"""Interfaces under selection pressure: entropy, certificates, emergent interfaces."""

from ._condition import Conditioned as Conditioned
from ._condition import condition as condition
from ._entropy import Entropy as Entropy
from ._entropy import Outcome as Outcome
from ._entropy import entropy as entropy
from ._entropy import from_splitting as from_splitting
from ._entropy import wilson as wilson
from ._splitting import Level as Level
from ._splitting import Splitting as Splitting
from ._splitting import split as split
