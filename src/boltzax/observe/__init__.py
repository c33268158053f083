"""Observables: functionals of a run, with honest error bars."""

from ..core import exported as _exported
from ._along_training import AlongTraining as AlongTraining
from ._along_training import along_training as along_training
from ._along_training import with_model as with_model
from ._classical_influence import classical_influence as classical_influence
from ._coefficient_grid import CoefficientGrid as CoefficientGrid
from ._coefficient_grid import coefficient_grid as coefficient_grid
from ._datamodels import linear_datamodeling_score as linear_datamodeling_score
from ._datamodels import retrained as retrained
from ._distances import TwoSample as TwoSample
from ._distances import energy_distance as energy_distance
from ._distances import kernel_distance as kernel_distance
from ._distances import sliced_wasserstein as sliced_wasserstein
from ._fixed_settings import FixedCoefficient as FixedCoefficient
from ._fixed_settings import FixedSettings as FixedSettings
from ._fixed_settings import local_coefficient_at as local_coefficient_at
from ._free_energy import bridges_of as bridges_of
from ._free_energy import effective_parameters as effective_parameters
from ._free_energy import entropy as entropy
from ._free_energy import free_energy as free_energy
from ._learning_coefficient import coefficient_curve as coefficient_curve
from ._learning_coefficient import effective_dimension as effective_dimension
from ._learning_coefficient import heat_capacity as heat_capacity
from ._learning_coefficient import learning_coefficient as learning_coefficient
from ._learning_coefficient import wbic as wbic
from ._local_learning_coefficient import LocalLearningCoefficient as LocalLearningCoefficient
from ._local_learning_coefficient import local_learning_coefficient as local_learning_coefficient
from ._local_verdict import Evidence as Evidence
from ._local_verdict import Verdict as Verdict
from ._log_probability import By as By
from ._log_probability import MaxLevels as MaxLevels
from ._log_probability import Particles as Particles
from ._log_probability import Replicates as Replicates
from ._log_probability import log_probability as log_probability
from ._log_probability_result import LogProbability as LogProbability
from ._log_probability_result import drawn_above as drawn_above
from ._log_probability_result import of_independent as of_independent
from ._log_probability_result import raised as raised
from ._part_coefficients import PartCoefficients as PartCoefficients
from ._part_coefficients import part_coefficients as part_coefficients
from ._phases import Phase as Phase
from ._phases import Phases as Phases
from ._phases import phases as phases
from ._response import influence as influence
from ._response import susceptibility as susceptibility
from ._response_functions import DatumLosses as DatumLosses
from ._response_matrix import ResponseComponents as ResponseComponents
from ._response_matrix import ResponseMatrix as ResponseMatrix
from ._response_matrix import response_matrix as response_matrix
from ._sign_changes import SignChanges as SignChanges
from ._sign_changes import sign_changes as sign_changes
from ._spectrum import spectrum as spectrum

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
