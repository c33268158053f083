"""For tests, ours and yours: hypothesis strategies, laws, and what every kernel must pass."""

from ..core import exported as _exported
from ..core import renamed as _renamed
from ._claims import Claim as Claim
from ._claims import ClaimReport as ClaimReport
from ._conformance import check_kernel as check_kernel
from ._data import check_measure as check_measure
from ._dynamics import check_dynamics as check_dynamics
from ._laws import check_energy_scale as check_energy_scale
from ._laws import check_energy_sum as check_energy_sum
from ._laws import check_measure_sum as check_measure_sum
from ._laws import check_relabelling as check_relabelling
from ._laws import check_thermodynamics as check_thermodynamics
from ._measures import bases as bases
from ._measures import empiricals as empiricals
from ._measures import gaussians as gaussians
from ._measures import intervals as intervals
from ._measures import keys as keys
from ._measures import measures as measures
from ._measures import numbers as numbers
from ._measures import positive as positive
from ._measures import seeds as seeds
from ._measures import signed_measures as signed_measures
from ._observables import check_observable as check_observable
from ._pasted import with_fields as with_fields
from ._stochastic import check_fresh_batches as check_fresh_batches
from ._stochastic import check_stochastic_kernel as check_stochastic_kernel
from ._strategies import charts as charts
from ._strategies import energies as energies
from ._strategies import gibbs_measures as gibbs_measures
from ._strategies import models as models
from ._strategies import priors as priors
from ._strategies import widths as widths

__getattr__ = _renamed(
    globals(),
    affine_component="boltzax.cases.affine_component",
    amplifier_component="boltzax.cases.amplifier_component",
    gain_component="boltzax.cases.gain_component",
    step_component="boltzax.cases.step_component",
)
__all__ = _exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
