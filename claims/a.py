"""Interfaces under selection pressure: what parts must agree on, and what they leave free."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

import boltzax as bx
from boltzax import cases
from boltzax import interfaces as it
from boltzax.testing import Claim

from ._row import INTERFACES, Row

FIRST = bx.Interface.intervals({0: [(0, 1.2)], 1: [(3.5, 5.0)]})
MIDDLE = bx.Interface.thresholds(1.0, 4.0, range=(0, 5))
LAST = bx.Interface.thresholds(0.5, 4.5, range=(0, 5))


def draws(component, count, key):
    """Models from the prior of a component."""
    return bx.Ensemble.prior(bx.prior(component.model, component.prior), count, key=key)


def unlike(first, second):
    """The share of systems of the prior that one test passes and another one does not."""

    def check(component, *, key, effort):
        contract = bx.Contract(COMPONENTS[component](), FIRST, MIDDLE)
        systems = draws(contract.component, 2000 * effort, key)
        found = systems.map(lambda model: first(contract, model) & ~second(contract, model))
        return bx.Estimate.of_hits(int(jnp.sum(found)), len(found))

    return check


COMPONENTS = {"amplifier": cases.amplifier_component, "tanh net": cases.voltage_net}


def sampled(contract, model):
    return it.satisfies(contract, model)


def proved(contract, model):
    return it.certified(contract, model, 64)


def joint_less_parts(component, *, key, effort):
    """Entropy of both components at once, less the sum of the two."""
    chain = bx.Chain([COMPONENTS[component]()] * 2, [FIRST, MIDDLE, LAST])
    keys, size = jax.random.split(key), {"by": "direct", "samples": 40_000 * effort, "throw": False}
    joint = it.entropy(chain, key=keys[0], joint=True, **size)
    return joint.estimate - it.entropy(chain, key=keys[1], **size).estimate


def family_chain():
    """Two amplifiers, and as interfaces between them all pairs of ten thresholds."""
    part = cases.voltage_amplifier()
    family = bx.Family.thresholds(np.linspace(0, 5, 10), range=(0, 5))
    return bx.Chain(
        [part, part], [bx.Interface.thresholds(1.2, 3.8, range=(0, 5)), family, MIDDLE], points=3
    )


def descended(spec, model):
    """A system after 300 steps of gradient descent on its largest violation."""

    def step(model, _):
        slope = eqx.filter_grad(lambda m: jnp.maximum(-it.margin(spec, m), 0.0))(model)
        return jax.tree.map(lambda w, g: w - 0.1 * g, model, slope), None

    return jax.lax.scan(step, model, length=300)[0]


def level(trained):
    """Interfaces that systems satisfy, found over expected, `P = e^H/Z`."""

    def check(_, *, key, effort):
        keys = jax.random.split(key, 3)
        expected = it.expected_satisfaction(family_chain(), key=keys[0], draws=20_000 * effort)
        spec, systems = (
            expected.spec,
            draws(expected.spec.component, 500 if trained else 4000, keys[1]).models(),
        )
        works = np.asarray(jax.vmap(lambda model: it.satisfies(spec, model))(systems))
        starts = jax.tree.map(lambda leaf: leaf[~works if trained else works], systems)
        ends = jax.jit(jax.vmap(lambda one: descended(spec, one)))(starts) if trained else starts
        return it.satisfaction_law(
            ends, expected, key=keys[2], initial=starts, allow_satisfied=not trained
        ).level

    return check


def noisy_stage(signal, stage):
    """Signals `[chain, pass, bit]` after one stage of each chain, with noise of 0.6 V."""
    models, key = stage
    passed = jax.vmap(lambda f, row: jax.vmap(jax.vmap(lambda v: f(v[None]).sum()))(row))
    return passed(models, signal) + 0.6 * jax.random.normal(key, signal.shape), None


def bit_error(margin, *, key, effort):
    """Bit error after 64 noisy stages without a margin, less that with one."""
    errors = []
    for emits in (0.0, margin):
        contract = bx.Contract(
            cases.voltage_amplifier(), bx.Interface.thresholds(2.0, 3.0, range=(0, 5)),
            bx.Interface.thresholds(2.0 - emits, 3.0 + emits, range=(0, 5)),
        )  # fmt: skip
        given = it.condition(contract, key=key, draws=64 * 16 * effort)
        stages = jax.tree.map(lambda leaf: leaf.reshape(64, -1, *leaf.shape[1:]), given.models)
        signal = jnp.broadcast_to(jnp.array([0.0, 5.0]), (16 * effort, 64, 2))
        signal, _ = jax.lax.scan(noisy_stage, signal, (stages, jax.random.split(key, 64)))
        wrong = jnp.mean((signal > 2.5) != jnp.array([False, True]), axis=(1, 2))
        errors.append(bx.Estimate.of_replicates(np.asarray(wrong)))
    return errors[0] - errors[1]


def block_memory():
    """Nine weights in blocks of two, three and four; data of a block read its weights alone."""
    rng = np.random.default_rng(0)
    turns = [np.linalg.qr(rng.normal(size=(d, d)))[0] for d in (2, 3, 4)]
    x = scipy.linalg.block_diag(*turns)
    return bx.models.Function(lambda w, z: w @ z, jnp.zeros(9)), x, 0.4 * rng.normal(size=9)


def directions_pinned(block, *, key, effort):
    """dH_s/d log ε = 2λ_s of the data of one block, over its size."""
    memory, x, y = block_memory()
    rows = {2: [0, 1], 3: [2, 3, 4], 4: [5, 6, 7, 8]}[block]
    found = it.subset_entropy(
        memory, bx.Normal(), x, y, {"block": rows}, np.geomspace(1, 0.05, 7), key=key,
        particles=128 * effort, moves=5,
    )  # fmt: skip
    return found.slope(3, 6)[0] * (1 / block)


def own_bank(block, *, key, effort):
    """The share of a block's leverage that lies on its own weights."""
    memory, x, _ = block_memory()
    rows = {2: [0, 1], 3: [2, 3, 4], 4: [5, 6, 7, 8]}[block]
    leverage = it.free_directions(memory, x, subset=rows).leverage()["params"]
    return bx.Estimate.exact(jnp.sum(leverage[jnp.array(rows)]) / jnp.sum(leverage))


SUPPLY = (np.array([1.0, 1.25, 1.6, 2.0]), np.array([0.4, 0.3, 0.1, 0.2]))
COUPLING = np.log(SUPPLY[1] @ SUPPLY[0] ** 2) - 2 * np.log(SUPPLY[1] @ SUPPLY[0])
"""Each component accepts an interval of gains whose length is proportional to the variable."""


def shared(of):
    """Two gains whose thresholds move with one global variable."""

    def check(_, *, key, effort):
        gain = bx.Component(
            bx.models.Function(lambda w, z: w * z, jnp.zeros(())), bx.Uniform(0.0, 10.0)
        )

        def build(g):
            wires = [(1.0, 2.0), (3 * g, 4 * g), (9 * g**2, 9.2 * g**2)]
            wires = [bx.Interface.thresholds(*each, range=(0.0, None)) for each in wires]
            return bx.Chain([gain, gain], wires)

        return of(it.shared_entropy(build, SUPPLY, key=key, draws=65_536 * effort))

    return check


ROWS = [
    Row("A1", Claim(
        "Components satisfy their interfaces iff every acceptable input gives an acceptable "
        "output: a test by sampled inputs passes systems that a proof does not for less than 2% "
        "of the prior",
        INTERFACES, list(COMPONENTS), unlike(sampled, proved), low=-math.inf,
        high=0.02,
    ), "certificates"),
    Row("A2", Claim(
        "Given the interfaces the components decouple: H of all at once is the sum of their H, "
        "within 0.2 nats",
        INTERFACES, ["amplifier"], joint_less_parts, low=-0.2, high=0.2,
    ), "interfaces", missing="rarer contracts, down to -150 nats: benchmarks/splitting.py"),
    Row("A3", Claim(
        "Systems end at interfaces in proportion to e^H: exact for draws of the posterior (level"
        " 1 within 15%)",
        INTERFACES, ["two amplifiers"], level(trained=False), low=0.85, high=1.15,
    ), "training_and_interfaces",
    missing="MALA and tanh nets: studies/do_nets_find_interfaces.py"),
    Row("A3b", Claim(
        "So do systems that gradient descent trains (level 1 within 15%)",
        INTERFACES, ["two amplifiers"], level(trained=True), low=0.85, high=1.15,
    ), "refuted_training", "refuted", missing=(
        "other rates, noises, losses, Adam: studies/do_nets_find_interfaces.py"
    )),
    Row("A4", Claim(
        "Scalable systems need buffers: stages that emit 1 V beyond what they accept err less in"
        " a chain of 64 than stages without that margin",
        INTERFACES, [1.0], bit_error, low=0.0,
    ), "training_and_interfaces", missing="trained chains: studies/signal_buffer.py"),
    Row("A5", Claim(
        "An interface for every input can be certified: less than 1% of systems are certified "
        "and violate it at a sampled input",
        f"comments to {INTERFACES}", list(COMPONENTS), unlike(proved, sampled),
        low=-math.inf, high=0.01,
    ), "certificates"),
    Row("A6", Claim(
        "The data of one fact pin as many directions as its bank has weights: 2λ is the size of "
        "the block, within 15%",
        f"comments to {INTERFACES}", [2, 4], directions_pinned, low=0.85, high=1.15,
    ), "per_datum"),
    Row("A6b", Claim(
        "The weights that a fact constrains are those that store it: nearly all of its leverage "
        "lies in its bank",
        f"comments to {INTERFACES}", [2, 3, 4], own_bank, low=0.99, high=1.001,
    ), "per_datum", missing="trained nets, where they spread: studies/facts_in_weights.py"),
    Row("A7", Claim(
        "Components that share a global variable are independent given it: their coupling is 0 "
        "within 0.2 nats at each value",
        f"comments to {INTERFACES}", ["two gains"], shared(lambda found: found.residual),
        low=-0.2, high=0.2,
    ), "per_datum"),
    Row("A7b", Claim(
        "Without it they are not: the coupling is the one of the closed form, within 0.05 nats",
        f"comments to {INTERFACES}", ["two gains"], shared(lambda found: found.coupling - COUPLING),
        low=-0.05, high=0.05,
    ), "per_datum"),
]  # fmt: skip
