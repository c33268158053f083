"""Couplings of channels against exact systems."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax import cases, channels

KEY = jax.random.key(2)
SYSTEMS = {
    "shared": cases.shared_wires(2, 3, intended_private=2),
    "apart": cases.shared_wires(0, 5, intended_private=2),
    "overlap": cases.overlapping_channels(0.6, 7),
    "rival": cases.rival_channels(3, 4),
}
COUPLED = {
    name: channels.channel_coupling(
        bx.Ensemble.prior(system.prior, 3000, key=KEY), system.intended, system.unintended
    )
    for name, system in SYSTEMS.items()
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_exact_derivatives(name):
    found, exact = COUPLED[name], SYSTEMS[name].derivative
    if name == "rival":
        np.testing.assert_allclose(found.derivative.value, -1.0, rtol=1e-12)
        assert float(found.derivative.standard_error) < 1e-12
    else:
        assert abs(found.derivative.z_score(exact)) < 4
        assert found.derivative.standard_error < 0.08
    assert repr(found).startswith("ChannelCoupling: ")


def test_the_signs_of_harris():
    signs = {name: found.conditions.harris_sign for name, found in COUPLED.items()}
    assert signs == {"shared": 1, "apart": 0, "overlap": None, "rival": -1}
    assert COUPLED["shared"].conditions.monotone_in == "|w|"
    kind = channels.CouplingSign
    assert COUPLED["shared"].sign == kind.positive and COUPLED["rival"].sign == kind.negative
    assert COUPLED["overlap"].sign == kind.positive and COUPLED["apart"].sign == kind.undecided


def test_against_numpy():
    system, found = SYSTEMS["shared"], COUPLED["shared"]
    ensemble = bx.Ensemble.prior(system.prior, 3000, key=KEY)
    a, b = (np.asarray(ensemble.map(fn)) for fn in (system.intended, system.unintended))
    covariance = np.cov(a, b)
    np.testing.assert_allclose(found.derivative.value, covariance[0, 1] / covariance[1, 1])
    np.testing.assert_allclose(found.reverse.value, covariance[0, 1] / covariance[0, 0])
    np.testing.assert_allclose(found.correlation.value, np.corrcoef(a, b)[0, 1])
    np.testing.assert_allclose(found.covariance.value, covariance[0, 1] * 2999 / 3000)
    # HC3: the jackknife, whose error of a slope is known by leaving draws out
    left = [np.polyfit(np.delete(b[:60], i), np.delete(a[:60], i), 1)[0] for i in range(60)]
    few = channels.channel_coupling(ensemble[:60], system.intended, system.unintended)
    jackknife = math.sqrt(59 / 60 * np.sum((np.array(left) - np.mean(left)) ** 2))
    np.testing.assert_allclose(few.derivative.standard_error, jackknife, rtol=0.03)


class First(eqx.Module):
    """Weights in other units: `w = scale sinh(v)`."""

    v: jax.Array
    scale: float

    @property
    def weight(self):
        return self.scale * jnp.sinh(self.v)


@settings(max_examples=5)
@given(st.floats(0.1, 10.0), st.integers(0, 99))
def test_no_parametrisation_matters(scale, seed):
    """The same weights in other coordinates, and strengths in other units."""
    system = SYSTEMS["shared"]
    w = 1.0 * np.random.default_rng(seed).normal(size=(40, 7))
    plain = bx.Ensemble.of_models(system.prior, cases_model(system, w))
    other = bx.prior(First(jnp.zeros(7), scale), bx.Normal())
    moved = bx.Ensemble.of_models(other, First(jnp.arcsinh(jnp.asarray(w) / scale), scale))
    one = channels.channel_coupling(plain, system.intended, system.unintended)
    two = channels.channel_coupling(moved, system.intended, system.unintended)
    np.testing.assert_allclose(one.derivative.value, two.derivative.value, rtol=1e-9)
    np.testing.assert_allclose(one.derivative.standard_error, two.derivative.standard_error)
    assert two.conditions.harris_sign == 1


def cases_model(system, w):
    return eqx.tree_at(lambda m: m.weight, system.prior.declared, jnp.asarray(w))


def test_a_channel_with_itself():
    system = SYSTEMS["overlap"]
    ensemble = bx.Ensemble.prior(system.prior, 50, key=KEY)
    same = channels.channel_coupling(ensemble, system.intended, system.intended)
    assert float(same.derivative.value) == 1.0 and float(same.derivative.standard_error) == 0.0
    assert same.sign == channels.CouplingSign.positive and same.conditions.harris_sign is None


def test_chains_betas_and_float32():
    system = SYSTEMS["shared"]
    w = np.random.default_rng(0).normal(size=(4, 100, 7))
    chains = bx.Ensemble.of(system.prior, {"weight": jnp.asarray(w)}, ("chain", "draw"))
    flat = bx.Ensemble.of(system.prior, {"weight": jnp.asarray(w.reshape(400, 7))})
    long = channels.channel_coupling(chains, system.intended, system.unintended)
    plain = channels.channel_coupling(flat, system.intended, system.unintended)
    np.testing.assert_allclose(long.derivative.value, plain.derivative.value)
    ratio = float(long.derivative.standard_error / plain.derivative.standard_error)
    assert 0.6 < ratio < 1.6
    narrow = bx.Ensemble.of(system.prior, {"weight": jnp.asarray(w.reshape(400, 7), jnp.float32)})
    single = channels.channel_coupling(narrow, system.intended, system.unintended)
    np.testing.assert_allclose(single.derivative.value, plain.derivative.value, rtol=1e-5)
    assert single.conditions.harris_sign == 1
    betas = system.prior.at(jnp.array([0.0, 1.0]))
    both = bx.Ensemble.of(betas, {"weight": jnp.asarray(w[:2])}, ("beta", "sample"))
    pair = channels.channel_coupling(both, system.intended, system.unintended)
    assert pair.derivative.shape == (2,) and pair.conditions.harris_sign is None
    with pytest.raises(bx.DeclarationError, match="one, for a sign"):
        _ = pair.sign


def rising(model):
    return jnp.sum(jnp.tanh(model.weight[:4]))


def least(model):
    return jnp.min(model.weight[2:])


def falling(model):
    return -jnp.sum(model.weight)


def step(model):
    return jnp.where(model.weight[0] > 0, 1.0, 0.0)


def bent(model):
    return model.weight[0] + 3 * model.weight[1] ** 2


def bumpy(model):
    """Rises at almost all places, and falls back where it was."""
    return jnp.sum(model.weight - jnp.floor(model.weight))


def correlated(model):
    return model.weight[0] * model.weight[1]


def conditions(first, second, prior=None):
    system = SYSTEMS["shared"]
    gibbs = system.prior if prior is None else bx.prior(system.prior.declared, prior)
    ensemble = bx.Ensemble.prior(gibbs, 60, key=KEY)
    return channels.channel_coupling(ensemble, first, second).conditions


def test_conditions():
    assert (
        conditions(rising, least).harris_sign == 1 and conditions(rising, least).monotone_in == "w"
    )
    assert conditions(rising, falling).harris_sign == -1
    assert conditions(step, rising).harris_sign is None  # without slopes nothing is known
    assert conditions(bumpy, rising).harris_sign is None  # refuted by pairs of draws
    assert conditions(bent, rising).harris_sign is None
    assert conditions(bent, least_private).harris_sign == 0  # where one may do anything
    assert conditions(correlated, rising).harris_sign is None
    joint = bx.MultivariateNormal(jnp.zeros(7), jnp.eye(7) + 0.5)
    found = conditions(rising, least, joint)
    assert found.harris_sign is None and not found.independent and found.monotone_in == "w"


def least_private(model):
    return jnp.min(model.weight[5:])


def test_a_posterior_has_no_independent_weights():
    system = SYSTEMS["shared"]
    energy = bx.PerDatum(system.prior.declared, bx.Empirical(np.ones((1, 1))), product)
    w = {"weight": jnp.asarray(np.random.default_rng(0).normal(size=(30, 7)))}
    for beta, law in ((0.0, True), (1.0, False)):
        gibbs = bx.compile(energy, bx.Normal(), beta=beta, marginalise=False)
        found = channels.channel_coupling(bx.Ensemble.of(gibbs, w), rising, least)
        assert found.conditions.independent is law


def product(model, datum):
    return (model.weight[0] * model.weight[1] - datum[0]) ** 2


@pytest.mark.slow
@pytest.mark.parametrize("name, least", [("shared", 0.9), ("apart", 0.92), ("overlap", 0.87)])
def test_intervals_cover(name, least):
    system, runs = SYSTEMS[name], 200
    ensemble = bx.Ensemble.prior(system.prior, 100 * runs, key=KEY)
    covered = 0
    for i in range(runs):
        part = ensemble[100 * i : 100 * (i + 1)]
        found = channels.channel_coupling(part, system.intended, system.unintended).derivative
        covered += bool(found.lower <= system.derivative <= found.upper)
    assert least < covered / runs < 0.99


def test_bad_declarations():
    system = SYSTEMS["shared"]
    ensemble = bx.Ensemble.prior(system.prior, 20, key=KEY)
    with pytest.raises(bx.DeclarationError, match="same at every draw"):
        channels.channel_coupling(ensemble, rising, constant)
    with pytest.raises(bx.DeclarationError, match="one finite number"):
        channels.channel_coupling(ensemble, several, rising)
    with pytest.raises(bx.DeclarationError, match="subset"):
        channels.channel_coupling(ensemble.take(30, key=KEY), rising, least)
    with pytest.raises(bx.DeclarationError, match="shared"):
        cases.shared_wires(0, 0)


def constant(model):
    return jnp.asarray(2.0)


def several(model):
    return model.weight[:2]


def test_truth_values_and_whole_numbers_are_strengths():
    """Of signs of two weights: D is 4 Cov(1[w0 > 0], w0) = 4 φ(0) and exact for pairs of bits."""
    system = SYSTEMS["shared"]
    ensemble = bx.Ensemble.prior(system.prior, 4000, key=KEY)
    for kind in (bool, int, float):

        def sign(model, kind=kind):
            return (model.weight[0] > 0).astype(kind)

        found = channels.channel_coupling(ensemble, first_weight, sign)
        assert abs(found.derivative.z_score(4 / math.sqrt(2 * math.pi))) < 4
        assert found.conditions.harris_sign is None  # it has no slopes
        same = channels.channel_coupling(ensemble, sign, sign)
        assert float(same.derivative.value) == 1.0


def first_weight(model):
    return model.weight[0]


@pytest.mark.parametrize(
    ("strength", "words"),
    [
        (lambda model: 1j * model.weight[0], "complex"),
        (lambda model: (model.weight[0],), "gives \\("),
        (lambda model: model.nothing, "AttributeError"),
        (lambda model: model.weight, r"shape \(7,\)"),
    ],
)
def test_what_is_no_strength_is_named(strength, words):
    ensemble = bx.Ensemble.prior(SYSTEMS["shared"].prior, 20, key=KEY)
    for name, pair in {
        "intended": (strength, rising), "unintended": (rising, strength)
    }.items():  # fmt: skip
        with pytest.raises(bx.DeclarationError, match=words) as caught:
            channels.channel_coupling(ensemble, *pair)
        assert caught.value.argument == name


def test_the_old_name_of_the_sign_works_with_a_warning():
    conditions = COUPLED["shared"].conditions
    with pytest.warns(DeprecationWarning, match="is now .harris_sign") as told:
        assert conditions.guaranteed == conditions.harris_sign
    assert told[0].filename == __file__
