"""The Gaussian process on a line: against linear algebra, derivatives and the Markov property."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import boltzax as bx
from boltzax import channels as ch
from boltzax.cases import PoissonData, exponential_process, far_places, noisy_channel
from boltzax.core import numpy_generator
from boltzax.theory import averaged_screening, screening_exponent

KEY = jax.random.key(0)


def kernel(a, b, length):
    return jnp.exp(-jnp.abs(a[:, None] - b) / length)


def algebra(process, a, b):
    """The posterior covariance by a difference of kernels."""
    x, length = process.x, process.length
    inner = kernel(x, x, length) + process.noise_variance * np.eye(len(x))
    return kernel(a, b, length) - kernel(a, x, length) @ np.linalg.solve(
        inner, kernel(x, b, length)
    )


def drawn(seed, count=12, span=4.0, length=1.0, noise=0.3):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, span, count), rng.normal(size=count)
    return exponential_process(x, y, length=length, noise_variance=noise)


settings = st.tuples(st.integers(0, 100), st.floats(0.1, 10), st.floats(0.01, 10))


@given(settings)
def test_covariance_is_a_greens_function(setting):
    seed, length, noise = setting
    process = drawn(seed, length=length, noise=noise)
    a, b = np.array([-0.5, 0.3, 2.0, process.x[3]]), np.array([0.3, 3.1, 7.0])
    np.testing.assert_allclose(process.covariance(a, b), algebra(process, a, b), atol=1e-11)
    own = process.covariance(process.x, process.x)
    np.testing.assert_allclose(own, own.T, rtol=1e-12)
    assert np.all(np.linalg.eigvalsh(own) > 0)


@given(settings)
def test_response_is_the_derivative_of_the_mean(setting):
    seed, length, noise = setting
    process, places = drawn(seed, length=length, noise=noise), np.array([-1.0, 0.7, 2.2])

    def mean(y):
        x = process.x
        inner = kernel(x, x, length) + noise * jnp.eye(len(x))
        return kernel(places, x, length) @ jnp.linalg.solve(inner, y)

    np.testing.assert_allclose(process.mean(places), mean(process.y), atol=1e-10)
    slope = jax.jacobian(mean)(jnp.asarray(process.y))
    np.testing.assert_allclose(process.response(places), slope, atol=1e-10)


def test_far_covariances_keep_their_digits():
    """Where a difference of kernels is rounding, the decay is still that of the data between."""
    x = np.arange(0.0, 40.0, 0.05)
    process = exponential_process(x, np.zeros(len(x)), length=1.0, noise_variance=1.0)
    rate = screening_exponent(20.0, 1.0, 1.0, "lattice")
    far = process.covariance(np.array([10.0]), np.array([15.0, 20.0, 25.0, 30.0]))[0]
    assert far[-1] < 1e-40
    np.testing.assert_allclose(np.diff(np.log(far)), -5 * rate, rtol=1e-12)


@given(settings)
def test_an_exact_neighbour_screens_all_behind_it(setting):
    """The prior is Markov: given the function at a place, the two sides are independent."""
    seed, length, noise = setting
    process = drawn(seed, length=length, noise=noise)
    x, y = np.append(process.x, 2.0), np.append(process.y, 0.4)
    # the same as a datum without noise, among data with it
    weights = np.append(np.ones(len(process.x)), 1e12)
    order = np.argsort(x)
    whole = exponential_process(x, y, length=length, noise_variance=noise)
    across = whole.covariance(np.array([1.5]), np.array([2.5]), weights[order])
    beside = whole.covariance(np.array([1.5]), np.array([1.6]), weights[order])
    assert abs(across[0, 0]) < 1e-9 * noise and beside[0, 0] > 1e-3 * min(noise, 1) * 0.05


@given(st.integers(0, 100), st.floats(0.1, 10))
def test_neighbours_without_noise_screen_the_prediction(seed, length):
    """Of any background beyond one datum on each side, to the order of their noise."""
    process = drawn(seed, length=length, noise=1e-10)
    gaps = process.x - 2.0
    left, right = -np.max(gaps[gaps < 0]), np.min(gaps[gaps > 0])
    both, one = max(left, right) * (1 + 1e-9), min(left, right) * (1 + 1e-9)
    for background in ("drop", "average", "resample"):
        change = process.screened(2.0, np.array([one, both]), background, key=KEY)
        assert abs(change[1]) < 1e-5
        if background == "drop":
            assert abs(change[0]) > 1e3 * abs(change[1])


@pytest.mark.parametrize("background", ["drop", "average", "resample"])
def test_screening_is_a_difference_of_means(background):
    process = drawn(3, count=15)
    radii = np.array([0.3, 0.8, 1.5, 9.0])
    found = process.screened(2.0, radii, background, key=KEY)
    rng = numpy_generator(KEY)
    at = np.array([2.0])
    for radius, change in zip(radii, found, strict=True):
        far = np.abs(process.x - 2.0) > radius
        x, y = process.x.copy(), process.y.copy()
        if background == "drop":
            x, y = x[~far], y[~far]
        elif background == "average" and far.any():
            y[far] = y[far].mean()
        elif far.any():
            chosen = rng.choice(np.flatnonzero(far), far.sum())
            x = np.concatenate([x[~far], x[chosen]])
            y = np.concatenate([y[~far], y[chosen]])
        other = exponential_process(x, y, length=1.0, noise_variance=0.3)
        assert abs(other.mean(at)[0] - process.mean(at)[0] - change) < 1e-12
    assert found[-1] == 0


def test_drawn_data_have_the_density_and_the_covariance():
    data, draws = PoissonData(4.0, 0.7, 0.5), 1500
    processes = [data.process(2.0, mean=1.5, key=jax.random.key(i)) for i in range(draws)]
    counts = bx.Estimate.of_samples(np.array([len(each.x) for each in processes], float))
    assert abs(counts.z_score(8.0)) < 4
    near, products = [], []
    for each in processes:
        y = each.y - 1.5
        near.append([np.mean(y), np.mean(y**2) - 1.5])
        apart = np.abs(each.x[:, None] - each.x)
        pairs = np.triu(np.ones_like(apart, bool), 1)
        products.append(np.sum((np.outer(y, y) - np.exp(-apart / 0.7))[pairs]))
    for values in (np.array(near), np.array(products)):
        assert np.max(np.abs(np.asarray(bx.Estimate.of_samples(values).z_score(0.0)))) < 4
    assert len(PoissonData(1e-6, 1.0, 1.0).process(1.0, key=KEY).x) == 1


def test_as_a_gibbs_measure():
    process, places = drawn(1), np.array([-0.3, 1.7])
    gibbs, _, inputs = process.gibbs(places)
    trace = bx.sample(gibbs, key=KEY, chains=4, draws=500)
    found = trace.mean(lambda model: jax.vmap(model)(inputs))
    assert np.max(np.abs(np.asarray(found.z_score(process.mean(places))))) < 4


@pytest.mark.parametrize("setting", [(20.0, 1.0, 1.0), (5.0, 2.0, 0.1)])
def test_poisson_data(setting):
    few = {"chains": 64, "sites": 1024, "warmup": 64}
    found = ch.localization_length(PoissonData(*setting), key=KEY, **few)
    assert abs(float(found.exponent.z_score(screening_exponent(*setting)))) < 4


def test_wrong_arguments():
    with pytest.raises(bx.DeclarationError, match="labels of shape"):
        exponential_process(np.zeros(2), np.zeros(3), length=1.0, noise_variance=1.0)
    with pytest.raises(bx.DeclarationError, match="a key, to resample"):
        drawn(0).screened(0.0, np.ones(1), "resample")


def test_the_old_name_of_an_argument():
    """`noise` meant the variance here, and the standard deviation in a noisy channel."""
    pairs = (
        (exponential_process, {"x": np.arange(3.0), "y": np.ones(3), "length": 1.0}, "variance"),
        (PoissonData, {"density": 2.0, "length": 1.0}, "variance"),
        (screening_exponent, {"density": 2.0, "length": 1.0}, "variance"),
        (averaged_screening, {"density": 2.0, "length": 1.0}, "variance"),
        (noisy_channel, {"length": 2, "samples": 2, "key": KEY}, "sd"),
        (far_places, {"width": 2}, "sd"),
    )
    for call, settings, word in pairs:
        new = call(**settings, **{f"noise_{word}": 0.3})
        with pytest.warns(DeprecationWarning, match=f"now 'noise_{word}'"):
            old = call(**settings, noise=0.3)
        assert eqx.tree_equal(new, old)
    assert PoissonData(2.0, 1.0, 0.3).noise == 0.3


@pytest.mark.parametrize("name", ["x", "y"])
def test_data_that_are_not_finite_are_refused(name):
    data = {"x": np.arange(3.0), "y": np.ones(3)}
    data[name][1] = np.nan
    with pytest.raises(bx.DeclarationError, match=name):
        exponential_process(**data, length=1.0, noise_variance=0.1)
