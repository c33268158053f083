"""The transformer: causality, heads as slices, shapes and types, and gradients."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.core import shapes_of, weights_of, with_weights

SMALL = {"width": 8, "layers": 2, "heads": 2, "context": 6}


def small(key=0, vocabulary=5, **changes):
    return bx.models.Transformer(vocabulary, **SMALL | changes, key=jax.random.key(key))


def by_hand(model, tokens):
    """The formulas of the docstrings in numpy, position by position."""
    w = {path: np.asarray(leaf, float) for path, leaf in weights_of(model).items()}
    kind = model.final.kind

    def norm(x, scale):
        x = x - x.mean() if kind == "layer" else x
        return scale * x / np.sqrt(np.mean(x**2) + 1e-5)

    rows = [w["embedding"][t] + w["positions"][i] for i, t in enumerate(tokens)]
    for layer in range(len(model.blocks)):
        at = {p[10:]: leaf for p, leaf in w.items() if p.startswith(f"blocks[{layer}].")}
        inputs = [norm(x, at["before_attention.scale"]) for x in rows]
        out = [np.zeros_like(x) for x in rows]
        for head in range(at["attention.query"].shape[0]):
            q, k, v, o = (at[f"attention.{n}"][head] for n in ("query", "key", "value", "output"))
            for t in range(len(rows)):
                scores = np.array([(q @ inputs[t]) @ (k @ inputs[s]) for s in range(t + 1)])
                p = np.exp(scores / np.sqrt(len(q)))
                out[t] += o @ sum(p[s] / p.sum() * (v @ inputs[s]) for s in range(t + 1))
        rows = [x + y for x, y in zip(rows, out, strict=True)]
        for t, x in enumerate(rows):
            hidden = np.tanh(at["mlp.up"] @ norm(x, at["before_mlp.scale"]))
            rows[t] = x + at["mlp.down"] @ hidden
    last = w.get("unembedding", w["embedding"])
    return np.stack([last @ norm(x, w["final.scale"]) for x in rows])


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("tied", [False, True])
def test_logits_are_those_of_the_formulas(norm, tied):
    model, tokens = small(norm=norm, tied=tied, activation=jnp.tanh), jnp.array([3, 1, 4, 1])
    np.testing.assert_allclose(model(tokens), by_hand(model, tokens), rtol=1e-4, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(
    tokens=st.lists(st.integers(0, 4), min_size=6, max_size=6),
    changed=st.integers(0, 4),
    at=st.integers(1, 5),
)
def test_logits_do_not_depend_on_later_tokens(tokens, changed, at):
    model = small()
    logits = jax.jit(lambda x: model(x))
    before, after = jnp.array(tokens), jnp.array(tokens).at[at].set(changed)
    np.testing.assert_array_equal(logits(before)[:at], logits(after)[:at])
    if changed != tokens[at]:
        assert np.abs(logits(before)[at] - logits(after)[at]).max() > 1e-3
    # nor on whether there are any
    np.testing.assert_allclose(model(before[:at]), logits(before)[:at], rtol=1e-4, atol=1e-5)


def test_the_weights_have_the_documented_shapes_and_number():
    model = bx.models.Transformer(97, 64, 2, 4, 64, key=jax.random.key(0))
    shapes = shapes_of(model)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 115_136
    assert shapes["blocks[1].attention.query"] == (4, 16, 64)
    assert shapes["blocks[0].attention.output"] == (4, 64, 16)
    assert shapes["blocks[1].mlp.up"] == (256, 64) and shapes["positions"] == (64, 64)
    tied = bx.models.Transformer(97, tied=True)
    assert set(shapes) - set(shapes_of(tied)) == {"unembedding"}
    assert shapes_of(small(mlp=3))["blocks[0].mlp.down"] == (8, 3)


def test_initial_predictions_are_spread_as_documented():
    """Normalised activations times N(0, 1/width): logits of variance 1."""
    model = bx.models.Transformer(1000, 64, 1, 4, 8, key=jax.random.key(1))
    logits = np.asarray(model(jnp.arange(8)))
    assert abs(logits.var() - 1) < 0.1
    assert not np.any(np.asarray(bx.models.Transformer(5, **SMALL)(jnp.arange(3))))


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_the_dtype_of_the_weights_is_that_of_logits_and_gradient(dtype):
    with jax.enable_x64(dtype == "float64"):
        model = small()
        assert model.embedding.dtype == dtype
        tokens, labels = jnp.array([[0, 1, 2], [2, 3, 4]]), jnp.array([[1, 2, 3], [3, 4, 0]])
        energy = bx.CrossEntropy(model, bx.Empirical((tokens, labels)), count="tokens")
        value, slope = eqx.filter_jit(eqx.filter_value_and_grad(energy.value))(model)
        assert {leaf.dtype.name for leaf in weights_of(slope).values()} == {dtype}
        assert value.dtype == dtype and model(tokens[0]).dtype == dtype
        path = "blocks[0].attention.key"
        step = 1e-3 if dtype == "float32" else 1e-5
        direction = jax.random.normal(jax.random.key(3), shapes_of(model)[path], dtype)
        ends = [
            energy.value(with_weights(model, {path: weights_of(model)[path] + s * direction}))
            for s in (step, -step)
        ]
        expected = float(jnp.vdot(weights_of(slope)[path], direction))
        got = float(ends[0] - ends[1]) / (2 * step)
        assert got == pytest.approx(expected, rel=2e-2 if dtype == "float32" else 1e-7)


def test_a_head_is_a_slice_of_the_first_axis():
    """Two heads add: with the output of one at zero the rest is the other's."""
    layer = small().blocks[0].attention
    x = jax.random.normal(jax.random.key(2), (4, 8))
    parts = [eqx.tree_at(lambda a: a.output, layer, layer.output.at[h].set(0)) for h in (0, 1)]
    np.testing.assert_allclose(parts[0](x) + parts[1](x), layer(x), rtol=1e-5, atol=1e-6)
    swapped = jax.tree.map(lambda leaf: leaf[::-1], layer)
    np.testing.assert_allclose(swapped(x), layer(x), rtol=1e-5, atol=1e-6)


def test_weights_of_numpy_are_weights():
    model = jax.tree.map(np.asarray, small())
    np.testing.assert_allclose(model(np.array([1, 2])), small()(jnp.array([1, 2])), rtol=1e-5)


def test_a_token_that_does_not_exist_gives_nan():
    model = small()
    for wrong in (5, -1):
        assert np.all(np.isnan(model(jnp.array([wrong, 1]))))


@pytest.mark.parametrize(
    "x", [np.zeros(7, int), np.zeros(3), np.zeros((1, 3), int), np.zeros(0, int)]
)
def test_wrong_sequences_are_refused(x):
    with pytest.raises(bx.DeclarationError, match="token ids"):
        small()(x)


@pytest.mark.parametrize("wrong", [5, -1])
@pytest.mark.parametrize("subsampled", [False, True])
@pytest.mark.parametrize("target", [None, lambda x: 0 * x])
def test_ids_without_an_embedding_are_refused_by_compile(wrong, subsampled, target):
    ids = np.random.default_rng(0).integers(0, 5, (4, 6))

    def compiled(x):
        data = bx.Empirical((x, ids) if target is None else x)
        data = bx.Subsampled(data, 2) if subsampled else data
        energy = bx.CrossEntropy(small(), data, target, count="tokens")
        return bx.compile(energy, bx.Normal())

    compiled(ids)
    changed = ids.copy()
    changed[2, 3] = wrong
    with pytest.raises(bx.DeclarationError, match="vocabulary of 5") as caught:
        compiled(changed)
    assert caught.value.argument == "x"


def test_heads_divide_the_width():
    with pytest.raises(bx.DeclarationError, match="heads"):
        bx.models.Transformer(5, 8, heads=3)
    with pytest.raises(bx.DeclarationError, match="norm"):
        bx.models.Transformer(5, norm="batch")


def test_places_hold_what_their_names_say():
    model, x = small(), jnp.array([3, 1, 4])
    places = bx.taps(model, x)
    shapes = {"pattern": (2, 3, 3), "heads": (3, 2, 4)}
    assert {n: places[f"blocks[1].attention.{n}"].shape for n in shapes} == shapes
    at = bx.activations(model, x, *places)
    np.testing.assert_array_equal(at["final"] @ model.unembedding.T, model(x))
    block = "blocks[1]."
    before, attention = at["blocks[0].residual"], at[block + "attention"]
    np.testing.assert_allclose(
        before + attention + at[block + "mlp"], at[block + "residual"], rtol=1e-5, atol=1e-6
    )
    heads = jnp.einsum(
        "thk,hdk->td", at[block + "attention.heads"], model.blocks[1].attention.output
    )
    np.testing.assert_allclose(heads, attention, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(at[block + "attention.pattern"].sum(-1), 1, rtol=1e-5)
    hidden = at[block + "mlp.hidden"] @ model.blocks[1].mlp.down.T
    np.testing.assert_allclose(hidden, at[block + "mlp"], rtol=1e-5, atol=1e-6)
    expected = model.embedding[x] + model.positions[:3]
    np.testing.assert_array_equal(at["embedding"], expected)


def test_an_ablated_head_is_one_whose_output_is_zero():
    model, x = small(), jnp.array([3, 1, 4])
    place = "blocks[0].attention.heads"
    ablated = bx.patched(model, {place: lambda heads: heads.at[:, 1].set(0.0)})
    path = "blocks[0].attention.output"
    weights = {path: weights_of(model)[path].at[1].set(0.0)}
    np.testing.assert_allclose(ablated(x), with_weights(model, weights)(x), rtol=1e-5, atol=1e-6)
    assert np.abs(ablated(x) - model(x)).max() > 1e-3
