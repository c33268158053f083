"""Named places in models: reading them, and models with other values there."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.core import DeclarationError, weights_of

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (5, 4))


class Attention(eqx.Module):
    """Heads without softmax: `Σ_h O_h tanh(Q_h x)`."""

    query: jax.Array
    output: jax.Array

    def __call__(self, x):
        heads = bx.tap(jnp.tanh(jnp.einsum("td,hkd->thk", x, self.query)), "heads")
        return jnp.einsum("thk,hdk->td", heads, self.output)


class Block(eqx.Module):
    attention: Attention
    mlp: eqx.nn.MLP

    def __call__(self, x):
        x = x + self.attention(x)
        return bx.tap(x + jax.vmap(self.mlp)(x), "residual")


class Net(eqx.Module):
    blocks: list

    def __call__(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def block(key) -> Block:
    first, second, third = jax.random.split(key, 3)
    attention = Attention(jax.random.normal(first, (2, 3, 4)), jax.random.normal(second, (2, 4, 3)))
    return Block(attention, eqx.nn.MLP(4, 4, 8, 1, key=third))


NET = Net([block(key) for key in jax.random.split(KEY)])
HEADS = "blocks[0].attention.heads"


def test_places_and_their_shapes():
    places = bx.taps(NET, jax.ShapeDtypeStruct(X.shape, X.dtype))
    shapes = {name: place.shape for name, place in places.items() if name.startswith("blocks[0]")}
    assert shapes == {
        "blocks[0].attention.heads": (5, 2, 3),
        "blocks[0].attention": (5, 4),
        "blocks[0].mlp.layers[0]": (5, 8),
        "blocks[0].mlp.activation": (5, 8),
        "blocks[0].mlp.layers[1]": (5, 4),
        "blocks[0].mlp.final_activation": (5, 4),
        "blocks[0].mlp": (5, 4),
        "blocks[0].residual": (5, 4),
        "blocks[0]": (5, 4),
    }


def test_values_read_are_those_of_the_model():
    first = NET.blocks[0]
    attention = first.attention(X)
    inner = X + attention
    expected = {
        "blocks[0].attention": attention,
        "blocks[0].mlp": jax.vmap(first.mlp)(inner),
        "blocks[0].residual": first(X),
        "blocks[1].residual": NET(X),
    }
    read = bx.activations(NET, X, *expected)
    assert list(read) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(read[name], value, rtol=1e-5, atol=1e-6)


def test_nothing_is_left_in_a_program_that_is_not_read():
    bx.activations(NET, X)
    patched = bx.patched(NET, {"*": lambda value: value})
    plain, same = (jax.make_jaxpr(lambda x, f=f: f(x))(X).jaxpr for f in (NET, patched))
    assert "mark" not in str(plain)
    assert "mark" not in str(same)
    assert [e.primitive.name for e in same.eqns] == [e.primitive.name for e in plain.eqns]


def test_patching_what_was_read_is_the_identity():
    patched = bx.patched(NET, bx.activations(NET, X))
    np.testing.assert_array_equal(eqx.filter_jit(patched)(X), eqx.filter_jit(NET)(X))


def test_an_ablated_head_is_one_without_output_weights():
    ablated = bx.patched(NET, {HEADS: bx.Ablate(np.s_[:, 1])})
    output = NET.blocks[0].attention.output
    without = eqx.tree_at(lambda net: net.blocks[0].attention.output, NET, output.at[1].set(0))
    np.testing.assert_array_equal(ablated(X), eqx.filter_jit(without)(X))
    assert abs(ablated(X) - NET(X)).max() > 0.1


def test_weights_of_a_patched_model_have_the_paths_of_the_model():
    patched = bx.patched(NET, {HEADS: bx.Noise(0.1, key=KEY), "*.mlp": jnp.ones(4)})
    assert list(weights_of(patched)) == list(weights_of(NET))


def test_a_pattern_without_a_place_is_refused():
    with pytest.raises(DeclarationError, match=r"blocks\[3\]"):
        bx.activations(NET, X, "blocks[3]")
    with pytest.raises(DeclarationError, match="heads"):
        bx.patched(NET, {"heads": 0.0})(X)


def test_a_flax_module_is_read_and_patched():
    nnx = pytest.importorskip("flax.nnx")

    class Flax(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.LayerNorm(4, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(2, 4, 4, decode=False, rngs=rngs)
            self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])

        def __call__(self, x):
            x = self.attention(self.norm(x))
            for layer in self.layers:
                assert layer.in_features == 4
                x = layer(x)
            return x

    net, x = Flax(nnx.Rngs(0)), X.astype(jnp.float32)
    read = bx.activations(net, x)
    assert {"norm", "attention", "attention.query", "layers[0]", "layers[1]"} <= set(read)
    np.testing.assert_allclose(read["layers[1]"], net(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(read["layers[0]"], net.layers[0](read["attention"]), atol=1e-5)
    patched = bx.patched(net, {"layers[0]": bx.Ablate()})
    np.testing.assert_allclose(patched(x), net.layers[1](jnp.zeros((5, 4), jnp.float32)))
    assert list(weights_of(patched)) == list(weights_of(net))
    assert type(net.norm) is nnx.LayerNorm


def test_a_pure_function_has_the_places_that_it_names():
    linen = pytest.importorskip("flax.linen")

    class Linen(linen.Module):
        @linen.compact
        def __call__(self, x):
            hidden = bx.tap(linen.Dense(3)(x), "hidden")
            return linen.Dense(2, bias_init=linen.initializers.ones)(hidden)

    net = Linen()
    model = bx.models.Function(net.apply, net.init(KEY, X[0]))
    ablated = bx.patched(model, {"hidden": bx.Ablate()})
    assert list(bx.taps(model, X[0])) == ["hidden"]
    np.testing.assert_array_equal(ablated(X[0]), jnp.ones(2))
    assert list(weights_of(ablated)) == list(weights_of(model))


class Mixed(eqx.Module):
    """Functions and modules in a list, a module in a dictionary, one that gives two values."""

    steps: list
    more: dict

    def __call__(self, x):
        for step in self.steps:
            x = step(x)
        carry, out = self.more["pair"](x)
        return carry + out["y"]


class Two(eqx.Module):
    scale: jax.Array

    def __call__(self, x):
        return self.scale * x, {"y": x + 1, "name": "text"}


def test_callables_in_containers_and_values_in_containers_are_places():
    net = Mixed([eqx.nn.Linear(4, 4, key=KEY), jnp.tanh], {"pair": Two(jnp.array(3.0))})
    x = X[0]
    hidden = jnp.tanh(net.steps[0](x))
    read = bx.activations(net, x)
    assert set(read) == {"steps[0]", "steps[1]", "more['pair'][0]", "more['pair'][1]['y']"}
    np.testing.assert_allclose(read["more['pair'][1]['y']"], hidden + 1)
    patched = bx.patched(net, {"more['pair'][1]['y']": 0.0})
    np.testing.assert_allclose(patched(x), 3 * hidden)


@pytest.mark.parametrize("head", [0, 3])
def test_an_ablated_head_of_the_transformer(head):
    net = bx.models.Transformer(7, width=8, layers=2, heads=4, context=6, key=KEY)
    tokens = jnp.arange(5)
    ablated = bx.patched(net, {"blocks[1].attention.heads": bx.Ablate(np.s_[:, head])})
    output = net.blocks[1].attention.output.at[head].set(0)
    without = eqx.tree_at(lambda net: net.blocks[1].attention.output, net, output)
    np.testing.assert_allclose(ablated(tokens), without(tokens), rtol=1e-10)
    assert abs(ablated(tokens) - net(tokens)).max() > 1e-3


def test_patterns_name_one_index_or_any_text():
    names = set(bx.taps(NET, X))
    assert set(bx.activations(NET, X, "blocks[*]")) == {"blocks[0]", "blocks[1]"}
    assert set(bx.activations(NET, X, "blocks[*].mlp")) == {"blocks[0].mlp", "blocks[1].mlp"}
    assert set(bx.activations(NET, X, "*")) == names
    assert set(bx.activations(NET, X, "*[1]", "*heads")) == {
        "blocks[1]", "blocks[0].mlp.layers[1]", "blocks[1].mlp.layers[1]",
        "blocks[0].attention.heads", "blocks[1].attention.heads",
    }  # fmt: skip


class First(eqx.Module):
    inner: Two

    def __call__(self, x):
        return self.inner(x)[0]


def test_draws_of_a_patched_model_are_saved_and_loaded(tmp_path):
    patched = bx.patched(First(Two(jnp.ones(4))), {"inner[0]": bx.Ablate(0)})
    data = bx.Empirical((np.ones((3, 4)), np.ones((3, 4))))
    gibbs = bx.compile(bx.SquaredError(patched, data), bx.Normal(), marginalise=False)
    few = {"chains": 2, "warmup": 5, "draws": 5, "throw": False}
    trace = bx.sample(gibbs, bx.RandomWalk(), key=KEY, **few)
    bx.save(tmp_path / "saved", trace)
    loaded = bx.load(tmp_path / "saved", gibbs)
    for path, values in trace.w.items():
        np.testing.assert_array_equal(loaded.w[path], values)
