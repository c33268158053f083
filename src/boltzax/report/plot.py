"""Figures: `boltzax.plot.learning_coefficient` and its kin.

Each function draws into one matplotlib `Axes` and gives it back; without `ax` it makes a figure of
its own. None shows anything or touches pyplot's state: `ax.figure.savefig(...)` saves.
"""

from ..core import exported as _exported
from ._clouds import clouds as clouds
from ._curves import curve as curve
from ._curves import estimate as estimate
from ._curves import free_energy as free_energy
from ._curves import learning_coefficient as learning_coefficient
from ._influence import influence as influence
from ._interfaces import contract as contract
from ._interfaces import interface as interface
from ._runs import ladder as ladder
from ._runs import trace as trace
from ._spectra import spectrum as spectrum
from ._sweep import sweep as sweep

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
