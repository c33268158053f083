"""Cross-entropy over positions: what is summed, what is left out, what n counts; logits of -inf."""

import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import boltzax as bx

RNG = np.random.default_rng(0)
N, T, V = 12, 5, 4
TOKENS = RNG.integers(0, V, size=(N, T))
NEXT = RNG.integers(0, V, size=(N, T))
KEPT = RNG.random((N, T)) < 0.7
KEPT[:, 0] = True
LM = bx.models.Function(
    lambda p, x: p["table"][x] + p["bias"],
    {"table": jnp.asarray(RNG.normal(size=(V, V))), "bias": jnp.zeros(V)},
)


def losses(logits, labels):
    """`-log softmax` at integer labels, by numpy."""
    logits = np.asarray(logits, float)
    log_p = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    return -np.take_along_axis(log_p, labels[..., None], -1)[..., 0]


LOSSES = losses(jax.vmap(LM)(TOKENS), NEXT)
ONE_HOT = np.eye(V)[NEXT]
CASES = {
    "all": ((TOKENS, NEXT), {}, np.ones((N, T), bool)),
    "one-hot": ((TOKENS, ONE_HOT), {}, np.ones((N, T), bool)),
    "one-hot integers": ((TOKENS, ONE_HOT.astype(int)), {}, np.ones((N, T), bool)),
    "an index": ((TOKENS, np.where(KEPT, NEXT, -100)), {"ignore": -100}, KEPT),
    "an index past the classes": ((TOKENS, np.where(KEPT, NEXT, 99)), {"ignore": 99}, KEPT),
    "the padding class": ((TOKENS, NEXT), {"ignore": 0}, NEXT != 0),
    "a mask": ((TOKENS, NEXT, KEPT), {}, KEPT),
    "a mask of floats": ((TOKENS, ONE_HOT, KEPT.astype(np.float32)), {}, KEPT),
    "both": ((TOKENS, NEXT, KEPT), {"ignore": 0}, KEPT & (NEXT != 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_positions_are_summed_and_counted(name):
    data, arguments, kept = CASES[name]
    counts = {"data": N, "tokens": int(kept.sum())}
    for count, n in counts.items():
        energy = bx.CrossEntropy(LM, bx.Empirical(data), count=count, **arguments)
        gibbs = bx.compile(energy, bx.Normal(), beta=bx.temperature.watanabe(n))
        np.testing.assert_allclose(gibbs.energy_of(LM), np.sum(LOSSES * kept), rtol=1e-12)
        np.testing.assert_allclose(gibbs.beta, 1 / math.log(n), rtol=1e-12)
        assert (f"n counts {n} tokens" in repr(gibbs)) == (count == "tokens")
    mean = bx.CrossEntropy(LM, bx.Empirical(data).normalized(), count="tokens", **arguments)
    gibbs = bx.compile(mean, bx.Normal(), beta=bx.temperature.watanabe(n))
    np.testing.assert_allclose(
        gibbs.beta * gibbs.energy_of(LM), np.sum(LOSSES * kept) / math.log(n)
    )


@pytest.mark.slow
@pytest.mark.parametrize("count", ["data", "tokens"])
def test_the_default_temperature_of_a_learning_coefficient_has_this_n(count):
    energy = bx.CrossEntropy(LM, bx.Empirical((TOKENS, NEXT, KEPT)), count=count)
    result = bx.local_learning_coefficient(
        energy, key=jax.random.key(0), kernel=bx.RandomWalk(), max_gradients=1000, chains=2
    )
    n = N if count == "data" else KEPT.sum()
    np.testing.assert_allclose(result.trace.gibbs.beta, 1 / math.log(n), rtol=1e-12)


def test_a_loss_of_ones_own_counts_too():
    def loss(model, z):
        x, y, kept = z
        log_p = jax.nn.log_softmax(model(x))
        return -jnp.sum(kept * jnp.take_along_axis(log_p, y[:, None], -1)[:, 0])

    data = bx.Empirical((TOKENS, NEXT, KEPT))
    energy = bx.PerDatum(LM, data, loss, count=lambda z: jnp.sum(z[2]))
    n = int(KEPT.sum())
    gibbs = bx.compile(energy, bx.Normal(), beta=bx.temperature.watanabe(n))
    np.testing.assert_allclose(gibbs.energy_of(LM), np.sum(LOSSES * KEPT), rtol=1e-12)
    np.testing.assert_allclose(gibbs.beta, 1 / math.log(n), rtol=1e-12)


def test_two_axes_of_positions_and_a_single_one():
    image = bx.models.Function(lambda p, x: x[..., None] * p, jnp.asarray(RNG.normal(size=V)))
    x, y = RNG.normal(size=(6, 2, 3)), RNG.integers(0, V, size=(6, 2, 3))
    energy = bx.CrossEntropy(image, bx.Empirical((x, y)), count="tokens")
    truth = np.sum(losses(jax.vmap(image)(x), y))
    np.testing.assert_allclose(bx.compile(energy, bx.Normal()).energy_of(image), truth, rtol=1e-12)
    some = np.where(np.arange(6) < 2, -100, y[:, 0, 0])
    single = bx.CrossEntropy(image, bx.Empirical((x[:, 0, 0], some)), count="tokens", ignore=-100)
    truth = np.sum(losses(jax.vmap(image)(x[2:, 0, 0]), some[2:]))
    gibbs = bx.compile(single, bx.Normal())
    np.testing.assert_allclose(gibbs.energy_of(image), truth, rtol=1e-12)
    assert "n counts 4 tokens" in repr(gibbs)


def test_positions_left_out_may_hold_anything():
    """Logits of NaN at padding reach neither the energy nor its gradient."""

    def padded(p, x):
        return jnp.where(x[:, None] == 0, jnp.nan, p[x])

    model = bx.models.Function(padded, jnp.asarray(RNG.normal(size=(V, V))))
    data = bx.Empirical((TOKENS, np.where(TOKENS == 0, -100, NEXT)))
    energy = bx.CrossEntropy(model, data, count="tokens", ignore=-100)
    gibbs = bx.compile(energy, bx.Normal())
    slope = jax.grad(gibbs.log_prob)(gibbs.position())
    assert np.all(np.isfinite(slope["params"])) and np.isfinite(gibbs.energy_of(model))


def test_minibatches_of_sequences_are_unbiased():
    data = bx.Empirical((TOKENS, NEXT, KEPT))
    energy = bx.CrossEntropy(LM, bx.Subsampled(data, 3), count="tokens")
    keys = jax.random.split(jax.random.key(1), 2000)
    found = jax.vmap(lambda key: energy.estimate(LM, key))(keys)
    error = jnp.std(found) / math.sqrt(2000)
    assert abs(jnp.mean(found) - energy.value(LM)) < 4 * error


WRONG = {
    "n is not said": ("count", {}, (TOKENS, NEXT)),
    "n is not said for a mask": ("count", {}, (TOKENS[:, 0], NEXT[:, 0], KEPT[:, 0])),
    "n is not said for an index": ("count", {"ignore": 0}, (TOKENS[:, 0], NEXT[:, 0])),
    "another n": ("count", {"count": "words"}, (TOKENS, NEXT)),
    "an index that is none": ("ignore", {"count": "data", "ignore": 0.5}, (TOKENS, NEXT)),
    "an index among probabilities": (
        "ignore",
        {"count": "data", "ignore": 0},
        (TOKENS, ONE_HOT),
    ),
    "labels of another length": ("measure", {"count": "data"}, (TOKENS, NEXT[:, 1:])),
    "labels below zero": ("measure", {"count": "data"}, (TOKENS, NEXT - 1)),
    "a mask of another length": ("mask", {"count": "data"}, (TOKENS, NEXT, KEPT[:, 1:])),
    "a mask of weights": ("mask", {"count": "data"}, (TOKENS, NEXT, 0.5 * KEPT)),
    "nothing is counted": ("count", {"count": "tokens"}, (TOKENS, NEXT, 0 * KEPT)),
    "probabilities of sum two": ("measure", {"count": "data"}, (TOKENS, 0.5 * ONE_HOT)),
    "two labels": ("measure", {}, (TOKENS[:, 0], np.ones((N, V), int))),
    "probabilities of a plain classifier": ("measure", {}, (TOKENS[:, 0], np.full((N, V), 0.3))),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_declaration_of_sequences(name):
    argument, arguments, data = WRONG[name]
    with pytest.raises(bx.DeclarationError) as caught:
        bx.compile(bx.CrossEntropy(LM, bx.Empirical(data), **arguments), bx.Normal())
    assert caught.value.argument == argument


def test_one_logit_in_an_axis_is_no_class():
    """A softmax over one class is zero whatever the weights."""
    model = bx.models.Function(lambda p, x: (p * x)[None], jnp.ones(()))
    data = bx.Empirical((RNG.normal(size=8), np.ones((8, 1))))
    with pytest.raises(bx.DeclarationError, match="one class"):
        bx.compile(bx.CrossEntropy(model, data), bx.Normal())


BINS = st.integers(0, V - 1)


@given(BINS, BINS, st.booleans(), st.floats(-20, 20))
def test_a_class_without_probability_costs_nothing(label, closed, soft, size):
    """Its logit may be -inf: as if it were not there, with its gradient."""
    if closed == label:
        closed = (closed + 1) % V
    others = [k for k in range(V) if k != closed]
    y = np.eye(V)[label]
    y = 0.5 * y + 0.5 * np.eye(V)[others[0]] if soft else y
    measure = bx.Empirical((np.zeros(1), y[None]))

    def logits(p, x):
        return p.at[closed].set(-jnp.inf)

    model = bx.models.Function(logits, jnp.asarray(RNG.normal(size=V)) * size)
    value, slope = jax.value_and_grad(
        lambda p: bx.CrossEntropy(bx.models.Function(logits, p), measure).value(
            bx.models.Function(logits, p)
        )
    )(model.params)
    open_logits = np.asarray(model.params)[others]
    truth = -np.sum(y[others] * (open_logits - np.logaddexp.reduce(open_logits)))
    np.testing.assert_allclose(value, truth, atol=1e-12)
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize(
    ("logit", "y", "truth"),
    [
        (-np.inf, 0, 0.0),
        (np.inf, 1, 0.0),
        (np.inf, 0, np.inf),
        (-np.inf, 1, np.inf),
        (-np.inf, 0.0, 0.0),
        (100.0, 1, math.exp(-100)),
        (-700.0, 0, math.exp(-700)),
        (0.3, 0.25, 0.25 * math.log1p(math.exp(-0.3)) + 0.75 * math.log1p(math.exp(0.3))),
    ],
)
def test_a_scalar_logit_at_its_ends(logit, y, truth):
    model = bx.models.Function(lambda p, x: p, jnp.asarray(logit))
    energy = bx.CrossEntropy(model, bx.Empirical((np.zeros(1), np.array([y]))))
    np.testing.assert_allclose(energy.value(model), truth, rtol=1e-12)
