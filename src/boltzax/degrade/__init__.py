"""Degradation: what an interpretation leaves out, and what training and tempering do to a model."""

from ..core import exported as _exported
from ._along_dial import along_dial as along_dial
from ._binder import SizeCrossing as SizeCrossing
from ._binder import binder_cumulant as binder_cumulant
from ._binder import size_crossing as size_crossing
from ._characteristic import characteristic_temperature as characteristic_temperature
from ._clean_window import CleanWindow as CleanWindow
from ._clean_window import clean_window as clean_window
from ._dial import AbstractDial as AbstractDial
from ._dial import AbstractWeightDial as AbstractWeightDial
from ._dial import Combined as Combined
from ._dial_activations import ActivationNoise as ActivationNoise
from ._dial_tempered import Tempered as Tempered
from ._dial_weights import Pruning as Pruning
from ._dial_weights import Quantisation as Quantisation
from ._dial_weights import Snapshots as Snapshots
from ._dial_weights import WeightNoise as WeightNoise
from ._edgeworth import Edgeworth as Edgeworth
from ._edgeworth import negentropy as negentropy
from ._loss_complexity import Coexistence as Coexistence
from ._loss_complexity import LossComplexity as LossComplexity
from ._loss_complexity import loss_complexity as loss_complexity
from ._order_of_death import DeathOrder as DeathOrder
from ._order_of_death import order_of_death as order_of_death
from ._remainder import Remainder as Remainder
from ._remainder import remainder as remainder
from ._remainder_coupling import Coupling as Coupling
from ._remainder_coupling import coupling as coupling
from ._remainder_errors import ErrorRates as ErrorRates
from ._remainder_errors import error_rates as error_rates
from ._selectivity import selectivity as selectivity
from ._survival import survival as survival
from ._survival import temperature_marks as temperature_marks
from ._trajectory import TrajectorySpectrum as TrajectorySpectrum
from ._trajectory import random_walk_spectrum as random_walk_spectrum
from ._trajectory import trajectory_spectrum as trajectory_spectrum
from ._trajectory_null import NullTest as NullTest

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
