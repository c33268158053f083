"""What a target setting is, and its truth by quadrature.

The weights of every target are one vector `w` of at most three entries, so that means over
`p(w) ∝ π(w) exp(-β E(w))` are sums over a product rule: Gauss-Legendre panels in `u`, where
`w_i = centre + scale sinh u` (fine near the centre, where a singular posterior is thin). The
declared energy is evaluated as it was declared, never as it was lowered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import optimize

import boltzax as bx
from boltzax.declare import AbstractEnergy

Route = Literal["local", "sample", "anneal"]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """Where one weight lies: from `low` to `high`, finest about `centre` on the scale `scale`."""

    low: float
    high: float
    centre: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Case:
    """One data set: the energy (its model at w*), the prior, and the box of the quadrature."""

    energy: AbstractEnergy
    box: tuple[Axis, ...]
    prior: object = None
    """Prior of the weights (`sample` and `anneal`); the localising Gaussian for `local`."""
    localisation: float = 1.0
    betas: tuple[float, ...] = ()
    """Temperatures of the run; `1 / log n` for `local`."""
    reference: float = 0.0
    """`E_ref` of the coefficient for `sample` and `anneal`; `E(w*)` for `local`."""


@dataclass(frozen=True)
class Target:
    """A setting: how it is drawn from a seed, and which verb is asked."""

    name: str
    route: Route
    make: Callable[[np.random.Generator], Case]


def function(fn: Callable, w: Values | list[float]) -> bx.models.Function:
    """A model of one weight vector."""
    return bx.models.Function(fn, jnp.asarray(w, float))


def at(energy: AbstractEnergy, w) -> AbstractEnergy:
    """The energy with its model at other weights."""
    return eqx.tree_at(lambda e: e.model.params, energy, jnp.asarray(w, float))


@eqx.filter_jit
def _energies(energy: AbstractEnergy, points):
    def one(w):
        return energy.value(eqx.tree_at(lambda m: m.params, energy.model, w))

    return jax.lax.map(one, points, batch_size=512)


@eqx.filter_jit
def _descent(energy: AbstractEnergy, w):
    def one(w):
        return energy.value(eqx.tree_at(lambda m: m.params, energy.model, w))

    return jax.value_and_grad(one)(w)


def trained(energy: AbstractEnergy) -> AbstractEnergy:
    """The energy with its model at the nearest minimum, by BFGS."""

    def both(w):
        value, slope = _descent(energy, jnp.asarray(w))
        return float(value), np.asarray(slope)

    start = np.asarray(energy.model.params)
    found = optimize.minimize(both, start, jac=True, method="BFGS", options={"gtol": 1e-9})
    return at(energy, found.x)


@dataclass(frozen=True)
class Truth:
    """Exact `λ̂(β)` and `F(β)` in the order of the betas, each with the error of the quadrature."""

    coefficient: Values
    free_energy: Values
    error: Values


def truth(case: Case, betas: Values) -> Truth:
    """The truth from two rules; their difference is the error."""
    coarse, fine = (_rule(case, betas, panels) for panels in _panels(case))
    error = np.abs(fine - coarse) + 1e-12
    return Truth(fine[0], fine[1], error)


def _panels(case: Case) -> tuple[int, int]:
    """Panels an axis of the two rules; fewer where every node costs a sum over data."""
    weights = case.energy.measure.nodes()[1]
    if len(weights) > 1:
        return {1: (60, 100), 2: (16, 24), 3: (6, 8)}[len(case.box)]
    return {1: (120, 200), 2: (60, 90), 3: (12, 16)}[len(case.box)]


def _rule(case: Case, betas: Values, panels: int) -> Values:
    """`[2, beta]`: the coefficient and the free energy, from `8 panels` nodes an axis."""
    axes, logs = zip(*(_nodes(axis, panels) for axis in case.box), strict=True)
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
    log_weight = sum(np.meshgrid(*logs, indexing="ij")).ravel()
    energy = np.asarray(_energies(case.energy, jnp.asarray(points)))
    if case.prior is None:
        away = points - np.asarray(case.energy.model.params)
        log_prior = -0.5 * case.localisation * np.sum(away**2, axis=1)
        reference = float(case.energy.value(case.energy.model))
    else:
        log_prior = np.asarray(_log_prior(case.prior, jnp.asarray(points)))
        reference = case.reference
    out = []
    for beta in betas:
        log_p = log_weight + log_prior - beta * (energy - reference)
        top = np.max(log_p)
        p = np.exp(log_p - top)
        mean = np.sum(p * (energy - reference)) / np.sum(p)
        out.append((beta * mean, beta * reference - top - np.log(np.sum(p))))
    return np.array(out).T


@eqx.filter_jit
def _log_prior(prior, points):
    return jnp.sum(jnp.broadcast_to(prior.log_prob(points), points.shape), axis=1)


def _nodes(axis: Axis, panels: int) -> tuple[Values, Values]:
    """Nodes of one weight and the logarithms of their weights."""
    low = np.arcsinh((axis.low - axis.centre) / axis.scale)
    high = np.arcsinh((axis.high - axis.centre) / axis.scale)
    x, weight = np.polynomial.legendre.leggauss(8)
    edges = np.linspace(low, high, panels + 1)
    half = 0.5 * np.diff(edges)[:, None]
    u = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * x).ravel()
    slope = axis.scale * np.cosh(u)
    return axis.centre + axis.scale * np.sinh(u), np.log((half * weight).ravel() * slope)
