"""The zoo: models, data and true weights, each with its exact finite-n local learning coefficient.

    p(w) ∝ exp(-nβ L(w) - γ/2 |w - w*|²),    λ̂ = nβ (⟨L⟩ - L(w*)),    β = 1/log n

The weights of the energy's model are w*; `γ` is `localisation`. All measures have mass n.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from _oracles import CACHE, Exact, exact
from _setting import Setting, balanced, draw, logistic_fit, product
from jaxtyping import Array, Float

import boltzax as bx
from boltzax.declare import AbstractEnergy

ZOO: tuple[dict, ...] = (
    {"kind": "normal-crossing", "powers": (1, 1)},
    {"kind": "normal-crossing", "powers": (1, 2)},
    {"kind": "normal-crossing", "powers": (2, 3)},
    {"kind": "normal-crossing", "powers": (1, 1, 1)},
    {"kind": "quadratic", "dim": 10},
    # Aoyagi and Watanabe's four cases: balanced (odd: m = 2, even: m = 1), then the other three
    {"kind": "reduced-rank", "widths": (5, 3, 5), "rank": 0},
    {"kind": "reduced-rank", "widths": (5, 3, 5), "rank": 1},
    {"kind": "reduced-rank", "widths": (8, 2, 3), "rank": 1},
    {"kind": "reduced-rank", "widths": (3, 2, 8), "rank": 1},
    {"kind": "reduced-rank", "widths": (2, 6, 2), "rank": 1},
    {"kind": "deep-linear", "widths": (5, 5, 5), "rank": 2},
    {"kind": "deep-linear", "widths": (10, 8, 8, 10), "rank": 3},
    {"kind": "deep-linear", "widths": (30, 20, 20, 30), "rank": 5},
    {"kind": "deep-linear", "widths": (6, 6, 6, 6, 6), "rank": 2},
    {"kind": "mixture"},
    {"kind": "tanh-zero", "width": 16},
    {"kind": "logistic", "dim": 3},
)
"""Arguments of `problem`, but for n, noise, seed and localisation."""


@dataclass(frozen=True)
class Problem:
    """An energy whose model is at w*, and the exact λ̂ of its localised posterior."""

    name: str
    energy: AbstractEnergy
    n: int
    localisation: float
    exact: Callable[[], Exact]
    """Computed, or read from the cache, when first called."""
    limit: float
    """The learning coefficient, n → ∞."""


def problem(
    kind: str,
    *,
    powers: tuple[int, ...] = (1, 2),
    dim: int | None = None,
    widths: tuple[int, ...] = (5, 3, 5),
    rank: int = 0,
    width: int = 16,
    n: int = 10_000,
    noise: float = 0.0,
    seed: int = 0,
    localisation: float = 1.0,
    cache: Path | None = CACHE,
    recompute: bool = False,
) -> Problem:
    """One problem of the given kind; each reads its own parameters (`PARAMETERS`), and no others.

    `powers` are k_i of the loss `½ Π w_i^{2k_i}`; `dim` counts the weights of a quadratic (10) or
    logistic model (3, the intercept included); `widths` of linear nets are input first; `width`
    is the number of tanh units. `recompute` leaves the cached exact value aside and replaces it.
    """
    dim = {"quadratic": 10}.get(kind, 3) if dim is None else dim
    setting = Setting(
        kind,
        tuple(powers),
        dim,
        tuple(widths),
        rank,
        width,
        n,
        float(noise),
        seed,
        float(localisation),
    )
    answer = functools.cache(lambda: exact(setting, cache, recompute))
    return Problem(setting.name, _energy(setting), n, localisation, answer, _limit(setting))


class Mixture(eqx.Module):
    """`log [½ N(x; a, 1) + ½ N(x; b, 1)]`, without -½ log 2π."""

    mean: Float[Array, " 2"]

    def __call__(self, x: Float[Array, " 1"]) -> Float[Array, ""]:
        return jax.nn.logsumexp(-0.5 * (x[0] - self.mean) ** 2) - jnp.log(2.0)


class Logistic(eqx.Module):
    """The logit `w·x`; the intercept is the weight of a constant x."""

    weight: Float[Array, " dim"]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        return jnp.sum(self.weight * x)


def log_loss(model: Mixture, x: Float[Array, " 1"]) -> Float[Array, ""]:
    """`-log p(x)`."""
    return -model(x)


def _energy(setting: Setting) -> AbstractEnergy:
    return {
        "normal-crossing": _crossing,
        "mixture": _mixture,
        "tanh-zero": _tanh,
        "logistic": _logistic,
    }.get(setting.kind, _linear)(setting)


def _crossing(setting: Setting) -> AbstractEnergy:
    model = bx.models.Polynomial(setting.powers)
    if setting.sampled:
        return bx.SquaredError(model, bx.Empirical(draw(setting)))
    return bx.SquaredError(model, setting.n * bx.Empirical(np.zeros((1, 1))), bx.zero)


def _mixture(setting: Setting) -> AbstractEnergy:
    data = bx.Empirical(draw(setting)[0]) if setting.sampled else _normal(setting)
    return bx.PerDatum(Mixture(jnp.zeros(2)), data, log_loss)


def _tanh(setting: Setting) -> AbstractEnergy:
    model = bx.models.TwoLayer(setting.width)
    if setting.sampled:
        return bx.SquaredError(model, bx.Empirical(draw(setting)))
    return bx.SquaredError(model, _normal(setting), bx.zero)


def _logistic(setting: Setting) -> AbstractEnergy:
    x, y = draw(setting)
    return bx.CrossEntropy(Logistic(jnp.asarray(logistic_fit(x, y))), bx.Empirical((x, y)))


def _linear(setting: Setting) -> AbstractEnergy:
    """Quadratic and linear nets; the population is 2 points an axis, with the moments of N(0, I).

    (Only second moments enter the loss, so that `±√M e_i` with weights n/2M are exact.)
    """
    quadratic = setting.kind == "quadratic"
    widths = (setting.dim, 1) if quadratic else setting.widths
    layers = balanced(widths, 0 if quadratic else setting.rank)
    model = bx.models.DeepLinear(widths)
    model = eqx.tree_at(lambda m: m.weight, model, tuple(jnp.asarray(w) for w in layers))
    if setting.sampled:
        return bx.SquaredError(model, bx.Empirical(draw(setting)))
    inputs = widths[0]
    x = np.sqrt(inputs) * np.concatenate([np.eye(inputs), -np.eye(inputs)])
    weights = np.full(2 * inputs, 1 / (2 * inputs))
    measure = setting.n * bx.Empirical((x, x @ product(layers).T), weights=weights)
    return bx.SquaredError(model, measure)


def _normal(setting: Setting) -> bx.AbstractMeasure:
    return setting.n * bx.GaussianMeasure(1)


def _limit(setting: Setting) -> float:
    kind, theory = setting.kind, bx.theory
    if kind in ("quadratic", "logistic"):
        return setting.dim / 2
    if kind == "normal-crossing":
        return float(theory.normal_crossing(setting.powers).value)
    if kind == "mixture":
        return 0.75  # loss ~ u²/2 + v⁴/4 in the mean and the half distance of the two locations
    if kind == "tanh-zero":
        return float(theory.tanh_network(setting.width).value)
    return float(theory.deep_linear(setting.widths, setting.rank).value)
