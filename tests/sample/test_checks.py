"""The checks of measures and observables pass what is right, and find planted mistakes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import boltzax as bx
from boltzax.testing import check_measure, check_observable
from boltzax.testing._conformance import gaussian_target

from ..problems import MEASURES

KEY = jax.random.key(5)


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_of_ours_passes(name):
    rng = np.random.default_rng(3)
    measure = MEASURES[name](rng)
    smooth = jnp.cos if name == "circle" else None  # angles: polynomials are not periodic
    check_measure(measure, smooth, key=KEY)
    if name != "minibatches":
        check_measure(measure.weighted(_tilt), smooth, key=KEY)
        check_measure(measure - 0.5 * measure.weighted(_tilt), smooth, key=KEY)


def test_a_mean_of_nearly_0_is_known_to_rounding():
    """Of values that cancel: what is left of them changes with the order of the sum."""
    points = np.linspace(-1, 1, 13)[:, None] ** 3
    check_measure(bx.Empirical(points), lambda x: x, key=KEY)


def _tilt(x):
    return 1 + 0.5 * jnp.cos(x[0])


def test_data_with_labels_pass():
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(8, 2)), rng.integers(0, 3, 8)
    check_measure(bx.Empirical(pairs), key=KEY)
    check_measure(bx.Subsampled(bx.Empirical(pairs), 3), key=KEY)


class Exponential(bx.AbstractMeasure):
    """`exp(-x/s) dx/s`, right unless a mistake is named."""

    scale: jax.Array
    mistake: str | None = eqx.field(static=True, default=None)

    @property
    def signed(self):
        return self.mistake == "signed"

    def nodes(self):
        points, weights = np.polynomial.laguerre.laggauss(16)
        points = jnp.asarray(points)
        if self.mistake != "scale forgotten":
            points = points * self.scale
        if self.mistake == "negative weight":  # the same integrals: a node split in two
            points, weights = np.repeat(points, 2, axis=0), np.stack([2 * weights, -weights], 1)
            return points[:, None], jnp.asarray(weights.reshape(-1))
        return points if self.mistake == "no axis" else points[:, None], jnp.asarray(weights)

    def estimate(self, fn, key):
        factor = 1.1 if self.mistake == "biased" else 1.0
        return jax.tree.map(lambda x: factor * x, self.integrate(fn))

    def sample(self, key, count):
        kind = np.float32 if self.mistake == "another dtype" else float
        if self.mistake == "key ignored":
            key = jax.random.key(3)
        uniform = jax.random.uniform(key, (count, 1))
        if self.mistake == "antithetic":
            half = uniform[: (count + 1) // 2]
            uniform = jnp.concatenate([half, 1 - half])[:count]
        if self.mistake == "neighbours antithetic":
            uniform = jnp.stack([uniform, 1 - uniform], 1).reshape(-1, 1)[:count]
        if self.mistake == "copies":
            uniform = jnp.repeat(uniform, 4, axis=0)[:count]
        if self.mistake == "strata":
            uniform = (jnp.arange(count)[:, None] + uniform) / count
        return (-self.scale * jnp.log1p(-uniform)).astype(kind)

    @property
    def mass(self):
        return jnp.full((), 2.0 if self.mistake == "mass" else 1.0)

    @property
    def datum(self):
        return jax.ShapeDtypeStruct((1,), jnp.result_type(float))

    def basis(self):
        if self.mistake == "basis":
            raise NotImplementedError("no basis yet")
        raise bx.DeclarationError("basis", got="none", expected="no call", mend="use quadrature")


MISTAKES = {
    None: None,
    "scale forgotten": "`sample`",
    "no axis": "nodes",
    "biased": "`estimate`",
    "another dtype": "draws",
    "mass": "mass",
    "signed": "signed",
    "basis": "NotImplementedError: no basis yet",
    "negative weight": "`signed` is False",
    "key ignored": "not independent",
    "antithetic": "not independent",
    "neighbours antithetic": "not independent",
    "strata": "not independent",
    "copies": "not independent|`sample`",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_of_a_measure_is_found(mistake):
    measure = Exponential(jnp.asarray(0.5), mistake)
    if mistake is None:
        check_measure(measure, key=KEY)
        return
    with pytest.raises(AssertionError, match=MISTAKES[mistake]):
        check_measure(measure, key=KEY)


class Correlated(bx.AbstractMeasure):
    """Nodes of a correlated pair, draws of two independent numbers of the same moments."""

    @property
    def signed(self):
        return False

    def nodes(self):
        points = jnp.array([[1.0, 1.0], [-1.0, -1.0]])
        return points, jnp.full(2, 0.5)

    def estimate(self, fn, key):
        return self.integrate(fn)

    def sample(self, key, count):
        return jax.random.rademacher(key, (count, 2), float)

    @property
    def mass(self):
        return jnp.ones(())

    @property
    def datum(self):
        return jax.ShapeDtypeStruct((2,), jnp.result_type(float))

    def basis(self):
        raise bx.DeclarationError("basis", got="none", expected="no call", mend="use quadrature")


def test_products_of_entries_are_compared():
    with pytest.raises(AssertionError, match="`sample`"):
        check_measure(Correlated(), key=KEY)
    check_measure(Correlated(), lambda x: jnp.concatenate([x, x**2]), key=KEY)


def weights(model):
    return ravel_pytree(model.params)[0]


def mean(trace):
    return trace.mean(weights)


def variance(trace):
    """By the delta method: `⟨w²⟩ - ⟨w⟩²` from influences on one and the same draws."""
    w = trace.evaluate(weights)
    centre = jnp.mean(w, axis=(-3, -2), keepdims=True)
    return trace.mean_of((w - centre) ** 2)


def naive(trace):
    """An error as if draws were independent."""
    w = trace.evaluate(weights)
    flat = jnp.moveaxis(w.reshape(len(w), -1, w.shape[-1]), 1, 0)
    return bx.Estimate.of_samples(flat)


def shifted(trace):
    found = mean(trace)
    return found + 0.8 * found.standard_error


def unsteady(trace):
    """Errors that are half, or 1.32 times, the right ones: right in the mean square."""
    found = mean(trace)
    odd = np.asarray(trace.energy[:, 0, 0] * 1e6).astype(int) % 2
    factor = np.where(odd == 0, 0.5, 1.75**0.5)[:, None]
    return factor * found + (1 - factor) * found.value


def pooled(trace):
    """One number for all betas."""
    w = trace.evaluate(weights)
    return trace.mean_of(w - jnp.mean(w) + jnp.mean(w[0]))


def test_observables_that_are_right_pass():
    gibbs, centre, covariance = gaussian_target()
    check_observable(mean, gibbs, centre, key=KEY)
    check_observable(variance, gibbs, np.diag(covariance), key=KEY, draws=2000)
    squares = np.diag(covariance) + (centre - [1.0, -0.5, 0.3]) ** 2
    energy = 0.5 * np.sum(np.array([1.0, 4.0, 2.0]) * squares)
    check_observable(lambda t: t.mean_of(t.energy), gibbs, energy, key=KEY)


def test_an_observable_of_integrated_weights_passes():
    """They are drawn anew for a part of the betas."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=30), rng.normal(size=30)
    line = bx.models.Function(lambda w, x: w[0] * x[0], jnp.zeros(1))
    gibbs = bx.compile(bx.SquaredError(line, bx.Empirical((x[:, None], y))), bx.Normal())
    truth = np.sum(x * y) / (1 + np.sum(x**2))

    def slope(trace):
        return trace.mean(lambda model: model(jnp.ones(1)))

    check_observable(slope, gibbs, truth, key=KEY)
    with pytest.raises(AssertionError, match="betas are mixed"):
        check_observable(lambda t: slope(t).scaled(len(t.betas)), gibbs, truth, key=KEY)


OBSERVABLES = {
    "errors of independent draws": (naive, "too small"),
    "shifted by an error": (shifted, "biased"),
    "betas mixed": (pooled, "betas are mixed"),
    "errors right in the mean only": (unsteady, "run to run"),
    "no Estimate": (lambda trace: mean(trace).value, "not an Estimate"),
    "another shape": (lambda trace: mean(trace)[:, 0], "shape"),
}


@pytest.mark.parametrize("mistake", OBSERVABLES)
def test_a_planted_mistake_of_an_observable_is_found(mistake):
    observable, complaint = OBSERVABLES[mistake]
    gibbs, centre, _ = gaussian_target()
    with pytest.raises(AssertionError, match=complaint):
        check_observable(observable, gibbs, centre, key=KEY)


def test_a_right_but_skew_observable_passes():
    """The error of a heat capacity follows its value: its z-scores have another mean than 0."""
    x = np.linspace(-1, 1, 20)[:, None]
    line = bx.models.Function(lambda w, x: w * x[0], jnp.zeros(()))
    energy = bx.SquaredError(line, bx.Empirical((x, 0.3 * x[:, 0])))
    gibbs = bx.compile(energy, bx.Normal(), beta=4.0, marginalise=False)
    size = np.sum(x**2)
    precision = 1 + 4 * size
    away = 0.3 * (4 * size / precision - 1)
    exact = 16 * size**2 * (0.5 / precision**2 + away**2 / precision)
    for seed in range(4):
        check_observable(bx.heat_capacity, gibbs, exact, key=jax.random.key(seed))
    with pytest.raises(AssertionError, match="biased"):
        check_observable(bx.heat_capacity, gibbs, 1.1 * exact, key=KEY)
