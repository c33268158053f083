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
