"""Interfaces under selection pressure: entropy, certificates, emergent interfaces."""

from ._certify import Certificate as Certificate
from ._certify import certified as certified
from ._certify import certify as certify
from ._condition import Conditioned as Conditioned
from ._condition import condition as condition
from ._entropy import Entropy as Entropy
from ._entropy import Outcome as Outcome
from ._entropy import entropy as entropy
from ._entropy import from_splitting as from_splitting
from ._entropy import wilson as wilson
from ._free_directions import FreeDirections as FreeDirections
from ._free_directions import Overlap as Overlap
from ._free_directions import free_directions as free_directions
from ._free_directions import overlap as overlap
from ._margin import Counterexample as Counterexample
from ._margin import counterexample as counterexample
from ._margin import margin as margin
from ._margin import satisfies as satisfies
from ._shared import SharedEntropy as SharedEntropy
from ._shared import shared_entropy as shared_entropy
from ._splitting import Level as Level
from ._splitting import Splitting as Splitting
from ._splitting import split as split
from ._subsets import SubsetEntropy as SubsetEntropy
from ._subsets import memories as memories
from ._subsets import subset_entropy as subset_entropy
