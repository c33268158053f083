"""Mean field: wide nets as neurons in a self-consistent field."""

from ..core import exported as _exported
from ..core import renamed as _renamed
from ._background import Background as Background
from ._confront import Confrontation as Confrontation
from ._confront import Gap as Gap
from ._confront import confront as confront
from ._cumulant import AbstractCumulant as AbstractCumulant
from ._data_kernel import DataKernel as DataKernel
from ._data_kernel import alignment as alignment
from ._data_kernel import data_kernel as data_kernel
from ._data_kernel import frobenius_distance as frobenius_distance
from ._data_kernel import gradient_flow as gradient_flow
from ._data_kernel import neuron_functions as neuron_functions
from ._data_kernel import procrustes_distance as procrustes_distance
from ._finite_width import FiniteWidth as FiniteWidth
from ._finite_width import WidthErrors as WidthErrors
from ._finite_width import finite_width as finite_width
from ._layered import Frozen as Frozen
from ._layered import Layered as Layered
from ._linear_cumulant import LinearCumulant as LinearCumulant
from ._mixing import Mixing as Mixing
from ._mixing import mixing as mixing
from ._mixing import tempered as tempered
from ._neuron import Neuron as Neuron
from ._neuron import Unit as Unit
from ._neuron_dynamics import AbstractNeuronDynamics as AbstractNeuronDynamics
from ._neuron_dynamics import Descent as Descent
from ._neuron_dynamics import Langevin as Langevin
from ._neurons import AbstractField as AbstractField
from ._neurons import History as History
from ._neurons import Neurons as Neurons
from ._neurons import Replayed as Replayed
from ._neurons import Static as Static
from ._order_parameters import Loop as Loop
from ._order_parameters import fixed_points as fixed_points
from ._phases import FieldPhases as FieldPhases
from ._probe import Probe as Probe
from ._probe import probe as probe
from ._replay import Foreground as Foreground
from ._replay import foreground as foreground
from ._replay import replay as replay
from ._replay import time_average as time_average
from ._self_consistency import AbstractEnsemble as AbstractEnsemble
from ._self_consistency import SelfConsistency as SelfConsistency
from ._solve import FixedPoint as FixedPoint
from ._solve import Uniqueness as Uniqueness
from ._solve import solve as solve
from ._spinodal import Jumps as Jumps
from ._sweep import Hysteresis as Hysteresis
from ._sweep import Sweep as Sweep
from ._sweep import sweep as sweep
from ._train import Training as Training
from ._train import ride_along as ride_along
from ._train import train as train

__all__ = _exported(globals())
__getattr__ = _renamed(
    globals(),
    AbstractDynamics="AbstractNeuronDynamics",
    Agreement="Confrontation",
    Phases="FieldPhases",
    TwoSample="boltzax.TwoSample",
    energy_distance="boltzax.energy_distance",
    kernel_distance="boltzax.kernel_distance",
    sliced_wasserstein="boltzax.sliced_wasserstein",
    ModularEnsemble="boltzax.cases.ModularEnsemble",
    ModularNet="boltzax.cases.ModularNet",
    ModularPrior="boltzax.cases.ModularPrior",
    ModularUnit="boltzax.cases.ModularUnit",
    modular_addition="boltzax.cases.modular_addition",
    modular_gibbs="boltzax.cases.modular_gibbs",
    modular_modes="boltzax.cases.modular_modes",
    modular_residual="boltzax.cases.modular_residual",
    modular_split="boltzax.cases.modular_split",
    modular_table="boltzax.cases.modular_table",
    modular_width="boltzax.cases.modular_width",
)


def __dir__() -> list[str]:
    return list(__all__)
