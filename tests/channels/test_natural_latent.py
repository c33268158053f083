"""Natural latents against exact laws, and the channels that form between far-apart places."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax import cases, channels

KEY = jax.random.key(4)


def gaussian(rng, n=2000, noise=(0.5, 0.8)):
    latent = rng.normal(size=(n, 2))
    return (*(latent + sd * rng.normal(size=(n, 2)) for sd in noise), latent)


def test_a_gaussian_latent():
    """`I(latent; x | y)` of a latent with variance 1, seen with noise of variances a and b."""
    a, b = 0.25, 0.64
    found = channels.natural_latent(*gaussian(np.random.default_rng(0)))
    assert abs(found.mediation.z_score(0.0)) < 4 and found.mediation.standard_error < 0.01
    known, both = 1 + 1 / b, 1 + 1 / a + 1 / b
    other = 1 + 1 / a
    exact = np.array([math.log(both / known), math.log(both / other)])  # two coordinates of ½ log
    assert np.all(np.abs(found.redundancy.z_score(exact)) < 4)
    shared = -math.log(1 - 1 / ((1 + a) * (1 + b)))
    assert abs(found.information.z_score(shared)) < 4
    assert repr(found).startswith("NaturalLatent, nats (gaussian)")


def test_a_latent_that_misses_half():
    x, y, latent = gaussian(np.random.default_rng(1))
    found = channels.natural_latent(x, y, latent[:, :1])
    left = -0.5 * math.log(1 - 1 / (1.25 * 1.64))
    assert abs(found.mediation.z_score(left)) < 4


def test_no_bias_at_few_samples():
    """Five coordinates of a third side at 20 samples: 14 degrees of freedom are left."""
    rng = np.random.default_rng(2)
    each = [
        channels.natural_latent(
            rng.normal(size=(20, 2)), rng.normal(size=(20, 3)), rng.normal(size=(20, 5))
        ).mediation.value
        for _ in range(100)
    ]
    error = np.std(each) / math.sqrt(100)
    assert abs(np.mean(each)) < 4 * error < 0.1


@settings(max_examples=6)
@given(st.integers(0, 1000))
def test_invertible_linear_maps_change_nothing(seed):
    rng = np.random.default_rng(seed)
    x, y, latent = gaussian(rng, 60)
    plain = channels.natural_latent(x, y, latent)
    maps = [rng.normal(size=(2, 2)) + 3 * np.eye(2) for _ in range(3)]
    moved = channels.natural_latent(*(v @ m + 1 for v, m in zip((x, y, latent), maps, strict=True)))
    for one, two in ((plain.mediation, moved.mediation), (plain.redundancy, moved.redundancy)):
        np.testing.assert_allclose(one.value, two.value, atol=1e-9)
    # sides change places
    swapped = channels.natural_latent(y, x, latent)
    np.testing.assert_allclose(plain.mediation.value, swapped.mediation.value, atol=1e-9)
    np.testing.assert_allclose(plain.redundancy.value, swapped.redundancy.value[::-1], atol=1e-9)


def entropy(p):
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def test_labels():
    """A bit seen twice through flips of probability 0.1 and 0.3."""
    rng = np.random.default_rng(3)
    bit = rng.choice([-1.0, 1.0], (4000, 1))
    x, y = (bit * rng.choice([-1.0, 1.0], (4000, 1), p=[p, 1 - p]) for p in (0.1, 0.3))
    found = channels.natural_latent(x, y, bit, family="categorical")
    flipped = 0.1 * 0.7 + 0.3 * 0.9
    assert abs(found.information.z_score(math.log(2) - entropy(flipped))) < 4
    assert abs(found.mediation.z_score(0.0)) < 4 and found.mediation.standard_error < 1e-3
    # I(bit; x | y) = H(x | y) - H(x | bit)
    exact = np.array([entropy(flipped) - entropy(0.1), entropy(flipped) - entropy(0.3)])
    assert np.all(np.abs(found.redundancy.z_score(exact)) < 4)
    same = channels.natural_latent(bit, bit, bit, family="categorical")
    np.testing.assert_allclose(same.mediation.value, 0.0)
    np.testing.assert_allclose(same.redundancy.value, 0.0)
    # other bits may have a probability of up to 0.025^(1/4000) without being seen
    rare = 1 - 0.025 ** (1 / 4000)
    np.testing.assert_allclose(same.mediation.upper, entropy(rare), rtol=1e-5)
    with pytest.raises(bx.DeclarationError, match="combinations of labels"):
        channels.natural_latent(rng.normal(size=(9, 1)), y[:9], bit[:9], family="categorical")


def test_single_precision():
    sides = gaussian(np.random.default_rng(5), 200)
    wide = channels.natural_latent(*sides)
    narrow = channels.natural_latent(*(side.astype(np.float32) for side in sides))
    np.testing.assert_allclose(wide.mediation.value, narrow.mediation.value, atol=1e-5)
    np.testing.assert_allclose(wide.redundancy.value, narrow.redundancy.value, atol=1e-5)


@pytest.mark.parametrize("flip", [0.0, 0.2, 0.5])
def test_the_environment(flip):
    system = cases.far_places(3, 2, flip=flip, copies=2)
    data = system.data(4000, key=KEY)
    x, y = np.asarray(data.x), np.asarray(data.y)
    assert x.shape == (4000, 3, 2) and data.noise.shape == (4000, 3, 2) and y.shape == (4000, 4)
    np.testing.assert_array_equal(x[:, :, 1], y[:, :3])
    np.testing.assert_array_equal(x[:, 0, 0], x[:, 1, 0])
    assert abs(np.mean(x[:, 0, 0] * x[:, 2, 0])) < 0.07
    assert abs(np.mean(x[:, 0, 0] * y[:, 3]) - (1 - 2 * flip)) < 0.06
    exact = math.log(2) - (entropy(flip) if flip else 0.0)
    assert system.information == pytest.approx(exact, abs=1e-12)
    assert np.std(data.noise) == pytest.approx(0.2, rel=0.03)
    with pytest.raises(bx.DeclarationError, match="copies"):
        cases.far_places(3, copies=4)


def test_states_of_a_local_net():
    """Each place sees itself and the noisy state of the one before."""
    system = cases.far_places(2, 1, noise_sd=0.1)
    net = system.prior.model(system.prior.sample_prior(KEY))
    x, noise = jnp.array([[1.0, -1.0], [-1.0, -1.0]]), jnp.array([[0.1], [0.2]])
    first = jnp.tanh(net.inward[0] @ x[0] + net.bias[0]) + 0.1
    second = jnp.tanh(net.along[1] @ first + net.inward[1] @ x[1] + net.bias[1]) + 0.2
    np.testing.assert_allclose(net.states(x, noise), jnp.stack([first, second]), rtol=1e-12)
    outputs = [net.local[0] @ first, net.local[1] @ second, net.far @ second]
    np.testing.assert_allclose(net(x, noise), jnp.stack(outputs), rtol=1e-12)


def test_channels_before_any_training():
    system = cases.far_places(3, 3)
    found = cases.far_channels(system, optax.sgd(0.0), 1, nets=3, samples=400, key=KEY)
    np.testing.assert_array_equal(found.shared.value, found.shared_before.value)
    assert found.shared.axis == "place" and len(found.private) == 3
    assert np.all(np.diff(found.shared.value) < 0) and "environment 0.368" in repr(found)
    assert found.models.along.shape == (3, 3, 3, 3)
    assert found.latent.redundancy.shape == (2,) and found.latent.mediation.ess == 3


def test_what_the_last_state_tells():
    """`-½ log(1 - R²)`, which is the plug-in of the information."""
    system = cases.far_places(2, 2)
    net = system.prior.model(system.prior.sample_prior(KEY))
    for wire in (0, 1):
        strength = system.told(wire, 300, key=KEY)
        states = np.asarray(jax.vmap(net.states)(strength.data.x, strength.data.noise))[:, -1]
        bit = np.asarray(strength.data.x)[:, 0, [wire]]
        plug_in = channels.gaussian_information(bit, states).plug_in
        np.testing.assert_allclose(strength(net), plug_in, rtol=1e-9)


@pytest.mark.slow
def test_only_channels_that_the_environment_pays_for_form():
    optimiser = optax.adamw(0.01, weight_decay=0.01)
    with_information, without = (
        cases.far_channels(cases.far_places(flip=flip), optimiser, 3000, key=KEY)
        for flip in (0.1, 0.5)
    )
    assert with_information.shared.values.lower[-1] > 1.0
    assert without.shared.values.upper[-1] < 0.02
    assert with_information.private.values.upper[-1] < 0.02
    # 0.36 is the least that can be, 1 is without a channel
    assert with_information.far_loss.upper < 0.5 and without.far_loss.lower > 0.95
