"""The pass that gives a marginal potential of scalar units its graded tables."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..declare import CircleMeasure, GaussianMeasure, IntervalMeasure, Normal, SquaredError, Uniform
from ._extended import UnsupportedError, circle_rule, gaussian_rule, interval_rule
from ._gibbs import Gibbs
from ._graded import Family, frame, grade
from ._marginal import MarginalPotential
from ._units import UnitPotential

DIGITS = 45
RATIO = 1.25
MOST_MODES = 40
SLACK = 40.0
LEAST_UNITS = 8


def lower_units(gibbs: Gibbs, beta: float) -> Gibbs:
    """The same measure with graded features, good up to `beta`; unchanged where that is not known.

    It applies to a marginalised readout over exchangeable units with one scalar weight each, a
    Gaussian, interval or circle measure, the target zero, a readout prior of mean 0 and one
    variance, and an activation that is analytic (its `σ_j` fall fast enough).

    The scales run from the prior's down to where the free energy of confining all units,
    `H log(1/s) + ½ Σ_j log(1 + β τ² H σ_j(s)²)`, has risen `SLACK` nats above its minimum.
    """
    potential = gibbs.potential
    if not isinstance(potential, MarginalPotential) or potential.units is None:
        return gibbs
    term = potential.residuals[0].term
    deviation = _deviation(potential)
    units = len(jax.tree.leaves(potential.units.unit_weights())[0])
    if deviation is None or units < LEAST_UNITS or not _applies(potential, term):
        return gibbs
    (path,) = potential.units.unit_weights()
    extent = _extent(gibbs, path)
    if extent is None:
        return gibbs
    top, widest = extent
    family = _family(term, top)
    if family is None:
        return gibbs
    log_load = float(np.log(max(beta, 1.0) * units * deviation**2))
    chosen = _scales(family, widest, units, log_load)
    if chosen is None:
        return gibbs
    graded, modes = chosen
    frames = [frame(family, each, scale, top, modes) for scale, each in graded.items()]
    lowered = UnitPotential(
        jnp.asarray(np.concatenate([f.coefficients for f in frames])),
        jnp.asarray(np.stack([f.log_sigma for f in frames])),
        jnp.asarray(np.array([f.scale for f in frames])),
        jnp.asarray(np.arcsinh(top / np.array([f.scale for f in frames]))),
        jnp.asarray(deviation),
        path,
        potential.readout,
        family.odd,
        potential,
    )
    return eqx.tree_at(lambda g: g.potential, gibbs, lowered)


def _scales(family: Family, widest: float, units: int, log_load: float):
    """Graded bases at the scales that the posterior visits, and the modes it resolves there.

    None if there are more than `MOST_MODES`.
    """
    resolved = float(np.log(1e-4))
    graded, costs, needed, scale, modes = {}, [], 0, widest, 24
    while not costs or costs[-1] <= min(costs) + SLACK:
        each = grade(family, scale, modes)
        load = log_load + 2 * each.log_sigma
        if not graded and not load[-1] < resolved:
            if modes >= MOST_MODES:
                return None
            modes = min(MOST_MODES, modes + 8)
            continue
        graded[scale] = each
        costs.append(units * np.log(widest / scale) + 0.5 * np.sum(np.logaddexp(0.0, load)))
        needed = max(needed, int(np.sum(load > resolved)))
        scale /= RATIO
    return graded, max(needed, 2)


def _deviation(potential: MarginalPotential) -> float | None:
    prior = potential.readout["readout"]
    loc, scale = np.asarray(prior.loc), np.asarray(prior.scale)
    if np.any(loc != 0) or np.any(scale != scale.flat[0]):
        return None
    return float(scale.flat[0])


def _applies(potential: MarginalPotential, term: SquaredError) -> bool:
    weights = potential.units.unit_weights()
    scalar = len(weights) == 1 and all(leaf.shape[1:] == (1,) for leaf in weights.values())
    if not scalar or term.target is None:
        return False
    points, _ = term.measure.nodes()
    return bool(jnp.all(jax.vmap(term.target)(points) == 0))


def _extent(gibbs: Gibbs, path: str) -> tuple[float, float] | None:
    """Largest |b| of the table (the prior's bound, or 6.5 deviations), and the widest scale."""
    prior = gibbs.coordinates.priors[path]
    if isinstance(prior, Uniform):
        top = float(max(np.max(np.abs(prior.low)), np.max(np.abs(prior.high))))
        return top, top
    if isinstance(prior, Normal):
        spread = float(np.max(np.hypot(prior.loc, prior.scale)))
        return float(np.max(np.abs(prior.loc)) + 6.5 * np.max(prior.scale)), 2 * spread
    return None


def _family(term: SquaredError, top: float) -> Family | None:
    unit, dim = term.model.unit, 1
    (path,) = term.model.unit_weights()

    def fn(b, x):
        return unit({path: jnp.reshape(b, (dim,))}, jnp.reshape(x, (dim,)))

    probe = np.linspace(0.1, 0.9, 5) * top
    x = jnp.asarray(0.7)
    values = np.array([[float(fn(b, x)), float(fn(-b, x))] for b in probe])
    odd = bool(np.allclose(values[:, 0], -values[:, 1], rtol=1e-12))
    rule = _rule(term, fn, top, odd)
    return None if rule is None else Family(fn, rule, odd)


def _rule(term: SquaredError, fn, top: float, odd: bool):
    """The measure's quadrature, refined until the sizes of the features no longer move."""
    make = _maker(term)
    if make is None:
        return None
    factor = jnp.asarray(term.measure.mass)
    nodes, before = 64, None
    while nodes <= 1024:
        rule = make(nodes)
        rule = (rule[0], [w * float(factor) for w in rule[1]])
        try:
            now = grade(Family(fn, rule, odd), top, 20).log_sigma
        except UnsupportedError:
            return None
        if np.all(np.isfinite(now)) and before is not None and np.allclose(now, before, atol=1e-7):
            return rule
        before, nodes = now, 2 * nodes
    return None


def _maker(term: SquaredError):
    measure = term.measure
    if isinstance(measure, GaussianMeasure) and measure.dim == 1:
        mean, scale = float(measure.mean[0]), float(measure.scale[0])
        return lambda nodes: gaussian_rule(mean, scale, DIGITS, nodes)
    if isinstance(measure, IntervalMeasure):
        low, high = float(measure.low), float(measure.high)
        return lambda nodes: interval_rule(low, high, nodes)
    if isinstance(measure, CircleMeasure):
        return circle_rule
    return None
