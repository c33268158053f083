"""Parts of models as charts: which weights are in which part."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.core import DeclarationError, shapes_of, weights_of
from boltzax.declare import Slots

KEY = jax.random.key(0)
TRANSFORMER = bx.models.Transformer(7, 8, 2, 4, 6, key=KEY)


def free_entries(model, chart) -> dict[str, np.ndarray]:
    """The free entries of each leaf that has some."""
    shapes = shapes_of(model)
    slots = chart.restrict(Slots(shapes, tuple(shapes), {}, {}))
    return {p: np.asarray(slots.masks.get(p, np.ones(shapes[p], bool))) for p in slots.free}


def how_often(model, parts) -> dict[str, np.ndarray]:
    """In how many parts each weight is."""
    counts = {path: np.zeros(shape, int) for path, shape in shapes_of(model).items()}
    for chart in parts.values():
        for path, mask in free_entries(model, chart).items():
            counts[path] += mask
    return counts


def test_each_match_is_a_part():
    parts = bx.parts(TRANSFORMER, "blocks[*].mlp")
    assert list(parts) == ["blocks[0].mlp", "blocks[1].mlp"]
    (*_, second) = parts.values()
    assert sorted(free_entries(TRANSFORMER, second)) == ["blocks[1].mlp.down", "blocks[1].mlp.up"]
    assert list(bx.parts(TRANSFORMER, "blocks[*]")) == ["blocks[0]", "blocks[1]"]
    assert all(np.all(n == 1) for n in how_often(TRANSFORMER, bx.parts(TRANSFORMER, "")).values())


def equinox_attention():
    model = {
        "a": eqx.nn.MultiheadAttention(4, 8, use_query_bias=True, use_output_bias=True, key=KEY)
    }
    return model, "['a']", {"['a'].output_proj.bias"}


def flax_attention():
    nnx = pytest.importorskip("flax.nnx")
    options = {"num_heads": 4, "in_features": 8, "rngs": nnx.Rngs(0), "decode": False}
    return {"a": nnx.MultiHeadAttention(**options)}, "['a']", {"['a'].out.bias.value"}


def own_attention():
    return {"a": TRANSFORMER.blocks[0].attention}, "['a']", set()


@pytest.mark.parametrize("made", [own_attention, equinox_attention, flax_attention])
def test_heads_share_out_an_attention(made):
    """Every weight is in one head, but the bias of the output, which is in none."""
    model, path, shared = made()
    parts = bx.parts(model, path, heads=4)
    assert list(parts) == [f"{path}.heads[{i}]" for i in range(4)]
    for leaf, counts in how_often(model, parts).items():
        assert np.all(counts == (leaf not in shared)), leaf


@pytest.mark.parametrize("made", [own_attention, equinox_attention, flax_attention])
def test_a_head_is_computed_from_its_weights_alone(made):
    """Attention without the other heads' weights: outputs of single heads sum to the whole."""
    model, path, shared = made()
    x = jax.random.normal(KEY, (3, 8))

    def output(weights):
        layer = bx.core.with_weights(model, weights)["a"]
        if made is equinox_attention:
            return layer(x, x, x)
        return layer(x[None])[0] if made is flax_attention else layer(x)

    zero = {leaf: jnp.zeros_like(value) for leaf, value in weights_of(model).items()}
    bias = {leaf: weights_of(model)[leaf] for leaf in shared}
    single = 0.0
    for chart in bx.parts(model, path, heads=4).values():
        masks = free_entries(model, chart)
        own = {leaf: jnp.where(mask, weights_of(model)[leaf], 0) for leaf, mask in masks.items()}
        single = single + output(zero | own)
    np.testing.assert_allclose(single + output(zero | bias), output({}), rtol=1e-5, atol=1e-6)


def test_neurons_are_cut_along_an_axis():
    axes = {"up": 0, "down": 1}
    neurons = bx.parts(TRANSFORMER, "blocks[0].mlp", axes=axes)
    assert len(neurons) == 32
    pairs = bx.parts(TRANSFORMER, "blocks[0].mlp", split=16, axes=axes)
    first = free_entries(TRANSFORMER, pairs["blocks[0].mlp.part[3]"])
    assert first["blocks[0].mlp.up"].nonzero()[0].tolist() == [6] * 8 + [7] * 8
    assert set(first["blocks[0].mlp.down"].nonzero()[1].tolist()) == {6, 7}
    for parts in (neurons, pairs):
        counts = how_often(TRANSFORMER, parts)
        assert all(np.all(n == ("blocks[0].mlp" in leaf)) for leaf, n in counts.items())


def test_masks_of_parts_take_the_memory_of_one_axis():
    parts = bx.parts(TRANSFORMER, "blocks[0].mlp", axes={"up": 0})
    for chart in parts.values():
        for mask in chart.charts[1].masks.values():
            assert mask.strides[1:] == (0,)


def test_the_energy_of_a_part_has_its_weights():
    tokens = np.arange(5)[None] % 7
    energy = bx.CrossEntropy(TRANSFORMER, bx.Empirical((tokens, tokens)), count="tokens")
    chart = bx.parts(TRANSFORMER, "blocks[*].attention", heads=4)["blocks[1].attention.heads[2]"]
    gibbs = bx.compile(energy, bx.Normal(), chart=chart)
    assert sum(leaf.size for leaf in gibbs.position().values()) == 4 * 8 * 2


@pytest.mark.parametrize(
    "pattern, given, argument",
    [
        ("nothing", {}, "pattern"),
        ("blocks[0].mlp", {"heads": 4}, "heads"),
        ("blocks[0].attention", {"heads": 3}, "heads"),
        ("blocks[0].mlp", {"split": 2}, "axes"),
        ("blocks[0].mlp", {"heads": 4, "axes": 0}, "axes"),
        ("blocks[0].mlp", {"split": 3, "axes": {"up": 0}}, "axes"),
        ("blocks[0].mlp", {"axes": {"up": 0, "down": 0}}, "axes"),
        ("blocks[0].mlp", {"axes": {"up": 2}}, "axes"),
        ("blocks[0].mlp", {"axes": {"bias": 0}}, "axes"),
    ],
)
def test_what_names_no_part_is_refused(pattern, given, argument):
    with pytest.raises(DeclarationError) as error:
        bx.parts(TRANSFORMER, pattern, **given)
    assert error.value.argument == argument
