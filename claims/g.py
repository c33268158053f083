"""Results on real networks, on small ones: a transformer on text, polygons, a regression."""

import functools
import math
from pydoc_data.topics import topics

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import boltzax as bx
from boltzax import degrade
from boltzax.testing import Claim

from ._row import Row

HOOGLAND = "J. Hoogland et al., arXiv:2402.02364"
WANG = "G. Wang et al., arXiv:2410.02984"
BAKER = "G. Baker et al., arXiv:2504.18274"
KREER = "P. A. Kreer et al., arXiv:2509.26544"
CHEN = "Z. Chen et al., arXiv:2310.06301"
URDSHALS = "E. Urdshals et al., arXiv:2510.12077"
SMALL = "a net of one layer: larger ones take hours, examples/transformer.py"
STEPS = [100, 1000, 3000]


@functools.lru_cache
def text_nets(seed):
    """A small transformer at three steps of a training on Python's help texts, and its energy."""
    text = "".join(topics[name] for name in sorted(topics))[:60_000]
    tokens = bx.Tokens.characters(text, most=64)
    windows = bx.Windows(tokens.encode(text), 16)
    net = bx.models.Transformer(len(tokens), 16, 1, 2, 16, key=jax.random.key(seed))
    energy = bx.CrossEntropy(net, bx.Subsampled(bx.Empirical(windows[:]), 32), count="tokens")
    nets = bx.trained(energy, optax.adam(1e-2), STEPS, key=jax.random.key(seed))
    some = bx.Subsampled(bx.Empirical(windows[:128]), 16)
    return nets, lambda net: bx.CrossEntropy(net, some, count="tokens"), windows[:8], net


def settings(effort):
    return bx.FixedSettings(
        bx.temperature.Temperature(30.0), 100.0, bx.SGLD(3e-4), warmup=50, draws=40 * effort
    )


@functools.lru_cache
def along(seed, effort):
    nets, energy, *_ = text_nets(seed)
    return bx.along_training(
        energy(nets[-1]), nets, settings(effort), key=jax.random.key(seed), steps=STEPS
    )


def rise(seed, *, key, effort):
    """λ̂ at the last step less λ̂ at the first."""
    value = along(seed, effort).coefficient.values
    return value[2] - value[0]


def fall_of_loss(seed, *, key, effort):
    """nβ times the fall of the loss at w*, over the rise of λ̂."""
    loss = along(seed, effort).loss.values
    return (loss[0] - loss[2]) * 30.0 / rise(seed, key=key, effort=effort)


@functools.lru_cache
def parts(seed, effort, trained=True):
    """Coefficients of heads and MLP, and their responses to the losses of 128 tokens."""
    nets, energy, (x, y), start = text_nets(seed)
    net = nets[-1] if trained else start
    names = bx.parts(net, "blocks[*].attention", heads=2) | bx.parts(net, "blocks[*].mlp")

    def losses(model):
        logits = jax.vmap(model)(jnp.asarray(x))
        return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(y)).ravel()

    return bx.part_coefficients(
        energy(net), names, settings(4 * effort), key=jax.random.key(seed), tokens=losses
    )


def ratio_of_heads(seed, *, key, effort):
    """λ̂ of one head over that of the other."""
    found = parts(seed, effort).coefficients
    return found[0] / found[1]


def sum_of_parts(seed, *, key, effort):
    """Sum of the parts over the whole."""
    found = parts(seed, effort)
    return found.sum / found.whole.estimate


def beyond_chance(seed, *, key, effort):
    """p-value of the first principal component of the responses; none if it is no evidence."""
    p = parts(seed, effort).responses.components(key=key).p_values[0]
    return bx.Estimate.exact(jnp.where(p <= 0.05, p, jnp.nan))


def without_training(seed, *, key, effort):
    """The same in a net of random weights."""
    return bx.Estimate.exact(parts(seed, effort, False).responses.components(key=key).p_values[0])


def lead_of_influence(seed, *, key, effort):
    """The datamodeling score of Bayesian influence, less that of classical influence."""
    rng, keys = np.random.default_rng(seed), jax.random.split(key, 2)
    x = np.sort(rng.uniform(-1, 1, 16))[:, None]
    y = 0.5 - x[:, 0] + 0.4 * rng.normal(size=16)
    net = bx.models.TwoLayer(4, jnp.tanh, bias=True, key=jax.random.key(seed))
    energy = bx.SquaredError(net, bx.Empirical((x, y))) * 0.4**-2
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    whole = bx.retrained(gibbs, energy, np.ones((1, 16), bool), steps=1000, rate=0.03)
    start = whole[0].models()
    subsets = rng.random((64 * effort, 16)) < 0.75
    outcomes = bx.retrained(gibbs, energy, subsets, steps=400, rate=0.03).map(
        lambda model: 0.5 * (jax.vmap(model)(x) - y) ** 2 / 0.4**2
    )
    near = bx.sample(
        gibbs, bx.RandomWalk(), key=keys[0], warmup=1000, draws=2000, thin=8,
        start=gibbs.position(start),
    )  # fmt: skip
    bayes, classic = (
        bx.linear_datamodeling_score(predicted, subsets, outcomes, key=keys[1])
        for predicted in (
            bx.influence(near, energy),
            bx.classical_influence(gibbs, energy, model=start, damping=0.1),
        )
    )
    return bayes - classic


class Toy(eqx.Module):
    """relu(Wᵀ W x + b), one of six features active."""

    embedding: jax.Array
    bias: jax.Array

    def __call__(self, x):
        return jax.nn.relu(self.embedding.T @ (self.embedding @ x) + self.bias)


def polygon(corners, bias):
    """A k-gon of columns, descended to its critical point, and its energy."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    x = np.concatenate([np.outer((nodes + 1) / 2, row) for row in np.eye(6)])
    data = bx.Empirical((x, x), weights=np.tile(weights / 2, 6) / 6)
    angle, own = 2 * jnp.pi * jnp.arange(6) / corners, jnp.arange(6) < corners
    columns = 1.1 * jnp.stack([jnp.cos(angle), jnp.sin(angle)]) * own
    start = Toy(columns, jnp.where(own, -0.3, bias))
    (model,) = bx.trained(2 * bx.SquaredError(start, data), optax.lbfgs(), [1000])
    return model, 2 * bx.SquaredError(model, data)


POLYGONS = {
    "5-gon": (5, -0.5, 0.06874, 7.0),
    "5-gon, b > 0": (5, 0.1, 0.06180, 8.5),
    "6-gon": (6, -0.3, 0.04819, 8.5),
}


def loss_of_polygon(name, *, key, effort):
    """The loss of a polygon, over the exact one."""
    corners, bias, loss, _ = POLYGONS[name]
    model, energy = polygon(corners, bias)
    return bx.Estimate.exact(energy.value(model) / loss)


def coefficient_of_polygon(name, *, key, effort):
    """λ̂ of a polygon, over the exact λ."""
    corners, bias, _, exact = POLYGONS[name]
    found = bx.local_learning_coefficient(
        polygon(corners, bias)[1], key=key, temperature=bx.temperature.bayes(300_000.0),
        tolerance=0.03 / effort**0.5,
    )  # fmt: skip
    return found.estimate * (1 / exact)


def quantised(seed, *, key, effort):
    """Loss that five-bit weights add at the last step, less what they add at the first."""
    nets, energy, *_ = text_nets(seed)
    added = []
    for net in (nets[0], nets[-1]):
        gibbs = bx.compile(energy(net), bx.Normal(), marginalise=False)
        curve = degrade.along_dial(
            degrade.Quantisation(),
            np.array([5.0]),
            energy(net).value,
            gibbs=gibbs,
            key=key,
            count=1,
        )
        added.append(float(curve.value[0]) - float(energy(net).value(net)))
    return bx.Estimate.exact(added[1] - added[0])


ROWS = [
    Row("G1", Claim(
        "The local learning coefficient rises along the training of a transformer",
        HOOGLAND, [0], rise, low=0.0,
    ), "real_networks", missing=SMALL),
    Row("G1b", Claim(
        "The rise of λ̂ is one of the number of directions and not of the loss: nβ times the "
        "fall of L(w*) is at most half of it",
        f"a reading of {HOOGLAND}", [0], fall_of_loss, low=-math.inf, high=0.5,
    ), "refuted_others", "refuted", missing=SMALL),
    Row("G2", Claim(
        "Heads of one layer do not differ in their refined coefficients: their ratio is 1 within"
        " 2%",
        f"the contrary of {WANG}", [0], ratio_of_heads, low=0.98, high=1.02,
    ), "refuted_others", "refuted", missing=f"functions of heads, and time; {SMALL}", full=(2, 8)),
    Row("G2b", Claim(
        "Coefficients of parts add up to that of the whole, within 10%",
        f"a reading of {WANG}", [0], sum_of_parts, low=0.9, high=1.1,
    ), "refuted_others", "refuted", missing=SMALL, full=(2, 8)),
    Row("G3", Claim(
        "The responses of parts to tokens have a component beyond chance (p at most 0.05; a "
        "larger p decides nothing)",
        BAKER, [0], beyond_chance, low=-math.inf, high=0.05,
    ), "real_networks", missing=SMALL, full=(2, 8)),
    Row("G3b", Claim(
        "Such a component shows what was learned: a net of random weights has none (p above "
        "0.01)",
        f"a reading of {BAKER}", [0], without_training, low=0.01, high=1.0,
    ), "refuted_others", "refuted", missing=SMALL, full=(2, 8)),
    Row("G4", Claim(
        "Bayesian influence agrees with retraining better than classical influence does, in a "
        "tanh net of 4 units on 16 data too",
        KREER, [0], lead_of_influence, low=0.0,
    ), "refuted_others", "refuted", missing="large nets, where no Hessian can be inverted"),
    Row("G5", Claim(
        "The polygons of the toy model of superposition have the losses .06874, .06180 and "
        ".04819, within 0.1%",
        CHEN, list(POLYGONS), loss_of_polygon, low=0.999, high=1.001,
    ), "real_networks"),
    Row("G5b", Claim(
        "Their coefficients are 7, 8.5 and 8.5, within 10%",
        CHEN, list(POLYGONS), coefficient_of_polygon, low=0.9, high=1.1,
    ), "real_networks",
    missing="the transitions of training and posterior: examples/superposition.py"),
    Row("G6", Claim(
        "Tolerance to quantisation follows λ̂: where it has risen along a training, weights of "
        "five bits add more loss",
        URDSHALS, [0], quantised, low=0.0,
    ), "real_networks",
    missing="modular addition, where λ̂ is flat or rises: examples/grokking.py"),
]  # fmt: skip
