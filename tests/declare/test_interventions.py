"""Interventions: values against closed forms, and what is refused."""

import copy
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.core import DeclarationError, path_name, weights_of

KEY = jax.random.key(0)
FEW = settings(max_examples=20, deadline=None)


class Cubed(eqx.Module):
    """`Σ (W x)³`, with the product as a place."""

    weight: jax.Array

    def __call__(self, x):
        return jnp.sum(bx.tap(self.weight @ x, "hidden") ** 3)


MODEL = Cubed(jax.random.normal(KEY, (3, 2)))
X = jnp.array([0.5, -1.0])
HIDDEN = MODEL.weight @ X

INDICES = [
    np.s_[0], np.s_[-1], np.s_[1:], np.s_[::2], np.s_[..., 0], np.s_[:, 1], np.s_[[0, 2]],
    np.s_[:, [1, 0]], np.s_[1, 0], np.array([1, 2]), np.int64(1), jnp.array([0]), slice(None),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_entries_are_ablated_as_numpy_sets_them(index):
    value = np.arange(1.0, 7.0).reshape(3, 2)
    expected = value.copy()
    expected[index] = -1.0
    np.testing.assert_array_equal(bx.Ablate(index, -1.0)(jnp.asarray(value)), expected)


@pytest.mark.parametrize("index", [np.s_[3], np.s_[:, 2], np.s_[0, 0, 0], np.s_[[0, 5]]], ids=str)
def test_entries_that_do_not_exist_are_refused(index):
    with pytest.raises(DeclarationError, match="entries"):
        bx.Ablate(index)(jnp.ones((3, 2)))


@given(st.lists(st.booleans(), min_size=2, max_size=2))
@FEW
def test_entries_by_a_boolean_array(mask):
    value = jnp.arange(1.0, 7.0).reshape(3, 2)
    to = jnp.array([7.0, 8.0])
    expected = np.where(np.asarray(mask), to, value)
    np.testing.assert_array_equal(bx.Ablate(np.asarray(mask), to)(value), expected)


@given(st.integers(1, 4), st.integers(0, 10))
@FEW
def test_projections(count, seed):
    """Idempotent, complementary, orthogonal to the span; also for directions that depend."""
    rows = jax.random.normal(jax.random.key(seed), (count, 4))
    basis = jnp.concatenate([rows, rows[:1] * 2])
    value = jax.random.normal(jax.random.key(seed + 1), (3, 4))
    without, kept = (bx.Project(basis, keep)(value) for keep in (False, True))
    np.testing.assert_allclose(without + kept, value, atol=1e-10)
    np.testing.assert_allclose(without @ rows.T, 0, atol=1e-9)
    np.testing.assert_allclose(bx.Project(basis)(without), without, atol=1e-9)
    combined = bx.Project(jnp.array([[3.0, 0, 0, 0], [1.0, 2.0, 0, 0]]))(value)
    np.testing.assert_allclose(combined, value.at[:, :2].set(0), atol=1e-10)


def test_noise_has_its_standard_deviation_and_is_independent_between_data():
    """Over 4000 keys: moments within 4 standard errors, also the correlation of neighbours."""
    keys = jax.random.split(KEY, 4000)
    value = jnp.array([1.0, 2.0])
    near = value.at[0].set(jnp.nextafter(value[0], 2.0))

    def noise(key, value):
        return bx.Noise(0.5, key=key)(value) - value

    first, second = (np.asarray(jax.vmap(noise, (0, None))(keys, v)) for v in (value, near))
    assert abs(first.mean()) < 4 * 0.5 / np.sqrt(first.size)
    assert abs(first.var() / 0.25 - 1) < 4 * np.sqrt(2 / first.size)
    assert np.all(abs((first * second).mean(0)) / 0.25 < 4 / np.sqrt(4000))
    assert abs((first[:, 0] * first[:, 1]).mean()) / 0.25 < 4 / np.sqrt(4000)
    np.testing.assert_array_equal(first, jax.vmap(noise, (0, None))(keys, value))


def test_relative_noise_scales_with_the_value():
    value = jnp.array([3.0, -4.0])
    key = jax.random.key(3)
    relative = bx.Noise(0.1, key=key, relative=True)(value) - value
    absolute = bx.Noise(0.1, key=key)(value) - value
    np.testing.assert_allclose(relative, absolute * np.sqrt(12.5), rtol=1e-12)
    shift = jax.jacfwd(bx.Noise(0.1, key=key))(value)
    np.testing.assert_array_equal(shift, jnp.eye(2))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("promotion", ["standard", "strict"])
def test_values_keep_their_dtype(dtype, promotion):
    model, x = jax.tree.map(lambda leaf: leaf.astype(dtype), (MODEL, X))
    given = (
        bx.Ablate(0, 0.5),
        bx.Replace(np.ones(3)),
        bx.Project(jnp.ones(3)),
        bx.Noise(0.1, key=KEY),
        bx.Noise(0.1, key=KEY, relative=True),
        lambda value: value,
        1,
    )
    with jax.numpy_dtype_promotion(promotion):
        for intervention in given:
            patched = bx.patched(model, {"hidden": intervention})
            assert eqx.filter_eval_shape(patched, x).dtype == dtype
            assert bx.taps(patched, x)["hidden"].dtype == dtype


def test_arrays_and_functions_are_interventions():
    value = jnp.array([1.0, 2.0, 3.0])
    assert bx.patched(MODEL, {"hidden": value})(X) == jnp.sum(value**3)
    doubled = bx.patched(MODEL, {"hidden": lambda value: 2 * value})
    np.testing.assert_allclose(doubled(X), 8 * MODEL(X))
    linear = eqx.nn.Linear(3, 3, key=KEY)
    probe = bx.patched(MODEL, {"hidden": linear})
    np.testing.assert_allclose(probe(X), jnp.sum(linear(HIDDEN) ** 3))
    assert list(weights_of(probe)) == ["weight"]


def test_arrays_of_interventions_are_leaves_and_settings():
    def output(to):
        return bx.patched(MODEL, {"hidden": bx.Ablate(0, to)})(X)

    np.testing.assert_allclose(jax.grad(output)(2.0), 3 * 2.0**2)
    mapped = jax.vmap(output)(jnp.arange(3.0))
    np.testing.assert_allclose(mapped, [output(to) for to in (0.0, 1.0, 2.0)])
    patched = bx.patched(MODEL, {"hidden": bx.Noise(0.3, key=KEY)})
    names = [path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(patched)[0]]
    assert names[0] == "weight"
    assert all(name.startswith("interventions") for name in names[1:])
    assert len(names) == 3


def test_noisy_models_over_keys_are_mapped():
    keys = jax.random.split(KEY, 3)

    def noisy(key):
        return bx.patched(MODEL, {"hidden": bx.Noise(0.3, key=key)})

    many = jax.vmap(lambda key: noisy(key)(X))(keys)
    np.testing.assert_allclose(many, [noisy(key)(X) for key in keys])


@pytest.mark.parametrize(
    "intervention, argument",
    [
        (np.ones(2), "Replace"),
        (bx.Ablate(None, np.ones(2)), "Ablate"),
        (bx.Ablate(np.ones(2, bool)), "Ablate"),
        (bx.Project(jnp.ones((1, 2))), "basis"),
        (lambda value: value[:2], "interventions['hidden']"),
        (lambda value: value + 1j, "interventions['hidden']"),
    ],
)
def test_other_shapes_and_kinds_are_refused(intervention, argument):
    with pytest.raises(DeclarationError) as error:
        bx.patched(MODEL, {"hidden": intervention})(X)
    assert error.value.argument == argument


def test_an_energy_of_a_patched_model_is_sampled():
    """The mean ablation makes the model constant, so that its weights keep their prior."""
    ablated = bx.patched(MODEL, {"hidden": bx.Ablate(None, 1.0)})
    data = bx.Empirical((np.ones((4, 2)), np.full(4, 5.0)))
    gibbs = bx.compile(bx.SquaredError(ablated, data), bx.Normal(), beta=1.0)
    assert list(gibbs.position()) == ["weight"]
    weights = gibbs.sample_prior(KEY)
    np.testing.assert_allclose(gibbs.energy(weights), 4 * 0.5 * (3.0 - 5.0) ** 2)
    draws = bx.Ensemble.prior(gibbs, 5, key=KEY)
    read = draws.map(lambda model: bx.activations(model, X, "hidden")["hidden"])
    np.testing.assert_array_equal(read, np.ones((5, 3)))


def test_models_of_an_ensemble_are_read_and_patched():
    data = bx.Empirical((np.ones((4, 2)), np.full(4, 5.0)))
    gibbs = bx.compile(bx.SquaredError(MODEL, data), bx.Normal(), beta=1.0)
    draws = bx.Ensemble.prior(gibbs, 5, key=KEY)
    read = draws.map(lambda model: bx.activations(model, X, "hidden")["hidden"])
    np.testing.assert_allclose(read, draws.map(lambda model: model.weight @ X))
    patched = draws.map(lambda model: bx.patched(model, {"hidden": bx.Ablate(0)})(X))
    np.testing.assert_allclose(patched, np.sum(np.asarray(read)[:, 1:] ** 3, axis=1))


@pytest.mark.parametrize("flaw", [{"hidden": Cubed}, {"hidden": "zero"}, {1: 0.0}, [("a", 0.0)]])
def test_wrong_interventions_are_refused(flaw):
    with pytest.raises(DeclarationError, match="interventions"):
        bx.patched(MODEL, flaw)


def counted(w, x):
    return jnp.sum(bx.tap(jnp.round(x).astype(int), "count")) * w


@pytest.mark.parametrize(
    ("to", "expected"), [(0.0, 0.0), (2, 6.0), (np.array([1.0, 2.0, 3.0]), 6.0)]
)
def test_whole_numbers_take_the_place_of_whole_numbers(to, expected):
    model = bx.models.Function(counted, jnp.ones(()))
    assert float(bx.patched(model, {"count": bx.Ablate(to=to)})(jnp.arange(3.0))) == expected


@pytest.mark.parametrize("to", [0.5, np.array([1.0, 2.0, 2.9])])
def test_fractions_in_place_of_whole_numbers_are_refused(to):
    """As `bx.Replace` refuses them; also a value that is traced, so that nothing is known."""
    model = bx.models.Function(counted, jnp.ones(()))

    def ablated(to):
        return bx.patched(model, {"count": bx.Ablate(to=to)})(jnp.arange(3.0))

    for call in (ablated, jax.jit(ablated)):
        with pytest.raises(DeclarationError, match="to"):
            call(to)


def test_a_datum_that_the_model_does_not_take_is_named():
    for call in (bx.activations, bx.taps):
        with pytest.raises(DeclarationError) as caught:
            call(MODEL, jnp.ones(5))
        assert caught.value.argument == "x"


def test_a_patched_model_is_copied_and_says_that_it_has_no_attributes():
    patched = bx.patched(MODEL, {"hidden": bx.Ablate()})
    assert float(copy.deepcopy(patched)(X)) == float(pickle.loads(pickle.dumps(patched))(X)) == 0
    with pytest.raises(AttributeError, match="none of the attributes"):
        _ = patched.weight


def test_noise_differs_between_data_of_equal_values():
    noisy = bx.patched(
        bx.models.Function(counted_noise, jnp.ones(())), {"n": bx.Noise(1.0, key=KEY)}
    )
    out = jax.vmap(noisy)(jnp.array([[0.1], [0.2], [0.1]]))
    assert out[0] == out[2] != out[1]


def counted_noise(w, x):
    return jnp.sum(bx.tap(0 * x, "n")) * w
