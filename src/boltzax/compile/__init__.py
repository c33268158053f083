"""Declaration to Gibbs measure: checks by shape, then lowers."""

import typing as _typing

from ..core import exported as _exported
from ..core import imported_when_used as _imported_when_used
from ..numerics import Split as Split
from ._anchors import anchored as anchored
from ._anchors import slope_at as slope_at
from ._check import check_betas as check_betas
from ._check import check_function as check_function
from ._check import check_settings as check_settings
from ._compile import compile as compile
from ._compile import prior as prior
from ._coordinates import Coordinates as Coordinates
from ._coordinates import Weights as Weights
from ._gibbs import Gibbs as Gibbs
from ._gibbs import check_kept as check_kept
from ._hidden_units import UnitPotential as UnitPotential
from ._marginal import LinearGaussian as LinearGaussian
from ._marginal import MarginalPotential as MarginalPotential
from ._potential import AbstractPotential as AbstractPotential
from ._potential import EnergyPotential as EnergyPotential
from ._potential import Moments as Moments
from ._potential import Plain as Plain
from ._residual import AbstractResidual as AbstractResidual
from ._residual import NodeResidual as NodeResidual
from ._restricted import inside_of as inside_of
from ._restricted import restricted as restricted

if _typing.TYPE_CHECKING:
    from ._lower_hidden_units import lower_units as lower_units

# it needs flint, which is slow to import
__getattr__ = _imported_when_used(__name__, {"lower_units": "_lower_hidden_units"})
__all__ = _exported(globals(), "lower_units")


def __dir__() -> list[str]:
    return list(__all__)
