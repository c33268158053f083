"""Channels: what passes through a net, what it costs, and which channels form."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import boltzax as bx
from boltzax import cases, channels, theory
from boltzax.testing import Claim

from ._row import SCARCE, Row


def of_regime(verdict):
    """The share of nets at initialisation that `classify_regime` calls so."""

    def check(width, *, key, effort):
        nets = [
            eqx.nn.MLP(10, 1, width, 2, jnp.tanh, key=each)
            for each in jax.random.split(key, 12 * effort)
        ]
        inputs = np.asarray(jax.random.normal(key, (600, 10)))
        found = [
            channels.classify_regime(
                np.asarray(channels.read_taps(net, inputs, "layers[1]")["layers[1]"])[:, :12]
            ).verdict
            for net in nets
        ]
        return bx.Estimate.of_hits(found.count(verdict), len(found))

    return check


def narrowing(width, *, key, effort):
    """Directions that matter at one datum, seven layers, over those of a random chain: nets."""
    widths, ratios = (10, *[width] * 7), []
    for each in jax.random.split(key, 6 * effort):
        inputs = np.asarray(jax.random.normal(each, (40, 10)))
        found = channels.jacobian_spectrum(bx.models.MLP(widths, key=each), inputs)
        ratios.append(float(found.participation.value / theory.chain_participation(widths)))
    return bx.Estimate.of_replicates(np.array(ratios))


def of_strangers(plug_in):
    """Gaussian information of the activations of two random nets that read different data."""

    def check(size, *, key, effort):
        keys = jax.random.split(key)
        x, y = (
            np.asarray(
                channels.read_taps(
                    eqx.nn.MLP(32, size, 128, 1, jnp.tanh, key=each),
                    np.asarray(jax.random.normal(each, (1024, 32))),
                    "layers[1]",
                )["layers[1]"]
            )
            for each in keys
        )
        found = channels.gaussian_information(x, y)
        return found.estimate + found.bias if plug_in else found.estimate

    return check


class Layer(eqx.Module):
    weight: jax.Array

    def __call__(self, x):
        return jax.nn.leaky_relu(self.weight @ x, 0.3)


def of_bijection(read):
    """A random net of 16 invertible layers on all inputs of ten bits."""

    def check(_, *, key, effort):
        weights = jax.random.normal(key, (16, 10, 10)) * (1.6 / 10) ** 0.5
        net = eqx.nn.Sequential([eqx.nn.Lambda(Layer(each)) for each in weights])
        bits = np.random.default_rng(0).integers(0, 2, (2000, 10))
        states = channels.read_taps(net, 2.0 * bits - 1, "layers[*]")
        return read(bits, *(np.asarray(states[f"layers[{k}]"]) for k in (0, 15)), key)

    return check


def kept(bits, first, last, key):
    """Distinct last layers over distinct inputs: 1 if no information is lost."""
    counts = [len(np.unique(each.round(12), axis=0)) for each in (bits, last)]
    return bx.Estimate.exact(counts[1] / counts[0])


def usable(bits, first, last, key):
    """What a linear reader gets of the bits from the last layer, over that from the first."""
    return (
        channels.usable_information(last, bits, family="bernoulli", penalty=0.1, key=key).total
        / channels.usable_information(first, bits, family="bernoulli", penalty=0.1, key=key).total
    )


def unknown_weights(width, *, key, effort):
    """Information of input and output with the weights unknown, over that with them known."""
    net = bx.models.MLP((8, width, 2), key=key)
    inputs = np.asarray(jax.random.normal(key, (1000 * effort, 8)))
    prior = bx.prior(net, bx.Normal(0.0, 0.5))
    found = channels.ensemble_information(
        bx.Ensemble.prior(prior, len(inputs), key=key), lambda model, u: u[:2],
        lambda model, u: model(u), inputs, floor=0.1, models=8, key=key,
    )  # fmt: skip
    return found.marginal.estimate / found.given


def bits(length, gain, key, effort):
    """Bits of optimisation of a chain of noisy tanh pieces with an error of 5%."""
    chain = cases.scalar_channel(length, gain=gain)
    return channels.bits_of_optimisation(
        chain.prior, chain.strength, 0.9, key=key, samples=10_000 * effort, particles=256 * effort,
        moves=8,
    ).estimate  # fmt: skip


def straight(gain, *, key, effort):
    """What two more pieces cost after five, over what they cost after three."""
    keys = jax.random.split(key, 3)
    three, five, seven = (bits(n, gain, k, effort) for n, k in zip((3, 5, 7), keys, strict=True))
    return (seven - five) / (five - three)


def doubling(gain, *, key, effort):
    """Bits of six pieces over bits of three."""
    keys = jax.random.split(key)
    return bits(6, gain, keys[0], effort) / bits(3, gain, keys[1], effort)


def doubling_exactly(length, *, key, effort):
    """The same for a linear chain, in closed form."""
    return bx.Estimate.exact(
        theory.gaussian_chain_bits(2 * length) / theory.gaussian_chain_bits(length)
    )


def widening(gain, *, key, effort):
    """Bits of five pieces of width 4, of eight draws of the noise, less bits of width 1."""
    keys = jax.random.split(key, 9)
    wide = [cases.noisy_channel(5, 4, gain=gain, samples=64, key=each) for each in keys[1:]]
    found = [
        channels.bits_of_optimisation(
            each.prior, each.strength, 0.9, key=keys[0], by="direct", samples=4000 * effort
        ).estimate.value
        for each in wide
    ]
    return bx.Estimate.of_replicates(np.array(found)) - bits(5, gain, keys[0], effort)


def far_places(flip, key, effort):
    """Nets trained where the far end depends on the near one but for a flip."""
    return cases.far_channels(
        cases.far_places(flip=flip), optax.adamw(0.02, weight_decay=0.01), 1000, nets=4 * effort,
        samples=1000, key=key,
    )  # fmt: skip


def told(flip, *, key, effort):
    """Nats of the shared bit that the state at the far end tells."""
    return far_places(flip, key, effort).shared.values[-1]


def too_much(flip, *, key, effort):
    """The same, less what the environment pays for."""
    found = far_places(flip, key, effort)
    return found.shared.values[-1] - found.information


SYSTEMS = {
    "2 of 5 wires shared": lambda: cases.shared_wires(2, 3),
    "at an angle of 0.7": lambda: cases.overlapping_channels(0.7),
    "rivals": lambda: cases.rival_channels(2, 3),
}


def coupling(name, *, key, effort):
    """The measured derivative of the intended channel by the unintended one, less the exact."""
    system = SYSTEMS[name]()
    nets = bx.Ensemble.prior(system.prior, 4000 * effort, key=key)
    found = channels.channel_coupling(nets, system.intended, system.unintended)
    return found.derivative - system.derivative


ROWS = [
    Row("E1", Claim(
        "At initialisation a net is in the regime of scarce channels: most nets are so "
        "classified",
        SCARCE, [64], of_regime("scarce channels"), low=0.5, high=1.0,
    ), "refuted_others", "refuted", missing="convolutional nets and transformers"),
    Row("E1b", Claim(
        "Depth makes channels scarce: at one datum random layers of widths n_l pass on 1/Σ 1/n_l"
        " directions, within a quarter",
        SCARCE, [32, 64], narrowing, low=0.75, high=1.25,
    ), "spectra"),
    Row("E2", Claim(
        "The Gaussian information between activations of nets, from a sample's covariance, is no"
        " artefact of the sample: two nets of 64 units that share nothing have less than 1 nat "
        "at 1,024 samples",
        f"comments to {SCARCE}", [64], of_strangers(plug_in=True),
        low=-math.inf, high=1.0,
    ), "refuted_information", "refuted"),
    Row("E2b", Claim(
        "Without its bias the Gaussian information of such nets is 0 within 0.3 nats",
        "T. W. Anderson, An Introduction to Multivariate Statistical Analysis (2003), ch. 8-9: "
        "the law "
        "of the sample's correlations", [16, 64], of_strangers(plug_in=False), low=-0.3, high=0.3,
    ), "information"),
    Row("E3", Claim(
        "A random net throws out nearly all information: at most a tenth of its inputs remain "
        "distinct",
        SCARCE, ["leaky rectifiers, 16 layers of 10"], of_bijection(kept),
        low=-math.inf, high=0.1,
    ), "refuted_information", "refuted"),
    Row("E3b", Claim(
        "A random bijective net keeps information but not its use: a linear reader gets at most "
        "half as much from layer 16 as from layer 1",
        f"comments to {SCARCE}; Y. Xu et al., arXiv:2002.10689",
        ["leaky rectifiers, 16 layers of 10"], of_bijection(usable), low=-1.0, high=0.5,
    ), "information"),
    Row("E4", Claim(
        "With the weights unknown an output tells at most a tenth of what it tells with them "
        "known",
        f"comments to {SCARCE}", [16], unknown_weights, low=-0.1, high=0.1,
    ), "information", missing="deep nets: the estimator is that of the Gaussian law"),
    Row("E5", Claim(
        "The bits of optimisation of a channel grow linearly with its pieces: two more noisy "
        "tanh pieces cost the same after five as after three, within a quarter",
        SCARCE, [0.7, 1.5], straight, low=0.75, high=1.25,
    ), "channel_cost"),
    Row("E5b", Claim(
        "A linear chain of 2n pieces costs twice as much as one of n, within a fifth, for n from"
        " 16",
        SCARCE, [16, 32, 64], doubling_exactly, low=1.6, high=2.4,
    ), "channel_cost"),
    Row("E5c", Claim(
        "One gain separates scarce channels from scarce modules: above it (at 3.5) a channel is "
        "not dearer in a wider system",
        f"a reading of {SCARCE}", [3.5], widening, low=-math.inf, high=0.0,
    ), "refuted_others", "refuted"),
    Row("E5d", Claim(
        "They grow in proportion: six noisy tanh pieces cost twice as much as three, within a "
        "fifth",
        SCARCE, [0.7, 1.5], doubling, low=1.6, high=2.4,
    ), "refuted_others", "refuted"),
    Row("E6", Claim(
        "Without mutual information in the environment no channel forms: the far end of a "
        "trained net tells less than 0.05 nats",
        SCARCE, [0.5], told, low=-0.05, high=0.05,
    ), "channel_coupling"),
    Row("E6b", Claim(
        "Where the environment's mutual information pays for it (0.37 nats), a channel forms: "
        "the far end tells more than 0.5 nats",
        SCARCE, [0.1], told, low=0.5,
    ), "channel_coupling", missing="24 nets in five environments: examples/coupled_channels.py"),
    Row("E6c", Claim(
        "Channels that form are as small as they can be: the far end tells no more than the "
        "environment pays for, within 0.1 nats",
        SCARCE, [0.1], too_much, low=-math.inf, high=0.1,
    ), "refuted_others", "refuted"),
    Row("E7", Claim(
        "The derivative of an intended channel by an unintended one, averaged over the ensemble,"
        " is the covariance of their strengths over a variance: k/(k+m), cos² θ and -1 within "
        "0.1",
        SCARCE, list(SYSTEMS), coupling, low=-0.1, high=0.1,
    ), "channel_coupling"),
]  # fmt: skip
