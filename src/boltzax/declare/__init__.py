"""What a user declares: measures, models, energies, priors, charts, temperatures."""

from ..core import exported as _exported
from ._basis import AbstractBasis as AbstractBasis
from ._batches import Batches as Batches
from ._chain import Chain as Chain
from ._chain import Specified as Specified
from ._chart import AbstractChart as AbstractChart
from ._chart import Composed as Composed
from ._chart import Freeze as Freeze
from ._chart import Mask as Mask
from ._chart import Select as Select
from ._chart import Slots as Slots
from ._chart import Tie as Tie
from ._check_loss import check_loss as check_loss
from ._check_loss import check_model as check_model
from ._circle_measure import CircleMeasure as CircleMeasure
from ._circuit import AbstractCircuit as AbstractCircuit
from ._circuit import Circuit as Circuit
from ._contract import Component as Component
from ._contract import Contract as Contract
from ._contract import Points as Points
from ._contract import output_shape as output_shape
from ._contract import outputs as outputs
from ._cross_entropy import CrossEntropy as CrossEntropy
from ._cube_measure import CubeMeasure as CubeMeasure
from ._empirical import Empirical as Empirical
from ._empirical import Subsampled as Subsampled
from ._empirical import subsamplings as subsamplings
from ._energy import AbstractCountedTerm as AbstractCountedTerm
from ._energy import AbstractDataTerm as AbstractDataTerm
from ._energy import AbstractEnergy as AbstractEnergy
from ._energy import AbstractTerm as AbstractTerm
from ._energy import Localisation as Localisation
from ._energy import PerDatum as PerDatum
from ._energy import SquaredError as SquaredError
from ._energy import amount as amount
from ._energy import zero as zero
from ._extremes import depth as depth
from ._family import Family as Family
from ._family import check_places as check_places
from ._family import included as included
from ._gaussian_measure import GaussianMeasure as GaussianMeasure
from ._interface import Interface as Interface
from ._interface_points import HORIZON as HORIZON
from ._interval_measure import IntervalMeasure as IntervalMeasure
from ._measure import AbstractMeasure as AbstractMeasure
from ._models import MLP as MLP
from ._models import AbstractUnitModel as AbstractUnitModel
from ._models import DeepLinear as DeepLinear
from ._models import Function as Function
from ._models import Polynomial as Polynomial
from ._models import Predictor as Predictor
from ._models import TwoLayer as TwoLayer
from ._prior import Cauchy as Cauchy
from ._prior import Distribution as Distribution
from ._prior import Gamma as Gamma
from ._prior import HalfNormal as HalfNormal
from ._prior import Independent as Independent
from ._prior import Laplace as Laplace
from ._prior import MultivariateNormal as MultivariateNormal
from ._prior import Normal as Normal
from ._prior import Prior as Prior
from ._prior import StudentT as StudentT
from ._prior import TruncatedNormal as TruncatedNormal
from ._prior import Uniform as Uniform
from ._prior import as_independent as as_independent
from ._prior import biject_to as biject_to
from ._prior import check_distribution as check_distribution
from ._prior import closed_quantile as closed_quantile
from ._prior import from_normal as from_normal
from ._prior import in_support as in_support
from ._prior import is_gaussian as is_gaussian
from ._temperature import Temperature as Temperature
from ._temperature import bayes as bayes
from ._temperature import log_count as log_count
from ._temperature import loss_gap as loss_gap
from ._temperature import watanabe as watanabe
from ._tokens import Tokens as Tokens
from ._tokens import Windows as Windows
from ._transformer import Transformer as Transformer
from ._violation import Violation as Violation

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
