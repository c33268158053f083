"""Response matrices, tokens, classical influence and datamodels against conjugate models."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.sample import Trace

DATA, DIM, TOKENS, BETA, NOISE = 8, 3, 2, 1.5, 0.7
RNG = np.random.default_rng(5)
X = RNG.normal(size=(DATA, TOKENS, DIM))
Y = X @ np.array([1.0, -0.5, 0.3]) + NOISE * RNG.normal(size=(DATA, TOKENS))


def dot(w, x):
    return x @ w


def token_losses(model, datum):
    return 0.5 * (model(datum[0]) - datum[1]) ** 2


def squares(model, datum):
    return jnp.sum(token_losses(model, datum))


def all_tokens(model):
    return jax.vmap(lambda z: token_losses(model, z))((X, Y)) / NOISE**2


NET = bx.models.Function(dot, jnp.array([0.8, -0.4, 0.1]))
ENERGY = bx.PerDatum(NET, bx.Empirical((X, Y)), squares) * NOISE**-2
PRIOR = bx.Normal(0.0, 2.0)
GIBBS = bx.compile(ENERGY, PRIOR, beta=BETA, marginalise=False)
PARTS = {
    "first": bx.Mask({"params": np.array([True, False, False])}),
    "rest": bx.Mask({"params": np.array([False, True, True])}),
    "whole": bx.Mask({"params": np.ones(DIM, bool)}),
}
FLAT_X, FLAT_Y = X.reshape(-1, DIM), Y.reshape(-1)


def posterior(weights, free):
    """Mean and covariance of the free weights, each token counted `weights` times."""
    x, held = FLAT_X[:, free], np.asarray(NET.params) * ~free
    counts = BETA * weights / NOISE**2
    covariance = jnp.linalg.inv(jnp.eye(free.sum()) / 4 + x.T @ (counts[:, None] * x))
    return covariance @ x.T @ (counts * (FLAT_Y - FLAT_X @ held)), covariance


def mean_token_losses(weights, free):
    mean, covariance = posterior(weights, free)
    x, held = FLAT_X[:, free], np.asarray(NET.params) * ~free
    spread = jnp.einsum("nd,de,ne->n", x, covariance, x)
    return 0.5 * ((x @ mean + FLAT_X @ held - FLAT_Y) ** 2 + spread) / NOISE**2


def exact_run(name, seed, draws=1500, chains=4) -> Trace:
    """Independent draws of the posterior of a part."""
    free = np.asarray(PARTS[name].masks["params"])
    mean, covariance = posterior(jnp.ones(DATA * TOKENS), free)
    noise = jax.random.normal(jax.random.key(seed), (chains, draws, int(free.sum())))
    w = mean + noise @ jnp.linalg.cholesky(covariance).T
    gibbs = bx.compile(ENERGY, PRIOR, beta=BETA, chart=PARTS[name], marginalise=False)
    zero = jnp.zeros((chains, draws))
    return Trace(gibbs, zero, zero, zero, zero.astype(bool), {"params": w}, bx.Status.successful)


def exact_responses():
    """`d⟨E⟩/dh` for more weight on one token and as much less on all, in each part."""
    rows = []
    for chart in PARTS.values():
        free = np.asarray(chart.masks["params"])
        ones = jnp.ones(DATA * TOKENS)
        jacobian = jax.jacobian(lambda w, f=free: jnp.sum(mean_token_losses(w, f)))(ones)
        rows.append(jacobian - jnp.mean(jacobian))
    return np.stack(rows)


FEW = {name: exact_run(name, 0, draws=60, chains=2) for name in PARTS}


def test_a_response_matrix_is_the_exact_derivative():
    runs = {name: exact_run(name, i) for i, name in enumerate(PARTS)}
    found = bx.response_matrix(runs, all_tokens)
    assert found.parts == tuple(PARTS) and found.estimate.shape == (3, DATA * TOKENS)
    z = np.asarray(found.estimate.z_score(exact_responses()))
    assert np.all(np.abs(z) < 5) and np.sqrt(np.mean(z**2)) < 2


@pytest.mark.slow
def test_intervals_of_a_response_matrix_cover_the_exact_value_in_95_percent():
    """Entries of one key are dependent: three rows, each of a few independent products."""
    exact, inside = exact_responses(), []
    for seed in range(100):
        runs = {name: exact_run(name, 10 * seed + i) for i, name in enumerate(PARTS)}
        low, high = bx.response_matrix(runs, all_tokens).estimate.interval()
        inside.append((low <= exact) & (exact <= high))
    rows = np.mean(inside, axis=(0, 2))
    # sd of a row's coverage over 100 keys: at most .022 if its tokens were one
    assert np.all(np.abs(rows - 0.95) < 0.05)


def test_a_row_is_the_susceptibility_of_its_run():
    found = bx.response_matrix(FEW, all_tokens, centred=False)
    for i, run in enumerate(FEW.values()):
        each = bx.influence(run, ENERGY, run.gibbs.energy_of, tokens=token_losses)
        np.testing.assert_allclose(found.estimate.value[i], each.value.reshape(-1), rtol=1e-9)
        np.testing.assert_allclose(
            found.estimate.standard_error[i], each.standard_error.reshape(-1), rtol=1e-9
        )


def test_centred_rows_have_mean_zero_and_one_observable_serves_all():
    found = bx.response_matrix(FEW, all_tokens, lambda model: model(X[0])[0])
    np.testing.assert_allclose(found.estimate.value.mean(axis=1), 0, atol=1e-12)
    plain = bx.response_matrix(FEW, all_tokens, lambda model: model(X[0])[0], centred=False)
    moved = plain.estimate.value - plain.estimate.value.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(found.estimate.value, moved, atol=1e-12)


def test_one_token_has_a_response_that_is_not_centred():
    found = bx.response_matrix(FEW, lambda m: jnp.ravel(all_tokens(m))[:1], centred=False)
    whole = bx.response_matrix(FEW, all_tokens, centred=False)
    np.testing.assert_allclose(found.estimate.value, whole.estimate.value[:, :1], rtol=1e-9)


def test_tokens_sum_to_their_datum():
    whole = bx.influence(FEW["whole"], ENERGY)
    parts = bx.influence(FEW["whole"], ENERGY, tokens=token_losses)
    assert parts.shape == (DATA, DATA, TOKENS)
    np.testing.assert_allclose(parts.value.sum(axis=-1), whole.value, rtol=1e-8, atol=1e-10)
    tree = bx.influence(
        FEW["whole"], ENERGY, lambda m: {"w": m.params}, tokens=token_losses, batch_size=3
    )
    assert tree["w"].shape == (DIM, DATA, TOKENS)
    datum = bx.influence(FEW["whole"], ENERGY, lambda m: m.params)
    np.testing.assert_allclose(tree["w"].value.sum(axis=-1), datum.value, rtol=1e-8, atol=1e-10)


def test_terms_with_other_numbers_of_tokens_are_refused_and_padded_ones_pass():
    """Columns `[datum, token]` of two terms are those of each term, padded to the longer."""
    run = FEW["whole"]
    short = bx.PerDatum(NET, bx.Empirical((X[:3, :1], Y[:3, :1])), squares) * 2.0
    both = ENERGY + short
    with pytest.raises(bx.DeclarationError, match=r"\[1, 2\] tokens") as caught:
        bx.influence(run, both, tokens=token_losses)
    assert caught.value.argument == "tokens"

    def padded(model, datum):
        losses = token_losses(model, datum)
        return jnp.pad(losses, (0, TOKENS - len(losses)))

    found = bx.influence(run, both, lambda m: m.params, tokens=padded)
    whole = bx.influence(run, both, lambda m: m.params)
    assert found.shape == (DIM, DATA + 3, TOKENS)
    np.testing.assert_allclose(found.value.sum(axis=-1), whole.value, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(found.value[:, DATA:, 1], 0)


def matrix_of(values) -> bx.ResponseMatrix:
    names = tuple(f"part {i}" for i in range(len(values)))
    return bx.ResponseMatrix(names, bx.Estimate.exact(jnp.asarray(values)))


def test_a_planted_component_is_found_and_noise_has_none():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(6, 300))
    direction = np.array([1.0, -1.0, 1.0, 0.0, 0.0, 0.0])
    planted = matrix_of(noise + direction[:, None] * rng.normal(size=300))
    found = planted.components(key=jax.random.key(0))
    assert found.p_values[0] < 0.01 and found.variances[0] > found.null[0]
    assert abs(float(found.loadings[0] @ direction)) / 3**0.5 > 0.9
    assert np.all(np.asarray(found.p_values[1:]) > 0.01)
    np.testing.assert_allclose(found.variances.sum(), 1)
    np.testing.assert_allclose(found.loadings @ found.loadings.T, np.eye(6), atol=1e-12)


@pytest.mark.slow
def test_p_values_of_noise_are_uniform():
    rng = np.random.default_rng(1)
    values = [
        matrix_of(rng.normal(size=(4, 60))).components(key=jax.random.key(i), permutations=99)
        for i in range(150)
    ]
    first = [float(each.p_values[0]) for each in values]
    assert scipy.stats.kstest(first, "uniform").pvalue > 1e-3


def noisy_matrix(rng, shared, parts=6, tokens=200, pieces=32):
    """Rows of independent noise whose tokens are correlated: nearly all of it in three directions.

    `shared` times one direction is added to every row.
    """
    ways = rng.normal(size=(3, tokens))
    noise = rng.normal(size=(parts, pieces, 3)) @ ways
    noise += 0.3 * rng.normal(size=noise.shape) + shared * rng.normal(size=tokens)
    names = tuple(f"part {i}" for i in range(parts))
    estimate = bx.Estimate.exact(jnp.asarray(noise.mean(axis=1)))
    return bx.ResponseMatrix(names, estimate, tuple(jnp.asarray(each) for each in noise))


def first_p_values(shared, matrices=200, without_pieces=False):
    found = []
    for seed in range(matrices):
        matrix = noisy_matrix(np.random.default_rng(seed), shared)
        if without_pieces:
            matrix = bx.ResponseMatrix(matrix.parts, matrix.estimate)
        some = matrix.components(key=jax.random.key(seed), permutations=99)
        found.append(float(some.p_values[0]))
    return np.array(found)


@pytest.mark.slow
def test_correlated_noise_of_the_draws_makes_no_component():
    """At level 5% and 200 matrices, the number of rejections has mean 10 and sd 3.1."""
    assert np.sum(first_p_values(0.0) <= 0.05) <= 10 + 3 * 3.1
    # permutations alone find a component in noise: the reason for the second null
    assert np.mean(first_p_values(0.0, without_pieces=True) <= 0.05) > 0.9
    assert np.mean(first_p_values(2.0) <= 0.05) > 0.9


def mode(weights):
    """The weights of the highest density, each datum counted `weights` times."""
    counts = jnp.repeat(weights, TOKENS)
    return posterior(counts, np.ones(DIM, bool))[0]


AT_MODE = GIBBS.model({"params": mode(jnp.ones(DATA))})


def test_classical_influence_is_the_derivative_of_the_mode():
    def losses(weights):
        w = mode(weights)
        return jnp.sum(0.5 * (X @ w - Y) ** 2, axis=1) / NOISE**2

    ones = jnp.ones(DATA)
    found = bx.classical_influence(GIBBS, ENERGY, model=AT_MODE, tolerance=1e-10)
    np.testing.assert_allclose(found.value, jax.jacobian(losses)(ones), rtol=1e-6, atol=1e-8)
    assert np.all(found.standard_error < 1e-6)
    weights = bx.classical_influence(GIBBS, ENERGY, lambda m: m.params, model=AT_MODE)
    np.testing.assert_allclose(weights.value, jax.jacobian(mode)(ones), rtol=1e-4, atol=1e-6)


def test_a_solver_that_was_cut_short_says_so():
    exact = jax.jacobian(mode)(jnp.ones(DATA))
    found = bx.classical_influence(GIBBS, ENERGY, lambda m: m.params, model=AT_MODE, max_steps=1)
    assert np.max(np.abs(found.value - exact)) > 1e-4
    assert np.all(np.isnan(found.standard_error))


def saddle(size):
    """A quadratic with one negative eigenvalue, -3."""
    signs = jnp.ones(size).at[0].set(-4.0)
    net = bx.models.Function(dot, jnp.zeros(size))
    data = bx.Empirical(jnp.arange(4.0))

    def bent(model, datum):
        return 0.125 * jnp.vdot(signs, model.params**2) + datum * jnp.sum(model.params)

    energy = bx.PerDatum(net, data, bent)
    return bx.compile(energy, bx.Normal(), marginalise=False), energy


@pytest.mark.parametrize("size", [5, 100])
def test_a_hessian_that_is_not_positive_is_refused(size):
    """With 100 weights the eigenvalue is found by a few products with the Hessian."""
    gibbs, energy = saddle(size)
    query = {"query": lambda m: m.params[:1]}
    with pytest.raises(bx.DeclarationError, match="damping"):
        bx.classical_influence(gibbs, energy, damping=2.9, **query)
    damped = bx.classical_influence(gibbs, energy, damping=3.1, **query)
    np.testing.assert_allclose(damped.value[0], -np.arange(4) / 0.1, rtol=1e-5)


@settings(max_examples=5)
@given(st.floats(0.1, 10.0))
def test_damping_shrinks_towards_gradients(damping):
    """At `δ` far above the curvature the response is `-β ∇q·∇ℓ/δ`, and between it is (H + δ)⁻¹."""
    hessian = jnp.eye(DIM) / 4 + BETA / NOISE**2 * FLAT_X.T @ FLAT_X
    slopes = jnp.einsum("nt,ntd->nd", X @ AT_MODE.params - Y, X) / NOISE**2
    exact = -BETA * jnp.linalg.solve(hessian + damping * jnp.eye(DIM), slopes.T)
    found = bx.classical_influence(
        GIBBS, ENERGY, lambda m: m.params, model=AT_MODE, damping=damping, tolerance=1e-10
    )
    np.testing.assert_allclose(found.value, exact, rtol=1e-6, atol=1e-8)


SUBSETS = np.random.default_rng(2).random((12, DATA)) < 0.6


@pytest.mark.parametrize("rate", [0.01, 1e-4])
def test_models_that_are_not_trained_to_their_end_say_so(rate):
    with pytest.raises(bx.RunError, match=r"\d+ of 12 models are not trained") as raised:
        bx.retrained(GIBBS, ENERGY, SUBSETS, steps=20, rate=rate)
    gain = re.search(r"up to ([\d.e+]+) nats", str(raised.value))
    kept = bx.retrained(GIBBS, ENERGY, SUBSETS, steps=20, rate=rate, throw=False)
    np.testing.assert_array_equal(raised.value.result.w["params"], kept.w["params"])
    # of a quadratic a Newton step comes to the mode
    left = kept.w["params"] - jax.vmap(mode)(jnp.asarray(SUBSETS, float))
    curvature = jnp.eye(DIM) / 4 + BETA / NOISE**2 * jnp.einsum("sn,ntd,nte->sde", SUBSETS, X, X)
    most = jnp.max(0.5 * jnp.einsum("sd,sde,se->s", left, curvature, left))
    assert gain and float(gain[1]) == pytest.approx(float(most), rel=0.01)
    bx.retrained(GIBBS, ENERGY, SUBSETS, steps=20, rate=rate, tolerance=100.0)


def test_a_measure_without_all_weights_is_not_retrained():
    net = bx.models.TwoLayer(2, jnp.tanh, key=jax.random.key(0))
    energy = bx.SquaredError(net, bx.Empirical((X[:, 0, :1], Y[:, 0])))
    for gibbs in (bx.compile(energy, bx.Normal()), GIBBS.at(jnp.ones(2))):
        own = energy if gibbs is not GIBBS and gibbs.beta.ndim == 0 else ENERGY
        with pytest.raises(bx.DeclarationError, match="gibbs"):
            bx.retrained(gibbs, own, SUBSETS)


def test_models_trained_on_subsets_come_to_their_modes():
    found = bx.retrained(GIBBS, ENERGY, SUBSETS, steps=800, rate=0.05)
    exact = jax.vmap(mode)(jnp.asarray(SUBSETS, float))
    assert found.axes == ("subset",)
    np.testing.assert_allclose(found.w["params"], exact, atol=1e-4)
    drawn = bx.retrained(GIBBS, ENERGY, SUBSETS, steps=800, rate=0.05, key=jax.random.key(0))
    np.testing.assert_allclose(drawn.w["params"], exact, atol=1e-4)


def test_a_prediction_of_the_order_has_score_one():
    predicted = RNG.normal(size=(5, DATA))
    outcomes = np.exp(SUBSETS @ predicted.T)
    found = bx.linear_datamodeling_score(predicted, SUBSETS, outcomes, key=jax.random.key(0))
    assert float(found) == pytest.approx(1.0)
    opposite = bx.linear_datamodeling_score(-predicted, SUBSETS, outcomes, key=jax.random.key(0))
    assert float(opposite) == pytest.approx(-1.0)
    one = bx.linear_datamodeling_score(predicted[0], SUBSETS, outcomes[:, 0], key=jax.random.key(0))
    same = bx.linear_datamodeling_score(
        predicted[:1], SUBSETS, outcomes[:, :1], key=jax.random.key(0)
    )
    assert float(one) == float(same) and float(one.standard_error) == float(same.standard_error)
    few = bx.linear_datamodeling_score(predicted, SUBSETS[:4], outcomes[:4], key=jax.random.key(0))
    # some resamples of four subsets hold one subset only, which has no ranks
    assert np.all(np.isfinite([few.standard_error, *few.interval()]))


@pytest.mark.slow
def test_intervals_of_the_score_cover_the_correlation_of_normal_pairs():
    """Spearman's correlation of normals of correlation r is `6/π asin(r/2)`."""
    rng, r, inside = np.random.default_rng(3), 0.6, []
    exact = 6 / np.pi * np.arcsin(r / 2)
    subsets = np.eye(60, dtype=bool)
    for i in range(150):
        first, other = rng.normal(size=(2, 8, 60))
        outcomes = (r * first + np.sqrt(1 - r**2) * other).T
        score = bx.linear_datamodeling_score(
            first, subsets, outcomes, key=jax.random.key(i), resamples=300
        )
        low, high = score.interval()
        inside.append(bool(low <= exact <= high))
    # the bootstrap's ties lower the ranks' correlation a little
    assert 0.85 <= np.mean(inside) <= 1.0


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("runs", lambda: bx.response_matrix({}, all_tokens)),
        ("observable", lambda: bx.response_matrix(FEW, all_tokens, all_tokens)),
        ("tokens", lambda: bx.response_matrix(FEW, lambda m: m.params[0])),
        ("tokens", lambda: bx.influence(FEW["whole"], ENERGY, tokens=token_losses, total=True)),
        ("subsets", lambda: bx.retrained(GIBBS, ENERGY, SUBSETS[:, 1:])),
        (
            "subsets",
            lambda: bx.linear_datamodeling_score(
                np.ones((2, DATA)), SUBSETS[:3], np.ones((3, 2)), key=jax.random.key(0)
            ),
        ),
        (
            "outcomes",
            lambda: bx.linear_datamodeling_score(
                np.ones((2, DATA)), SUBSETS, np.ones((2, 12)), key=jax.random.key(0)
            ),
        ),
        (
            "outcomes",
            lambda: bx.linear_datamodeling_score(
                RNG.normal(size=(2, DATA)), SUBSETS, np.ones((12, 2)), key=jax.random.key(0)
            ),
        ),
        (
            "predicted",
            lambda: bx.linear_datamodeling_score(
                np.full((2, DATA), np.nan), SUBSETS, np.ones((12, 2)), key=jax.random.key(0)
            ),
        ),
        ("gibbs", lambda: bx.classical_influence(GIBBS.at([1.0, 2.0]), ENERGY)),
    ],
)
def test_wrong_declarations(argument, call):
    with pytest.raises(bx.DeclarationError) as caught:
        call()
    assert caught.value.argument == argument


def of_types(rng, rows=6, types=8, repeats=64):
    """Independent rows whose columns of one type are nearly alike, and the types."""
    kinds = rng.permutation(np.repeat(np.arange(types), repeats))
    values = rng.normal(size=(rows, types))[:, kinds]
    return matrix_of(values + 0.3 * rng.normal(size=values.shape)), kinds


def test_tokens_of_one_type_make_no_component_if_they_are_grouped():
    """At level 5% and 100 matrices 5 ± 2.2 rejections; permutations reject nearly all."""
    refused = np.zeros(2)
    for seed in range(100):
        matrix, kinds = of_types(np.random.default_rng(seed))
        for i, groups in enumerate((kinds, None)):
            found = matrix.components(key=jax.random.key(seed), permutations=39, groups=groups)
            refused[i] += found.p_values[0] <= 0.05
    assert refused[0] <= 5 + 3 * 2.2 and refused[1] > 90


def test_groups_find_a_planted_component_and_are_checked():
    rng = np.random.default_rng(0)
    shared, kinds = rng.normal(size=300), np.arange(300) // 10
    matrix = matrix_of(rng.normal(size=(6, 300)) + 2 * shared)
    assert matrix.components(key=jax.random.key(0), groups=kinds).p_values[0] < 0.01
    for wrong in (kinds[:-1], np.arange(300) % 3):
        with pytest.raises(bx.DeclarationError, match="groups"):
            matrix.components(key=jax.random.key(0), groups=wrong)
