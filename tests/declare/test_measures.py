"""Measures: a vector space, exact where they say so, unbiased where they are random."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.core import DeclarationError
from boltzax.declare import (
    CircleMeasure,
    CubeMeasure,
    Empirical,
    GaussianMeasure,
    IntervalMeasure,
    Subsampled,
)
from boltzax.declare._basis import integrate_nodes
from boltzax.testing import measures, signed_measures

MANY = 32_768
few = settings(max_examples=8, derandomize=True, deadline=None)
factors = st.floats(-3.0, 3.0).map(lambda x: round(x, 2))
key = jax.random.key(0)


def probes(x):
    """Enough functions to tell two measures apart."""
    return jnp.array([1.0, x[0], x[0] ** 2, jnp.cos(3 * x[0]), jnp.tanh(x[0])])


def same(mu, nu, atol=1e-12):
    np.testing.assert_allclose(mu.integrate(probes), nu.integrate(probes), atol=atol, rtol=1e-11)


# --- a vector space -------------------------------------------------------------------------------


@pytest.mark.slow
@few
@given(measures(), signed_measures(), measures(), factors, factors)
def test_vector_space(mu, nu, xi, a, b):
    same((mu + nu) + xi, mu + (nu + xi))
    same(mu + nu, nu + mu)
    same(a * (mu + nu), a * mu + a * nu)
    same((a + b) * mu, a * mu + b * mu)
    same(a * (b * mu), (a * b) * mu)
    same(1.0 * mu, mu)
    same(mu + 0.0 * nu, mu)
    same(mu - nu, mu + (-nu))
    np.testing.assert_allclose((nu - nu).integrate(probes), 0.0, atol=1e-12)
    same((mu * 3.0) / 3.0, mu)


@pytest.mark.slow
@few
@given(measures(), signed_measures(), factors, factors)
def test_integrals_are_linear_in_the_measure(mu, nu, a, b):
    left = (a * mu + b * nu).integrate(probes)
    np.testing.assert_allclose(
        left, a * mu.integrate(probes) + b * nu.integrate(probes), atol=1e-12
    )


@few
@given(measures(dim=2), measures(dim=2), factors)
def test_mass_is_the_integral_of_one(mu, nu, a):
    for measure in (mu, a * mu, mu + nu, mu - nu, mu.weighted(lambda x: 1 + x[1] ** 2)):
        np.testing.assert_allclose(measure.mass, measure.integrate(lambda x: 1.0), atol=1e-12)
        assert measure.datum.shape == (2,)
        assert measure.dim == 2
    np.testing.assert_allclose((mu + nu).normalized().integrate(lambda x: 1.0), 1.0, rtol=1e-12)


def test_masses():
    for measure in (GaussianMeasure(2), IntervalMeasure(0, 5), CircleMeasure(), CubeMeasure(3)):
        assert float(measure.mass) == 1.0
    assert float(Empirical(np.ones((7, 2))).mass) == 7.0
    assert float(Empirical(np.ones((3, 2)), weights=[1.0, 2.0, -0.5]).mass) == 2.5


def test_scalars_of_every_kind():
    mu = GaussianMeasure()
    for two in (2, 2.0, np.float64(2), np.array(2.0), jnp.array(2.0)):
        assert float((two * mu).mass) == 2.0
        assert float((mu * two).mass) == 2.0
        assert float((mu / two).mass) == 0.5


def test_signed():
    mu, nu = GaussianMeasure(), Empirical(np.ones((3, 1)))
    assert not (mu.signed or nu.signed or (mu + nu).signed or (2 * mu).signed)
    assert (-mu).signed and (mu - nu).signed and (-2 * nu + mu).signed
    assert not mu.weighted(lambda x: x[0] ** 2).signed
    assert mu.weighted(lambda x: x[0], signed=True).signed
    assert (mu - nu).weighted(lambda x: x[0] ** 2).signed
    assert Subsampled(Empirical(np.ones((2, 1)), weights=[1.0, -1.0]), 1).signed
    assert not (mu + nu).normalized().signed
    assert eqx.filter_jit(lambda m: m.signed)(2 * nu) is False  # decided when it was built


# --- quadrature -----------------------------------------------------------------------------------


def gaussian_moment(k, mean, scale):
    """E x^k for N(mean, scale²), by Stein's recurrence m_k = mean m_{k-1} + (k-1) scale² m_{k-2}"""
    before, now = 0.0, 1.0
    for j in range(k):
        before, now = now, mean * now + j * scale**2 * before
    return now


def test_gauss_hermite_is_exact_to_degree_2_order_minus_1_and_no_further():
    mu = GaussianMeasure(mean=0.7, scale=1.3, order=5, rule="hermite")
    for k in range(10):
        value = mu.integrate(lambda x, k=k: x[0] ** k)
        np.testing.assert_allclose(value, gaussian_moment(k, 0.7, 1.3), rtol=1e-12)
    assert abs(mu.integrate(lambda x: x[0] ** 10) / gaussian_moment(10, 0.7, 1.3) - 1) > 1e-3


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("rule", ["hermite", "trapezoid", "sparse"])
def test_product_moments(dim, rule):
    mean, scale = np.arange(1, dim + 1) / 4, np.arange(1, dim + 1) / 2
    order = 4 if rule == "sparse" else None
    mu = GaussianMeasure(dim, mean=mean, scale=scale, rule=rule, order=order)
    powers = [p for p in itertools.product(range(8), repeat=dim) if sum(p) <= 7]
    table = np.array(powers)
    values = mu.integrate(lambda x: jnp.prod(x**table, axis=1))
    exact = [math.prod(map(gaussian_moment, p, mean, scale)) for p in powers]
    np.testing.assert_allclose(values, exact, rtol=2e-11, atol=1e-12)


def test_sparse_rule_in_six_dimensions():
    mu = GaussianMeasure(6, rule="sparse", order=4)
    assert float(mu.mass) == 1.0

    def monomials(x):
        return jnp.array([1.0, x[0] ** 2, x[1] ** 4 * x[5] ** 2, x[0] ** 2 * x[2] ** 2 * x[4] ** 2,
                          x[3] ** 6, x[0] * x[1], (x @ x) ** 3])  # fmt: skip

    chi_squared = 6 * 8 * 10  # E |x|^6 in six dimensions
    exact = [1, 1, 3, 1, 15, 0, chi_squared]
    np.testing.assert_allclose(mu.integrate(monomials), exact, atol=1e-10)
    assert abs(mu.integrate(lambda x: x[0] ** 8) - 105) > 1  # degree 8 is past 2 * 4 - 1


def test_trapezoid_beats_gauss_hermite_for_tanh():
    def f(x):
        return jnp.tanh(2 * x[0]) ** 2

    truth = GaussianMeasure(rule="trapezoid", order=1001).integrate(f)
    assert abs(GaussianMeasure(rule="trapezoid", order=256).integrate(f) - truth) < 1e-15
    assert abs(GaussianMeasure(order=256, rule="hermite").integrate(f) - truth) > 1e-11
    assert abs(GaussianMeasure(order=2000, rule="hermite").integrate(f) - truth) < 1e-13


def test_sobol_is_the_default_past_three_dimensions():
    def f(x):
        return jnp.cos(x @ jnp.ones(5) / 2)

    exact = math.exp(-5 / 8)
    values = np.array([GaussianMeasure(5, seed=s).integrate(f) for s in range(12)])
    assert GaussianMeasure(5).rule == "sobol"
    np.testing.assert_array_equal(values[0], GaussianMeasure(5, seed=0).integrate(f))
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert abs(values.mean() - exact) < 4 * error
    assert values.std() < 0.2 * math.sqrt(0.5 / 4096)  # far below plain Monte Carlo


def test_gauss_legendre_is_exact_to_degree_2_order_minus_1_and_no_further():
    mu = IntervalMeasure(-1, 3, order=4)
    for k in range(8):
        exact = (3 ** (k + 1) - (-1) ** (k + 1)) / (4 * (k + 1))
        np.testing.assert_allclose(mu.integrate(lambda x, k=k: x[0] ** k), exact, rtol=1e-13)
    assert abs(mu.integrate(lambda x: x[0] ** 8) / ((3**9 + 1) / 36) - 1) > 1e-4


def test_circle_rule_is_exact_below_its_order_and_no_further():
    mu = CircleMeasure(order=8)
    ks = np.arange(1, 9)
    waves = mu.integrate(lambda x: jnp.exp(1j * ks * x[0]))
    np.testing.assert_allclose(waves, [0] * 7 + [1], atol=1e-14)


def test_cube_is_exact():
    mu = CubeMeasure(4)
    points, weights = mu.nodes()
    assert points.shape == (16, 4) and len({tuple(p) for p in np.asarray(points)}) == 16
    np.testing.assert_allclose(mu.integrate(lambda x: jnp.outer(x, x)), np.eye(4), atol=1e-15)
    np.testing.assert_allclose(mu.integrate(lambda x: jnp.abs(x.sum())), 1.5)
    assert weights.sum() == 1


def test_weights_by_a_density():
    mu = GaussianMeasure(rule="trapezoid")
    tilted = mu.weighted(lambda x: jnp.exp(0.5 * x[0]))
    np.testing.assert_allclose(tilted.mass, math.exp(1 / 8), rtol=1e-13)
    np.testing.assert_allclose(tilted.normalized().integrate(lambda x: x), [0.5], rtol=1e-12)
    np.testing.assert_allclose(tilted.estimate(lambda x: x, key), tilted.integrate(lambda x: x))


def test_integrands_may_be_pytrees_and_data_too():
    x, y = np.arange(6.0).reshape(3, 2), np.array([0, 2, 1])
    mu = Empirical({"x": x, "y": y})
    out = mu.integrate(lambda z: (z["x"], {"hit": z["y"] == 2, "one": 1}))
    np.testing.assert_allclose(out[0], x.sum(0))
    assert out[1]["hit"] == 1 and out[1]["one"] == 3
    assert mu.datum["y"].shape == () and jnp.issubdtype(mu.datum["y"].dtype, jnp.integer)
    both = mu + 2 * Empirical({"x": x, "y": y})
    np.testing.assert_allclose(both.integrate(lambda z: z["x"]), 3 * x.sum(0))


# --- random: samples and minibatches --------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "mu",
    [
        GaussianMeasure(2, mean=[1.0, -1.0], scale=[0.5, 2.0]),
        IntervalMeasure(1, 4),
        CircleMeasure(),
        CubeMeasure(20),
        Empirical(np.array([[0.0], [1.0], [5.0]]), weights=[1.0, 2.0, 3.0]),
        3 * Empirical(np.array([[0.0], [1.0]])) + 2 * IntervalMeasure(2, 3),
        IntervalMeasure(0, 1).weighted(lambda x: x[0]),
        Subsampled(Empirical(np.array([[0.0], [1.0], [5.0]])), 2) * 0.3,
    ],
    ids=lambda mu: type(mu).__name__,
)
def test_samples_have_the_moments_of_the_measure(mu):
    n = 20_000
    draws = np.asarray(mu.sample(key, n))
    assert draws.shape == (n, mu.dim) and draws.dtype == mu.datum.dtype
    values = np.stack([draws, draws**2, np.cos(draws)])
    if mu.dim == 20:
        exact = np.broadcast_to([[0.0], [1.0], [math.cos(1)]], (3, 20))
    else:
        exact = mu.normalized().integrate(lambda x: jnp.stack([x, x**2, jnp.cos(x)]))
    error = values.std(axis=1) / math.sqrt(n) + 1e-12
    assert np.all(np.abs(values.mean(axis=1) - exact) < 4.5 * error)


@few
@given(measures(), st.integers(0, 9))
def test_estimates_without_minibatches_are_the_integral(mu, seed):
    if not isinstance(mu, Subsampled):
        value = (2 * mu + mu).estimate(probes, jax.random.key(seed))
        np.testing.assert_allclose(value, 3 * mu.integrate(probes), atol=1e-12)


@pytest.mark.parametrize(("n", "batch"), [(7, 3), (120, 40)])
def test_minibatch_estimates_are_unbiased_with_the_variance_of_distinct_draws(n, batch):
    data = np.linspace(0.0, 1.0, n)[:, None] ** 3
    weights = 1 + np.arange(n) % 3
    mu = Subsampled(Empirical(data, weights=weights), batch)
    keys = jax.random.split(key, 20_000)
    values = np.asarray(jax.jit(jax.vmap(lambda k: mu.estimate(lambda x: x[0], k)))(keys))
    terms = weights * data[:, 0]
    variance = n**2 / batch * (1 - batch / n) * terms.var(ddof=1)
    assert abs(values.mean() - terms.sum()) < 4 * math.sqrt(variance / len(keys))
    # relative sd of a sample variance is about sqrt(2/20000) = 1%
    np.testing.assert_allclose(values.var(), variance, rtol=0.05)


def test_minibatches_average_over_all_subsets_to_the_integral():
    n, batch = 4, 2
    mu = Subsampled(Empirical(np.array([[1.0], [10.0], [100.0], [1000.0]])), batch)
    found = {}
    for k in jax.random.split(key, 60):
        points, weights = mu.batch(k)
        assert list(weights) == [n / batch] * batch
        found[tuple(sorted(np.asarray(points)[:, 0]))] = float(mu.estimate(lambda x: x[0], k))
    assert len(found) == math.comb(n, batch)
    np.testing.assert_allclose(np.mean(list(found.values())), 1111.0)


@pytest.mark.parametrize(("n", "batch"), [(64, 64), (1025, 200), (101, 90)])
def test_batches_hold_distinct_data_and_each_datum_as_often(n, batch):
    mu = Subsampled(Empirical(np.arange(n)[:, None]), batch)
    draw = jax.jit(jax.vmap(lambda k: mu.batch(k)[0][:, 0]))
    batches = np.asarray(draw(jax.random.split(key, 300)))
    assert all(len(set(b)) == batch for b in batches)
    assert batches.min() >= 0 and batches.max() < n
    counts = np.bincount(batches.ravel(), minlength=n)
    expected = 300 * batch / n
    spread = expected * (1 - batch / n) * n  # mean of a chi-squared with about n degrees
    assert abs(((counts - expected) ** 2).sum() - spread) <= 6 * spread * math.sqrt(2 / n)


def test_every_chain_has_its_own_batch():
    mu = Subsampled(Empirical(np.random.default_rng(0).normal(size=(120, 1))), 40)
    sums = jax.vmap(lambda k: (2 * mu + mu).estimate(lambda x: x[0], k))(jax.random.split(key, 8))
    assert len(np.unique(sums)) == 8
    again = (2 * mu + mu).estimate(lambda x: x[0], jax.random.split(key, 8)[3])
    np.testing.assert_allclose(again, sums[3], rtol=1e-12)


# --- derivatives, tracing, dtypes -----------------------------------------------------------------


@few
@given(measures(), measures())
def test_derivative_along_a_change_of_measure(mu, nu):
    def moved(h):
        return jnp.log((mu + h * (nu - mu)).integrate(lambda x: jnp.exp(x[0])))

    start = mu.integrate(lambda x: jnp.exp(x[0]))
    exact = (nu.integrate(lambda x: jnp.exp(x[0])) - start) / start
    np.testing.assert_allclose(jax.grad(moved)(0.0), exact, atol=1e-12, rtol=1e-10)


def test_derivatives_reach_means_scales_and_weights():
    second = jax.grad(lambda s: GaussianMeasure(scale=s).integrate(lambda x: x[0] ** 4))
    np.testing.assert_allclose(second(0.7), 12 * 0.7**3, rtol=1e-12)
    data = np.arange(3.0)[:, None]
    influence = jax.grad(lambda w: Empirical(data, weights=w).integrate(lambda x: x[0] ** 2))
    np.testing.assert_allclose(influence(jnp.ones(3)), [0, 1, 4])


def test_new_numbers_do_not_retrace():
    traces = []

    @eqx.filter_jit
    def energy(measure, k):
        traces.append(1)
        return measure.estimate(lambda z: jnp.tanh(z[0]), k)

    rng = np.random.default_rng(0)
    for i in range(3):
        data = Empirical(rng.normal(size=(20, 1)), weights=rng.uniform(size=20))
        other = GaussianMeasure(mean=float(i), scale=1.0 + i, order=8)
        energy(Subsampled(data, 5) + (1.0 + i) * other - IntervalMeasure(0, 1.0 + i), key)
    assert len(traces) == 1


def test_dtype_follows_the_switch():
    with jax.enable_x64(False):
        kinds = [GaussianMeasure(2), IntervalMeasure(), CircleMeasure(), CubeMeasure(2)]
        for mu in [*kinds, Empirical(np.ones((3, 1)))]:
            points, weights = (2 * mu).nodes()
            assert points.dtype == weights.dtype == jnp.float32
            assert mu.sample(key, 2).dtype == mu.datum.dtype == jnp.float32
            np.testing.assert_allclose(mu.normalized().mass, 1.0, rtol=1e-6)
        np.testing.assert_allclose(
            GaussianMeasure(1).integrate(lambda x: x[0] ** 2), 1.0, rtol=1e-5
        )
    assert GaussianMeasure().nodes()[0].dtype == jnp.float64


# --- wrong declarations ---------------------------------------------------------------------------

ones = np.ones((4, 2))
signed = GaussianMeasure() - 0.5 * GaussianMeasure(scale=2.0)

wrong = {
    "dim": lambda: GaussianMeasure(0),
    "dim float": lambda: GaussianMeasure(1.5),
    "scale zero": lambda: GaussianMeasure(scale=0.0),
    "scale negative": lambda: GaussianMeasure(2, scale=[1.0, -1.0]),
    "scale nan": lambda: GaussianMeasure(scale=float("nan")),
    "mean inf": lambda: GaussianMeasure(mean=float("inf")),
    "mean shape": lambda: GaussianMeasure(2, mean=[0.0, 0.0, 0.0]),
    "scale shape": lambda: GaussianMeasure(2, scale=np.eye(2)),
    "order": lambda: GaussianMeasure(order=0),
    "rule": lambda: GaussianMeasure(rule="simpson"),
    "rule in high dimension": lambda: GaussianMeasure(4, rule="hermite"),
    "sobol order": lambda: GaussianMeasure(4, order=1000),
    "ends": lambda: IntervalMeasure(1, 1),
    "ends swapped": lambda: IntervalMeasure(2, 1),
    "ends nan": lambda: IntervalMeasure(0, float("nan")),
    "ends vectors": lambda: IntervalMeasure([0.0, 0.0], [1.0, 1.0]),
    "interval order": lambda: IntervalMeasure(order=0),
    "circle order": lambda: CircleMeasure(order=-3),
    "cube dim": lambda: CubeMeasure(0),
    "large cube": lambda: CubeMeasure(17).integrate(lambda x: x[0]),
    "no data": lambda: Empirical(np.ones((0, 2))),
    "no leaves": lambda: Empirical(()),
    "scalar datum": lambda: Empirical(3.0),
    "text": lambda: Empirical(np.array(["a", "b"])),
    "nan": lambda: Empirical(np.array([[1.0], [np.nan]])),
    "inf": lambda: Empirical((ones, np.array([1.0, 2.0, np.inf, 4.0]))),
    "lengths": lambda: Empirical((ones, np.ones(3))),
    "weights length": lambda: Empirical(ones, weights=np.ones(3)),
    "weights nan": lambda: Empirical(ones, weights=[1.0, 1.0, np.nan, 1.0]),
    "batch zero": lambda: Subsampled(Empirical(ones), 0),
    "batch large": lambda: Subsampled(Empirical(ones), 5),
    "not empirical": lambda: Subsampled(GaussianMeasure(), 5),
    "sum of kinds": lambda: GaussianMeasure(1) + GaussianMeasure(2),
    "sum of structures": lambda: Empirical(ones) + Empirical((ones, ones)),
    "factor vector": lambda: np.ones(2) * GaussianMeasure(),
    "factor nan": lambda: GaussianMeasure() * float("nan"),
    "factor text": lambda: GaussianMeasure() * "2",
    "divide by zero": lambda: GaussianMeasure() / 0.0,
    "normalise nothing": lambda: (GaussianMeasure() - GaussianMeasure()).normalized(),
    "sample signed": lambda: signed.sample(key, 2),
    "sample negative": lambda: (-1.0 * CircleMeasure()).sample(key, 2),
    "sample negative weights": lambda: Empirical(ones, weights=[1.0, -1.0, 1.0, 1.0]).sample(
        key, 2
    ),
    "negative density": lambda: IntervalMeasure().weighted(lambda x: x[0]).sample(key, 2),
    "vector density": lambda: IntervalMeasure().weighted(lambda x: x).nodes(),
    "basis of data": lambda: Empirical(ones).basis(),
    "basis of a sum": lambda: (GaussianMeasure() + GaussianMeasure()).basis(),
    "dim of pairs": lambda: Empirical((ones, ones)).dim,
}


@pytest.mark.parametrize("name", wrong)
def test_wrong_declarations_say_how_to_mend_them(name):
    with pytest.raises(DeclarationError) as caught:
        wrong[name]()
    assert caught.value.argument and caught.value.got and caught.value.mend


def test_values_are_not_checked_while_traced():
    total = jax.jit(lambda x: Empirical(x).integrate(lambda z: z[0]))
    assert jnp.isnan(total(jnp.array([[1.0], [jnp.nan]])))


def test_a_measure_times_a_measure_is_a_type_error():
    with pytest.raises(TypeError):
        GaussianMeasure() * GaussianMeasure()
    with pytest.raises(TypeError):
        GaussianMeasure() + 1.0


@pytest.mark.slow
@pytest.mark.parametrize("n", [2 * MANY, 2 * MANY + 3])
def test_many_data_are_summed_piece_by_piece(n):
    x = jax.random.normal(jax.random.key(0), (n, 2))
    weights = jnp.stack([jnp.arange(n) / n, jnp.ones(n)])

    def pieces(a):
        return integrate_nodes(
            lambda z: {"sine": jnp.sin(a * z), "one": z[0]}, x, weights, memory=2**20
        )

    def whole(a):
        return {"sine": weights @ jnp.sin(a * x), "one": weights @ x[:, 0]}

    for ours, exact in ((pieces, whole), (jax.jacobian(pieces), jax.jacobian(whole))):
        found, truth = ours(1.3), exact(1.3)
        for name in truth:
            np.testing.assert_allclose(found[name], truth[name], rtol=1e-9, atol=1e-8)


@pytest.mark.slow
def test_the_memory_of_an_energy_does_not_grow_with_the_data():
    net = bx.models.MLP((1, 64, 64, 1), key=jax.random.key(0))

    def memory(n):
        energy = bx.SquaredError(net, bx.Empirical((jnp.ones((n, 1)), jnp.ones(n))))
        gibbs = bx.compile(energy, bx.Normal(), integral="declared", marginalise=False)
        gradient = eqx.filter_jit(lambda gibbs, w: jax.grad(gibbs.log_prob)(w))
        compiled = gradient.lower(gibbs, gibbs.position()).compile().compiled
        return compiled.memory_analysis().temp_size_in_bytes

    # of 64 numbers a datum and layer, what remains is what a datum itself is
    assert memory(8 * MANY) - memory(2 * MANY) < 6 * MANY * 8 * 8
