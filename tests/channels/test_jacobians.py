"""Jacobians between places: closed forms, composition, and probes against the exact spectrum."""

import itertools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax import channels as ch
from boltzax import theory as th
from boltzax.channels._jacobian_spectrum import _participation
from boltzax.core import MEMORY, DeclarationError
from boltzax.numerics import probe_traces

law = settings(derandomize=True, deadline=None, max_examples=10)
SIZES = (6, 5, 4)


class Layers(eqx.Module):
    """Dense layers with named values."""

    first: jax.Array
    second: jax.Array
    gain: float = eqx.field(static=True, default=0.0)

    def __call__(self, x):
        hidden = bx.tap(self.first @ x + self.gain * jnp.sin(x[0]), "hidden")
        return bx.tap(self.second @ hidden + self.gain * jnp.cos(hidden[0]), "last")


def layers(seed, gain=0.0):
    keys = jax.random.split(jax.random.key(seed), 2)
    shapes = ((SIZES[1], SIZES[0]), (SIZES[2], SIZES[1]))
    return Layers(*(jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)), gain)


DATA = np.random.default_rng(0).normal(size=(40, SIZES[0]))


@law
@given(st.integers(0, 2**31), st.floats(0.1, 10.0))
def test_the_spectrum_of_a_linear_net_is_that_of_its_matrix(seed, scale):
    model = layers(seed)
    product = np.asarray(model.second @ model.first, float)
    found = ch.jacobian_spectrum(model, scale * DATA)
    singular = np.linalg.svd(product, compute_uv=False)
    assert np.allclose(found.singular_values, singular, rtol=1e-4)
    assert np.allclose(np.sort(found.into)[-4:], np.sort(singular**2), rtol=1e-3)
    assert np.allclose(found.out, singular**2, rtol=1e-3)
    ratio = np.sum(singular**2) ** 2 / np.sum(singular**4)
    for side in (found.input_side, found.output_side, found.participation):
        assert side.value == pytest.approx(ratio, rel=1e-4)
    assert 1 <= found.participation.value <= found.effective_rank.value <= 4.001
    assert found.stable_rank.value == pytest.approx(
        np.sum(singular**2) / singular[0] ** 2, rel=1e-4
    )


def test_the_jacobian_of_a_composition_is_the_product():
    model, x = layers(1, gain=1.0), DATA[:1]
    whole = ch.jacobian_spectrum(model, x)
    last = np.array(model.second, float)
    hidden = model.first @ x[0] + jnp.sin(x[0, 0])
    last[:, 0] -= float(jnp.sin(hidden[0]))
    first = np.array(model.first, float)
    first[:, 0] += np.cos(x[0, 0])
    parts = {
        ("hidden", None): first,
        ("last", "hidden"): last,
        (None, "hidden"): last,
        ("last", None): last @ first,
    }
    for (of, by), expected in parts.items():
        found = ch.jacobian_spectrum(model, x, of=of, by=by)
        singular = np.linalg.svd(expected, compute_uv=False)
        assert np.allclose(found.singular_values[0], singular, rtol=1e-4)
        ratio = np.sum(singular**2) ** 2 / np.sum(singular**4)
        for side in (found.input_side, found.output_side):
            assert float(side.value) == pytest.approx(ratio, rel=1e-6)
            assert np.isnan(side.standard_error)
    assert np.allclose(
        whole.singular_values[0], np.linalg.svd(last @ first, compute_uv=False), rtol=1e-4
    )


def test_the_averaged_side_is_that_of_the_mean_gram_matrix_in_any_memory():
    model = bx.models.MLP((6, 16, 3), key=jax.random.key(2))
    jacobians = np.asarray(jax.vmap(jax.jacrev(model))(jnp.asarray(DATA)), float)
    found = ch.jacobian_spectrum(model, DATA)
    gram = np.einsum("dki,dkj->ij", jacobians, jacobians) / len(DATA)
    assert np.allclose(found.into, np.linalg.eigvalsh(gram)[::-1], rtol=1e-3, atol=1e-5)
    assert np.allclose(found.singular_values, np.linalg.svd(jacobians, compute_uv=False), rtol=1e-3)
    with pytest.raises(DeclarationError, match="jacobian_ranks") as refused:
        ch.jacobian_spectrum(model, DATA, memory=500)
    needed = re.search(r"at least (\d+) bytes", str(refused.value))
    assert needed
    least = ch.jacobian_spectrum(model, DATA, memory=int(needed[1]))  # one datum at once
    assert np.allclose(least.into, found.into, rtol=1e-3, atol=1e-5)
    assert np.allclose(least.singular_values, found.singular_values, rtol=1e-4)


def test_sides_keep_their_places_where_the_output_is_larger():
    model = bx.models.MLP((3, 8, 5), key=jax.random.key(3))
    found = ch.jacobian_spectrum(model, DATA[:, :3])
    jacobians = np.asarray(jax.vmap(jax.jacrev(model))(jnp.asarray(DATA[:, :3])), float)
    gram = np.einsum("dik,djk->ij", jacobians, jacobians) / len(DATA)
    assert found.into.shape == (3,)
    assert np.allclose(found.out, np.linalg.eigvalsh(gram)[::-1], rtol=1e-3, atol=1e-5)


def test_the_error_over_data_covers():
    model = bx.models.MLP((6, 16, 3), key=jax.random.key(3))
    rng = np.random.default_rng(4)
    truth = ch.jacobian_spectrum(model, 2 * rng.normal(size=(4000, 6)))
    scores = []
    for _ in range(40):
        found = ch.jacobian_spectrum(model, 2 * rng.normal(size=(60, 6)))
        pairs = ((found.input_side, truth.input_side), (found.participation, truth.participation))
        scores.append([float(one.z_score(float(two.value))) for one, two in pairs])
    scores = np.array(scores)
    assert np.all(np.abs(scores.mean(axis=0)) < 0.7)
    assert np.all((scores.std(axis=0) > 0.6) & (scores.std(axis=0) < 1.6))


@pytest.mark.parametrize("count", [2, 23])
def test_all_numbers_of_a_spectrum_are_those_of_its_jacobians(count):
    """Groups are of every twentieth datum; pairs within a group count, a datum with itself not."""
    with jax.enable_x64(True):
        model = bx.models.MLP((6, 5, 4), key=jax.random.key(12))
        jacobians = np.asarray(jax.vmap(jax.jacrev(model))(jnp.asarray(DATA[:count])), float)
        found = ch.jacobian_spectrum(model, DATA[:count])
    shares = [np.linalg.svd(one, compute_uv=False) ** 2 for one in jacobians]
    shares = np.array([s / s.sum() for s in shares])
    each = {
        "participation": 1 / np.sum(shares**2, axis=1),
        "effective_rank": np.exp(-np.sum(shares * np.log(shares), axis=1)),
        "stable_rank": 1 / shares.max(axis=1),
    }
    for name, values in each.items():
        estimate = getattr(found, name)
        assert float(estimate.value) == pytest.approx(values.mean(), rel=1e-6)
        error = values.std(ddof=1) / count**0.5
        assert float(estimate.standard_error) == pytest.approx(error, rel=1e-6)
    groups = min(count, 20)
    for side, estimate in (("nki,nkj->nij", found.input_side), ("nik,njk->nij", found.output_side)):
        grams = np.einsum(side, jacobians, jacobians)
        traces = np.trace(grams, axis1=1, axis2=2)
        products = np.einsum("nij,mij->nm", grams, grams)

        def ratio(kept, traces=traces, products=products):
            pairs = 1 - np.eye(count) if kept.sum() > 1 else 1.0  # of one datum, its own
            several = pairs * np.outer(kept, kept)
            return traces @ several @ traces / np.sum(products * several)

        places = np.arange(count) % groups
        whole = ratio(np.ones(count))
        left = np.array([ratio((places != g).astype(float)) for g in range(groups)])
        assert float(estimate.value) == pytest.approx(groups * whole - (groups - 1) * left.mean())
        error = np.sqrt((groups - 1) / groups * np.sum((left - left.mean()) ** 2))
        assert float(estimate.standard_error) == pytest.approx(error, rel=1e-6)


def test_ranks_have_no_unit_and_those_of_equal_jacobians_no_error():
    mix = layers(15).first
    waves = [bx.models.Function(lambda w, x: w * jnp.sin(mix @ x), jnp.asarray(size))
             for size in (1.0, 1e-4)]  # fmt: skip
    one, two, equal = (ch.jacobian_spectrum(model, DATA[:5]) for model in (*waves, layers(15)))
    for name in ("input_side", "output_side", "participation", "effective_rank", "stable_rank"):
        value, other = float(getattr(one, name).value), float(getattr(two, name).value)
        assert other == pytest.approx(value, rel=1e-5)
    for name in ("participation", "effective_rank", "stable_rank"):
        assert float(getattr(equal, name).standard_error) == 0


@pytest.mark.parametrize("side", ["input", "output"])
def test_ranks_by_probes_are_jackknifed_functions_of_mean_traces(side):
    matrix = np.random.default_rng(13).normal(size=(5, 7))
    model = bx.models.Function(lambda w, x: w @ x, jnp.asarray(matrix))
    given = {"key": jax.random.key(14), "probes": 9, "depths": (1, 2, 4)}
    found = ch.jacobian_ranks(model, np.ones((1, 7)), side=side, **given)
    operator = jnp.asarray(matrix if side == "input" else matrix.T)
    probed = jax.jit(
        lambda key: probe_traces(
            lambda v: operator @ v, len(operator.T), memory=MEMORY, **given | {"key": key}
        )
    )
    rows = probed(given["key"])
    trace, square, entropy = (np.asarray(part, float) for part in rows)

    def jackknife(fn, *parts):
        whole = fn(*(part.mean() for part in parts))
        left = np.array([fn(*(np.delete(p, i).mean() for p in parts)) for i in range(9)])
        error = np.sqrt(8 / 9 * np.sum((left - left.mean()) ** 2))
        return 9 * whole - 8 * left.mean(), error

    value, error = jackknife(lambda t, s: t**2 / s, trace, square)
    assert float(found.participation.value) == pytest.approx(value, rel=1e-6)
    assert float(found.participation.standard_error) == pytest.approx(error, rel=1e-6)
    steps = [jackknife(lambda t, s: t * np.exp(-s / t), trace, row) for row in entropy.T]
    np.testing.assert_allclose(found.ladder.value, [step[0] for step in steps], rtol=1e-6)
    np.testing.assert_allclose(found.ladder.standard_error, [step[1] for step in steps], rtol=1e-6)
    np.testing.assert_array_equal(found.ladder.x, [1, 2, 4])
    error = np.hypot(steps[2][1], steps[2][0] - steps[1][0])
    assert float(found.effective_rank.value) == pytest.approx(steps[2][0], rel=1e-6)
    assert float(found.effective_rank.standard_error) == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize(
    ("last", "flat"), [(10.0, True), (9.91, True), (9.89, False), (10.09, True), (10.12, False)]
)
def test_a_ladder_is_flat_below_one_percent(last, flat):
    ladder = bx.Estimate.exact(np.array([14.0, 10.0, last]))
    found = ch.JacobianRanks(
        ladder[0], bx.Curve(np.array([2, 4, 8]), ladder, axis="depth"), ladder[2]
    )
    assert found.flat == flat
    assert ("not flat" in repr(found)) != flat


def test_depths_reach_to_the_rank_that_data_allow():
    model, given = layers(0, gain=1.0), {"key": jax.random.key(0), "probes": 3}
    for data, side, most in (
        (DATA[:1], "input", 4),  # one datum has 4 outputs
        (DATA[:2], "input", 6),
        (DATA[:2], "output", 4),
    ):
        reached = ch.jacobian_ranks(model, data, side=side, depths=(1, most), **given)
        assert np.all(np.isfinite(reached.ladder.value))
        with pytest.raises(DeclarationError, match=f"at most {most}"):
            ch.jacobian_ranks(model, data, side=side, depths=(1, most + 1), **given)
    narrow = layers(0)
    narrow = Layers(narrow.first[:, :2], narrow.second)
    with pytest.raises(DeclarationError, match="at most 2"):
        ch.jacobian_ranks(narrow, DATA[:1, :2], side="output", depths=(1, 3), **given)
    with pytest.raises(DeclarationError, match="two rising"):
        ch.jacobian_ranks(model, DATA[:1], depths=(2, 2), **given)


def test_depths_beyond_the_rank_are_refused():
    """All singular values of the identity are equal: its ladder has one step."""
    for matrix in (np.eye(4), np.zeros((4, 4))):
        model = bx.models.Function(lambda w, x: w @ x, jnp.asarray(matrix))
        with pytest.raises(DeclarationError, match="less than the rank"):
            ch.jacobian_ranks(
                model, np.ones((1, 4)), depths=(1, 2), probes=3, key=jax.random.key(0)
            )


@pytest.mark.parametrize("side", ["input", "output"])
def test_probes_agree_with_the_exact_spectrum(side):
    model = bx.models.MLP((40, 60, 30), key=jax.random.key(5))
    data = np.random.default_rng(6).normal(size=(8, 40))
    exact = ch.jacobian_spectrum(model, data)
    values = exact.into if side == "input" else exact.out
    shares = values / values.sum()
    rank = np.exp(-np.sum(shares * np.log(shares)))
    found = ch.jacobian_ranks(
        model, data, side=side, key=jax.random.key(7), probes=100, depths=(2, 4, 8)
    )
    assert abs(found.participation.z_score(values.sum() ** 2 / np.sum(values**2))) < 3.5
    assert abs(found.effective_rank.z_score(rank)) < 3.5
    ladder = np.asarray(found.ladder.value)
    assert np.all(np.diff(ladder) < 1e-3) and found.flat
    assert ladder[0] > rank + 0.3  # a short ladder is too large


def test_gaussian_chains_have_the_participation_of_the_closed_form():
    rng = np.random.default_rng(8)
    for widths in [(5,), (5, 3), (4, 6, 5), (3, 3, 3, 3)]:
        squared, square = [], []
        for _ in range(4000):
            product = np.eye(widths[0])
            for n, m in itertools.pairwise(widths):
                product = rng.normal(size=(m, n)) / n**0.5 @ product
            gram = product.T @ product
            squared.append(np.trace(gram) ** 2)
            square.append(np.sum(gram**2))
        found = np.mean(squared) / np.mean(square)
        assert th.chain_participation(widths) == pytest.approx(found, rel=0.12)
    wide = (400, 300, 500)
    assert th.chain_participation(wide) == pytest.approx(1 / sum(1 / n for n in wide), rel=0.01)


def test_a_transformer_is_read_between_its_places():
    model = bx.models.Transformer(7, 4, 1, 2, 3, key=jax.random.key(9))
    tokens = np.array([[1, 2, 3], [4, 5, 6]])
    found = ch.jacobian_spectrum(model, tokens, of="final", by="embedding")
    assert found.singular_values.shape == (2, 12) and found.participation.value <= 12
    with pytest.raises(DeclarationError, match="embedding"):
        ch.jacobian_spectrum(model, tokens)
    with pytest.raises(DeclarationError, match="zero"):
        ch.jacobian_spectrum(model, tokens, of="embedding", by="final")


@pytest.mark.parametrize("change", [
    {"of": "nowhere"}, {"by": "nowhere"}, {"depths": (4,)}, {"depths": (4, 2)}, {"depths": (2, 5)},
])  # fmt: skip
def test_wrong_places_and_depths_are_refused(change):
    with pytest.raises(DeclarationError):
        ch.jacobian_ranks(layers(0), DATA[:1], key=jax.random.key(0), **{"depths": (1, 2)} | change)


def test_data_without_one_leading_axis_are_refused():
    for data in (DATA[:0], (DATA, DATA[:3])):
        with pytest.raises(DeclarationError, match="data"):
            ch.jacobian_spectrum(layers(0), data)


@pytest.mark.parametrize("width, side", [(3, "input"), (8, "output")])
def test_data_of_shorter_numbers_than_the_net_and_lists_are_taken(width, side):
    model = bx.models.MLP((6, 5, width), key=jax.random.key(3))
    data = DATA[:6].astype(np.float32)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), model)
        exact = float(ch.jacobian_spectrum(wide, data.astype(np.float64)).input_side.value)
        found = ch.jacobian_spectrum(wide, data).input_side.value
        assert float(found) == pytest.approx(exact, rel=1e-4)
        key = jax.random.key(0)
        ranks = ch.jacobian_ranks(wide, data, side=side, key=key, depths=(1, 2), probes=8)
        assert np.isfinite(ranks.participation.value)
        first, last = (ranks.ladder[i] for i in range(2))
        error = np.hypot(float(last.standard_error), float(last.value - first.value))
        assert float(ranks.effective_rank.standard_error) == pytest.approx(error, rel=1e-6)
    listed = ch.jacobian_spectrum(model, data.tolist()).input_side.value
    assert float(listed) == pytest.approx(exact, rel=1e-4)
    with pytest.raises(DeclarationError, match="lists of equal lengths"):
        ch.jacobian_spectrum(model, [[1.0], [2.0, 3.0]])


def test_short_floats_have_the_spectrum_of_float32():
    model = bx.models.MLP((6, 5, 3), key=jax.random.key(4))
    short = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), model)
    data = jnp.asarray(DATA[:6], jnp.bfloat16)
    exact, found = (
        float(ch.jacobian_spectrum(net, x).input_side.value)
        for net, x in ((model, DATA[:6]), (short, data))
    )
    assert found == pytest.approx(exact, rel=0.1)


def test_the_error_of_few_data_covers():
    """It covers 96% at 10 data; of 150 sets 130 or fewer have a probability below 1e-4."""
    basis, rng = np.random.default_rng(5).normal(size=(4, 6)), np.random.default_rng(6)
    squares = np.sum(basis**2, axis=0)
    true, covered = np.sum(squares) ** 2 / np.sum(squares**2), 0
    for _ in range(150):
        jacobians = basis * rng.normal(size=(10, 1, 6))
        found = _participation(
            np.einsum("nki,nkj->nij", jacobians, jacobians),
            np.linalg.svd(jacobians, compute_uv=False) ** 2,
        )
        covered += bool(found.lower <= true <= found.upper)
    assert covered > 130


def test_averaged_sides_are_over_pairs_of_different_data():
    jacobians = np.random.default_rng(10).normal(size=(5, 3, 4))
    grams = np.einsum("nki,nkj->nij", jacobians, jacobians)

    def ratio(part):
        pairs = list(itertools.permutations(part, 2))
        return sum(np.trace(a) * np.trace(b) for a, b in pairs) / sum(
            np.sum(a * b) for a, b in pairs
        )

    left = [ratio(np.delete(grams, i, axis=0)) for i in range(5)]
    found = _participation(grams, np.linalg.svd(jacobians, compute_uv=False) ** 2)
    assert float(found.value) == pytest.approx(5 * ratio(grams) - 4 * np.mean(left))
