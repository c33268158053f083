"""Bennett's acceptance ratio along a ladder."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..numerics import root
from ._trace import Bridges

OVERLAP = 3
"""Draws between two levels, each counted as `f (1 - f)`, from which on the error is Bennett's."""


def bar_series(bridges: Bridges) -> Float[Array, "level chain draw"]:
    """A series of the draws of a ladder whose mean is `F(β_k)` (see `free_energies`)."""
    return free_energies(bridges.up, bridges.down)


def free_energies(
    up: Float[Array, "pair chain draw"], down: Float[Array, "pair chain draw"]
) -> Float[Array, "level chain draw"]:
    """A series whose mean is `F(β_k)` by Bennett's ratio and whose spread is its error.

    Around the solution `Δ_k` of `⟨f(up - Δ)⟩ = ⟨f(Δ - down)⟩`, `f(x) = 1/(1+e^x)`, the estimate
    moves by `(f(Δ - down_t) - f(up_t - Δ)) / D` a draw, `D` the derivative. Where fewer than
    `OVERLAP` draws lie where both levels have draws that formula does not hold; the error is then
    the distance to the bounds `⟨down⟩ ≤ F(β_{k+1}) - F(β_k) ≤ ⟨up⟩`.

    Args:
        up: `U(w, β_{k+1}) - U(w, β_k)` of draws at `β_k`, nats.
        down: The same of draws at `β_{k+1}`.
    """
    there, back = np.asarray(up, float), np.asarray(down, float)
    pairs = there.shape[0]
    low = np.minimum(there.min(axis=(1, 2)), back.min(axis=(1, 2))) - 1.0
    high = np.maximum(there.max(axis=(1, 2)), back.max(axis=(1, 2))) + 1.0
    pieces = zip(there, back, low, high, strict=True)
    solved = [root(lambda d, u=u, v=v: _gap(u, v, d), a, b) for u, v, a, b in pieces]
    delta = np.array(solved).reshape(pairs, 1, 1)
    forward, backward = _fermi(there - delta), _fermi(delta - back)
    slope = (forward * (1 - forward) + backward * (1 - backward)).mean(axis=(1, 2), keepdims=True)
    poor = there[0].size * slope < OVERLAP
    moves = (backward - forward) / np.where(poor, 1.0, slope)
    steps = delta + np.where(poor, _between(there, back, delta), moves)
    zero = np.zeros((1, *there.shape[1:]))
    series = np.concatenate([zero, np.cumsum(steps, axis=0)])
    return jnp.asarray(series, up.dtype)


def _between(up: np.ndarray, down: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """A series of mean 0 whose error reaches from `delta` to the bounds `⟨down⟩ ≤ ΔF ≤ ⟨up⟩`."""
    _, chains, draws = up.shape
    sign = np.tile(1.0 - 2.0 * (np.arange(draws) % 2), (chains, 1))
    sign -= sign.mean()
    upper, lower = (each.mean(axis=(1, 2), keepdims=True) for each in (up, down))
    error = np.maximum(upper - delta, delta - lower)
    return error * sign * np.sqrt(sign.size) / np.maximum(sign.std(ddof=1), 1e-300)


def _gap(up: np.ndarray, down: np.ndarray, delta: float) -> float:
    """Rises with `delta` through zero at Bennett's solution."""
    return float(_fermi(up - delta).mean() - _fermi(delta - down).mean())


def _fermi(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 - np.tanh(0.5 * x))
