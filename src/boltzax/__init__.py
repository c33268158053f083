"""boltzax: statistical mechanics of learning machines, in JAX.

    declare -> compile -> sample / anneal -> observe -> report

`boltzax.plot`, `boltzax.save`, `boltzax.load`, `boltzax.to_xarray`, `boltzax.ZarrSink`,
`boltzax.open_zarr`, `boltzax.load_trace` (which need matplotlib, xarray and zarr) and
`boltzax.testing` (which needs hypothesis) are imported when first used, and so are observables and
the folders `cases`, `channels`, `degrade`, `interfaces`, `meanfield` and `theory`, whose classes
take time to make.
"""

import typing as _typing

from . import models as models
from . import temperature as temperature
from ._lazy import LAZY as _LAZY
from ._lazy import NAMESPACES as _NAMESPACES
from ._version import __version__ as __version__
from .compile import Gibbs as Gibbs
from .compile import compile as compile
from .compile import prior as prior
from .core import Curve as Curve
from .core import DeclarationError as DeclarationError
from .core import Estimate as Estimate
from .core import Influence as Influence
from .core import RunError as RunError
from .core import Status as Status
from .core import exported as _exported
from .core import imported_when_used as _imported_when_used
from .core import mean_estimate as mean_estimate
from .core import replicated as replicated
from .declare import Ablate as Ablate
from .declare import AbstractIntervention as AbstractIntervention
from .declare import AbstractMeasure as AbstractMeasure
from .declare import Batches as Batches
from .declare import Cauchy as Cauchy
from .declare import Chain as Chain
from .declare import CircleMeasure as CircleMeasure
from .declare import Circuit as Circuit
from .declare import Component as Component
from .declare import Contract as Contract
from .declare import CrossEntropy as CrossEntropy
from .declare import CubeMeasure as CubeMeasure
from .declare import Empirical as Empirical
from .declare import Family as Family
from .declare import Freeze as Freeze
from .declare import Gamma as Gamma
from .declare import GaussianMeasure as GaussianMeasure
from .declare import HalfNormal as HalfNormal
from .declare import Independent as Independent
from .declare import Interface as Interface
from .declare import IntervalMeasure as IntervalMeasure
from .declare import Laplace as Laplace
from .declare import Localisation as Localisation
from .declare import Mask as Mask
from .declare import MultivariateNormal as MultivariateNormal
from .declare import Noise as Noise
from .declare import Normal as Normal
from .declare import PerDatum as PerDatum
from .declare import Project as Project
from .declare import Replace as Replace
from .declare import Select as Select
from .declare import SquaredError as SquaredError
from .declare import StudentT as StudentT
from .declare import Subsampled as Subsampled
from .declare import Tie as Tie
from .declare import Tokens as Tokens
from .declare import TruncatedNormal as TruncatedNormal
from .declare import Uniform as Uniform
from .declare import Violation as Violation
from .declare import Windows as Windows
from .declare import activations as activations
from .declare import parts as parts
from .declare import patched as patched
from .declare import tap as tap
from .declare import taps as taps
from .declare import zero as zero
from .sample import HMC as HMC
from .sample import MALA as MALA
from .sample import NUTS as NUTS
from .sample import SGLD as SGLD
from .sample import SGNHT as SGNHT
from .sample import SVRG as SVRG
from .sample import AbstractDynamics as AbstractDynamics
from .sample import AdamSGLD as AdamSGLD
from .sample import Blackjax as Blackjax
from .sample import Bounds as Bounds
from .sample import Checkpoints as Checkpoints
from .sample import Ensemble as Ensemble
from .sample import Identity as Identity
from .sample import Interrupted as Interrupted
from .sample import Mean as Mean
from .sample import MinibatchMALA as MinibatchMALA
from .sample import Placement as Placement
from .sample import RandomWalk as RandomWalk
from .sample import RMSprop as RMSprop
from .sample import RMSpropSGLD as RMSpropSGLD
from .sample import Run as Run
from .sample import Trace as Trace
from .sample import Underdamped as Underdamped
from .sample import UnitMoves as UnitMoves
from .sample import Variance as Variance
from .sample import above_bounds as above_bounds
from .sample import anneal as anneal
from .sample import free_energy_bounds as free_energy_bounds
from .sample import run as run
from .sample import sample as sample
from .sample import trained as trained

if _typing.TYPE_CHECKING:
    from . import cases as cases
    from . import channels as channels
    from . import degrade as degrade
    from . import interfaces as interfaces
    from . import meanfield as meanfield
    from . import theory as theory
    from .observe import AlongTraining as AlongTraining
    from .observe import CoefficientGrid as CoefficientGrid
    from .observe import Evidence as Evidence
    from .observe import FixedCoefficient as FixedCoefficient
    from .observe import FixedSettings as FixedSettings
    from .observe import LocalLearningCoefficient as LocalLearningCoefficient
    from .observe import LogProbability as LogProbability
    from .observe import PartCoefficients as PartCoefficients
    from .observe import Phase as Phase
    from .observe import Phases as Phases
    from .observe import ResponseComponents as ResponseComponents
    from .observe import ResponseMatrix as ResponseMatrix
    from .observe import SignChanges as SignChanges
    from .observe import TwoSample as TwoSample
    from .observe import Verdict as Verdict
    from .observe import along_training as along_training
    from .observe import classical_influence as classical_influence
    from .observe import coefficient_curve as coefficient_curve
    from .observe import coefficient_grid as coefficient_grid
    from .observe import effective_dimension as effective_dimension
    from .observe import effective_parameters as effective_parameters
    from .observe import energy_distance as energy_distance
    from .observe import entropy as entropy
    from .observe import free_energy as free_energy
    from .observe import heat_capacity as heat_capacity
    from .observe import influence as influence
    from .observe import kernel_distance as kernel_distance
    from .observe import learning_coefficient as learning_coefficient
    from .observe import linear_datamodeling_score as linear_datamodeling_score
    from .observe import local_coefficient_at as local_coefficient_at
    from .observe import local_learning_coefficient as local_learning_coefficient
    from .observe import log_probability as log_probability
    from .observe import part_coefficients as part_coefficients
    from .observe import phases as phases
    from .observe import response_matrix as response_matrix
    from .observe import retrained as retrained
    from .observe import sign_changes as sign_changes
    from .observe import sliced_wasserstein as sliced_wasserstein
    from .observe import spectrum as spectrum
    from .observe import susceptibility as susceptibility
    from .observe import wbic as wbic

__getattr__ = _imported_when_used(__name__, _LAZY)
__all__ = _exported(globals(), *_NAMESPACES, *_LAZY)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
