"""Weights are what equinox trains; settings and state stay as they are; a model is a function."""

import equinox as eqx
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given

import boltzax as bx
from boltzax.core import state_of, weights_of, with_weights

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4))
Y = RNG.normal(size=30)
DATA = bx.Empirical((X, Y))
SEQUENCES = bx.Empirical((RNG.normal(size=(20, 5, 4)), RNG.normal(size=20)))


class Scaled(eqx.Module):
    """Layers with python floats in them, as public code has them."""

    weight: jax.Array
    norm: eqx.nn.LayerNorm
    drop: eqx.nn.Dropout
    slope: float = 0.01
    temperature: float = 2.0
    eps: float = 1e-5

    def __call__(self, x):
        z = self.drop(self.norm(x))
        total = jnp.dot(self.weight, z) / self.temperature
        if self.eps > 0:
            total = total / jnp.sqrt(1 + self.eps)
        return jnp.where(total > 0, total, self.slope * total)


def scaled(p: float, inference: bool) -> Scaled:
    drop = eqx.nn.Dropout(p, inference=inference)
    return Scaled(jnp.arange(4.0), eqx.nn.LayerNorm(4), drop)


class Attentive(eqx.Module):
    attention: eqx.nn.MultiheadAttention
    norm: eqx.nn.LayerNorm

    def __call__(self, x):
        h = jax.vmap(self.norm)(x)
        return jnp.mean(h + self.attention(h, h, h))


def attentive() -> Attentive:
    return Attentive(eqx.nn.MultiheadAttention(2, 4, key=KEY), eqx.nn.LayerNorm(4))


class Normalised(eqx.Module):
    inner: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    state: eqx.nn.State

    def __call__(self, x):
        return self.norm(self.inner(x), self.state)[0][0]


def normalised() -> Normalised:
    norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(3, "batch", mode="ema")
    return Normalised(eqx.nn.Linear(4, 3, key=KEY), norm, state)


MODELS = {
    "dropout of rate 0": (scaled(0.0, False), DATA),
    "dropout in inference": (scaled(0.3, True), DATA),
    "attention as it comes": (attentive(), SEQUENCES),
    "attention in inference": (eqx.nn.inference_mode(attentive()), SEQUENCES),
    "batch normalisation in inference": (eqx.nn.inference_mode(normalised()), DATA),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_float_in_a_model_is_a_setting(name):
    model, data = MODELS[name]
    energy = bx.SquaredError(model, data)
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    trained = eqx.filter(model, eqx.is_inexact_array)
    own = sum(leaf.size for leaf in jax.tree.leaves(trained)) - sum(
        leaf.size for leaf in jax.tree.leaves(eqx.filter(_state(model), eqx.is_inexact_array))
    )
    assert gibbs.dim == own
    x, y = data.data
    truth = 0.5 * np.sum((np.asarray(jax.vmap(model)(x)) - y) ** 2)
    np.testing.assert_allclose(gibbs.energy_of(model), truth, rtol=1e-12)
    moved = eqx.filter_jit(lambda gibbs: gibbs.log_prob(gibbs.position()))(gibbs)
    np.testing.assert_allclose(moved, gibbs.log_prob(gibbs.position()), rtol=1e-9)


def _state(model):
    return model.state if isinstance(model, Normalised) else ()


def test_state_is_kept_and_named():
    model = eqx.nn.inference_mode(normalised())
    gibbs = bx.compile(bx.SquaredError(model, DATA), bx.Normal(), marginalise=False)
    assert len(state_of(model)) == 2
    assert "state of the model, not weights" in repr(gibbs)
    before = jax.tree.leaves(model.state)
    after = jax.tree.leaves(gibbs.model(gibbs.sample_prior(KEY)).state)
    assert all(a is b for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("weight", [jnp.asarray(0.3), np.float64(0.3), np.asarray(0.3)], ids=type)
@pytest.mark.parametrize("setting", [0.3, 3, True, 0.3 + 0j], ids=type)
def test_arrays_are_weights_numbers_are_settings(weight, setting):
    model = bx.models.Function(lambda p, x: p[0] * x[0] + jnp.real(p[1]), (weight, setting))
    gibbs = bx.compile(bx.SquaredError(model, DATA), bx.Normal(), marginalise=False)
    assert tuple(gibbs.position()) == ("params[0]",)


LEAVES = st.one_of(
    st.floats(-1, 1),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from(
        [np.float64(0.5), np.float32(0.5), np.zeros(2), jnp.zeros(2), jnp.zeros(2, jnp.bfloat16)]
    ),
    st.sampled_from([np.arange(2), jnp.arange(2), np.zeros(2, bool), "text", None, jnp.tanh]),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=6,
)


@given(TREES)
def test_weights_are_what_equinox_trains(tree):
    weights = weights_of(tree)
    trained = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    assert [id(leaf) for leaf in weights.values()] == [id(leaf) for leaf in trained]
    moved = with_weights(tree, {path: leaf + 1 for path, leaf in weights.items()})
    same = eqx.filter(tree, eqx.is_inexact_array, inverse=True)
    assert eqx.tree_equal(eqx.filter(moved, eqx.is_inexact_array, inverse=True), same)


def test_a_model_of_python_numbers_has_no_weights():
    model = bx.models.Function(lambda p, x: p["w"] * x[0], {"w": 1.0})
    with pytest.raises(bx.DeclarationError, match="turn numbers into arrays"):
        bx.compile(bx.SquaredError(model, DATA), bx.Normal())


def test_numpy_weights_of_another_precision_are_not_overlooked():
    weights = np.zeros(4, ml_dtypes.bfloat16)
    model = bx.models.Function(lambda p, x: jnp.dot(p["w"], x) + p["b"], {"w": weights, "b": Y[0]})
    with pytest.raises(bx.DeclarationError, match="bfloat16"):
        bx.compile(bx.SquaredError(model, DATA), bx.Normal())


class Mutable(eqx.Module):
    """A model with a running mean in a list, which a call moves on."""

    weight: jax.Array
    seen: list

    def __call__(self, x):
        self.seen[0] = 0.9 * self.seen[0] + 0.1 * x[0]
        return jnp.dot(self.weight, x) - self.seen[0]


class Through(eqx.Module):
    """Dropout below another layer, its key fixed inside the model."""

    layers: list
    weight: jax.Array

    def __call__(self, x):
        return jnp.dot(self.weight, self.layers[0](x, key=KEY))


TRAINING = {
    "dropout": lambda: scaled(0.3, False),
    "dropout in a list, with a key": lambda: Through([eqx.nn.Dropout(0.1)], jnp.ones(4)),
    "dropout of attention": lambda: Attentive(
        eqx.nn.MultiheadAttention(2, 4, dropout_p=0.1, key=KEY), eqx.nn.LayerNorm(4)
    ),
    "batch normalisation": normalised,
    "a list that changes": lambda: Mutable(jnp.ones(4), [jnp.zeros(())]),
}


@pytest.mark.parametrize("name", TRAINING)
def test_a_model_in_training_mode_is_refused(name):
    data = SEQUENCES if "attention" in name else DATA
    model = TRAINING[name]()
    loss = lambda model, z: (model(z[0]) - z[1]) ** 2  # noqa: E731
    for energy in (bx.SquaredError(model, data), bx.PerDatum(model, data, loss)):
        with pytest.raises(bx.DeclarationError, match=r"inference|evaluation"):
            bx.compile(energy, bx.Normal())


@pytest.mark.parametrize("layer", ["BatchNorm", "Dropout"])
def test_flax_modules(layer):
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.inner = nnx.Linear(4, 3, rngs=rngs, param_dtype=jnp.float64)
            more = {"BatchNorm": (3,), "Dropout": (0.5,)}[layer]
            self.more = getattr(nnx, layer)(*more, rngs=rngs)
            self.weight = nnx.Param(jnp.ones(3))

        def __call__(self, x):
            return jnp.dot(self.weight[...], jnp.tanh(self.more(self.inner(x))))

    net = Net(nnx.Rngs(0))
    net = jax.tree.map(lambda leaf: _double(leaf), net)
    energy = bx.SquaredError(net, DATA)
    with pytest.raises(bx.DeclarationError, match="eval"):
        bx.compile(energy, bx.Normal())
    net.eval()
    gibbs = bx.compile(bx.SquaredError(net, DATA), bx.Normal(), marginalise=False)
    weights = {"inner.kernel.value": 12, "inner.bias.value": 3, "weight.value": 3}
    weights |= {"more.scale.value": 3, "more.bias.value": 3} if layer == "BatchNorm" else {}
    assert {path: leaf.size for path, leaf in gibbs.position().items()} == weights
    truth = 0.5 * np.sum((np.asarray(jax.vmap(net)(X)) - Y) ** 2)
    np.testing.assert_allclose(gibbs.energy_of(net), truth, rtol=1e-6)


def test_a_variable_of_flax_at_two_places_moves_as_one_or_is_refused():
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.a = nnx.Linear(4, 4, rngs=rngs, use_bias=False, param_dtype=jnp.float64)
            self.b = nnx.Linear(4, 4, rngs=rngs, use_bias=False, param_dtype=jnp.float64)
            self.b.kernel = self.a.kernel

        def __call__(self, x):
            return jnp.sum(self.b(jnp.tanh(self.a(x))))

    energy = bx.SquaredError(Net(nnx.Rngs(0)), DATA) * 2.0
    first, second = "a.kernel.value", "b.kernel.value"
    for chart in (None, bx.Select(second), bx.Freeze(second)):
        with pytest.raises(bx.DeclarationError, match="nnx.Param at two places"):
            bx.compile(energy, bx.Normal(), chart=chart, marginalise=False)
    gibbs = bx.compile(energy, bx.Normal(), chart=bx.Tie({second: first}), marginalise=False)
    drawn = bx.core.weights_of(gibbs.model(gibbs.sample_prior(jax.random.key(0))))
    assert gibbs.dim == 16
    np.testing.assert_array_equal(drawn[first], drawn[second])


def _double(leaf):
    floating = eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)
    return jnp.asarray(leaf, jnp.float64) if floating else leaf


def test_another_model_has_the_same_settings():
    gibbs = bx.compile(bx.SquaredError(scaled(0.0, True), DATA), bx.Normal(), marginalise=False)
    for other in (
        eqx.tree_at(lambda m: m.temperature, scaled(0.0, True), 3.0),
        eqx.tree_at(lambda m: m.drop.p, scaled(0.0, True), 0.5),
    ):
        for use in (gibbs.energy_of, gibbs.position):
            with pytest.raises(bx.DeclarationError, match="setting"):
                use(other)
    model = eqx.nn.inference_mode(normalised())
    gibbs = bx.compile(bx.SquaredError(model, DATA), bx.Normal(), marginalise=False)
    moved = eqx.tree_at(lambda m: jax.tree.leaves(m.state)[1], model, jnp.ones(3))
    with pytest.raises(bx.DeclarationError, match="setting"):
        gibbs.energy_of(moved)


class Lookup(eqx.Module):
    """A field that bears a name of one of our models."""

    embedding: jax.Array

    def __call__(self, x):
        return jnp.sum(jnp.tanh(self.embedding * x[0]))


class Tokens(eqx.Module):
    embedding: jax.Array
    readout: jax.Array

    def __call__(self, token):
        return jnp.dot(self.readout, self.embedding[token])


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (Lookup(jnp.ones((3, 7))), DATA),
        (Tokens(jnp.ones((5, 2)), jnp.ones(2)), bx.Empirical((np.arange(5), Y[:5]))),
        (bx.models.Function(lambda p, x: jnp.sum(p.embedding) * x[0], Lookup(X)), DATA),
    ],
    ids=["scalar", "tokens", "function"],
)
def test_no_name_of_a_field_means_anything(model, data):
    gibbs = bx.compile(bx.SquaredError(model, data), bx.Normal(), marginalise=False)
    x, y = data.data
    truth = 0.5 * np.sum((np.asarray(jax.vmap(model)(x)) - y) ** 2)
    np.testing.assert_allclose(gibbs.energy_of(model), truth, rtol=1e-12)


def test_a_scalar_datum_does_not_broadcast_with_two_layers():
    data = bx.Empirical((X[:, 0], Y))
    with pytest.raises(bx.DeclarationError, match="dim = 1"):
        bx.compile(bx.SquaredError(bx.models.TwoLayer(3), data), bx.Normal())
