"""Influence functions: numbers of shared draws err together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx

J, E = bx.Influence, bx.Estimate
FUNCTIONS = {
    "ratio": lambda m: m[0] / m[1],
    "product": lambda m: m[0] * m[1],
    "difference": lambda m: m[0] - 2 * m[1],
    "variance": lambda m: m[2] - m[0] ** 2,
    "log mean exp": lambda m: jnp.log(m[1]),
}
JACKKNIFE = {name: jax.jit(jax.vmap(fn, in_axes=-1)) for name, fn in FUNCTIONS.items()}


def moments(x):
    return np.stack([x, np.exp(x / 4), x**2])


def autocorrelated(rng, chains, draws, rho=0.8):
    noise = rng.normal(size=(chains, draws))
    x = np.empty_like(noise)
    x[:, 0] = noise[:, 0]
    for t in range(1, draws):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * noise[:, t]
    return x


@pytest.mark.parametrize("name", FUNCTIONS)
@given(st.integers(0, 2**31), st.floats(-2, 2))
def test_the_variance_by_influence_is_that_of_the_jackknife(name, seed, shift):
    """Of n independent samples, up to terms 1/n: `(n-1)/n Σ (f_(i) - mean f_(.))²`."""
    n = 400
    values = moments(np.random.default_rng(seed).normal(size=n) + shift)
    found = J.of_samples(values.T).map(FUNCTIONS[name]).estimate()
    without = (values.sum(axis=1, keepdims=True) - values) / (n - 1)
    left = np.asarray(JACKKNIFE[name](without))
    jackknife = np.sqrt((n - 1) / n * np.sum((left - left.mean()) ** 2))
    np.testing.assert_allclose(found.standard_error, jackknife, rtol=0.02)
    assert float(found.ess) == n


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_of_functions_of_one_run_are_honest(name):
    """z-scores about the exact value over 200 runs of autocorrelated draws have spread one."""
    truth = FUNCTIONS[name](np.array([0.0, np.exp(1 / 32), 1.0]))
    x = autocorrelated(np.random.default_rng(3), 200 * 4, 500).reshape(200, 4, 500)
    z = np.asarray(J.of(moments(x)).map(FUNCTIONS[name]).estimate().z_score(truth))
    assert 0.85 < np.std(z) < 1.2
    assert abs(np.mean(z)) < 4 / np.sqrt(200)


def test_a_difference_of_shared_draws_is_right_where_the_independent_formula_is_not():
    draws = autocorrelated(np.random.default_rng(4), 4, 2000)
    low, high = J.of(np.exp(draws / 8)), J.of(np.exp(draws / 7))
    shared = (high - low).estimate()
    direct = E.of_series(np.exp(draws / 7) - np.exp(draws / 8))
    np.testing.assert_allclose(shared.value, direct.value)
    np.testing.assert_allclose(shared.standard_error, direct.standard_error, rtol=1e-9)
    apart = high.estimate() - low.estimate()
    assert float(apart.standard_error) > 5 * float(shared.standard_error)
    np.testing.assert_allclose((low - low).estimate(exact=True).standard_error, 0.0, atol=1e-15)


@given(st.integers(0, 2**31), st.floats(0.5, 3))
def test_operators_are_their_functions(seed, number):
    a, b = J.of(moments(np.random.default_rng(seed).normal(size=(4, 30)) + 2)[:2])
    for found, fn in (
        (a + b, lambda x, y: x + y),
        (a - b, lambda x, y: x - y),
        (a * b, lambda x, y: x * y),
        (a / b, lambda x, y: x / y),
        (-a + b * number, lambda x, y: -x + y * number),
        (number - a / number, lambda x, y: number - x / number + 0 * y),
        (number + a - number, lambda x, y: x + 0 * y),
        (number / a, lambda x, y: number / x + 0 * y),
        (a.scaled(number).shifted(2.0), lambda x, y: number * x + 2.0 + 0 * y),
    ):
        other = a.map(fn, b)
        np.testing.assert_allclose(found.value, other.value, rtol=1e-12)
        np.testing.assert_allclose(found.rows["draws"], other.rows["draws"], atol=1e-12)


def test_z_scores_of_shared_and_of_independent_draws():
    draws = np.random.default_rng(8).normal(size=(4, 500))
    a, b = J.of(draws + 1), J.of(draws * 1.01 + 1)
    np.testing.assert_allclose(a.z_score(1.0), a.estimate().z_score(1.0))
    np.testing.assert_allclose(a.z_score(b), (a - b).estimate().z_score(0.0))
    np.testing.assert_allclose(a.z_score(b.estimate()), a.estimate().z_score(b.estimate()))
    assert abs(float(a.z_score(b))) > 10 * abs(float(a.z_score(b.estimate())))
    for mixed in (lambda: a + b.estimate(), lambda: b.estimate() / a, lambda: b.estimate() - a):
        with pytest.raises(bx.DeclarationError, match=r"influence\.estimate\(\)"):
            mixed()


def test_sources_are_independent():
    rng = np.random.default_rng(5)
    a = J.of(rng.normal(size=(2, 4, 200)), source="a")
    b = J.of(rng.normal(size=(2, 3, 100)) + 1, source="b")
    whole, apart = (a - 2 * b).estimate(), a.estimate() - 2 * b.estimate()
    np.testing.assert_allclose(whole.standard_error, apart.standard_error)
    np.testing.assert_array_equal(whole.ess, apart.ess)
    np.testing.assert_array_equal(whole.r_hat, apart.r_hat)
    mapped = a.map(lambda x, y: x - 2 * y, b).estimate()
    np.testing.assert_allclose(mapped.standard_error, apart.standard_error)
    stacked = J.stack([a, b]).estimate(exact=True)
    np.testing.assert_allclose(stacked.standard_error[1], b.estimate().standard_error)


def test_entries_and_shapes():
    draws = moments(autocorrelated(np.random.default_rng(6), 4, 50))
    whole = J.of(draws)
    assert [each.shape for each in whole] == [(), (), ()]
    np.testing.assert_allclose(whole[1:].estimate().value, whole.estimate().value[1:])
    np.testing.assert_allclose(whole.estimate().value, E.of_series(draws).value)
    np.testing.assert_allclose(whole.estimate().standard_error, E.of_series(draws).standard_error)
    assert whole.map(lambda m: m[:, None] * m).shape == (3, 3)
    assert (whole * np.ones((2, 1))).estimate().shape == (2, 3)
    assert np.isnan(J.of(np.ones((4, 50))).estimate().standard_error)


def test_wrong_declarations():
    whole = J.of(np.ones((4, 50)) * np.arange(50))
    for wrong in (
        lambda: whole + J.of(np.ones((4, 20)) * np.arange(20)),
        lambda: J.of(np.ones(4)),
        lambda: J.of(np.ones((4, 0))),
        lambda: J.of(1j * np.ones((4, 5))),
        lambda: J.of_samples(np.ones((0, 5))),
        lambda: whole.map(lambda x: (x, x)),
        lambda: J.stack([]),
        lambda: J.stack([whole, J.of(np.ones((2, 4, 50)))]),
        lambda: whole.times(np.ones((2, 3))),
    ):
        with pytest.raises(bx.DeclarationError):
            wrong()
    with pytest.raises(TypeError):
        whole * "a"


def test_a_stack_of_independent_sources_has_the_error_of_each():
    rng = np.random.default_rng(0)
    parts = [bx.Influence.of(rng.normal(size=(4, 500)), source=f"run {i}") for i in range(3)]
    whole = bx.Influence.stack(parts)
    errors = [float(part.estimate().standard_error) for part in parts]
    np.testing.assert_allclose(whole.estimate().standard_error, errors, rtol=1e-12)
    for i, part in enumerate(parts):
        assert float(whole[i].estimate().standard_error) == float(part.estimate().standard_error)
        assert float(whole[i].estimate().ess) == float(part.estimate().ess)
    total = whole.times(np.ones((1, 3))).estimate()
    np.testing.assert_allclose(total.standard_error, np.hypot(np.hypot(*errors[:2]), errors[2]))
    # a run that never moved says nothing of its error, alone or in a sum
    stuck = bx.Influence.of(np.ones((4, 500)), source="stuck")
    assert np.isnan((parts[0] + stuck).estimate().standard_error)
    assert np.isnan(stuck.estimate().standard_error)
