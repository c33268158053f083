"""Ranks of Jacobians that are too large to write down, by random probes."""

import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NoReturn, TypeAlias, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..core import (
    MEMORY,
    Arrays,
    Count,
    Curve,
    DeclarationError,
    Estimate,
    Key,
    Memory,
    Model,
    Said,
    text_of_values,
    typed,
    whole,
)
from ..numerics import ProbeRows, probe_traces
from ._jacobian_spectrum import Place
from ._jacobians import Between, as_arrays

Depths: TypeAlias = Annotated[
    Sequence[Count], Said("rising whole numbers, at least two", "pass e.g. depths=(4, 8, 16)")
]
Probes: TypeAlias = Annotated[int, whole(3)]
"""Probes of a jackknife."""
FLAT = 0.01
"""Relative change of the last step of a ladder below which it is flat."""


@typed
@final
class JacobianRanks(eqx.Module):
    """What `jacobian_ranks` returns.

    Args:
        participation: Participation ratio of the averaged Gram matrix; no bias but of order
            1/probes², which the jackknife leaves.
        ladder: Effective rank over the depth of the bidiagonalisation. It falls to the true one:
            every finite depth gives a value that is too large.
        effective_rank: The last of the ladder, with the last step as part of its error.
    """

    participation: Estimate
    ladder: Curve
    effective_rank: Estimate

    @property
    def flat(self) -> bool:
        """Whether the last step of the ladder is below 1%."""
        last = np.asarray(self.ladder.value)[-2:]
        return bool(abs(last[1] - last[0]) <= FLAT * last[1])

    @text_of_values
    def __repr__(self) -> str:
        steps = [f"  depth {int(x)}: {self.ladder[i]!r}" for i, x in enumerate(self.ladder.x)]
        word = "flat" if self.flat else "not flat: raise the depths"
        return "\n".join([
            f"Jacobian by probes: participation ratio {self.participation!r}",
            f"  effective rank {self.effective_rank!r}, ladder {word}",
            *steps,
        ])  # fmt: skip


@typed
def jacobian_ranks(
    model: Model,
    data: Arrays,
    *,
    of: Place = None,
    by: Place = None,
    side: Literal["input", "output"] = "input",
    key: Key,
    probes: Probes = 32,
    depths: Depths = (4, 8, 16),
    memory: Memory = MEMORY,
) -> JacobianRanks:
    """Ranks of the averaged Jacobian by products with random vectors, for large places.

    With random signs v, `E|Jv|² = tr JᵀJ` and `E|JᵀJv|² = tr (JᵀJ)²` (Hutchinson 1989), and
    `E v·f(JᵀJ)v = tr f(JᵀJ)` for the entropy by bidiagonalisation (Golub & Kahan 1965; matfree).
    `JᵀJ` is the mean over the data, which are taken as given: the errors are those of the probes.
    `jacobian_spectrum` is exact, and has the error over data.

    Args:
        model: A callable pytree, as for `bx.taps`.
        data: Inputs of the model along the first axis.
        of: The place whose value it is; the output of the model if None.
        by: The place that is varied; the datum if None.
        side: `"input"` for `E JᵀJ`, `"output"` for `E JJᵀ`.
        key: For the probes.
        probes: Their number.
        depths: Of the ladder, below the rank of the averaged Gram matrix.
        memory: Bytes of intermediate values at once.

    Returns:
        A `JacobianRanks`.

    Raises:
        DeclarationError: As `jacobian_spectrum`; for depths that do not rise, or reach the rank.
    """
    between, data = Between(of, by), as_arrays(data)
    out, into = between.sizes(model, data)
    count = jax.tree.leaves(data)[0].shape[0]
    most = min(into, count * out) if side == "input" else min(out, count * into)
    steps = tuple(depths)
    if len(steps) < 2 or any(b <= a for a, b in itertools.pairwise(steps)):
        _refuse(steps, "at least two rising depths", "pass e.g. depths=(4, 8, 16)")
    if steps[-1] > most:
        _refuse(
            steps, f"at most {most}, the smaller size", "use jacobian_spectrum for small places"
        )
    rows = _probed(between, side == "input", model, data, key, probes, steps, memory)
    trace, square, entropy = (np.asarray(part, float) for part in rows)
    if not np.all(np.isfinite(entropy)) or not np.all(trace > 0):
        _refuse(
            steps, "less than the rank of the Jacobian, which must not be zero", "lower the depths"
        )
    participation = Estimate.of_replicates(_pseudo(trace, square, lambda t, s: t**2 / s))
    ranks = [_pseudo(trace, row, lambda t, s: np.exp(np.log(t) - s / t)) for row in entropy.T]
    ladder = Curve(np.array(steps), Estimate.of_replicates(np.stack(ranks, 1)), axis="depth")
    last = abs(float(ladder.value[-1] - ladder.value[-2]))
    return JacobianRanks(participation, ladder, ladder.values[-1].widened(last))


@eqx.filter_jit
def _probed(
    between: Between,
    input_side: bool,
    model: PyTree,
    data: PyTree,
    key: Key,
    probes: int,
    depths: tuple[int, ...],
    memory: int,
) -> ProbeRows:
    count = jax.tree.leaves(data)[0].shape[0]

    def forward(vector: Array) -> Array:
        def of_datum(datum: PyTree) -> Array:
            fn, point = between.at(model, datum)
            return jax.jvp(fn, (point,), (vector.astype(point.dtype),))[1]

        return (jnp.ravel(jax.vmap(of_datum)(data)) / count**0.5).astype(vector.dtype)

    def backward(vector: Array) -> Array:
        def of_datum(datum: PyTree) -> Array:
            fn, point = between.at(model, datum)
            value, pull = jax.vjp(fn, point)
            return pull(vector.astype(value.dtype))[0]

        return (jnp.ravel(jax.vmap(of_datum)(data)) / count**0.5).astype(vector.dtype)

    first = jax.tree.map(lambda leaf: leaf[0], data)
    fn, point = between.at(model, first)
    size = point.size if input_side else jax.eval_shape(fn, point).size
    return probe_traces(
        forward if input_side else backward,
        size,
        key=key,
        probes=probes,
        depths=depths,
        memory=memory,
    )


def _pseudo(trace: np.ndarray, other: np.ndarray, fn: Callable) -> np.ndarray:
    """Pseudo-values of the jackknife over probes of a function of two means."""
    count = len(trace)
    left = fn((trace.sum() - trace) / (count - 1), (other.sum() - other) / (count - 1))
    return count * fn(trace.mean(), other.mean()) - (count - 1) * left


def _refuse(depths: tuple[int, ...], expected: str, mend: str) -> NoReturn:
    raise DeclarationError("depths", got=repr(depths), expected=expected, mend=mend)
