"""Control variates of minibatches: unbiased, of known variance, and of the declared law."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.compile import anchored, slope_at
from boltzax.testing import check_stochastic_kernel
from boltzax.testing._stochastic import noisy_target

DATA, BATCH, BETA, NOISE = 6, 2, 1.5, 0.5
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(DATA, 2)), RNG.normal(size=DATA)
ANCHOR = jnp.array([0.3, -0.2])


def dot(w, x):
    return w @ x


def bent(w, x):
    return jnp.tanh(w @ x)


def posterior(function=dot):
    data = bx.Subsampled(bx.Empirical((X, Y)), BATCH)
    energy = bx.SquaredError(bx.models.Function(function, ANCHOR), data) * NOISE**-2
    return bx.compile(energy, bx.Normal(), beta=BETA, marginalise=False)


LINEAR, BENT = posterior(), posterior(bent)
KEYS = jax.random.split(jax.random.key(0), 3000)


def all_batches(gibbs, w):
    """Estimates of the log-density and its gradient in every batch, each once."""

    def one(key):
        chosen = gibbs.potential.relative.parts[0].term.measure.batch(key)[0][1]
        value, slope = jax.value_and_grad(gibbs.log_prob_estimate)(w, key)
        return chosen, value, slope["params"]

    labels, values, slopes = map(np.asarray, jax.jit(jax.vmap(one))(KEYS))
    seen = {}
    for label, value, slope in zip(np.sort(labels, -1), values, slopes, strict=True):
        seen.setdefault(tuple(label), (value, slope))
    assert len(seen) == len(list(itertools.combinations(range(DATA), BATCH)))
    return [np.array(each) for each in zip(*seen.values(), strict=True)]


@settings(max_examples=6)
@given(st.floats(-2, 2), st.floats(-2, 2), st.sampled_from([LINEAR, BENT]))
def test_unbiased_at_any_place_over_all_batches(first, second, gibbs):
    w = {"params": jnp.array([first, second])}
    controlled = gibbs.with_control_variates()
    values, slopes = all_batches(controlled, w)
    exact, slope = jax.value_and_grad(controlled.log_prob)(w)
    np.testing.assert_allclose(values.mean(), exact, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(slopes.mean(axis=0), slope["params"], rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(slope["params"], jax.grad(gibbs.log_prob)(w)["params"], atol=1e-9)


@given(st.floats(-2, 2), st.floats(-2, 2))
@settings(max_examples=6)
def test_the_variance_of_a_linear_model_is_its_closed_form(first, second):
    """`ĝ - g = -β/s² (n/B Σ_B - Σ) x xᵀ (w - a)`: of B among n without replacement."""
    w = jnp.array([first, second])
    _, slopes = all_batches(LINEAR.with_control_variates(), {"params": w})
    each = BETA / NOISE**2 * X * (X @ (w - ANCHOR))[:, None]
    factor = DATA**2 / BATCH * (1 - BATCH / DATA)
    np.testing.assert_allclose(
        slopes.var(axis=0), factor * each.var(axis=0, ddof=1), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("gibbs", [LINEAR, BENT])
def test_energies_are_off_in_the_second_order_and_gradients_in_the_first(gibbs):
    controlled, paired = gibbs.with_control_variates(), gibbs.relative_to()
    direction = jnp.array([1.0, 0.5])

    def spreads(measure, far):
        w = {"params": ANCHOR + far * direction}
        key = KEYS[:40]
        energies = jax.vmap(lambda k: measure.energy_estimate(w, k))(key)
        slopes = jax.vmap(lambda k: jax.grad(measure.log_prob_estimate)(w, k)["params"])(key)
        return np.array([energies.std(), slopes.std(axis=0).max()])

    def order(measure):
        return np.log2(spreads(measure, 2e-3) / spreads(measure, 1e-3))

    np.testing.assert_allclose(order(controlled), [2, 1], atol=0.02)
    np.testing.assert_allclose(order(paired), [1, 0], atol=0.02)


def test_an_anchor_may_be_traced_and_need_not_be_the_declared_model():
    w, a = {"params": jnp.array([1.0, 0.7])}, {"params": jnp.array([0.8, 0.9])}
    given_model = BENT.with_control_variates(BENT.model(a))

    @jax.jit
    def moving(a, w, key):
        measure = anchored(given_model, a, slope_at(given_model, a))
        return jax.grad(measure.log_prob_estimate)(w, key)["params"]

    for key in KEYS[:3]:
        expected = jax.grad(given_model.log_prob_estimate)(w, key)["params"]
        np.testing.assert_allclose(moving(a, w, key), expected, rtol=1e-9)


def test_frozen_and_tied_weights_move_no_further_than_they_did():
    net = bx.models.TwoLayer(3, jnp.tanh, bias=True, key=jax.random.key(1))
    data = bx.Subsampled(bx.Empirical((X[:, :1], Y)), BATCH)
    gibbs = bx.compile(
        bx.SquaredError(net, data), bx.Normal(), chart=bx.Select("readout"), marginalise=False
    )
    controlled = gibbs.with_control_variates()
    w = gibbs.sample_prior(jax.random.key(2))
    values = jax.vmap(lambda key: controlled.energy_estimate(w, key))(KEYS[:1000])
    error = values.std() / 1000**0.5
    assert abs(values.mean() - controlled.energy(w)) < 4 * error
    assert "control variates" in repr(controlled) and set(controlled.potential.slope) == {"readout"}


@pytest.mark.parametrize(
    "gibbs",
    [
        bx.compile(bx.SquaredError(LINEAR.declared, bx.Empirical((X, Y))), bx.Normal()),
        bx.compile(
            bx.SquaredError(LINEAR.declared, bx.Empirical((X, Y))), bx.Normal(), marginalise=False
        ),
    ],
    ids=["integrated out", "no minibatches"],
)
def test_exact_estimates_have_no_control_variates(gibbs):
    with pytest.raises(bx.DeclarationError, match="gibbs"):
        gibbs.with_control_variates()


def test_a_kernel_renews_its_anchor_where_the_chain_is():
    gibbs, *_ = noisy_target()
    kernel = bx.SVRG(bx.SGLD(step_size=0.01), epochs=0.5)
    w = gibbs.sample_prior(jax.random.key(0))
    state = kernel.init(gibbs, w, jax.random.key(1), 0)
    step = jax.jit(lambda state, key: kernel.step(gibbs, state, key, jnp.zeros(()), 0))
    path = next(iter(w))
    anchors, places = [], []
    for number in range(9):
        places.append(kernel.position(state)[path])
        state, move = step(state, jax.random.key(number))
        anchors.append(state.anchor[path])
    # 32 data in batches of 4: half a pass is 4 batches
    for number, anchor in enumerate(anchors):
        np.testing.assert_array_equal(anchor, places[number // 4 * 4])
    assert float(move.gradients) == pytest.approx(2 + 8 / 4)
    np.testing.assert_allclose(state.slope[path], slope_at(gibbs, state.anchor)[path])


def test_over_all_data_the_kernel_is_the_one_inside():
    energy = bx.SquaredError(LINEAR.declared, bx.Empirical((X, Y)))
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    run = {"key": jax.random.key(0), "chains": 2, "warmup": 20, "draws": 20, "throw": False}
    inside, outside = bx.SGLD(), bx.SVRG(bx.SGLD())
    first, second = (bx.sample(gibbs, kernel, **run).w["params"] for kernel in (inside, outside))
    np.testing.assert_array_equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [bx.SGLD(), bx.Underdamped(), bx.SGNHT()])
def test_a_moving_anchor_conforms(kernel):
    check_stochastic_kernel(bx.SVRG(kernel, epochs=1.0), key=jax.random.key(7), fresh=False)
