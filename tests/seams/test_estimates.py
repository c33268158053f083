"""Estimates as users treat them: iterated, indexed, of vector observables, of numpy arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx

DRAWS = np.random.default_rng(0).normal(size=(3, 4, 50)) + np.arange(3)[:, None, None]
THREE = bx.Estimate.of_series(DRAWS)


def test_iteration_ends():
    assert [float(e.value) for e in THREE] == [float(v) for v in THREE.value]
    assert len(THREE) == 3
    for no_sequence in (iter, len):
        with pytest.raises(TypeError):
            no_sequence(THREE[0])


@given(st.integers(-20, 20))
def test_an_index_is_that_of_numpy(index):
    if -3 <= index < 3:
        assert float(THREE[index].value) == float(np.asarray(THREE.value)[index])
    else:
        for wrong in (index, np.int64(index), jnp.asarray(index), (index,)):
            with pytest.raises(IndexError):
                THREE[wrong]


def test_slices_masks_and_new_axes():
    assert THREE[1:].shape == (2,)
    assert THREE[None].shape == (1, 3)
    assert THREE[jnp.array([True, False, True])].shape == (2,)
    assert THREE[..., 0].shape == ()
    assert jax.jit(lambda e, i: e[i].value)(THREE, 2) == THREE.value[2]


@pytest.mark.parametrize("level", [95, 1, 0, 1.0, 0.0, -0.5, float("nan"), "a", None, True])
def test_a_level_is_a_probability(level):
    with pytest.raises(bx.DeclarationError, match="level"):
        THREE.interval(level)


def test_an_interval_covers():
    low, high = THREE.interval(0.6826894921370859)
    np.testing.assert_allclose(high - low, 2 * THREE.standard_error, rtol=1e-12)


@pytest.fixture(scope="module")
def trace():
    energy = bx.SquaredError(bx.models.Polynomial((1, 1)), bx.IntervalMeasure(order=2), bx.zero)
    gibbs = bx.compile(energy, bx.Normal(), beta=1.0)
    return bx.sample(
        gibbs, bx.RandomWalk(), key=jax.random.key(0), chains=3, warmup=50, draws=40, throw=False
    )


def test_the_mean_of_a_vector_is_over_chains_and_draws(trace):
    found = trace.mean(lambda model: {"w": model.weight, "sum": jnp.sum(model.weight)})
    values = np.asarray(trace.weights["weight"])
    np.testing.assert_allclose(found["w"].value, values.mean(axis=(0, 1)), atol=1e-12)
    assert found["sum"].shape == ()
    by_hand = bx.Estimate.of_series(np.moveaxis(values, -1, 0))
    np.testing.assert_allclose(found["w"].standard_error, by_hand.standard_error)


@pytest.mark.slow
def test_the_mean_along_a_ladder_keeps_the_betas(trace):
    ladder = bx.sample(
        trace.gibbs.at(jnp.array([0.5, 1.0])), bx.RandomWalk(),
        key=jax.random.key(0), chains=3, warmup=50, draws=40, throw=False,
    )  # fmt: skip
    assert ladder.mean(lambda model: model.weight).shape == (2, 2)
    assert ladder.mean(lambda model: model.weight[0]).shape == (2,)


@given(st.integers(2, 4), st.integers(5, 9), st.integers(1, 3))
def test_ambiguous_axes_are_refused_and_named_axes_are_taken(chains, draws, entries):
    values = np.random.default_rng(1).normal(size=(chains, draws, entries)) + np.arange(entries)
    for wrong in (values, values[:, :, 0].ravel(), values[None]):
        with pytest.raises(bx.DeclarationError, match=r"(?s)draws.*trace\.mean"):
            bx.mean_estimate(wrong)
    for moved, axes in ((values, (0, 1)), (np.moveaxis(values, -1, 0), (-2, -1))):
        found = bx.mean_estimate(moved, axes=axes)
        np.testing.assert_allclose(found.value, values.mean((0, 1)), rtol=1e-12)
    one = bx.mean_estimate(values[..., 0])
    np.testing.assert_array_equal(one.value, found[0].value)
    for axes in ((0, 0), (0, 3), (-1, 2), 0, (0, 1, 2)):
        with pytest.raises(bx.DeclarationError, match="axes"):
            bx.mean_estimate(values, axes=axes)
    with pytest.raises(bx.DeclarationError, match="real"):
        bx.mean_estimate(values[..., 0] * 1j)


def test_numbers_of_a_trace_have_its_axes(trace):
    values = trace.evaluate(lambda model: model.weight)
    found = trace.mean_of(values)
    np.testing.assert_array_equal(found.value, trace.mean(lambda model: model.weight).value)
    for wrong in (np.moveaxis(values, -1, 0), values[0], np.asarray(values)[:, 1:]):
        with pytest.raises(bx.DeclarationError, match=r"leading axes \['chain', 'draw'\]"):
            trace.mean_of(wrong)


@pytest.mark.slow
def test_a_mean_inside_the_loop_sees_weights_that_were_integrated_out():
    """Their declared values are not draws; two estimates of one run, |z| < 4: 6e-5 a number."""
    x = np.linspace(-1, 1, 12)[:, None]
    net = bx.models.TwoLayer(width=1, key=jax.random.key(0))
    energy = 20.0 * bx.SquaredError(net, bx.Empirical((x, 0.8 * np.tanh(x[:, 0]))))
    gibbs = bx.compile(energy, bx.Normal())
    assert gibbs.parameters > gibbs.dim

    def square(model):
        return jnp.sum(model.readout**2)

    run = bx.sample(
        gibbs, bx.RandomWalk(), key=jax.random.key(1), warmup=200, draws=640, thin=2,
        reduce={"square": bx.Mean(square, 20)}, throw=False,
    )  # fmt: skip
    one, other = run.reduced["square"], run.mean(square)
    error = np.hypot(float(one.standard_error), float(other.standard_error))
    assert float(other.standard_error) < 0.2 * float(other.value)
    assert abs(float(one.value - other.value)) < 4 * error


@pytest.mark.parametrize("dtype", [np.float16, np.float32, jnp.bfloat16])
def test_a_mean_has_more_digits_than_its_draws(dtype):
    """The draws are neighbouring floats: their mean is no float of their kind."""
    below = np.asarray(jnp.asarray([100.0, 1e4], dtype))
    above = np.asarray(jnp.nextafter(jnp.asarray(below), jnp.asarray(np.inf, dtype)))
    heads = np.random.default_rng(0).integers(0, 2, size=(2, 4, 500)).astype(bool)
    for low, high, head in zip(below, above, heads, strict=True):
        draws = np.where(head, low, high)
        found = bx.mean_estimate(draws)
        truth = draws.astype(np.float64).mean()
        assert abs(float(found.z_score(truth))) < 0.1
        with jax.enable_x64(False):
            rounded = bx.mean_estimate(draws)
        assert abs(float(rounded.value) - truth) <= 1.01 * float(rounded.standard_error)


def test_one_draw_has_no_error_and_none_is_refused():
    assert np.isnan(bx.mean_estimate(np.ones((4, 1)) * np.arange(4)[:, None]).standard_error)
    for shape in ((4, 0), (0, 4)):
        with pytest.raises(bx.DeclarationError, match="at least one"):
            bx.mean_estimate(np.ones(shape))


def test_a_mean_inside_the_loop_is_of_real_numbers(trace):
    for wrong in (lambda model: 1j * model.weight, lambda model: jax.random.key(0)):
        with pytest.raises(bx.DeclarationError, match="real numbers"):
            bx.Mean(wrong, 5).init(trace.gibbs, {"weight": jnp.ones(2)})


def test_several_betas_may_be_a_list(trace):
    np.testing.assert_array_equal(trace.gibbs.at([0.5, 1.0]).beta, [0.5, 1.0])


def test_a_mean_inside_the_loop_has_two_batches_or_is_refused(trace):
    reduce = {"m": bx.Mean(lambda model: model.weight, length=11)}
    with pytest.raises(bx.DeclarationError, match=r"reduce\['m'\]"):
        bx.sample(trace.gibbs, bx.RandomWalk(), key=jax.random.key(0), draws=21, reduce=reduce)


def test_an_exact_number_of_one_draw_is_exact():
    found = bx.Estimate.of_series(np.ones((4, 1)), exact=True)
    assert (float(found.standard_error), float(found.ess), float(found.r_hat)) == (0.0, 4.0, 1.0)


def test_digits_of_numpy_are_counted_without_x64():
    draws = 1e8 + np.random.default_rng(0).normal(size=(4, 1000))
    with jax.enable_x64(False):
        found = bx.mean_estimate(draws)
    assert abs(float(found.value) - draws.mean()) <= 1.01 * float(found.standard_error)
