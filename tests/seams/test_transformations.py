"""Declarations inside jax.jit, jax.vmap and jax.grad: the same numbers, or one clear error."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X @ np.array([1.0, -2.0, 0.5]) + RNG.normal(size=40)
LINE = bx.models.Function(lambda w, x: jnp.dot(w, x), jnp.ones(3))
NET = bx.models.MLP((3, 2, 1), key=KEY)
LOGITS = bx.models.MLP((3, 2, 2), key=KEY)
UNITS = bx.models.TwoLayer(2, dim=3, key=KEY)


def squared(model, factor=1.0, **options):
    """Log-density at the declared weights as a function of the labels."""

    def fn(y):
        energy = factor * bx.SquaredError(model, bx.Empirical((X, y)))
        gibbs = bx.compile(energy, bx.Normal(), **options)
        return gibbs.log_prob(gibbs.position())

    return fn


def population(y):
    """A mean of the data enters as the centre of a measure, with a prior on an interval."""
    measure = bx.GaussianMeasure(1, mean=y[0], scale=1 + y[1] ** 2, order=32)
    model = bx.models.Function(lambda w, x: w * jnp.tanh(x[0]), jnp.asarray(0.3))
    energy = bx.SquaredError(model, measure, target=bx.zero)
    gibbs = bx.compile(energy, bx.Uniform(-1, 1), beta=bx.temperature.watanabe(100))
    return gibbs.log_prob(gibbs.position())


def weighted(y):
    """Data of weights given, some of them zero, at a named temperature."""
    measure = bx.Empirical((X, y), weights=np.arange(40.0) % 3)
    gibbs = bx.compile(
        0.5 * bx.SquaredError(NET, measure) + bx.Localisation(NET, 2.0),
        bx.Independent({"weight": bx.Laplace(), "*": bx.Normal(0, 2)}),
        beta=bx.temperature.bayes(40),
    )
    return gibbs.log_prob(gibbs.position())


def classified(y):
    labels = (y > 0).astype(int)
    energy = bx.CrossEntropy(LOGITS, bx.Empirical((jnp.asarray(X) + y[:, None], labels)))
    gibbs = bx.compile(energy, bx.Normal())
    return gibbs.energy(gibbs.position())


CASES = {
    "linear": squared(LINE, marginalise=False),
    "linear integrated out": squared(LINE, 2.0),
    "readout integrated out": squared(UNITS),
    "net": squared(NET, marginalise=False),
    "population": population,
    "weighted": weighted,
    "classes": classified,
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_declaration_in_jit_vmap_and_grad_has_its_value_and_derivative(case):
    fn, y = CASES[case], jnp.asarray(Y)
    several = jnp.stack([y, 0.5 * y])
    plain = jnp.stack([fn(each) for each in several])
    np.testing.assert_allclose(jax.jit(jax.vmap(fn))(several), plain, rtol=1e-10)
    along = jnp.asarray(np.random.default_rng(1).normal(size=40))
    step = 1e-5 * along
    difference = (fn(y + step) - fn(y - step)) / 2e-5
    _, slope = jax.jvp(fn, (y,), (along,))
    np.testing.assert_allclose(jax.grad(fn)(y) @ along, slope, rtol=1e-8)
    np.testing.assert_allclose(slope, difference, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["linear", "readout integrated out", "weighted"])
def test_constants_alone_under_jit(case):
    np.testing.assert_allclose(jax.jit(lambda: CASES[case](Y))(), CASES[case](Y), rtol=1e-10)


def test_errors_of_constants_are_found_under_jit():
    def wrong_label(y):
        return bx.compile(bx.CrossEntropy(LOGITS, bx.Empirical((X, y))), bx.Normal())

    with pytest.raises(bx.DeclarationError, match="labels between"):
        jax.jit(lambda: wrong_label(np.full(40, 7)).beta)()
    with pytest.raises(bx.DeclarationError, match="0 is what lies below"):
        jax.jit(lambda: bx.Interface.thresholds(2.0, 1.0).lower)()
    with pytest.raises(bx.DeclarationError, match="NaN"):
        jax.jit(lambda: bx.Empirical(np.array([1.0, np.nan])).weights)()
    with pytest.raises(bx.DeclarationError, match="beta >= 0"):
        jax.jit(lambda y: squared(NET, beta=-1.0)(y))(Y)


@pytest.mark.parametrize("marginalise", [False, None])
@pytest.mark.parametrize("masked", [False, True])
def test_the_slope_in_the_factor_is_minus_the_mean_energy(marginalise, masked):
    weights = np.ones(40) - masked * (np.arange(40) < 7)
    measure = bx.Empirical((X, Y), weights=weights)
    energy = bx.SquaredError(LINE, measure)

    def log_prob(factor):
        gibbs = bx.compile(factor * energy, bx.Normal(), marginalise=marginalise)
        return gibbs.log_prob(gibbs.position())

    gibbs = bx.compile(energy, bx.Normal(), marginalise=marginalise, beta=3.0)
    mean = gibbs.energy(gibbs.position())
    np.testing.assert_allclose(jax.jit(jax.grad(log_prob))(3.0), -mean, rtol=1e-9)


def test_the_slope_in_the_prior_scale_is_known():
    def log_prior(scale):
        gibbs = bx.compile(bx.SquaredError(NET, bx.Empirical((X, Y))), bx.Normal(0, scale))
        return gibbs.log_prior(gibbs.position())

    gibbs = bx.compile(bx.SquaredError(NET, bx.Empirical((X, Y))), bx.Normal())
    count = gibbs.dim
    square = sum(float(jnp.sum(leaf**2)) for leaf in gibbs.position().values())
    slopes = jax.vmap(jax.grad(log_prior))(jnp.array([0.7, 1.3]))
    scales = np.array([0.7, 1.3])
    np.testing.assert_allclose(slopes, square / scales**3 - count / scales, rtol=1e-9)


def test_moments_that_are_asked_for_by_name_need_known_data():
    with pytest.raises(bx.DeclarationError, match="being traced"):
        jax.grad(squared(LINE, integral="moments", marginalise=False))(jnp.asarray(Y))


def test_models_over_seeds():
    def energy(key):
        net = bx.models.MLP((3, 2, 1), key=key)
        gibbs = bx.compile(bx.SquaredError(net, bx.Empirical((X, Y))), bx.Normal())
        return gibbs.energy(gibbs.position())

    keys = jax.random.split(KEY, 2)
    expected = [float(energy(key)) for key in keys]
    np.testing.assert_allclose(jax.jit(jax.vmap(energy))(keys), expected, rtol=1e-10)


class Shuffled(eqx.Module):
    """Linear in the data, through arrays that are not weights."""

    weight: jax.Array
    order: jax.Array

    def __call__(self, x):
        return jnp.dot(self.weight, x[self.order])


def test_arrays_of_a_model_that_are_not_weights_count():
    """Two models that differ in such an array alone have programs of one text."""
    energy_at = jax.jit(lambda gibbs, w: gibbs.energy(w))
    for order in ([0, 1, 2], [2, 0, 1]):
        model = Shuffled(jnp.array([1.0, 2.0, 3.0]), jnp.array(order))
        energy = bx.SquaredError(model, bx.Empirical((X, Y)))
        gibbs = bx.compile(energy, bx.Normal(), integral="moments", marginalise=False)
        expected = 0.5 * np.sum((X[:, order] @ np.array([1.0, 2.0, 3.0]) - Y) ** 2)
        np.testing.assert_allclose(eqx.filter_jit(energy_at)(gibbs, gibbs.position()), expected)


def test_an_equal_declaration_does_not_retrace():
    traced = []

    @eqx.filter_jit
    def energy_at(gibbs, w):
        traced.append(1)
        return gibbs.energy(w)

    for model in (LINE, Shuffled(jnp.ones(3), jnp.array([1, 0, 2]))):
        traced.clear()
        for factor in (1.0, 2.0):
            energy = bx.SquaredError(model, bx.Empirical((X * factor, Y)))
            gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
            energy_at(gibbs, gibbs.position())
        assert len(traced) == 1


RUNS = {
    "sample": lambda gibbs, key: bx.sample(gibbs, bx.MALA(), key=key, warmup=4, draws=4),
    "anneal": lambda gibbs, key: bx.anneal(gibbs, [1.0], bx.MALA(), key=key, warmup=4, draws=4),
    "local_learning_coefficient": lambda gibbs, key: bx.local_learning_coefficient(
        bx.SquaredError(gibbs.declared, bx.Empirical((X, Y))), key=key
    ),
}


@pytest.mark.parametrize("verb", RUNS)
def test_a_run_inside_a_transformation_is_one_clear_error(verb):
    gibbs = bx.compile(bx.SquaredError(NET, bx.Empirical((X, Y))), bx.Normal())

    def run(key):
        RUNS[verb](gibbs, key)
        return 0.0

    for inside in (jax.jit(run), lambda key: jax.vmap(run)(key[None])):
        with pytest.raises(bx.DeclarationError, match=f"(?s)`key`.*{verb} is a loop.* the host"):
            inside(KEY)
    with pytest.raises(bx.DeclarationError, match=f"`{verb}`: got a call inside jax.jit"):
        jax.jit(lambda: run(KEY))()
    if verb != "local_learning_coefficient":
        with pytest.raises(bx.DeclarationError, match="`gibbs`"):
            jax.grad(lambda beta: RUNS[verb](gibbs.at(beta), KEY).energy.mean())(1.0)
