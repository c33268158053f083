"""Linear response against exact derivatives, from exact draws put into a trace by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.observe._comoments import plan
from boltzax.sample import Trace

DATA, DIM, BETA, NOISE = 6, 2, 1.5, 0.7
X = jax.random.normal(jax.random.key(1), (DATA, DIM))
Y = X @ jnp.array([1.0, -0.5]) + NOISE * jax.random.normal(jax.random.key(2), (DATA,))
NET = bx.models.Function(lambda w, x: w @ x, jnp.zeros(DIM))
ENERGY = bx.SquaredError(NET, bx.Empirical((X, Y))) * NOISE**-2
GIBBS = bx.compile(ENERGY, bx.Normal(), beta=BETA, marginalise=False)
REPEATS = 40
LENGTH = {0.0: 1000, 0.8: 4000}
"""Draws of a chain by its autocorrelation: some thousands effective, products being skewed."""


def posterior(weights, y=Y):
    """Mean and covariance of the regression's weights, each datum counted `weights` times."""
    counts = BETA * weights / NOISE**2
    covariance = jnp.linalg.inv(jnp.eye(DIM) + X.T @ (counts[:, None] * X))
    return covariance @ X.T @ (counts * y), covariance


def mean_losses(weights):
    """`⟨ℓ_i⟩`, in closed form."""
    mean, covariance = posterior(weights)
    spread = jnp.einsum("nd,de,ne->n", X, covariance, X)
    return 0.5 * ((X @ mean - Y) ** 2 + spread) / NOISE**2


def trace_of(gibbs, w) -> Trace:
    """A trace from draws `[*beta, chain, draw, ...]` by path."""
    zero = jnp.zeros(jax.tree.leaves(w)[0].shape[: gibbs.beta.ndim + 2])
    return Trace(gibbs, zero, zero, zero, zero.astype(bool), w, bx.Status.successful)


def regression(seed, autocorrelation=0.0, draws=1000, chains=4) -> Trace:
    """Stationary chains of the exact posterior, AR(1) of the given autocorrelation."""
    mean, covariance = posterior(jnp.ones(DATA))
    noise = jax.random.normal(jax.random.key(seed), (draws, chains, DIM))

    def step(u, each):
        u = autocorrelation * u + jnp.sqrt(1 - autocorrelation**2) * each
        return u, u

    _, u = jax.lax.scan(step, noise[0], noise.at[0].set(0.0) if autocorrelation else noise)
    w = mean + jnp.moveaxis(u, 0, 1) @ jnp.linalg.cholesky(covariance).T
    return trace_of(GIBBS, {"params": w})


def assert_honest(scores):
    """z-scores `[repeat, ...]` of mean 0 and root mean square 1.

    False alarms: 7e-6 an entry for the mean (4.5 s.e.). For the mean square, pooled, four standard
    deviations if the entries are worth five independent ones: 1e-4.
    """
    scores = np.asarray(scores).reshape(len(scores), -1)
    assert np.all(np.abs(scores.mean(axis=0)) < 4.5 / np.sqrt(len(scores)))
    assert 0.8 < np.sqrt(np.mean(scores**2)) < 1.27


@pytest.mark.slow
@pytest.mark.parametrize("autocorrelation", [0.0, 0.8])
def test_influence_is_the_exact_derivative_and_its_errors_are_honest(autocorrelation):
    exact = jax.jacobian(mean_losses)(jnp.ones(DATA))
    runs = [regression(seed, autocorrelation, LENGTH[autocorrelation]) for seed in range(REPEATS)]
    estimates = [bx.influence(run, ENERGY) for run in runs]
    assert_honest([estimate.z_score(exact) for estimate in estimates])
    # the ess of a product of two AR(1) series is (1 - ρ²)/(1 + ρ²) of the draws
    lowered = (1 - autocorrelation**2) / (1 + autocorrelation**2)
    typical = np.median([estimate.ess for estimate in estimates])
    assert 0.7 * lowered < typical / (4 * LENGTH[autocorrelation]) < 1.4 * lowered
    assert np.max([estimate.r_hat for estimate in estimates]) < 1.05


@pytest.mark.slow
@pytest.mark.parametrize("autocorrelation", [0.0, 0.8])
def test_correlations_are_exact_and_their_errors_honest(autocorrelation):
    covariance = -jax.jacobian(mean_losses)(jnp.ones(DATA)) / BETA
    scale = jnp.sqrt(jnp.diagonal(covariance))
    exact = -covariance / scale / scale[:, None]
    draws = LENGTH[autocorrelation]
    runs = [regression(100 + seed, autocorrelation, draws) for seed in range(REPEATS)]
    estimates = [bx.influence(run, ENERGY, normalised=True) for run in runs]
    above = np.triu_indices(DATA, 1)
    assert_honest([estimate.z_score(exact)[above] for estimate in estimates])
    np.testing.assert_allclose(np.diagonal(estimates[0].value), -1.0)
    assert np.all(np.diagonal(estimates[0].standard_error) < 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("autocorrelation", [0.0, 0.8])
def test_susceptibility_is_the_derivative_along_a_measure(autocorrelation):
    """`d⟨A⟩/dh` for data `mu + h (nu - mu)`, A a pytree, by differentiating the closed form."""
    mu = ENERGY.energy.measure
    heavier = jnp.array([2.0, 1.0, 0.0, 1.0, 0.5, 1.0])
    nu = bx.Empirical((X, Y), weights=heavier)
    moved = bx.SquaredError(NET, nu - mu) * NOISE**-2

    def moments(h):
        mean, covariance = posterior(1 + h * (heavier - 1))
        return {"mean": mean, "square": covariance + jnp.outer(mean, mean)}

    exact = jax.jacobian(moments)(0.0)

    def observable(model):
        return {"mean": model.params, "square": jnp.outer(model.params, model.params)}

    # as many runs as there are betas, which are equal
    draws = LENGTH[autocorrelation]
    runs = [regression(s, autocorrelation, draws).w["params"] for s in range(REPEATS)]
    many = eqx.tree_at(lambda g: g.beta, GIBBS, jnp.full(REPEATS, BETA))
    found = bx.susceptibility(trace_of(many, {"params": jnp.stack(runs)}), observable, moved)
    assert_honest(found["mean"].z_score(exact["mean"]))
    assert_honest(found["square"].z_score(exact["square"])[:, *np.triu_indices(DIM)])


@pytest.mark.slow
def test_prediction_follows_the_labels():
    """`d⟨f(x)⟩/dy_j = β Cov(f(x), f(x_j))/s²`, against the derivative of the exact mean."""
    places = jnp.array([[0.3, -1.0], [2.0, 0.1], [-0.5, 0.5]])
    exact = jax.jacobian(lambda y: places @ posterior(jnp.ones(DATA), y)[0])(Y)
    slope = bx.PerDatum(NET, bx.Empirical(X), lambda model, x: -model(x)) * NOISE**-2
    found = bx.influence(regression(7, draws=20_000), slope, lambda model: jax.vmap(model)(places))
    assert found.shape == (3, DATA)
    assert np.all(np.abs(found.z_score(exact)) < 4.5)
    assert np.all(found.standard_error < 0.05 * np.max(np.abs(exact)))


@pytest.mark.slow
def test_response_is_that_of_posteriors_run_anew():
    """One nonlinear weight: differences of exact posteriors at ±h, by a sum over a grid."""
    net = bx.models.Function(lambda w, x: jnp.tanh(w * x[0]) + 0.1 * w**2, jnp.zeros(()))
    x = jnp.linspace(-1, 2, 5)[:, None]
    y = jnp.array([-0.5, 0.2, 0.1, 0.9, 0.4])
    mu, nu = bx.Empirical((x, y)), bx.Empirical((x[:2] + 0.4, y[3:]))
    grid = jnp.linspace(-8, 8, 8001)

    def probabilities(h):
        energy = bx.SquaredError(net, mu + h * (nu - mu))
        energies = jax.vmap(lambda w: energy.value(bx.models.Function(net.fn, w)))(grid)
        return jax.nn.softmax(-3.0 * energies - 0.5 * grid**2)

    exact = (probabilities(1e-4) - probabilities(-1e-4)) @ jnp.sin(grid) / 2e-4
    gibbs = bx.compile(bx.SquaredError(net, mu), bx.Normal(), beta=3.0, marginalise=False)
    u = jax.random.uniform(jax.random.key(0), (4, 4000))
    w = jnp.interp(u, jnp.cumsum(probabilities(0.0)), grid + 0.5 * (grid[1] - grid[0]))
    trace = trace_of(gibbs, {"params": w})
    moved = bx.SquaredError(net, nu - mu)
    found = bx.susceptibility(trace, lambda model: jnp.sin(model.params), moved)
    assert abs(found.z_score(exact)) < 4.5
    assert abs(float(found.value)) > 8 * float(found.standard_error)


@pytest.mark.slow
def test_integrated_out_weights_respond_too():
    """`a tanh(b x)`, a integrated out: exact sums over a grid of (a, b), exact draws of b."""
    net = bx.models.TwoLayer(1, activation=jnp.tanh)
    x = jnp.linspace(-1, 2, 5)[:, None]
    energy = bx.SquaredError(net, bx.Empirical((x, jnp.array([-0.5, 0.2, 0.1, 0.9, 0.4]))))
    gibbs = bx.compile(energy, bx.Normal(), beta=4.0)
    assert "integrated out in closed form" in repr(gibbs)
    (path,) = gibbs.position()
    shape = gibbs.position()[path].shape
    grid = jnp.linspace(-6, 6, 2001)
    log_p = jax.vmap(lambda b: gibbs.log_prob({path: jnp.full(shape, b)}))(grid)
    below = jnp.cumsum(jax.nn.softmax(log_p))
    u = jax.random.uniform(jax.random.key(3), (4, 2000))
    w = jnp.interp(u, below, grid + 0.5 * (grid[1] - grid[0])).reshape(4, 2000, *shape)
    trace = trace_of(gibbs, {path: w})

    plain = bx.compile(energy, bx.Normal(), beta=4.0, marginalise=False)
    at = jax.tree.map(jnp.shape, plain.position())
    a, b = jnp.meshgrid(jnp.linspace(-5, 5, 401), jnp.linspace(-6, 6, 401))
    flat = {p: (b if p == path else a).reshape(-1, *s) for p, s in at.items()}
    log_p = jax.vmap(plain.log_prob)(flat)
    p = jnp.exp(log_p - jax.nn.logsumexp(log_p))
    losses = jax.vmap(
        lambda w: jax.vmap(lambda z: energy.loss(plain.model(w), z))(energy.measure.data)
    )(flat)
    centred = losses - p @ losses
    exact = -4.0 * centred.T @ (p[:, None] * centred)

    found = bx.influence(trace, energy, key=jax.random.key(1))
    assert np.all(np.abs(found.z_score(exact)) < 4.5)
    assert np.all(np.diagonal(np.abs(found.value)) > 8 * np.diagonal(found.standard_error))
    # the same draws of the same weights in the other verb
    whole = bx.susceptibility(trace, energy, energy, key=jax.random.key(1))
    np.testing.assert_allclose(found.value.sum(), whole.value, rtol=1e-9)


FEW = regression(0, 0.5, draws=45, chains=3)


@settings(max_examples=6)
@given(st.floats(-3, 3), st.floats(-3, 3))
def test_linear_in_the_perturbation(a, b):
    first = bx.SquaredError(NET, bx.Empirical((X[:2], Y[:2])))
    second = bx.PerDatum(NET, bx.Empirical(X), lambda model, x: jnp.sin(model(x)))

    def response(perturbation):
        return bx.susceptibility(FEW, lambda model: model.params, perturbation).value

    both = response(a * first + b * second)
    np.testing.assert_allclose(both, a * response(first) + b * response(second), atol=1e-12)


def test_a_constant_changes_nothing_not_even_the_error():
    shifted = ENERGY + bx.PerDatum(NET, bx.Empirical(X), lambda model, x: jnp.array(30.0))
    lifted = bx.PerDatum(
        NET, ENERGY.energy.measure, lambda model, z: 30.0 + 0.5 * (model(z[0]) - z[1]) ** 2
    )
    bare = bx.SquaredError(NET, ENERGY.energy.measure)
    for found, expected in (
        (bx.susceptibility(FEW, ENERGY, shifted), bx.susceptibility(FEW, ENERGY, ENERGY)),
        (bx.susceptibility(FEW, shifted, ENERGY), bx.susceptibility(FEW, ENERGY, ENERGY)),
        (bx.influence(FEW, lifted), bx.influence(FEW, bare)),
    ):
        np.testing.assert_allclose(found.value, expected.value, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(
            found.standard_error, expected.standard_error, rtol=1e-8, atol=1e-10
        )


@pytest.mark.slow
@settings(max_examples=8)
@given(st.integers(1, 7), st.integers(1, 50), st.booleans())
def test_batches_change_nothing(batch_size, chunk, normalised):
    whole = bx.influence(FEW, ENERGY, normalised=normalised)
    parts = bx.influence(FEW, ENERGY, batch_size=batch_size, chunk=chunk, normalised=normalised)
    # float64 round-off of sums in another order, and the square roots of its differences
    for name in ("value", "standard_error", "r_hat"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-7)
    np.testing.assert_allclose(parts.value, parts.value.T, atol=1e-12)
    assert not normalised or np.all(np.abs(parts.value) <= 1 + 1e-12)


@pytest.mark.slow
@settings(max_examples=8)
@given(st.lists(st.floats(0.1, 3), min_size=DATA, max_size=DATA), st.floats(0.2, 2))
def test_rows_sum_to_the_response_to_the_whole_energy(weights, factor):
    """`Σ_j μ_j ∂⟨ℓ_i⟩/∂μ_j = -β Cov(ℓ_i, E)`, whatever the weights and the factor."""
    energy = bx.SquaredError(NET, bx.Empirical((X, Y), weights=weights)) * factor
    matrix = bx.influence(FEW, energy)
    total = bx.influence(FEW, energy, total=True)
    np.testing.assert_allclose(matrix.value @ jnp.asarray(weights), total.value, atol=1e-9)
    direct = bx.susceptibility(
        FEW, lambda model: factor * jax.vmap(lambda x, y: 0.5 * (model(x) - y) ** 2)(X, Y), energy
    )
    np.testing.assert_allclose(total.value, direct.value, atol=1e-9)


@pytest.mark.slow
def test_data_of_several_terms_and_queries_elsewhere():
    """Columns in the order of the terms, factors in the losses; a query is its own data."""
    halves = 2.0 * bx.SquaredError(NET, bx.Empirical((X[:2], Y[:2]))) + bx.SquaredError(
        NET, bx.Empirical((X[2:], Y[2:]))
    )
    plain = bx.SquaredError(NET, bx.Empirical((X, Y)))
    factors = jnp.array([2.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    expected = bx.influence(FEW, plain).value
    np.testing.assert_allclose(
        bx.influence(FEW, halves).value, expected * factors * factors[:, None], atol=1e-12
    )
    away = bx.SquaredError(NET, bx.Empirical((X[1:3], Y[1:3])))
    np.testing.assert_allclose(
        bx.influence(FEW, plain, away, batch_size=4).value, expected[1:3], atol=1e-12
    )
    tree = bx.influence(FEW, plain, lambda model: {"w": model.params, "f": model(X[0])})
    assert tree["w"].shape == (DIM, DATA) and tree["f"].shape == (DATA,)
    np.testing.assert_allclose(X[0] @ tree["w"].value, tree["f"].value, atol=1e-12)


@pytest.mark.slow
def test_several_betas_are_so_many_runs():
    betas = jnp.array([0.5, 2.0])
    w = jnp.stack([FEW.w["params"], 2 * FEW.w["params"]])
    ladder = trace_of(eqx.tree_at(lambda g: g.beta, GIBBS, betas), {"params": w})
    found = bx.influence(ladder, ENERGY), bx.susceptibility(ladder, ENERGY, ENERGY)
    scalar = bx.influence(ladder, ENERGY, lambda model: model(X[0]), total=True)
    assert scalar.shape == (2,)
    for i, beta in enumerate(betas):
        one = trace_of(eqx.tree_at(lambda g: g.beta, GIBBS, beta), {"params": w[i]})
        for estimate, single in zip(
            found, (bx.influence(one, ENERGY), bx.susceptibility(one, ENERGY, ENERGY)), strict=True
        ):
            np.testing.assert_allclose(estimate[i].value, single.value, atol=1e-12)
            np.testing.assert_allclose(estimate[i].standard_error, single.standard_error)


@pytest.mark.slow
def test_a_chain_that_failed_fails_the_estimate():
    w = FEW.w["params"].at[1, 7].set(jnp.nan)
    broken = trace_of(GIBBS, {"params": w})
    for estimate in (
        bx.influence(broken, ENERGY),
        bx.influence(broken, ENERGY, normalised=True),
        bx.influence(broken, ENERGY, total=True, batch_size=2, chunk=3),
        bx.susceptibility(broken, ENERGY, ENERGY),
    ):
        assert np.all(np.isnan(estimate.value)) and np.all(np.isnan(estimate.standard_error))
        assert np.all(estimate.ess == 0) and np.all(np.isinf(estimate.r_hat))


def test_a_chain_apart_from_the_others_shows_in_r_hat_and_the_error():
    apart = trace_of(GIBBS, {"params": FEW.w["params"].at[0].add(6.0)})
    found, before = (bx.influence(run, ENERGY) for run in (apart, FEW))
    # all data but the third, whose loss hardly sees the shift
    seen = np.ix_([0, 1, 3, 4, 5], [0, 1, 3, 4, 5])
    assert np.all(found.r_hat[seen] > 1.5) and np.all(before.r_hat < 1.2)
    # centred squares of the three chains go as 4, 1, 1: as many draws, with mean 2 and sd √3
    error = np.abs(found.standard_error / found.value)[seen]
    assert np.all(error > 0.5 * (np.sqrt(3) / 2) / np.sqrt(3))


@pytest.mark.parametrize("normalised", [False, True])
def test_ess_is_the_variance_of_the_products_over_the_squared_error(normalised):
    """The streamed variance against that of the series `ab`, or `uv - ρ(u² + v²)/2` as written."""
    losses = FEW.evaluate(lambda model: jax.vmap(lambda x, y: 0.5 * (model(x) - y) ** 2)(X, Y))
    a = np.asarray(losses).reshape(-1, DATA) / NOISE**2
    n, a = len(a), a - a.mean(axis=0)
    if normalised:
        a = a / a.std(axis=0, ddof=1)
    series = a[:, :, None] * a[:, None]
    if normalised:
        rho = series.sum(axis=0) / (n - 1)
        series = series - 0.5 * rho * (a[:, :, None] ** 2 + a[:, None] ** 2)
    found = bx.influence(FEW, ENERGY, normalised=normalised)
    error = np.asarray(found.standard_error) * (n - 1) / n / (1 if normalised else BETA)
    expected = series.var(axis=0, ddof=1)
    inside = (np.asarray(found.ess) < n - 1e-6) & (np.asarray(found.ess) > 1)
    assert inside.sum() > DATA
    np.testing.assert_allclose((found.ess * error**2)[inside], expected[inside], rtol=1e-8)


def test_a_datum_that_says_nothing_has_no_influence():
    energy = bx.SquaredError(NET, bx.Empirical((X.at[2].set(0.0), Y)))
    found = bx.influence(FEW, energy)
    assert np.all(found.value[2] == 0) and np.all(found.standard_error[:, 2] == 0)
    assert np.all(np.isnan(bx.influence(FEW, energy, normalised=True).value[2]))


def test_new_data_do_not_compile_anew():
    calls = []

    def loss(model, z):
        calls.append(None)
        return (model(z[0]) - z[1]) ** 2

    def count(shift):
        before = len(calls)
        bx.influence(FEW, bx.PerDatum(NET, bx.Empirical((X + shift, Y)), loss))
        return len(calls) - before

    assert count(0.0) > 2
    assert count(1.0) == 1  # the check of its shape


@given(st.integers(1, 40), st.integers(4, 300), st.integers(1, 70))
def test_a_plan_has_each_draw_once(chains, draws, chunk):
    made = plan(chains, draws, chunk)
    index, real = np.asarray(made.index), np.asarray(made.real)
    assert sorted(index[real]) == list(range(chains * draws))
    assert index.shape[0] == 2 * chains and index.shape[-1] <= chunk
    lengths = real.sum(axis=(-2, -1))
    assert np.ptp(lengths) <= 1
    # a piece is of one chain
    chain = np.where(real, index // draws, -1).reshape(lengths.size, -1)
    assert all(len(set(row[row >= 0])) == 1 for row in chain)
    assert lengths.size >= min(32, 2 * chains * (draws // 8))


SCALED = bx.SquaredError(
    bx.models.Function(lambda w, x: 100 * (w @ x), jnp.zeros(DIM)), bx.Empirical((X, Y))
)
OTHER = bx.SquaredError(
    bx.models.Function(lambda w, x: w @ x, jnp.zeros(3)), bx.Empirical((jnp.ones((2, 3)), Y[:2]))
)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("perturbation", lambda: bx.susceptibility(FEW, ENERGY, lambda model: 0.0)),
        ("perturbation", lambda: bx.susceptibility(FEW, ENERGY, OTHER)),
        ("perturbation", lambda: bx.susceptibility(FEW, ENERGY, bx.Localisation(NET, 1.0))),
        ("observable", lambda: bx.susceptibility(FEW, 3.0, ENERGY)),
        ("observable", lambda: bx.susceptibility(FEW, lambda model: (), ENERGY)),
        ("observable", lambda: bx.susceptibility(FEW, OTHER, ENERGY)),
        ("observable", lambda: bx.susceptibility(FEW, lambda model: 1 / 0, ENERGY)),
        ("query", lambda: bx.influence(FEW, ENERGY, lambda model: 1 / 0)),
        (
            "energy",
            lambda: bx.influence(FEW, bx.PerDatum(NET, bx.Empirical(X), lambda m, x: 1 / 0)),
        ),
        ("fn", lambda: FEW.mean(lambda model: len(model))),
        ("fn", lambda: FEW.ensemble.map(lambda model: 1 / 0)),
        (
            "fn",
            lambda: bx.sample(
                GIBBS, key=jax.random.key(0), draws=8, reduce={"a": bx.Mean(lambda model: 1 / 0, 2)}
            ),
        ),
        ("energy", lambda: bx.influence(FEW, X)),
        ("energy", lambda: bx.influence(FEW, OTHER)),
        ("energy", lambda: bx.influence(FEW, SCALED)),
        (
            "energy",
            lambda: bx.influence(FEW, bx.PerDatum(NET, bx.Empirical(X), lambda m, x: x * m(x))),
        ),
        ("query", lambda: bx.influence(FEW, ENERGY, X)),
        ("query", lambda: bx.influence(FEW, ENERGY, int)),
        ("query", lambda: bx.influence(FEW, ENERGY, OTHER)),
        ("batch_size", lambda: bx.influence(FEW, ENERGY, batch_size=0)),
        ("chunk", lambda: bx.influence(FEW, ENERGY, chunk=2.5)),
        ("trace", lambda: bx.influence(trace_of(GIBBS, {"params": jnp.zeros((2, 3, 2))}), ENERGY)),
        ("trace", lambda: bx.influence(eqx.tree_at(lambda t: t.w, FEW, None), ENERGY)),
        ("trace", lambda: bx.susceptibility(eqx.tree_at(lambda t: t.w, FEW, None), ENERGY, ENERGY)),
    ],
)
def test_wrong_declarations(argument, call):
    with pytest.raises(bx.DeclarationError) as caught:
        call()
    assert caught.value.argument == argument
