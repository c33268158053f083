"""Figures: `boltzax.plot.learning_coefficient` and its kin.

Each function draws into one matplotlib `Axes` and returns it; without `ax` it makes a new figure.
No function shows a figure: `ax.figure.savefig(...)` saves it.
"""

from ..core import exported as _exported
from ._channels import channel_cost as channel_cost
from ._curves import curve as curve
from ._curves import estimate as estimate
from ._curves import free_energy as free_energy
from ._curves import intervals as intervals
from ._curves import learning_coefficient as learning_coefficient
from ._degrade import clean_window as clean_window
from ._degrade import response_components as response_components
from ._degrade import selectivity as selectivity
from ._degrade import survival as survival
from ._degrade import trajectory_spectrum as trajectory_spectrum
from ._information import information_ladder as information_ladder
from ._interfaces import contract as contract
from ._interfaces import interface as interface
from ._local_coefficients import along_training as along_training
from ._local_coefficients import coefficient_grid as coefficient_grid
from ._local_coefficients import local_learning_coefficient as local_learning_coefficient
from ._local_coefficients import part_coefficients as part_coefficients
from ._meanfield import clouds as clouds
from ._meanfield import sweep as sweep
from ._observables import influence as influence
from ._observables import ladder as ladder
from ._observables import spectrum as spectrum
from ._observables import trace as trace
from ._results import result as result
from ._screening import data_interactions as data_interactions
from ._screening import screening as screening
from ._spectra import channel_spectrum as channel_spectrum
from ._style import panels as panels
from ._style import style as style

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
