"""Samplers: draws of a Gibbs measure, at fixed temperatures or along a ladder."""

from ..core import exported as _exported
from ._anneal import anneal as anneal
from ._baoab import baoa as baoa
from ._baoab import decayed as decayed
from ._baoab import kick as kick
from ._bennett import bar_series as bar_series
from ._blackjax import Blackjax as Blackjax
from ._chain_starts import DERIVATIVE_PLACES as DERIVATIVE_PLACES
from ._chain_starts import check_start as check_start
from ._chain_starts import copies as copies
from ._checkpoints import Checkpoints as Checkpoints
from ._dynamics import AbstractDynamics as AbstractDynamics
from ._dynamics import AbstractGibbsDynamics as AbstractGibbsDynamics
from ._dynamics import Chains as Chains
from ._ensemble import SAMPLES as SAMPLES
from ._ensemble import SERIES as SERIES
from ._ensemble import Ensemble as Ensemble
from ._fingerprint import describe as describe
from ._fingerprint import differences as differences
from ._fingerprint import fingerprint as fingerprint
from ._fingerprint import made_by as made_by
from ._free_energy_bounds import Bounds as Bounds
from ._hidden_unit_moves import UnitMoves as UnitMoves
from ._hmc import HMC as HMC
from ._interrupt import Interrupted as Interrupted
from ._interrupt import raise_for_run as raise_for_run
from ._kernel import AbstractCosted as AbstractCosted
from ._kernel import AbstractGradientFree as AbstractGradientFree
from ._kernel import AbstractKernel as AbstractKernel
from ._kernel import Move as Move
from ._kernel import StepCost as StepCost
from ._kernel import noise_like as noise_like
from ._level_function import Level as Level
from ._level_function import levels_of_draws as levels_of_draws
from ._levels import Levels as Levels
from ._loop import Run as Run
from ._loop import draws_at as draws_at
from ._loop import loop as loop
from ._mala import MALA as MALA
from ._minibatch_mala import MinibatchMALA as MinibatchMALA
from ._nuts import NUTS as NUTS
from ._placement import Placement as Placement
from ._precondition import AbstractPreconditioner as AbstractPreconditioner
from ._precondition import Identity as Identity
from ._precondition import RMSprop as RMSprop
from ._precondition import Variance as Variance
from ._random_walk import RandomWalk as RandomWalk
from ._reductions import AbstractReduction as AbstractReduction
from ._reductions import Mean as Mean
from ._rounding import MOST_ROUNDING as MOST_ROUNDING
from ._rounding import rounding as rounding
from ._run import run as run
from ._run_levels import Rise as Rise
from ._run_levels import rise as rise
from ._run_plan import AbstractCheckpoints as AbstractCheckpoints
from ._run_plan import AbstractSaver as AbstractSaver
from ._run_plan import AbstractSink as AbstractSink
from ._run_plan import Plan as Plan
from ._run_status import judge as judge
from ._sample import TRACE_RECORDS as TRACE_RECORDS
from ._sample import sample as sample
from ._several import Several as Several
from ._several import several as several
from ._sgld import SGLD as SGLD
from ._sgld import AdamSGLD as AdamSGLD
from ._sgld import RMSpropSGLD as RMSpropSGLD
from ._svrg import SVRG as SVRG
from ._temperature_ladder import PositiveBetas as PositiveBetas
from ._temperature_ladder_checks import above_bounds as above_bounds
from ._temperature_ladder_checks import free_energy_bounds as free_energy_bounds
from ._trace import AbstractDrawn as AbstractDrawn
from ._trace import Bridges as Bridges
from ._trace import Trace as Trace
from ._trace import along as along
from ._trace import trace_of as trace_of
from ._unadjusted import AbstractUnadjusted as AbstractUnadjusted
from ._underdamped import SGNHT as SGNHT
from ._underdamped import Underdamped as Underdamped
from ._virial import radial as radial
from ._virial import thinned as thinned

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
