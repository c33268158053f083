"""The learning-zero curve past its turns: two phases of the posterior, and no chain crosses over.

In the first all units keep away from zero, `|b| > c`; in the other at least one does not. Each is
run by itself along a ladder from its own part of the prior, and weighed by its free energy.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import boltzax as bx

CUT = 0.3
"""c, as a part of the prior's bound."""

SHELL_ENDS = 92.0
"""Last log n at which the first phase is run: there its probability is below 1e-3 and falls, and
its units are so near each other that doubles are about to lose them."""

FULL_LOG_N = np.r_[0:60:6, 60:94:2, 98, 102, 110, 118].astype(float)
"""Values of log n of the whole curve: fine where the posterior falls apart."""


class Full(NamedTuple):
    """The whole curve, and a table for each phase."""

    curve: bx.Estimate
    free_energy: bx.Estimate
    status: str
    phases: dict[str, dict]


def two_phases(
    measure: Callable[[bx.Uniform], bx.Gibbs],
    width: int,
    top: float,
    log_n: np.ndarray,
    key: jax.Array,
    run: dict,
) -> Full:
    """Both phases of `measure(embedding prior)` for `b ~ U(-top, top)`, and the whole."""
    keys, betas = jax.random.split(key), np.exp(log_n)
    both = int(np.sum(log_n <= SHELL_ENDS))
    cut = CUT * top

    # a phase in which |b| > cut: the activation is odd, so that the signs of b do not matter
    trace = bx.anneal(measure(bx.Uniform(cut, top)), betas[:both], key=keys[0], **run)
    shell = bx.Phase(trace, width * np.log(1 - CUT))

    # the first unit is below the cut, and stands for any of the k that are
    bound = np.full((width, 1), top)
    bound[0] = cut
    others = bx.anneal(measure(bx.Uniform(-bound, bound)), betas, key=keys[1], keep=True, **run)
    share = others.evaluate(lambda net: 1 / jnp.sum(jnp.abs(net.embedding) < cut))
    rest = bx.Phase(others, np.log(width * CUT), share)

    whole, alone = bx.phases([shell, rest[:both]]), bx.phases([rest])
    status = f"all above: {bx.Status[trace.status]} Others: {bx.Status[others.status]}"
    tables = {
        f"all |b| > {cut:g}": _table(log_n[:both], whole, 0),
        "the others": _table(log_n, alone, 0),
    }
    tables[f"all |b| > {cut:g}"] |= {
        "probability": whole.probability[0].value,
        "probability_error": whole.probability[0].standard_error,
    }
    curve = _joined(whole.learning_coefficient, alone.learning_coefficient)
    return Full(curve, _joined(whole.free_energy, alone.free_energy), status, tables)


def _table(log_n: np.ndarray, phases: bx.Phases, i: int) -> dict:
    value, energy = phases.learning_coefficients[i], phases.free_energies[i]
    return {
        "log_n": log_n,
        "learning_coefficient": value.value,
        "standard_error": value.standard_error,
        "r_hat": value.r_hat,
        "free_energy": energy.value,
        "free_energy_error": energy.standard_error,
    }


def _joined(head: bx.Estimate, tail: bx.Estimate) -> bx.Estimate:
    """The first betas of a curve by one estimate, the others by another."""
    count = head.shape[0]
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b[count:]]), head, tail)
