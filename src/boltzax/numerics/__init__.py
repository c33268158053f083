"""Arithmetic on programs and the solvers: one interpreter, bounds, balls, roots and minima.

The home of flint, matfree, optax and optimistix, which are imported where they are first used if
they are slow to import.
"""

import typing as _typing

from ..core import exported as _exported
from ..core import imported_when_used as _imported_when_used
from ._affine import Split as Split
from ._affine import affine_in as affine_in
from ._enclosure import bounds as bounds
from ._enclosure import enclose as enclose
from ._fixed_points import newton as newton
from ._fixed_points import polish as polish
from ._fixed_points import search as search
from ._fixed_points import settle as settle
from ._interpreter import interpret as interpret
from ._interval_arithmetic import down as down
from ._interval_arithmetic import up as up
from ._lazy import LAZY as _LAZY
from ._marks import Steps as Steps
from ._marks import mark as mark
from ._marks import marks as marks
from ._marks import out_of_reach as out_of_reach
from ._marks import run_marked as run_marked
from ._minima import ITERATIONS as ITERATIONS
from ._minima import absolute as absolute
from ._minima import adam as adam
from ._minima import convex_minimum as convex_minimum
from ._minima import golden as golden
from ._minima import lbfgs as lbfgs
from ._minima import minimum as minimum
from ._minima import newton_minimum as newton_minimum
from ._minima import sign_descent as sign_descent
from ._optimised import optimised as optimised
from ._roots import bisect as bisect
from ._roots import root as root
from ._roots import root_beyond as root_beyond
from ._stochastic_traces import ProbeRows as ProbeRows
from ._stochastic_traces import probe_traces as probe_traces

if _typing.TYPE_CHECKING:
    from ._extended_precision import UnsupportedError as UnsupportedError
    from ._extended_precision import arb as arb
    from ._extended_precision import arb_mat as arb_mat
    from ._extended_precision import extended as extended
    from ._extended_precision import gaussian_rule as gaussian_rule
    from ._extended_precision import interval_rule as interval_rule
    from ._extended_precision import largest as largest
    from ._extended_precision import logs as logs
    from ._extended_precision import matrix as matrix
    from ._extended_precision import powers as powers
    from ._extended_precision import precision as precision
    from ._extended_precision import table as table
    from ._extended_precision import to_float as to_float
    from ._extended_precision import triangular as triangular

__getattr__ = _imported_when_used(__name__, _LAZY)
__all__ = _exported(globals(), *_LAZY)


def __dir__() -> list[str]:
    return list(__all__)
