"""Samples in narrow numbers, of extreme scales and of any kind that numpy takes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax import channels
from boltzax.channels._sample_matrices import Side
from boltzax.channels._sample_rounding import kind_of, relative_rounding, stored
from boltzax.channels._usable_information import _ridge
from boltzax.core import DeclarationError

KEY = jax.random.key(0)
NARROW = (jnp.bfloat16, jnp.float16, jnp.float32)
VERBS = {
    "gaussian": channels.gaussian_information,
    "canonical": channels.canonical_spectrum,
    "ladder": lambda x, y: channels.information_ladder(x, y, key=KEY, sizes=(100, 400)),
    "latent": lambda x, y: channels.natural_latent(x, y, np.arange(400.0)[:, None] ** 2),
    "usable": lambda x, y: channels.usable_information(x, y, key=KEY, penalty=1e-12),
    "neighbours": lambda x, y: channels.neighbour_information(x[:, :2], y, key=KEY),
}


def related(kind, noise=0.0):
    """A linear function of four coordinates as a net of this kind computes it."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(400, 4)), kind)
    weights = jnp.asarray(rng.normal(size=(2, 2)), kind)
    y = (x[:, :2] @ weights).astype(kind)
    return x, (y + noise * rng.normal(size=y.shape)).astype(kind) if noise else y


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", NARROW)
def test_a_relation_as_exact_as_rounding_is_refused(kind, verb):
    x, y = related(kind)
    for sides in ((x, y), (np.asarray(x, np.float64), np.asarray(y, np.float64))):
        with pytest.raises(DeclarationError, match="to rounding|not farther|repeated"):
            VERBS[verb](*sides)


@pytest.mark.parametrize("kind", NARROW)
def test_information_above_rounding_is_kept(kind):
    x, y = related(kind, noise=0.1)
    wide = [np.asarray(side, np.float64) for side in related(jnp.float64, noise=0.1)]
    found, exact = channels.gaussian_information(x, y), channels.gaussian_information(*wide)
    np.testing.assert_allclose(found.plug_in, exact.plug_in, rtol=2e-2)


@pytest.mark.parametrize("kind", NARROW)
def test_the_norm_of_rounding(kind):
    """Against the rounding itself, of numbers of three scales."""
    wide = np.random.default_rng(1).normal(size=(4000, 3)) * [1e-3, 1.0, 30.0]
    narrow = wide.astype(kind)
    error = np.linalg.norm(narrow.astype(np.float64) - wide, axis=0)
    np.testing.assert_allclose(stored(narrow, np.zeros(3, int)), error, rtol=0.05)
    share = np.sum(error**2) ** 0.5 / np.sum(len(wide) * np.var(wide, axis=0)) ** 0.5
    assert relative_rounding(narrow) == pytest.approx(8 * share, rel=0.05)


def test_kinds():
    values = np.random.default_rng(2).normal(size=(50, 2))
    for kind in NARROW:
        assert kind_of(values.astype(kind)) == kind
        assert kind_of(values.astype(kind).astype(np.float64)) == kind
    assert kind_of(values) == np.float64
    # whole numbers and a coarse grid are exact, if the kind holds them
    for exact in (np.rint(9 * values), np.rint(3 * values) / 4, values > 0):
        assert kind_of(exact) == np.float64
    assert kind_of(np.rint(9 * values).astype(jnp.bfloat16)) == np.float64
    assert kind_of(np.rint(9e3 * values).astype(jnp.bfloat16)) == jnp.bfloat16


def test_a_relation_given_the_latent():
    """`y = x + z`: nothing is infinite but the information of x and y given z."""
    rng = np.random.default_rng(9)
    x, z = (jnp.asarray(rng.normal(size=(400, 1)), jnp.bfloat16) for _ in range(2))
    channels.gaussian_information(x, x + z)
    with pytest.raises(DeclarationError, match="to rounding"):
        channels.natural_latent(x, x + z, z)


def test_neighbours_nearer_than_rounding():
    x = np.random.default_rng(10).permutation(1 + (np.arange(1000) + 0.3) / 1024)[:, None]
    assert float(channels.neighbour_information(x, x**0.5, key=KEY).estimate.value) > 3
    narrow = x.astype(np.float16), (x**0.5).astype(np.float16)
    with pytest.raises(DeclarationError, match="not farther"):
        channels.neighbour_information(*narrow, key=KEY)


def test_noise_below_rounding_is_refused():
    x, y = related(jnp.bfloat16)
    with pytest.raises(DeclarationError, match="noise above their rounding"):
        channels.information_ladder(x, y, key=KEY, floors=(1e-3,))
    found = channels.information_ladder(x, y, key=KEY, floors=(0.1,))
    wide = (np.asarray(side, np.float64) for side in related(jnp.float64))
    exact = channels.information_ladder(*wide, key=KEY, floors=(0.1,))
    np.testing.assert_allclose(found.corrected.value, exact.corrected.value, rtol=2e-2)


@pytest.mark.parametrize("units", [(1e200, 1e-200), (1e-310, 1e300)])
def test_units_change_nothing(units):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(80, 2))
    y, latent = (x[:, :1] + rng.normal(size=(80, 1)) for _ in range(2))
    verbs = (
        lambda u, v: channels.gaussian_information(u, v).estimate,
        lambda u, v: channels.usable_information(u, v, key=KEY).total,
        lambda u, v: channels.neighbour_information(u, v, key=KEY, blocks=4).estimate,
        lambda u, v: channels.natural_latent(u, v, v[0] / y[0] * latent).mediation,
    )
    for verb in verbs:
        plain, other = verb(x, y), verb(x * units, units[0] * y)
        np.testing.assert_allclose(other.value, plain.value, rtol=1e-4, atol=1e-6)
    plain, other = (
        channels.information_ladder(u * x, u * y, key=KEY, floors=(0.1,)).corrected.values
        for u in (1.0, units[0])
    )
    np.testing.assert_allclose(other.value, plain.value, rtol=1e-4, atol=1e-6)
    shares = [channels.leading_components(u) / np.ptp(u) for u in (x, units[0] * x)]
    np.testing.assert_allclose(*np.abs(shares), rtol=1e-4)


def test_the_unit_of_an_output():
    """The loss without x is that of a density: `-log` of the unit is added."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(100, 2)), rng.normal(size=(100, 1))
    plain, small = (channels.usable_information(x, s * y, key=KEY) for s in (1.0, 1e-3))
    np.testing.assert_allclose(plain.baseline - small.baseline, 3 * np.log(10), rtol=1e-9)
    np.testing.assert_allclose(plain.baseline, 0.5 * np.log(2 * np.pi * np.e), atol=0.2)


def test_truth_values_and_lists():
    x = np.random.default_rng(5).normal(size=(200, 2))
    bits = x + np.random.default_rng(6).normal(size=x.shape) > 0
    numbers = channels.gaussian_information(x, bits * 1.0)
    for other in (bits, bits.tolist(), (bits * 1).tolist()):
        np.testing.assert_allclose(
            channels.gaussian_information(x.tolist(), other).plug_in, numbers.plug_in, rtol=1e-12
        )
    labels = channels.natural_latent(bits[:, :1], bits[:, 1:], bits[:, :1], family="categorical")
    assert float(labels.mediation.value) == 0


def test_more_coordinates_than_samples():
    """What a poor predictor loses held out, and not the loss of a variance that is too small."""
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(30, 100)), rng.normal(size=(30, 1))
    for penalty in (1.0, 1e-6):
        found = channels.usable_information(x, y, key=KEY, penalty=penalty).total
        assert -1 < float(found.value) < 0.3
    # two directions of many coordinates say most
    hidden = rng.normal(size=(60, 2))
    wide = hidden @ rng.normal(size=(2, 200)) + 0.1 * rng.normal(size=(60, 200))
    seen = channels.usable_information(wide, hidden + 0.3 * rng.normal(size=(60, 2)), key=KEY).total
    assert float(seen.lower) > 0


@pytest.mark.parametrize("size", [4, 40])
def test_ridge_and_samples_left_out(size):
    rng, penalty = np.random.default_rng(11), 3.0
    x, others = rng.normal(size=(20, size)), rng.normal(size=(5, size))
    y = rng.normal(size=(20, 2))

    def fitted(rows, places):
        centre, mean = x[rows].mean(axis=0), y[rows].mean(axis=0)
        inner = x[rows] - centre
        weights = np.linalg.solve(inner.T @ inner + penalty * np.eye(size), inner.T @ y[rows])
        return mean + (places - centre) @ weights

    everyone = np.arange(20)
    predicted, error = _ridge(x, y - y.mean(axis=0), others, penalty)
    np.testing.assert_allclose(predicted + y.mean(axis=0), fitted(everyone, others), rtol=1e-9)
    left = [y[i] - fitted(np.delete(everyone, i), x[i]) for i in everyone]
    np.testing.assert_allclose(error, np.sqrt(np.mean(np.square(left), axis=0)), rtol=1e-9)


def test_an_output_that_varies_in_one_fold_alone():
    x = np.random.default_rng(8).normal(size=(50, 2))
    with pytest.raises(DeclarationError, match="constant in all folds but one"):
        channels.usable_information(x, np.eye(50)[:, :1], key=KEY)


class Untapped(eqx.Module):
    weight: jax.Array

    def __call__(self, x):
        return self.weight @ x


def test_models_without_places():
    with pytest.raises(DeclarationError, match="without places"):
        channels.read_taps(Untapped(jnp.ones((2, 3))), np.ones((4, 3)))


@pytest.mark.parametrize("data", [[[1.0, 2.0], [3.0, 4.0]], (np.ones((4, 2)), np.ones((3, 2)))])
def test_data_in_no_array(data):
    model = bx.models.Function(lambda w, x: w * x, np.ones(2))
    gibbs = bx.prior(model, bx.Normal())
    ensemble = bx.Ensemble.prior(gibbs, 10, key=KEY)
    with pytest.raises(DeclarationError, match="number of data along the first axis"):
        channels.ensemble_information(ensemble, lambda m, z: z, lambda m, z: m(z), data, key=KEY)
    with pytest.raises(DeclarationError, match="number of data along the first axis"):
        channels.read_taps(model, data)


def test_the_rounding_of_a_basis_grows_as_its_least_singular_value_falls():
    """Of two coordinates of 8 samples: `(√2 a + b (1 + √(2/8)))/s`."""
    given = Side("x", np.zeros((8, 2)), 1e-10, 2e-10)
    for least in (1.0, 0.25):
        found = given.rounding_of(np.diag([1.0, least]))
        assert found == pytest.approx((2**0.5 * 1e-10 + 3e-10) / least)
