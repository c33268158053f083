"""Degradation: what an interpretation leaves out, and what training and tempering do to a model."""

from ..core import exported as _exported
from ._edgeworth import Edgeworth as Edgeworth
from ._edgeworth import negentropy as negentropy
from ._remainder import Remainder as Remainder
from ._remainder import remainder as remainder
from ._trajectory import TrajectorySpectrum as TrajectorySpectrum
from ._trajectory import random_walk_spectrum as random_walk_spectrum
from ._trajectory import trajectory_spectrum as trajectory_spectrum
from ._trajectory_null import NullTest as NullTest

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
