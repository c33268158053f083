"""Features of hidden units: the nodes of a family, and columns made orthogonal."""

from collections.abc import Callable

import equinox as eqx
import flint
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.compile import _lower_hidden_units, lower_units
from boltzax.compile._graded_features import UnitFamily, _design, _polynomials, grade
from boltzax.compile._hidden_units import orthogonalise
from boltzax.compile._lower_hidden_units import _extent, _family, _modes, _rule, _symmetric
from boltzax.declare import AbstractUnitModel


@pytest.mark.parametrize("odd", [False, True])
def test_nodes_of_a_family_are_those_of_a_mean_of_even_functions(odd):
    """Of U(-1, 1); of an odd family the positive half, whose squares have the same mean."""
    rule = ([flint.arb(1)], [flint.arb(1)])
    family = UnitFamily(lambda b, x: b * x, rule, odd)
    nodes, weights, members = _design(family, 0.5, 3)
    assert (len(nodes), members.nrows()) == ((6, 6) if odd else (12, 12))
    assert np.all(nodes > 0) == odd
    assert [weights @ nodes**p for p in (0, 2, 4)] == pytest.approx([1, 1 / 3, 1 / 5])
    np.testing.assert_allclose([float(members[i, 0]) for i in range(6)], 0.5 * nodes[:6])


def test_columns_are_made_orthogonal_by_the_rows_that_count():
    """`Q = A R⁻¹` of all rows, with R of the QR factors of the first five."""
    rows = np.random.default_rng(0).normal(size=(8, 3))
    triangle = np.linalg.qr(rows[:5], mode="r")
    triangle *= np.sign(np.diag(triangle))[:, None]
    found, logs = orthogonalise(rows, 5)
    np.testing.assert_allclose(found, rows @ np.linalg.inv(triangle), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(logs, np.log(np.diag(triangle)), rtol=1e-9, atol=1e-12)


def shifted_tanh(u):
    return jnp.tanh(u + 0.5)


FAMILIES = {
    "odd": (jnp.tanh, bx.IntervalMeasure(-1, 1)),
    "odd, of an uneven measure": (jnp.tanh, bx.IntervalMeasure(-1, 2)),
    "neither odd nor even": (shifted_tanh, bx.IntervalMeasure(-1, 2)),
}


def net(activation, measure):
    return bx.SquaredError(bx.models.TwoLayer(3, activation), measure, bx.zero)


@pytest.mark.parametrize("name", FAMILIES)
def test_tables_give_overlaps_and_potential(name):
    """`Σ_j σ_j² v_j(b) v_j(b')` is `⟨φ_b, φ_b'⟩` for units in any panel of the frame that holds
    them, and `U = ½ log det(1 + β Φ)`, both by a Gauss rule of NumPy."""
    activation, measure = FAMILIES[name]
    prior = bx.Independent(readout=bx.Normal(), embedding=bx.Uniform(-1, 1))
    gibbs = lower_units(bx.compile(net(activation, measure), prior), 1e6)
    potential = gibbs.potential
    z, weights = np.polynomial.legendre.leggauss(64)
    low, high = float(measure.low), float(measure.high)
    x = low + (high - low) * (z + 1) / 2

    @jax.jit
    def at(b):
        frame = potential.frame_of(b)
        features = potential.features(b, frame) * jnp.exp(potential.log_sigma[frame])
        return potential.scale[frame], features @ features.T, potential.state(b, 1e6).value

    for size in (1.0, 0.1):
        b = size * np.array([-1.0, -0.6, -0.01, 1e-4, 0.3, 0.95])
        outputs = np.asarray(activation(b[:, None] * x))
        overlaps = outputs * (weights / 2) @ outputs.T
        scale, found, value = at(b)
        assert scale == min(s for s in np.asarray(potential.scale) if s >= 0.95 * size)
        np.testing.assert_allclose(found, overlaps, rtol=1e-7, atol=1e-10)
        wanted = 0.5 * np.linalg.slogdet(np.eye(6) + 1e6 * overlaps)[1]
        np.testing.assert_allclose(value, wanted, rtol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_products_of_one_parity_are_integrated_over_half_of_an_even_measure(name):
    activation, measure = FAMILIES[name]
    family = _family(net(activation, measure), 1.0, 12)
    assert family.odd == name.startswith("odd")
    points, weights = family.rule
    assert len({float(x) > 0 for x in points}) == (1 if name == "odd" else 2)
    assert sum(float(w) for w in weights) == pytest.approx(1)


class Units(AbstractUnitModel):
    """Units of a function of the weight and the datum, which need not be one of their product."""

    of: Callable = eqx.field(static=True)
    embedding: jax.Array = eqx.field(default_factory=lambda: jnp.zeros((3, 1)))
    readout: jax.Array = eqx.field(default_factory=lambda: jnp.zeros(3))

    def unit_weights(self):
        return {"embedding": self.embedding}

    def unit(self, weights, x):
        return self.of(weights["embedding"][0], x[0])

    def __call__(self, x):
        return self.readout @ jax.vmap(lambda b: self.unit({"embedding": b}, x))(self.embedding)


@pytest.mark.parametrize(
    "unit, odd, even",
    [
        (lambda b, x: jnp.tanh(b * (x + 0.3)), True, False),
        (lambda b, x: jnp.tanh((b + 0.3) * x), False, True),
        (lambda b, x: jnp.tanh(b + 0.3) * jnp.cosh(x), False, True),
        (lambda b, x: jnp.tanh(b * x + b + 0.3), False, False),
    ],
    ids=["odd in the weight", "odd in the datum", "even in the datum", "neither"],
)
def test_parity_in_the_weight_is_not_parity_in_the_datum(unit, odd, even):
    """Half of a rule serves where products of units are even in the datum; else it is the whole."""
    energy = bx.SquaredError(Units(unit), bx.IntervalMeasure(-1, 1), bx.zero)
    family = _family(energy, 1.0, 12)
    points, weights = ([float(v) for v in values] for values in family.rule)
    assert (family.odd, len(set(np.sign(points))) == 1) == (odd, even)
    x = np.linspace(-1, 1, 20001)
    wanted = np.trapezoid(np.asarray(unit(0.6, x)) ** 2, x) / 2
    found = np.dot(weights, np.asarray(unit(0.6, np.array(points))) ** 2)
    assert found == pytest.approx(wanted, rel=1e-7)


def test_a_family_is_odd_up_to_rounding():
    energy = net(lambda u: 2 / (1 + jnp.exp(-2 * u)) - 1, bx.IntervalMeasure(-1, 1))
    assert _family(energy, 1.0, 12).odd


@pytest.mark.parametrize(
    "points, weights, even",
    [
        ([-1, -1e-9, 1.00000001e-9, 1], [1, 1, 1, 1], True),
        ([-1, -1e-3, 1.1e-3, 1], [1, 1, 1, 1], False),
        ([-1, -1e-3, 1e-3, 1], [1, 2, 1, 1], False),
    ],
    ids=["rounded", "uneven points", "uneven weights"],
)
def test_a_rule_is_even_up_to_the_rounding_of_its_largest_point(points, weights, even):
    points, weights = ([flint.arb(x) for x in values] for values in (points, weights))
    assert _symmetric(points, weights) == even


def test_a_rule_is_refined_for_units_of_either_sign():
    """On (-1, 2) `tanh(60 - 40 x)` turns, `tanh(60 + 40 x)` does not; `∫ tanh² = u - tanh u`."""
    energy = net(jnp.tanh, bx.IntervalMeasure(-1, 2))
    points, weights = _rule(energy, lambda b, x: jnp.tanh(b * x + 60), 40.0, False, False, 12)
    x, weights = (np.array([float(v) for v in values]) for values in (points, weights))
    wanted = (120 - np.tanh(100) - np.tanh(20)) / 120
    assert weights @ np.tanh(60 - 40 * x) ** 2 == pytest.approx(wanted, rel=1e-11)


def test_modes_are_the_fewest_of_which_the_remainder_does_not_matter(monkeypatch):
    """The first k with `log load + log tail_k < log 1e-5`, up to the most; None beyond."""
    monkeypatch.setattr(_lower_hidden_units, "MOST_MODES", 24)
    family = _family(net(jnp.tanh, bx.IntervalMeasure(-1, 1)), 1.0, 12)
    tails = grade(family, 1.0, 24).log_tail
    for load, modes in ((-tails[20] - 1e-3, 20), (-tails[20] + 1e-3, 21), (20 - tails[-1], None)):
        assert _modes(family, 1.0, np.log(1e-5) + load) == modes


@pytest.mark.parametrize("odd", [False, True])
def test_polynomials_of_a_family_are_orthonormal_and_of_its_parity(odd):
    nodes, weights = np.polynomial.legendre.leggauss(12)
    rows = _polynomials(5, nodes, odd)
    np.testing.assert_allclose(rows * weights / 2 @ rows.T, np.eye(5), atol=1e-12)
    assert np.array_equal(rows[0], np.sqrt(3) * nodes if odd else np.ones(12))
    parities = np.sign(rows[:, 0] * rows[:, -1])
    assert parities.tolist() == ([-1] * 5 if odd else [1, -1, 1, -1, 1])


@pytest.mark.parametrize(
    "prior, wanted",
    [
        (bx.Normal(0.5, 2.0), (13.5, 8.5, 6.5)),
        (bx.Normal(-0.5, 2.0), (13.5, 8.5, 6.5)),
        (bx.Uniform(-1, 3), (3, 3, 3)),
        (bx.Uniform(-4, 3), (4, 4, 4)),
        (bx.Laplace(0, 1), None),
    ],
)
def test_tables_reach_as_far_as_the_prior_of_a_unit(prior, wanted):
    """6.5, 4 and 3 standard deviations beyond its centre, or its bound."""
    energy = net(jnp.tanh, bx.IntervalMeasure(-1, 1))
    gibbs = bx.compile(energy, bx.Independent(readout=bx.Normal(), embedding=prior))
    assert _extent(gibbs, "embedding") == wanted
