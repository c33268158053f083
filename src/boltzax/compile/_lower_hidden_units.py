"""Tables of graded features for the marginal potential of scalar units."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..declare import (
    AbstractUnitModel,
    GaussianMeasure,
    IntervalMeasure,
    Normal,
    SquaredError,
    Uniform,
)
from ..numerics import (
    UnsupportedError,
    extended,
    gaussian_rule,
    interval_rule,
    largest,
    precision,
    table,
)
from ._gibbs import Gibbs
from ._graded_features import Frame, UnitFamily, frame, grade
from ._hidden_units import UnitPotential
from ._marginal import MarginalPotential
from ._residual import BasisResidual, NodeResidual

MOST_MODES = 64
MOST_NODES = 4096
REMAINDER = 1e-5
SLACK = 16.0
MARGIN = 3
RATIO = 2.5
"""How far apart two scales are. In a frame c times too wide the k-th feature adds `c^{-2k}` to the
ones before, against roundings of 1e-16."""


def lower_units(gibbs: Gibbs, beta: float) -> Gibbs:
    """The same measure with graded features, accurate up to `beta`; unchanged if it does not apply.

    It applies to a readout that was integrated out over exchangeable units with one scalar weight
    each, a Gaussian or interval measure, the target zero, a readout prior of mean 0 and one
    variance, and an analytic activation.

    The widest scale is that of the prior. The narrowest is the one at which the free energy of
    confining all units, `H log(1/s) + ½ Σ_j log(1 + β τ² H E_b c_j(b)²)`, is `SLACK` nats above its
    minimum.

    Args:
        gibbs: The measure.
        beta: The largest inverse temperature that will be used.
    """
    potential = gibbs.potential
    if not isinstance(potential, MarginalPotential) or potential.units is None:
        return gibbs
    (residual,) = potential.residuals
    assert isinstance(residual, NodeResidual | BasisResidual)  # as there are units
    term, deviation = residual.term, _deviation(potential, residual)
    units = len(jax.tree.leaves(potential.units.unit_weights())[0])
    if deviation is None or not _applies(potential.units, term):
        return gibbs
    (path,) = potential.units.unit_weights()
    extent = _extent(gibbs, path)
    if extent is None:
        return gibbs
    top, reach, widest = extent
    log_load = float(np.log(max(beta, 1.0) * units * deviation**2))
    try:
        family = _family(term, reach, 12 + max(0, round(log_load / np.log(10))))
        if family is None:
            return gibbs
        modes = _modes(family, reach, log_load)
        if modes is None:
            return gibbs
        frames = _frames(family, widest, top, modes, units, log_load)
    except UnsupportedError:
        return gibbs
    lowered = UnitPotential(
        jnp.asarray(np.concatenate([_padded(f.coefficients, modes) for f in frames])),
        jnp.asarray(np.stack([_padded(f.log_sigma, modes) for f in frames])),
        jnp.asarray(np.array([f.scale for f in frames])),
        jnp.asarray(np.arcsinh(top / np.array([f.scale for f in frames]))),
        jnp.asarray(deviation),
        path,
        potential.readout,
        family.odd,
        potential,
    )
    return eqx.tree_at(lambda g: g.potential, gibbs, lowered)


def _modes(family: UnitFamily, reach: float, log_load: float) -> int | None:
    """The number of modes that represent the energy of units up to `reach` to `REMAINDER`.

    A remainder `r = β τ² Σ_h |rest_h|²` that is left out changes `λ̂` by at most `r/2`. None if more
    than `MOST_MODES` are needed.
    """
    modes = 24
    while modes <= MOST_MODES:
        enough = log_load + grade(family, reach, modes).log_tail < np.log(REMAINDER)
        if enough.any():
            return max(2, int(np.argmax(enough)))
        modes += 8
    return None


def _frames(
    family: UnitFamily, widest: float, top: float, modes: int, units: int, log_load: float
) -> list[Frame]:
    """Frames at the scales that the posterior visits.

    A frame has enough modes for units `RATIO**MARGIN` times beyond it, because single-unit moves
    from it can propose such units.
    """
    frames, costs, scale, needed = [], [], widest, [modes]
    while not costs or costs[-1] <= min(costs) + SLACK:
        modes = needed[max(0, len(needed) - 1 - MARGIN)]
        graded = grade(family, scale, modes)
        load = log_load + graded.log_power
        costs.append(units * np.log(widest / scale) + 0.5 * np.sum(np.logaddexp(0.0, load)))
        enough = log_load + graded.log_tail < np.log(REMAINDER)
        needed.append(max(2, int(np.argmax(enough))) if enough.any() else modes)
        frames.append(frame(family, graded, scale, top, modes))
        scale /= RATIO
    return frames


def _padded(values: np.ndarray, modes: int) -> np.ndarray:
    """Values with zeros for the modes that a frame does not have."""
    more = [(0, 0)] * (values.ndim - 1) + [(0, modes - values.shape[-1])]
    return np.pad(values, more)


def _deviation(
    potential: MarginalPotential, residual: NodeResidual | BasisResidual
) -> float | None:
    """The prior standard deviation of the readout times the root of the factor of the energy."""
    prior = potential.readout["readout"]
    assert isinstance(prior, Normal)  # where it is another, `potential.units` is None
    loc, scale = np.asarray(prior.loc), np.asarray(prior.scale)
    if np.any(loc != 0) or np.any(scale != scale.flat[0]):
        return None
    # the first function of a basis is one
    root_weights = residual.basis[0] if isinstance(residual, BasisResidual) else residual.scale
    factor = float(jnp.sum(root_weights**2) / residual.term.measure.mass)
    return float(scale.flat[0]) * math.sqrt(factor)


def _applies(units: AbstractUnitModel, term: SquaredError) -> bool:
    weights = units.unit_weights()
    scalar = len(weights) == 1 and all(leaf.shape[1:] == (1,) for leaf in weights.values())
    if not scalar or term.target is None:
        return False
    points, _ = term.measure.nodes()
    return bool(jnp.all(jax.vmap(term.target)(points) == 0))


def _extent(gibbs: Gibbs, path: str) -> tuple[float, float, float] | None:
    """The largest |b| of the tables, the largest |b| that the posterior visits, the widest scale.

    For a uniform prior all three are its bound; for a normal one 6.5, 4, 3 standard deviations.
    """
    prior = gibbs.coordinates.priors[path]
    if isinstance(prior, Uniform):
        top = float(max(np.max(np.abs(prior.low)), np.max(np.abs(prior.high))))
        return top, top, top
    if isinstance(prior, Normal):
        loc, scale = float(np.max(np.abs(prior.loc))), float(np.max(prior.scale))
        return loc + 6.5 * scale, loc + 4 * scale, loc + 3 * scale
    return None


def _family(term: SquaredError, top: float, digits: int) -> UnitFamily | None:
    unit, dim = term.model.unit, 1
    (path,) = term.model.unit_weights()

    def fn(b, x):
        return unit({path: jnp.reshape(b, (dim,))}, jnp.reshape(x, (dim,)))

    pairs = [((b, 0.7), (-b, 0.7), (b, -0.7)) for b in np.linspace(0.1, 0.9, 5) * top]
    values = np.array([[float(fn(b, x)) for b, x in row] for row in pairs])
    odd = bool(np.allclose(values[:, 0], -values[:, 1], rtol=1e-12))
    even = bool(np.allclose(np.abs(values[:, 0]), np.abs(values[:, 2]), rtol=1e-12))
    rule = _rule(term, fn, top, odd, even, digits)
    return None if rule is None else UnitFamily(fn, rule, odd)


def _rule(term: SquaredError, fn, top: float, odd: bool, even: bool, digits: int):
    """The quadrature of the measure, refined until overlaps of features converge to `digits`.

    `σ_j²` can be smaller than the absolute error of the overlaps `⟨φ_b, φ_b'⟩`. Then the features
    would be those of the measure on the nodes: 32 digits do not suffice at n = 1e30.
    """
    make = _maker(term, digits)
    if make is None:
        return None
    factor = float(term.measure.mass)
    probe = np.array([1.0, 0.7, -1.0]) * top
    nodes, before = 64, None
    with precision(round(digits / np.log10(2)) + 64):
        while nodes <= MOST_NODES:
            points, weights = make(nodes)
            rule = (points, [w * factor for w in weights])
            rule = _folded(*rule) if even and _symmetric(points, weights) else rule
            now = table(extended(fn, 2), probe, rule)
            now = now * now.transpose()
            if before is not None and largest(now - before) < 10.0**-digits * largest(now):
                return rule
            before, nodes = now, 2 * nodes
    return None


def _symmetric(points: list, weights: list) -> bool:
    size = float(abs(points[-1]))
    pairs = zip(points, reversed(points), weights, reversed(weights), strict=True)
    return all(
        abs(float(a + b)) < 1e-15 * size and abs(float(u - v)) <= 1e-15 * float(u)
        for a, b, u, v in pairs
    )


def _folded(points: list, weights: list) -> tuple[list, list]:
    """Half of a symmetric rule, for products of functions of the same parity in x."""
    half = len(points) // 2
    return points[half:], [2 * w for w in weights[half:]]


def _maker(term: SquaredError, digits: int):
    measure = term.measure
    if isinstance(measure, GaussianMeasure) and measure.dim == 1:
        mean, scale = float(measure.mean[0]), float(measure.scale[0])
        return lambda nodes: gaussian_rule(mean, scale, digits, nodes)
    if isinstance(measure, IntervalMeasure):
        low, high = float(measure.low), float(measure.high)
        return lambda nodes: interval_rule(low, high, nodes)
    return None
