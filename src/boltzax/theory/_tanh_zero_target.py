"""The tanh network with true function 0 at finite n, for one and two units."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bernoulli, factorial, logsumexp

from ..core import typed, whole
from ._arguments import log_counts
from ._mesh import Rule, outward_rule, panel_rule
from ._result import ExactFreeEnergy, distance

Values = NDArray[np.float64]
Embedding = Literal["uniform", "normal"]

_ORDERS = np.arange(2, 16)
_SERIES = 4.0**_ORDERS * (4.0**_ORDERS - 1) * bernoulli(30)[2 * _ORDERS] / factorial(2 * _ORDERS)
_CUT = 12.0
_LEVELS = (6, 9)


@typed
def tanh_zero_exact(
    width: Annotated[int, whole(1, 2)],
    log_n: Annotated[ArrayLike, log_counts(300)],
    embedding: Embedding = "uniform",
) -> ExactFreeEnergy:
    """`K(a, b) = ½ E f²`, `f = Σ_h a_h tanh(b_h x)`, x ~ N(0, 1), a_h ~ N(0, 1), at n = exp(log_n).

    The b_h are uniform on [-1, 1] or standard normal. `width` is 1 or 2. The readout is
    integrated out: `Z = E_b det(1 + nΦ)^(-½)`, Φ the Gram matrix of the units; what is left is a
    quadrature over b on panels that halve towards b = 0, and for two units towards b_2 = 0 and
    b_2 = ±b_1, in `u = |b_1|` and `v = b_2/b_1`. Its limit is `tanh_network(width)`.

    The determinant is `1 + n(Φ_11 + Φ_22) + n² det Φ`, with det Φ taken from unit 1 and
    `g = tanh(vux) - v tanh(ux)`, which is free of the linear mode that the units share, and is
    evaluated without cancellation by `tanh p - tanh q = tanh(p - q)(1 - tanh p tanh q)`. So small
    b and nearly equal units cost no accuracy.

    The model is that of Aoyagi and Watanabe, IEICE Transactions J88-D-II:2112, 2005.

    Raises:
        DeclarationError: Another `width` or `embedding`, or `|log_n|` above 300.
    """
    units = width
    counts = np.asarray(log_n)
    depth = 4 + int(max(0.0, np.max(counts, initial=0.0)) / (2 * np.log(2.0)))
    levels = []
    for points in _LEVELS:
        log_weight, trace, det = (_one, _two)[units - 1](embedding, depth, points)
        values = [_average(log_weight, trace, det, value) for value in counts.ravel()]
        levels.append(np.array(values).reshape(*counts.shape, 2))
    coarse, fine = levels
    error = np.max(distance(coarse, fine), axis=-1)
    return ExactFreeEnergy(fine[..., 0], fine[..., 1], np.maximum(error, 1e-15))


def _average(log_weight: Values, trace: Values, det: Values, log_n: float) -> tuple[float, float]:
    """log Z and its negative slope, from the invariants of Φ at each node."""
    one, two = np.exp(log_n) * trace, np.exp(2 * log_n) * det
    log = log_weight - 0.5 * np.log1p(one + two)
    log_z = float(logsumexp(log))  # pyright: ignore[reportArgumentType]
    slope = 0.5 * (one + 2 * two) / (1 + one + two)
    return log_z, float(np.sum(np.exp(log - log_z) * slope))


def _one(embedding: Embedding, depth: int, points: int) -> tuple[Values, Values, Values]:
    (u, weight), log_density = _scale(embedding, depth, points)
    x, measure = _half_normal(embedding)
    trace = np.square(np.tanh(u[:, None] * x)) @ measure
    return np.log(2 * weight) + log_density(u), trace, np.zeros_like(trace)


def _two(embedding: Embedding, depth: int, points: int) -> tuple[Values, Values, Values]:
    """Nodes over `0 ≤ b_2 ≤ b_1`, one eighth of the plane, as b_1 = u, b_2 = uv."""
    (u, weight), log_density = _scale(embedding, depth, points)
    ratio, ratio_weight = outward_rule(0.5, depth, points)
    x, measure = _half_normal(embedding)
    logs, traces, dets = [], [], []
    for scale, w in zip(u, weight, strict=True):
        first = np.tanh(scale * x)
        curved = _cubic(scale * x)
        for near_equal in (False, True):
            v = 1 - ratio if near_equal else ratio
            second = np.tanh(scale * v[:, None] * x)
            if near_equal:
                gap = ratio[:, None] * scale * x
                rest = ratio[:, None] * curved - _cubic(gap) + np.tanh(gap) * first * second
            else:
                rest = _cubic(scale * v[:, None] * x) - v[:, None] * curved
            size, overlap = first**2 @ measure, (rest * first) @ measure
            dets.append(size * (rest**2 @ measure) - overlap**2)
            traces.append(size + second**2 @ measure)
            density = log_density(scale) + log_density(scale * v)
            logs.append(np.log(8 * scale * w * ratio_weight) + density)
    return np.concatenate(logs), np.concatenate(traces), np.maximum(np.concatenate(dets), 0.0)


def _scale(embedding: Embedding, depth: int, points: int):
    """Rule over u = |b_1|, and the log density of one b."""
    if embedding == "uniform":
        return outward_rule(1.0, depth, points), lambda b: np.full(np.shape(b), -np.log(2.0))
    rule = outward_rule(_CUT, depth + 4, points)
    return rule, lambda b: -0.5 * np.square(b) - 0.5 * np.log(2 * np.pi)


def _half_normal(embedding: Embedding) -> Rule:
    """Nodes x > 0 and weights for the mean of an even function under N(0, 1)."""
    halvings = 1 if embedding == "uniform" else 5
    edges = np.concatenate([[0.0], 0.5 ** np.arange(halvings, 0, -1), np.arange(1.0, 11.0)])
    x, weight = panel_rule(edges, 10)
    return x, weight * np.exp(-0.5 * x**2) * np.sqrt(2 / np.pi)


def _cubic(y: Values) -> Values:
    """tanh(y) - y, to relative precision."""
    small = np.where(np.abs(y) < 0.35, y, 0.0)
    series = np.polynomial.polynomial.polyval(small**2, _SERIES) * small**3
    return np.where(np.abs(y) < 0.35, series, np.tanh(y) - y)
