"""Interfaces under selection pressure: entropy, certificates, emergent interfaces."""

from ..core import exported as _exported
from ..core import renamed as _renamed
from ..declare import Family as Family
from ..numerics import enclose as enclose
from ._certify import Certificate as Certificate
from ._certify import certified as certified
from ._certify import certify as certify
from ._components_in_series import Series as Series
from ._components_in_series import end_to_end as end_to_end
from ._components_in_series import in_series as in_series
from ._condition import Conditioned as Conditioned
from ._condition import condition as condition
from ._entropy import Entropy as Entropy
from ._entropy import Outcome as Outcome
from ._entropy import entropy as entropy
from ._entropy import wilson as wilson
from ._entropy_curve import EntropyCurve as EntropyCurve
from ._entropy_curve import entropy_curve as entropy_curve
from ._entropy_table import EntropyTable as EntropyTable
from ._entropy_table import TightestKernel as TightestKernel
from ._entropy_table import entropy_table as entropy_table
from ._entropy_table import tightest_kernel as tightest_kernel
from ._expected_satisfaction import ExpectedSatisfaction as ExpectedSatisfaction
from ._expected_satisfaction import expected_satisfaction as expected_satisfaction
from ._free_directions import FreeDirections as FreeDirections
from ._free_directions import Overlap as Overlap
from ._free_directions import free_directions as free_directions
from ._free_directions import overlap as overlap
from ._interface_law import InterfaceLaw as InterfaceLaw
from ._interface_law import interface_law as interface_law
from ._margin import Counterexample as Counterexample
from ._margin import attack as attack
from ._margin import counterexample as counterexample
from ._margin import margin as margin
from ._margin import satisfies as satisfies
from ._margin import tightest as tightest
from ._maximum_entropy import ChainTables as ChainTables
from ._maximum_entropy import MaximumEntropy as MaximumEntropy
from ._maximum_entropy import chain_tables as chain_tables
from ._maximum_entropy import max_plus as max_plus
from ._maximum_entropy import maximum_entropy as maximum_entropy
from ._maximum_entropy import maximum_entropy_interfaces as _maximum_entropy_interfaces
from ._maximum_thresholds import MaximisedInterfaces as MaximisedInterfaces
from ._maximum_thresholds import maximise_interfaces as maximise_interfaces
from ._pressure import Pressure as Pressure
from ._pressure import pressure as pressure
from ._satisfaction_law import Agreement as Agreement
from ._satisfaction_law import SatisfactionLaw as SatisfactionLaw
from ._satisfaction_law import satisfaction_law as satisfaction_law
from ._shared_variable import SharedEntropy as SharedEntropy
from ._shared_variable import shared_entropy as shared_entropy
from ._subsets import SubsetEntropy as SubsetEntropy
from ._subsets import memories as memories
from ._subsets import subset_entropy as subset_entropy

__getattr__ = _renamed(
    globals(),
    dict.fromkeys(
        ("Level", "Splitting", "from_splitting", "split"),
        'use boltzax.log_probability(gibbs, level, at, key=key, by="levels")',
    ),
    maximum_entropy_interfaces=_maximum_entropy_interfaces,
)
__all__ = _exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
