"""A small call of every public verb, at two settings of its numbers.

`CALLS[name](given)` builds the arguments and gives back a function without arguments, which makes
the call. All functions of the user are functions of this module: a fresh lambda is a new function.
"""

import functools
import tempfile
import time
from collections.abc import Callable
from functools import cached_property, partial
from functools import partial as call
from pathlib import Path

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import boltzax as bx
from boltzax import cases
from boltzax import channels as ch
from boltzax import degrade as dg
from boltzax import interfaces as it
from boltzax import meanfield as mf

WALK, SGD = bx.RandomWalk(), optax.sgd(0.1)
FEW = {"chains": 2, "warmup": 8, "draws": 12, "throw": False}
SPLIT = {"particles": 16, "moves": 1, "replicates": 4, "max_levels": 3, "throw": False}


def line(p, x):
    return jnp.dot(p, x)


def slope(p, x):
    return p * x


def first_of(model, x):
    return x[:1]


def second_of(model, x):
    return jnp.sum(model.params) * x[1:2]


def potential(w, beta):
    return beta * w[0] ** 2


def log_prior(w):
    return -jnp.log(2.0) + 0 * w[0]


def misfit(model, datum):
    x, y = datum
    return (model(x) - y) ** 4


def square(z):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(z))


def kernel(x, y):
    return jnp.exp(-jnp.sum((x - y) ** 2))


def together(g):
    wires = [levels(1.0, 4.0), levels(3 * g, 4 * g), levels(4.0, 5.0)]
    gain = bx.Component(bx.models.Function(slope, np.zeros(())), bx.Uniform(0.0, 3.0))
    return bx.Chain([gain, gain], wires, points=2)


def joined(g):
    chain = together(g)
    return bx.Circuit(chain.components, chain.interfaces, points=2)


def paired(component, ends, family):
    return bx.Chain([component] * 2, [ends[0], family, ends[1]], points=2)


def halved_model(model):
    return bx.models.Function(line, 0.5 * model.params)


def outputs(model):
    return jax.vmap(model)(jnp.eye(2))


def one_token(model, datum):
    return misfit(model, datum)[None]


def norm(model):
    return model(jnp.ones(2))


def second_norm(model):
    return model(jnp.array([1.0, 2.0])) ** 2


def of_neuron(neuron):
    return neuron(jnp.ones(1))


def first_input(x):
    return 0.3 * x[0]


def noisy(length, width):
    return cases.noisy_channel(length, width, samples=2, key=jax.random.key(0))


class Spin(eqx.Module):
    """`tanh(β(m + h))`."""

    beta: jax.Array
    field: jax.Array

    def __call__(self, m):
        return jnp.tanh(self.beta * (m + self.field))


class AtField(eqx.Module):
    """A loop for each field."""

    beta: jax.Array

    def __call__(self, field):
        return mf.Loop(Spin(self.beta, field), -1.0, 1.0)


def levels(low, high) -> bx.Interface:
    return bx.Interface.thresholds(low, high, range=(0.0, None))


class Tapped(eqx.Module):
    """A model with a named value."""

    inner: bx.models.Function

    def __call__(self, x):
        return bx.tap(self.inner(x) ** 2, "square")


def halved(value):
    return value / 2


class Given:
    """The arguments of all calls, at the data, keys and β of one setting (0, 1)."""

    def __init__(self, number: int):
        self.rng = np.random.default_rng(number)
        self.key = jax.random.key(number)
        self.scale = 1 + 0.125 * number

    @cached_property
    def x(self):
        return self.rng.normal(size=(12, 2))

    @cached_property
    def many(self):
        return self.rng.normal(size=(40, 4))

    @cached_property
    def layers(self):
        return bx.models.MLP((2, 3, 3), key=self.key)

    @cached_property
    def rows(self):
        return self.rng.normal(size=(40, 2)) * (5.0, 1.0)

    @cached_property
    def y(self):
        return np.sin(self.x[:, 0])

    @cached_property
    def energy(self):
        model = bx.models.Function(line, self.scale * np.ones(2))
        return bx.SquaredError(model, bx.Empirical((self.x, self.y)))

    @cached_property
    def planted(self):
        return cases.planted_net(4, key=self.key)

    @cached_property
    def falling(self):
        x = np.geomspace(0.1, 10.0, 12)
        rows = self.rng.normal(size=(12, 2, 40)) / 8 + (1 / (1 + x))[:, None, None]
        return bx.Curve(x, bx.Influence.of(rows), axis="temperature")

    @cached_property
    def process(self):
        return cases.exponential_process(
            self.x[:, 0], self.y, length=self.scale, noise_variance=0.3
        )

    @cached_property
    def poisson(self):
        return cases.PoissonData(2.0, 1.0, 0.3)

    @cached_property
    def gibbs(self):
        return bx.compile(self.energy, bx.Normal(), beta=self.scale, marginalise=False)

    @cached_property
    def fixed(self):
        return bx.FixedSettings(1.0, 1.0, bx.SGLD(0.01), warmup=4, draws=4, thin=2)

    @cached_property
    def first(self):
        return np.array([True, False])

    @cached_property
    def few(self):
        data = bx.Subsampled(bx.Empirical((self.x, self.y)), 4)
        energy = bx.SquaredError(bx.models.Function(line, np.ones(2)), data)
        return bx.compile(energy, bx.Normal(), marginalise=False)

    @cached_property
    def classes(self):
        labels = (self.y > 0).astype(int)
        return bx.CrossEntropy(self.energy.model, bx.Empirical((self.x, labels)))

    @cached_property
    def each(self):
        return bx.PerDatum(self.energy.model, bx.Empirical((self.x, self.y)), misfit)

    @cached_property
    def weights(self):
        return self.gibbs.sample_prior(self.key)

    @cached_property
    def model(self):
        return self.gibbs.model(self.weights)

    @cached_property
    def tapped(self):
        return Tapped(self.energy.model)

    @cached_property
    def drawn(self):
        return bx.sample(self.gibbs, WALK, key=self.key, **FEW)

    @cached_property
    def at_watanabe(self):
        gibbs = self.gibbs.at(bx.temperature.watanabe(12).beta(12))
        return bx.sample(gibbs, WALK, key=self.key, **FEW)

    @cached_property
    def curve(self):
        x, values = np.arange(3.0), np.sort(self.rng.normal(size=(3, 2, 50)), axis=0)
        return bx.Curve(self.scale * x, bx.Influence.of(values), axis="time")

    @cached_property
    def betas(self):
        return self.scale * np.array([0.5, 1.0])

    @cached_property
    def laddered(self):
        few = FEW | {"keep": True, "spacing": 2.0}
        return bx.anneal(self.gibbs, self.betas, WALK, key=self.key, **few)

    @cached_property
    def rare(self):
        at = {"at": self.scale, "key": self.key}
        return partial(bx.log_probability, self.gibbs, norm, **at)

    @cached_property
    def above(self):
        return self.rare(keep=True, **SPLIT | {"max_levels": 20})

    @cached_property
    def bits(self):
        at = np.array([0.5, 1.0])
        return ch.bits_of_optimisation(self.gibbs, norm, at, key=self.key, by="levels", **SPLIT)

    @cached_property
    def series(self):
        return self.rng.normal(size=(2, 50))

    @cached_property
    def estimate(self):
        return bx.Estimate.of_series(self.series)

    @cached_property
    def folder(self):
        return Path(tempfile.mkdtemp())

    @cached_property
    def saved(self):
        bx.save(self.folder / "saved", self.drawn)
        return self.folder / "saved"

    @cached_property
    def stored(self):
        path = self.folder / "stored"
        bx.sample(self.gibbs, WALK, key=self.key, sink=bx.ZarrSink(path), **FEW)
        return path

    @cached_property
    def measures(self):
        data = bx.Empirical((self.x, self.y))
        return {
            "GaussianMeasure": bx.GaussianMeasure(2, order=4),
            "IntervalMeasure": bx.IntervalMeasure(order=6),
            "CircleMeasure": bx.CircleMeasure(),
            "CubeMeasure": bx.CubeMeasure(3),
            "Empirical": data,
            "Subsampled": bx.Subsampled(data, 4),
        }

    # contracts

    @cached_property
    def component(self):
        return bx.Component(bx.models.Function(slope, np.zeros(())), bx.Uniform(0.0, 3.0))

    @cached_property
    def ends(self):
        return levels(1.0 * self.scale, 4.0), levels(4.0 * self.scale, 5.0)

    @cached_property
    def contract(self):
        return bx.Contract(self.component, *self.ends, points=3)

    @cached_property
    def gain(self):
        return bx.models.Function(slope, np.asarray(2.0 * self.scale))

    @cached_property
    def family(self):
        return bx.Family.thresholds(self.scale * np.array([1.0, 2.0, 3.0]), range=(0.0, None))

    @cached_property
    def pair(self):
        return paired(self.component, self.ends, self.family)

    @cached_property
    def tables(self):
        return it.chain_tables(self.pair, key=self.key, draws=256)

    @cached_property
    def table(self):
        return it.entropy_table(self.component, *[self.family] * 2, key=self.key, draws=256)

    @cached_property
    def law(self):
        return it.interface_law(self.pair, key=self.key, draws=256)

    @cached_property
    def subsets(self):
        model, parts = bx.models.Function(line, np.zeros(2)), {"a": [0], "b": [1], "ab": [0, 1]}
        few = {"key": self.key, **SPLIT}
        return it.subset_entropy(
            model, bx.Normal(), self.x[:2], self.y[:2], parts, [1.0, 0.5], **few
        )

    @cached_property
    def free(self):
        return it.free_directions(bx.models.Function(line, np.zeros(2)), self.x[:3])

    @cached_property
    def systems(self):
        pair = it.Series((self.gain, self.gain))
        return jax.tree.map(lambda leaf: jnp.stack([leaf] * 12), pair)

    @cached_property
    def expected(self):
        return it.expected_satisfaction(self.pair, key=self.key, draws=1024)

    # mean field

    @cached_property
    def problem(self):
        neuron = mf.Neuron(mf.Unit(jnp.tanh, dim=1), bx.Normal())
        return mf.SelfConsistency(
            neuron, first_input, bx.GaussianMeasure(order=6), 0.5 * self.scale
        )

    @cached_property
    def linear_problem(self):
        neuron = mf.Neuron(bx.models.Function(line, np.zeros(2)), bx.Normal())
        return mf.SelfConsistency(neuron, first_input, bx.GaussianMeasure(2, order=4), self.scale)

    @cached_property
    def solved(self):
        return mf.solve(self.problem, order=32, refinements=0, replicates=2, throw=False)

    @cached_property
    def trained(self):
        few = {"steps": 4, "batch": 3, "riders": 2, "frames": 2, "history": True, "throw": False}
        return mf.train(self.problem, 4, key=self.key, **few)

    @cached_property
    def neurons(self):
        return mf.Neurons(self.problem, mf.Langevin(), batch=3)

    @cached_property
    def started(self):
        return self.neurons.start(3, 2, key=self.key)

    @cached_property
    def probe(self):
        return mf.probe(self.problem, self.solved.background, order=32, refinements=0)

    @cached_property
    def loop(self):
        return mf.Loop(Spin(*(jnp.asarray(v) for v in (1.5 * self.scale, 0.1))), -1.0, 1.0)

    @cached_property
    def modular(self):
        gibbs = cases.modular_gibbs(3, 2, 0.05, readout_scale=0.02)
        return gibbs.model(gibbs.sample_prior(self.key)), *cases.modular_table(3)

    @cached_property
    def clouds(self):
        return jnp.asarray(self.rng.normal(size=(2, 12, 2)))

    # degradation

    @cached_property
    def cumulants(self):
        return self.scale * np.array([0.1, 1.0, 0.2, 0.1, 0.05])

    @cached_property
    def margins(self):
        return self.rng.normal(size=(2, 40))

    @cached_property
    def left(self):
        return dg.remainder(self.x, 0.5 * self.x**2)

    @cached_property
    def kernels(self):
        return [mf.data_kernel(jnp.asarray(self.rng.normal(size=(6, 4)))) for _ in range(2)]


MEASURED = ("nodes", "estimate", "sample", "integrate", "normalized", "weighted")


def measured(name: str, verb: str, g: Given) -> Callable:
    """A call of a method of a measure."""
    arguments = {
        "estimate": (square, g.key),
        "sample": (g.key, 3),
        "integrate": (square,),
        "weighted": (square,),
    }
    return call(getattr(g.measures[name], verb), *arguments.get(verb, ()))


def of_law(name: str, g: Given) -> Callable:
    """A call of a method of a law of interfaces."""
    return call(getattr(g.law, name))


DIALS = {
    "WeightNoise": (lambda g: dg.WeightNoise(), [0.1, 0.2]),
    "Pruning": (lambda g: dg.Pruning(), [0.0, 0.5]),
    "Quantisation": (lambda g: dg.Quantisation(), [2.0, 4.0]),
    "Snapshots": (lambda g: dg.Snapshots([g.model, g.gibbs.declared], [1.0, 2.0]), [1.0, 2.0]),
    "Tempered": (lambda g: dg.Tempered(WALK, chains=2, warmup=8, throw=False), [1.0, 2.0]),
    "Combined": (lambda g: dg.WeightNoise() @ dg.Pruning(), [[0.1, 0.5], [0.2, 0.5]]),
}
"""A dial of each class, and two settings of it."""


CALLS: dict[str, Callable[[Given], Callable]] = {
    # declare and compile
    "compile": lambda g: call(bx.compile, g.energy, bx.Normal(), beta=g.scale),
    "zero": lambda g: call(bx.zero, jnp.asarray(g.x[0])),
    "Tokens.characters": lambda g: call(bx.Tokens.characters, "text"),
    "Tokens.bytes": lambda g: bx.Tokens.bytes,
    "Tokens.encode": lambda g: call(bx.Tokens.bytes().encode, "text"),
    "Tokens.encode_to": lambda g: call(
        bx.Tokens.bytes().encode_to, g.folder / f"{time.time_ns()}", ["text"]
    ),
    "AlongTraining.free_energy": lambda g: call(
        bx.along_training(g.energy, [g.energy.model], g.fixed, key=g.key).free_energy, 10.0
    ),
    "Tokens.decode": lambda g: call(bx.Tokens.bytes().decode, np.arange(3)),
    "Batches.indices": lambda g: call(bx.Batches(np.arange(90), 4, key=g.key).indices, 23),
    "Batches.after": lambda g: lambda: next(bx.Batches(g.x, 4, key=g.key).after(2)),
    "tap": lambda g: call(bx.tap, g.x, "x"),
    "taps": lambda g: call(bx.taps, g.tapped, g.x[0]),
    "activations": lambda g: call(bx.activations, g.tapped, g.x[0], "inner"),
    "parts": lambda g: call(bx.parts, g.tapped, "inner.params", axes=0),
    "patched": lambda g: call(bx.patched, g.tapped, {"square": halved, "inner": g.scale}),
    "a patched model": lambda g: call(
        bx.patched(g.tapped, {"square": halved, "inner": g.scale}), g.x[0]
    ),
    "Ablate": lambda g: call(bx.Ablate(np.s_[0], g.scale), jnp.asarray(g.x[0])),
    "Project": lambda g: call(bx.Project(g.x), jnp.asarray(g.x[0])),
    "Noise": lambda g: call(bx.Noise(g.scale, key=g.key), jnp.asarray(g.x[0])),
    "Replace": lambda g: call(bx.Replace(g.x[0]), jnp.asarray(g.x[0])),
    "Gibbs.log_prob": lambda g: call(g.gibbs.log_prob, g.weights),
    "Gibbs.log_prior": lambda g: call(g.gibbs.log_prior, g.weights),
    "Gibbs.energy": lambda g: call(g.gibbs.energy, g.weights),
    "Gibbs.energy_variance": lambda g: call(g.gibbs.energy_variance, g.weights),
    "Gibbs.energy_estimate": lambda g: call(g.gibbs.energy_estimate, g.weights, g.key),
    "Gibbs.log_prob_estimate": lambda g: call(g.gibbs.log_prob_estimate, g.weights, g.key),
    "Gibbs.potential_at": lambda g: call(g.gibbs.potential_at, g.weights, g.scale),
    "Gibbs.moments": lambda g: call(g.gibbs.moments, g.weights),
    "Gibbs.localised": lambda g: call(g.gibbs.localised, g.scale, g.model),
    "Gibbs.relative_to": lambda g: call(g.gibbs.relative_to, g.model),
    "Gibbs.with_control_variates": lambda g: call(g.few.with_control_variates, g.model),
    "Gibbs.sample_prior": lambda g: call(g.gibbs.sample_prior, g.key),
    "Gibbs.constrain": lambda g: call(g.gibbs.constrain, g.weights),
    "Gibbs.model": lambda g: call(g.gibbs.model, g.weights),
    "Gibbs.complete": lambda g: call(g.gibbs.complete, g.weights, g.key),
    "Gibbs.energy_of": lambda g: call(g.gibbs.energy_of, g.model),
    "Gibbs.position": lambda g: call(g.gibbs.position, g.model),
    "Gibbs.at": lambda g: call(g.gibbs.at, g.betas),
    **{
        f"{name}.{verb}": partial(measured, name, verb)
        for name in (
            "GaussianMeasure",
            "IntervalMeasure",
            "CircleMeasure",
            "CubeMeasure",
            "Empirical",
            "Subsampled",
        )
        for verb in MEASURED
    },
    "Subsampled.batch": lambda g: call(g.measures["Subsampled"].batch, g.key),
    "CrossEntropy.value": lambda g: call(g.classes.value, g.model),
    "CrossEntropy.estimate": lambda g: call(g.classes.estimate, g.model, g.key),
    "PerDatum.value": lambda g: call(g.each.value, g.model),
    "PerDatum.estimate": lambda g: call(g.each.estimate, g.model, g.key),
    "Localisation.value": lambda g: call(bx.Localisation(g.model, g.scale).value, g.model),
    "Localisation.estimate": lambda g: call(
        bx.Localisation(g.model, g.scale).estimate, g.model, g.key
    ),
    "SquaredError.value": lambda g: call(g.energy.value, g.model),
    "SquaredError.estimate": lambda g: call(g.energy.estimate, g.model, g.key),
    "Violation.estimate": lambda g: call(bx.Violation(g.contract).estimate, g.gain, g.key),
    "Violation.value": lambda g: call(bx.Violation(g.contract).value, g.gain),
    "Contract": lambda g: call(bx.Contract, g.component, *g.ends, points=3),
    "Contract.margin": lambda g: call(g.contract.margin, g.gain),
    "Contract.margins": lambda g: call(g.contract.margins, g.contract.image(g.gain)),
    "Contract.image": lambda g: call(g.contract.image, g.gain),
    "Chain": lambda g: call(together, g.scale),
    "Circuit": lambda g: call(joined, g.scale),
    "Circuit.output": lambda g: call(joined(g.scale).output, (g.gain, g.gain), jnp.ones(1)),
    "Circuit.margin": lambda g: call(joined(g.scale).margin, (g.gain, g.gain)),
    "Interface.thresholds": lambda g: call(bx.Interface.thresholds, g.scale, 2.0),
    "Interface.intervals": lambda g: call(bx.Interface.intervals, {0: [(0.0, g.scale)]}),
    "Interface.boxes": lambda g: call(bx.Interface.boxes, {0: [([0.0], [g.scale])]}),
    "Interface.distance": lambda g: call(g.ends[0].distance, jnp.ones(1)),
    "Interface.contains": lambda g: call(g.ends[0].contains, jnp.ones(1), 0),
    "Interface.erode": lambda g: call(g.ends[1].erode, 0.1 * g.scale),
    "Interface.points": lambda g: call(g.ends[0].points, 3),
    "Interface.relabel": lambda g: call(g.ends[0].relabel, {0: "low"}),
    # degradation
    "degrade.Edgeworth.density": lambda g: call(dg.Edgeworth(g.cumulants).density, 0.5 * g.scale),
    "degrade.Edgeworth.distribution": lambda g: call(
        dg.Edgeworth(g.cumulants).distribution, 0.5 * g.scale
    ),
    "channels.gaussian_information": lambda g: call(ch.gaussian_information, g.x, g.x**2),
    "channels.information_ladder": lambda g: call(
        ch.information_ladder, g.x, g.x**2, sizes=(6, 12), key=g.key
    ),
    "channels.read_taps": lambda g: call(ch.read_taps, g.tapped, g.x, "inner"),
    "channels.usable_information": lambda g: call(ch.usable_information, g.x, g.x**2, key=g.key),
    "channels.usable_information of labels": lambda g: call(
        ch.usable_information, g.x, np.arange(len(g.x))[:, None] % 2, family="bernoulli", key=g.key
    ),
    "channels.neighbour_information": lambda g: call(
        ch.neighbour_information, *g.rng.normal(size=(2, 48, 1)), neighbours=1, blocks=4, key=g.key
    ),
    "channels.ensemble_information": lambda g: call(
        ch.ensemble_information,
        bx.Ensemble.prior(g.gibbs, 12, key=g.key),
        first_of,
        second_of,
        g.x,
        floor=0.5,
        models=2,
        key=g.key,
    ),
    "channels.leading_components": lambda g: call(ch.leading_components, g.x),
    "degrade.negentropy": lambda g: call(dg.negentropy, g.cumulants),
    "degrade.remainder": lambda g: call(dg.remainder, g.x, 0.5 * g.x**2),
    "degrade.Remainder.law": lambda g: call(g.left.law, 2, 1),
    "degrade.Remainder.probability": lambda g: call(g.left.probability, 0.5 * g.scale, 2, 1),
    "degrade.error_rates": lambda g: call(dg.error_rates, tuple(g.margins), tuple(g.margins)),
    "degrade.ErrorRates.outcome": lambda g: call(
        dg.error_rates(tuple(g.margins), tuple(g.margins)).outcome, 1
    ),
    "degrade.coupling": lambda g: call(dg.coupling, g.y, g.x, key=g.key),
    "degrade.binder_cumulant": lambda g: call(dg.binder_cumulant, g.series),
    "degrade.loss_complexity": lambda g: call(dg.loss_complexity, g.laddered),
    "degrade.size_crossing": lambda g: call(dg.size_crossing, {1: g.curve, 2: g.curve.scaled(2.0)}),
    "degrade.random_walk_spectrum": lambda g: call(dg.random_walk_spectrum, 5),
    "degrade.trajectory_spectrum": lambda g: call(dg.trajectory_spectrum, g.x, key=g.key),
    **{
        f"degrade.{name}.ensembles": lambda g, make=make, settings=settings: call(
            make(g).ensembles, g.gibbs, settings, key=g.key, count=8
        )
        for name, (make, settings) in DIALS.items()
    },
    "degrade.ActivationNoise.ensembles": lambda g: call(
        dg.ActivationNoise("*").ensembles, g.planted.gibbs(False), [0.1, 0.2], key=g.key, count=8
    ),
    "degrade.along_dial": lambda g: call(
        dg.along_dial,
        dg.WeightNoise(),
        [0.1, 0.2 * g.scale],
        norm,
        gibbs=g.gibbs,
        key=g.key,
        count=8,
    ),
    "degrade.clean_window": lambda g: call(
        dg.clean_window,
        halved_model,
        jnp.sum,
        square,
        dg.WeightNoise(),
        [0.1, 0.2 * g.scale],
        outputs=norm,
        gibbs=g.gibbs,
        key=g.key,
        count=8,
    ),
    "degrade.survival": lambda g: call(dg.survival, g.falling, clean=g.scale),
    "degrade.characteristic_temperature": lambda g: call(
        dg.characteristic_temperature, g.falling, 0.5 * g.scale
    ),
    "degrade.selectivity": lambda g: call(dg.selectivity, g.falling, g.falling),
    "degrade.order_of_death": lambda g: call(
        dg.order_of_death, {"a": g.falling, "b": g.falling.scaled(0.9)}, key=g.key, resamples=50
    ),
    "degrade.temperature_marks": lambda g: call(dg.temperature_marks, g.gibbs, n=12, gap=g.scale),
    # channels
    "channels.bits_of_optimisation": lambda g: call(
        ch.bits_of_optimisation, g.gibbs, norm, g.scale, key=g.key, samples=64, throw=False
    ),
    "channels.OptimisationBits.z_score": lambda g: call(g.bits.z_score, g.scale),
    "channels.OptimisationBits.map": lambda g: call(g.bits.map, jnp.exp),
    "channels.channel_cost": lambda g: call(
        ch.channel_cost,
        noisy,
        [1, 2, 3],
        at=0.5 * g.scale,
        key=g.key,
        by="direct",
        samples=64,
        throw=False,
    ),
    "channels.training_success": lambda g: call(
        ch.training_success, noisy(2, 1), SGD, [0, 2], at=0.5 * g.scale, starts=4, key=g.key
    ),
    "channels.channel_coupling": lambda g: call(
        ch.channel_coupling, bx.Ensemble.prior(g.gibbs, 9, key=g.key), norm, second_norm
    ),
    "channels.natural_latent": lambda g: call(
        ch.natural_latent, g.x, g.y[:, None], g.rng.normal(size=(12, 1))
    ),
    "cases.far_places": lambda g: call(cases.far_places, 2, 2, flip=0.25 * g.scale),
    "cases.FarPlaces.data": lambda g: call(
        cases.far_places(2, 2, flip=0.25 * g.scale).data, 5, key=g.key
    ),
    "cases.FarPlaces.energy": lambda g: call(
        cases.far_places(2, 2, flip=0.25 * g.scale).energy, 5, 2, key=g.key
    ),
    "cases.FarPlaces.told": lambda g: call(
        cases.far_places(2, 2, flip=0.25 * g.scale).told, 1, 5, key=g.key
    ),
    "cases.far_channels": lambda g: call(
        cases.far_channels, cases.far_places(2, 2), SGD, 2, nets=2, samples=100, key=g.key
    ),
    "cases.shared_wires": lambda g: call(cases.shared_wires, 2),
    "cases.overlapping_channels": lambda g: call(cases.overlapping_channels, 0.5 * g.scale),
    "cases.rival_channels": lambda g: call(cases.rival_channels),
    "cases.linear_channel": lambda g: call(cases.linear_channel, 2, gain=g.scale),
    "cases.noisy_channel": lambda g: call(
        cases.noisy_channel, 2, gain=g.scale, samples=2, key=g.key
    ),
    "cases.scalar_channel": lambda g: call(cases.scalar_channel, 2, gain=g.scale),
    # sample
    "sample": lambda g: call(bx.sample, g.gibbs, WALK, key=g.key, **FEW),
    "run": lambda g: call(bx.run, g.neurons, g.started, key=g.key, draws=4, thin=2),
    "anneal": lambda g: call(bx.anneal, g.gibbs, g.betas, WALK, key=g.key, **FEW, spacing=2.0),
    "free_energy_bounds": lambda g: call(bx.free_energy_bounds, g.gibbs, g.betas, key=g.key),
    "Bounds.excess": lambda g: call(
        bx.free_energy_bounds(g.gibbs, g.betas, key=g.key).excess, bx.free_energy(g.laddered)
    ),
    "above_bounds": lambda g: call(bx.above_bounds, g.laddered.bridges),
    "Trace.evaluate": lambda g: call(g.drawn.evaluate, norm, g.key),
    "Trace.mean": lambda g: call(g.drawn.mean, norm, g.key),
    "Trace.mean_of": lambda g: call(g.drawn.mean_of, g.drawn.energy),
    "Trace.vouched": lambda g: call(g.drawn.vouched, bx.Estimate.of_series(g.drawn.energy)),
    "sample by HMC": lambda g: call(bx.sample, g.gibbs, bx.HMC(max_steps=4), key=g.key, **FEW),
    "sample by MALA": lambda g: call(bx.sample, g.gibbs, bx.MALA(), key=g.key, **FEW),
    "Blackjax": lambda g: call(
        bx.sample, g.gibbs, bx.Blackjax(blackjax.mala, step_size=0.5 * g.scale), key=g.key, **FEW
    ),
    "sample by SGLD": lambda g: call(bx.sample, g.few, bx.SGLD(), key=g.key, **FEW),
    "sample by NUTS": lambda g: call(bx.sample, g.gibbs, bx.NUTS(), key=g.key, **FEW),
    "sample by SVRG": lambda g: call(bx.sample, g.few, bx.SVRG(), key=g.key, **FEW),
    "sample by Underdamped": lambda g: call(bx.sample, g.few, bx.Underdamped(), key=g.key, **FEW),
    "sample, reduced": lambda g: call(
        bx.sample, g.gibbs, WALK, key=g.key, reduce={"norm": bx.Mean(norm, 2)}, **FEW
    ),
    "anneal by smc": lambda g: call(
        bx.anneal, g.gibbs, g.betas, WALK, key=g.key, by="smc", spacing=2.0, **FEW
    ),
    "Trace.curve": lambda g: call(g.laddered.curve, bx.heat_capacity(g.laddered)),
    "Ensemble.of": lambda g: call(bx.Ensemble.of, g.gibbs, g.drawn.w, ("chain", "draw")),
    "Ensemble.of_models": lambda g: call(bx.Ensemble.of_models, g.gibbs, [g.model, g.model]),
    "Ensemble.prior": lambda g: call(bx.Ensemble.prior, g.gibbs, 5, key=g.key),
    "Ensemble.map": lambda g: call(g.drawn.ensemble.map, norm, key=g.key),
    "Ensemble.mean": lambda g: call(g.drawn.ensemble.mean, norm, key=g.key),
    "Ensemble.mean_of": lambda g: call(g.drawn.ensemble.mean_of, g.drawn.energy),
    "Ensemble.models": lambda g: call(g.drawn.ensemble.models),
    "Ensemble.take": lambda g: call(g.drawn.ensemble.take, 4, key=g.key),
    # observe
    "replicated": lambda g: call(bx.replicated, g.falling.shifted, [0.0, g.scale]),
    "sign_changes": lambda g: call(bx.sign_changes, [g.curve.values, g.curve.scaled(-1.0).values]),
    "mean_estimate": lambda g: call(bx.mean_estimate, g.series),
    "free_energy": lambda g: call(bx.free_energy, g.laddered),
    "free_energy by integration": lambda g: call(bx.free_energy, g.laddered, "integration"),
    "entropy": lambda g: call(bx.entropy, g.laddered),
    "effective_parameters": lambda g: call(bx.effective_parameters, g.laddered, 0.0),
    "effective_dimension": lambda g: call(bx.effective_dimension, g.drawn),
    "heat_capacity": lambda g: call(bx.heat_capacity, g.laddered),
    "learning_coefficient": lambda g: call(bx.learning_coefficient, g.laddered),
    "coefficient_curve": lambda g: call(
        bx.coefficient_curve, g.drawn, g.scale * np.array([1.0, 1.1]), 0.0
    ),
    "local_coefficient_at": lambda g: call(bx.local_coefficient_at, g.energy, g.fixed, key=g.key),
    "along_training": lambda g: call(
        bx.along_training, g.energy, [g.energy.model] * 2, g.fixed, key=g.key
    ),
    "part_coefficients": lambda g: call(
        bx.part_coefficients, g.energy, {"a": bx.Mask({"params": g.first})}, g.fixed, key=g.key
    ),
    "coefficient_grid": lambda g: call(
        bx.coefficient_grid,
        g.energy,
        g.fixed,
        key=g.key,
        step_sizes=(0.01 * g.scale,),
        localisations=(g.scale, 2.0),
    ),
    "wbic": lambda g: call(bx.wbic, g.at_watanabe, 12),
    "influence": lambda g: call(bx.influence, g.drawn, g.energy),
    "influence of tokens": lambda g: call(bx.influence, g.drawn, g.energy, tokens=one_token),
    "response_matrix": lambda g: call(bx.response_matrix, {"whole": g.drawn}, outputs),
    "ResponseMatrix.components": lambda g: call(
        bx.response_matrix({"whole": g.drawn}, outputs).components, key=g.key, permutations=4
    ),
    "classical_influence": lambda g: call(bx.classical_influence, g.gibbs, g.energy),
    "trained": lambda g: call(bx.trained, g.energy, SGD, [2, 5]),
    "retrained": lambda g: call(bx.retrained, g.gibbs, g.energy, g.x[:, :1] * np.ones(12) > 0),
    "linear_datamodeling_score": lambda g: call(
        bx.linear_datamodeling_score,
        np.ones((2, 12)) * g.y,
        g.x[:, :1] > g.x[:, 1],
        g.x,
        key=g.key,
    ),
    "susceptibility": lambda g: call(bx.susceptibility, g.drawn, norm, g.energy, key=g.key),
    "spectrum": lambda g: call(bx.spectrum, g.drawn, bx.GaussianMeasure(2, order=4), 3),
    "phases": lambda g: call(bx.phases, [bx.Phase(g.laddered, 0.0), bx.Phase(g.laddered, 1.0)]),
    "local_learning_coefficient": lambda g: call(
        bx.local_learning_coefficient,
        g.energy,
        key=g.key,
        kernel=bx.MALA(),
        max_gradients=1000,
        chains=2,
    ),
    "Estimate.of_series": lambda g: call(bx.Estimate.of_series, g.series),
    "Estimate.of_samples": lambda g: call(bx.Estimate.of_samples, g.series),
    "Estimate.of_replicates": lambda g: call(bx.Estimate.of_replicates, g.series),
    "Estimate.of_hits": lambda g: call(bx.Estimate.of_hits, 3, 10),
    "Estimate.scaled": lambda g: call(g.estimate.scaled, g.scale),
    "Estimate.shifted": lambda g: call(g.estimate.shifted, g.scale),
    "Estimate.widened": lambda g: call(g.estimate.widened, g.scale),
    "Estimate.z_score": lambda g: call(g.estimate.z_score, g.scale),
    "Estimate.interval": lambda g: call(g.estimate.interval),
    "Estimate.map": lambda g: call(g.estimate.map, jnp.exp),
    "Influence.of": lambda g: call(bx.Influence.of, g.series),
    "Influence.of_samples": lambda g: call(bx.Influence.of_samples, g.series),
    "Influence.estimate": lambda g: call(bx.Influence.of(g.series).estimate),
    "Influence.map": lambda g: call(bx.Influence.of(g.series).map, jnp.exp),
    "Influence.z_score": lambda g: call(bx.Influence.of(g.series).z_score, g.scale),
    "Influence.stack": lambda g: call(bx.Influence.stack, [bx.Influence.of(g.series)] * 2),
    "Estimate.exact": lambda g: call(bx.Estimate.exact, g.scale),
    "Estimate.stack": lambda g: call(bx.Estimate.stack, [g.estimate, g.estimate]),
    "Estimate.unknown": lambda g: call(g.estimate.unknown, True),
    "Estimate.times": lambda g: call(g.curve.values.times, g.scale * np.ones((2, 3))),
    "Estimate.bounded": lambda g: call(g.estimate.bounded, -g.scale, g.scale),
    "Influence.scaled": lambda g: call(g.curve.influence.scaled, g.scale),
    "Influence.shifted": lambda g: call(g.curve.influence.shifted, g.scale),
    "Influence.times": lambda g: call(g.curve.influence.times, g.scale * np.ones((2, 3))),
    "Curve.at": lambda g: call(g.curve.at, [0.5 * g.scale]),
    "Curve.crossing": lambda g: call(g.curve.crossing, float(np.median(g.curve.value))),
    "Curve.crossings": lambda g: call(g.curve.crossings, float(np.median(g.curve.value))),
    "Curve.slope": lambda g: call(g.curve.slope),
    "Curve.minus": lambda g: call(g.curve.minus, g.curve),
    "Curve.map": lambda g: call(g.curve.map, jnp.exp),
    "Curve.columns": lambda g: call(
        bx.Curve(g.betas, bx.Estimate.of_samples(g.many.reshape(40, 2, 2)), axis="beta").columns,
        ["first", "second"],
    ),
    "Curve.over": lambda g: call(g.curve.over, g.scale * np.arange(1.0, 4.0), "beta"),
    "Curve.scaled": lambda g: call(g.curve.scaled, g.scale),
    "Curve.shifted": lambda g: call(g.curve.shifted, g.scale),
    "Curve.interval": lambda g: call(g.curve.interval),
    "Curve.z_score": lambda g: call(g.curve.z_score, g.scale),
    # rare events
    "prior": lambda g: call(bx.prior, g.model, bx.Normal()),
    "log_probability directly": lambda g: call(g.rare, by="direct", samples=64, throw=False),
    "log_probability by levels": lambda g: call(g.rare, by="levels", **SPLIT),
    "log_probability by temperature": lambda g: call(
        g.rare, by="tempered", samples=16, throw=False
    ),
    "LogProbability.z_score": lambda g: call(
        g.rare(by="direct", samples=64, throw=False).z_score, g.scale
    ),
    "LogProbability.map": lambda g: call(g.above.map, jnp.exp),
    "LogProbability.draw": lambda g: call(g.above.draw, 4, key=g.key),
    # report
    "save": lambda g: call(bx.save, g.folder / "again", g.drawn),
    "load": lambda g: call(bx.load, g.saved, g.gibbs),
    "open_zarr": lambda g: call(bx.open_zarr, g.stored),
    "load_trace": lambda g: call(bx.load_trace, g.stored, g.gibbs),
    "to_xarray": lambda g: call(bx.to_xarray, g.laddered, g.key),
    # interfaces
    "interfaces.margin": lambda g: call(it.margin, g.contract, g.gain),
    "interfaces.satisfies": lambda g: call(it.satisfies, g.contract, g.gain),
    "interfaces.tightest": lambda g: call(it.tightest, g.contract, g.gain),
    "interfaces.attack": lambda g: call(it.attack, g.contract, g.gain, g.key, 2, 3),
    "interfaces.counterexample": lambda g: call(
        it.counterexample, g.contract, g.gain, key=g.key, starts=2, steps=3
    ),
    "interfaces.certified": lambda g: call(it.certified, g.contract, g.gain, 4),
    "interfaces.certify": lambda g: call(it.certify, g.contract, g.gain, splits=64, batch=8),
    "interfaces.enclose": lambda g: call(
        it.enclose, jnp.tanh, jnp.asarray(-(g.x[0] ** 2)), jnp.asarray(g.x[1] ** 2)
    ),
    "interfaces.entropy directly": lambda g: call(
        it.entropy, g.contract, key=g.key, by="direct", samples=256, throw=False
    ),
    "interfaces.entropy by splitting": lambda g: call(
        it.entropy, g.contract, key=g.key, by="levels", **SPLIT
    ),
    "interfaces.entropy by temperature": lambda g: call(
        it.entropy, g.contract, key=g.key, by="tempered", samples=16, throw=False
    ),
    "interfaces.entropy_curve": lambda g: call(
        it.entropy_curve, g.contract, g.scale * jnp.array([1.0, 0.5]), key=g.key, **SPLIT
    ),
    "interfaces.condition": lambda g: call(
        it.condition, g.contract, key=g.key, draws=8, **SPLIT | {"max_levels": 20}
    ),
    "interfaces.wilson": lambda g: call(it.wilson, np.array([3, 4]), 10),
    "interfaces.entropy_table": lambda g: call(
        it.entropy_table, g.component, g.family, g.family, key=g.key, draws=256
    ),
    "interfaces.EntropyTable.interval": lambda g: call(g.table.interval),
    "interfaces.EntropyTable.influence": lambda g: call(g.table.influence, 2, 3),
    "interfaces.EntropyTable.satisfied": lambda g: call(g.table.satisfied, 0, 0),
    "interfaces.EntropyTable.difference": lambda g: call(g.table.difference, (2, 3), (2, 4)),
    "interfaces.TightestKernel.tightest": lambda g: call(it.tightest_kernel(g.table).tightest, 0),
    "interfaces.tightest_kernel": lambda g: call(it.tightest_kernel, g.table),
    "interfaces.chain_tables": lambda g: call(it.chain_tables, g.pair, key=g.key, draws=256),
    "interfaces.ChainTables.at": lambda g: call(g.tables.at, 0),
    "interfaces.ChainTables.interfaces": lambda g: call(g.tables.interfaces, [0]),
    "interfaces.ChainTables.entropies": lambda g: call(g.tables.entropies, [2]),
    "interfaces.ChainTables.influence": lambda g: call(g.tables.influence, [2]),
    "interfaces.ChainTables.hits": lambda g: call(g.tables.hits, [2]),
    "Chain with candidates": lambda g: call(paired, g.component, g.ends, g.family),
    "Chain.at": lambda g: call(g.pair.at, [1]),
    "Chain.between": lambda g: call(g.pair.between, [None]),
    "Chain.chosen": lambda g: call(g.pair.chosen, [1]),
    "Chain.margin": lambda g: call(together(g.scale).margin, (g.gain, g.gain)),
    "Chain.output": lambda g: call(together(g.scale).output, (g.gain, g.gain), jnp.ones(1)),
    "Family.thresholds": lambda g: call(
        bx.Family.thresholds, g.scale * np.array([1.0, 2.0]), range=(0.0, None)
    ),
    "Family.of": lambda g: call(bx.Family.of, g.ends),
    "Family.take": lambda g: call(g.family.take, [0, 1]),
    "Family.index": lambda g: call(g.family.index, g.family[1]),
    "Family.order": lambda g: call(g.family.order),
    "interfaces.max_plus": lambda g: call(it.max_plus, g.tables),
    "interfaces.pressure": lambda g: call(it.pressure, g.tables, [0]),
    "interfaces.maximum_entropy": lambda g: call(it.maximum_entropy, g.pair, key=g.key, draws=256),
    "interfaces.maximise_interfaces": lambda g: call(
        it.maximise_interfaces,
        g.pair,
        key=g.key,
        span=(0.5, 4.0),
        range=(0, None),
        draws=64,
        fresh=64,
        starts=2,
        steps=3,
    ),
    "interfaces.interface_law": lambda g: call(it.interface_law, g.pair, key=g.key, draws=256),
    "interfaces.InterfaceLaw.expected_interfaces": lambda g: call(g.law.expected_interfaces),
    "interfaces.InterfaceLaw.swap_rate": lambda g: call(g.law.swap_rate, 0),
    "interfaces.InterfaceLaw.mutual_information": lambda g: call(g.law.mutual_information),
    **{
        f"interfaces.InterfaceLaw.{name}": partial(of_law, name)
        for name in ("log_evidence", "resolution", "image", "satisfaction", "log_coverage")
    },
    "interfaces.InterfaceLaw.satisfaction_of": lambda g: call(g.law.satisfaction_of, [2]),
    "interfaces.end_to_end": lambda g: call(it.end_to_end, g.pair),
    "interfaces.in_series": lambda g: call(it.in_series, g.pair),
    "interfaces.expected_satisfaction": lambda g: call(
        it.expected_satisfaction, g.pair, key=g.key, draws=1024
    ),
    "interfaces.memories": lambda g: call(
        it.memories, bx.models.Function(line, np.zeros(2)), bx.Normal(), g.x[:3], g.y[:3], 0.5
    ),
    "interfaces.subset_entropy": lambda g: call(
        it.subset_entropy,
        bx.models.Function(line, np.zeros(2)),
        bx.Normal(),
        g.x[:3],
        g.y[:3],
        {"a": [0, 1], "b": [1, 2]},
        [1.0, 0.5],
        key=g.key,
        **SPLIT,
    ),
    "interfaces.free_directions": lambda g: call(
        it.free_directions, bx.models.Function(line, np.zeros(2)), g.x[:3]
    ),
    "interfaces.SubsetEntropy.slope": lambda g: call(g.subsets.slope),
    "interfaces.SubsetEntropy.interaction": lambda g: call(g.subsets.interaction, "ab", ["a", "b"]),
    "interfaces.FreeDirections.effective": lambda g: call(g.free.effective, 0.1 * g.scale),
    "interfaces.FreeDirections.information": lambda g: call(g.free.information, 0.1 * g.scale),
    "interfaces.FreeDirections.leverage": lambda g: call(g.free.leverage),
    "interfaces.FreeDirections.share": lambda g: call(g.free.share),
    "interfaces.satisfaction_law": lambda g: call(
        it.satisfaction_law, g.systems, g.expected, key=g.key, allow_satisfied=True
    ),
    "interfaces.shared_entropy": lambda g: call(
        it.shared_entropy,
        together,
        (np.array([1.0, 1.1]), np.array([0.5, 0.5])),
        key=g.key,
        draws=1024,
    ),
    "interfaces.Entropy.draw": lambda g: call(g.above.draw, 4, key=g.key),
    "interfaces.Entropy.map": lambda g: call(g.above.map, jnp.exp),
    "interfaces.Entropy.z_score": lambda g: call(g.above.z_score, -g.scale),
    "interfaces.overlap": lambda g: call(
        it.overlap,
        bx.models.Function(line, np.zeros(2)),
        g.x[:3],
        {"a": [0, 1], "b": [1, 2]},
        tolerance=0.5,
    ),
    # mean field
    "meanfield.solve": lambda g: call(
        mf.solve, g.problem, order=32, refinements=0, replicates=2, throw=False
    ),
    "meanfield.FixedPoint.draw": lambda g: call(g.solved.draw, g.key, 8),
    "meanfield.finite_width": lambda g: call(mf.finite_width, g.solved),
    "meanfield.finite_width of an observable": lambda g: call(mf.finite_width, g.solved, of_neuron),
    "meanfield.probe": lambda g: call(
        mf.probe, g.problem, g.solved.background, order=32, refinements=0
    ),
    "meanfield.Probe.models": lambda g: call(g.probe.models, g.probe.draw(g.key, 8)),
    "meanfield.Probe.log_density": lambda g: call(
        g.probe.log_density, jax.tree.map(lambda leaf: leaf[0], g.probe.draw(g.key, 8))
    ),
    "meanfield.Background.from_array": lambda g: call(
        mf.Background.from_array, g.solved.background.values, g.problem
    ),
    "meanfield.Background.from_net": lambda g: call(mf.Background.from_net, first_input, g.problem),
    "meanfield.Background.from_ensemble": lambda g: call(
        mf.Background.from_ensemble, g.trained.net, g.problem
    ),
    "meanfield.Background.from_kernel": lambda g: call(
        mf.Background.from_kernel, kernel, g.problem
    ),
    "meanfield.Background.lazy": lambda g: call(mf.Background.lazy, g.problem, order=32),
    "meanfield.SelfConsistency.inputs": lambda g: call(g.problem.inputs),
    "meanfield.SelfConsistency.targets": lambda g: call(g.problem.targets),
    "meanfield.SelfConsistency.draw_net": lambda g: call(g.problem.draw_net, g.key, 3),
    "meanfield.SelfConsistency.draw_riders": lambda g: call(g.problem.draw_riders, g.key, 3, 4),
    "meanfield.SelfConsistency.output": lambda g: call(
        g.problem.output, g.trained.net, jnp.ones(1)
    ),
    "meanfield.SelfConsistency.ensemble": lambda g: call(
        g.problem.ensemble, g.problem.draw_net(g.key, 3)
    ),
    "meanfield.SelfConsistency.at": lambda g: call(g.problem.at, 0.3 * g.scale),
    "meanfield.SelfConsistency.gibbs": lambda g: call(g.problem.gibbs, 3),
    "meanfield.LinearCumulant.of": lambda g: call(mf.LinearCumulant.of, g.linear_problem),
    "meanfield.Loop.residual": lambda g: call(g.loop.residual, jnp.full(1, 0.2 * g.scale)),
    "meanfield.Loop.holds": lambda g: call(g.loop.holds, jnp.full(1, 0.2 * g.scale)),
    "meanfield.Probe.draw": lambda g: call(g.probe.draw, g.key, 8),
    "meanfield.Probe.ensemble": lambda g: call(g.probe.ensemble, g.key, 8),
    "meanfield.Probe.mean": lambda g: call(g.probe.mean),
    "meanfield.Probe.response": lambda g: call(g.probe.response, g.solved.field),
    "meanfield.train": lambda g: call(
        mf.train,
        g.problem,
        4,
        key=g.key,
        steps=4,
        batch=3,
        riders=2,
        frames=2,
        history=True,
        throw=False,
    ),
    "meanfield.ride_along": lambda g: call(
        mf.ride_along, g.trained, 2, key=g.key, steps=4, frames=2, throw=False
    ),
    "meanfield.Neurons.start": lambda g: call(g.neurons.start, 3, 2, key=g.key),
    "meanfield.replay": lambda g: call(mf.replay, g.trained, 2, key=g.key, frames=2, throw=False),
    "meanfield.foreground": lambda g: call(
        mf.foreground, g.problem, g.solved.background, 3, key=g.key, steps=4, frames=2, throw=False
    ),
    "meanfield.time_average": lambda g: call(mf.time_average, g.trained),
    "meanfield.mixing": lambda g: call(
        mf.mixing, {"w": jnp.asarray(g.rng.normal(size=(5, 6, 2)))}, 0.5
    ),
    "meanfield.tempered": lambda g: call(mf.tempered, g.probe, 16, key=g.key, moves=3, throw=False),
    "meanfield.confront": lambda g: call(
        mf.confront,
        g.trained,
        mf.replay(g.trained, 4, key=g.key, frames=2, throw=False),
        key=g.key,
        level=0.1,
        permutations=9,
    ),
    "meanfield.fixed_points": lambda g: call(
        mf.fixed_points, g.loop, key=g.key, starts=4, steps=200, throw=False
    ),
    "meanfield.sweep": lambda g: call(
        mf.sweep,
        AtField(jnp.asarray(1.5 * g.scale)),
        jnp.linspace(-0.4, 0.4, 5) * g.scale,
        key=g.key,
        starts=4,
        steps=200,
        throw=False,
    ),
    "energy_distance": lambda g: call(
        bx.energy_distance, *g.clouds, key=g.key, level=0.1, permutations=9
    ),
    "kernel_distance": lambda g: call(
        bx.kernel_distance, *g.clouds, key=g.key, level=0.1, permutations=9
    ),
    "sliced_wasserstein": lambda g: call(bx.sliced_wasserstein, *g.clouds, key=g.key, directions=4),
    "meanfield.data_kernel": lambda g: call(mf.data_kernel, jnp.asarray(g.rng.normal(size=(6, 4)))),
    "meanfield.alignment": lambda g: call(mf.alignment, *g.kernels),
    "meanfield.frobenius_distance": lambda g: call(mf.frobenius_distance, *g.kernels),
    "meanfield.procrustes_distance": lambda g: call(mf.procrustes_distance, *g.kernels),
    "meanfield.gradient_flow": lambda g: call(
        mf.gradient_flow, g.kernels[0], jnp.zeros(4), jnp.ones(4), jnp.linspace(0, 1, 3)
    ),
    "meanfield.neuron_functions": lambda g: call(
        mf.neuron_functions, g.problem, g.solved.draw(g.key, 8)
    ),
    # cases
    "cases.gain_chain": lambda g: call(cases.gain_chain, 2, g.family, width=3 * g.scale),
    "cases.gain_component": lambda g: call(cases.gain_component, g.scale),
    "cases.step_component": lambda g: call(cases.step_component, g.scale),
    "cases.affine_component": lambda g: call(cases.affine_component, (-g.scale, 1.0)),
    "cases.amplifier_component": lambda g: call(cases.amplifier_component, g.scale),
    "cases.voltage_amplifier": lambda g: call(cases.voltage_amplifier),
    "cases.voltage_net": lambda g: call(cases.voltage_net),
    "cases.voltage_middles": lambda g: call(cases.voltage_middles),
    "cases.voltage_chain": lambda g: call(cases.voltage_chain, scale=g.scale),
    "cases.gate": lambda g: call(cases.gate, "nand", scale=g.scale),
    "cases.xor_circuit": lambda g: call(cases.xor_circuit, scale=g.scale),
    "cases.planted_xor": lambda g: call(cases.planted_xor, 2 * g.scale),
    "cases.planted_net": lambda g: call(cases.planted_net, 4, scale=g.scale, key=g.key),
    "cases.planted_temperatures": lambda g: call(cases.planted_temperatures, g.planted),
    "cases.superposition_polygon": lambda g: call(cases.superposition_polygon, 5, bias=-g.scale),
    "cases.planted_kernel": lambda g: call(cases.planted_kernel, g.planted, nodes=8),
    "cases.PlantedNet.gibbs": lambda g: call(g.planted.gibbs, False),
    "cases.PlantedNet.outputs": lambda g: call(g.planted.outputs, g.planted.model),
    "cases.PlantedNet.overlaps": lambda g: call(g.planted.overlaps, g.planted.model),
    "cases.PlantedNet.losses": lambda g: call(g.planted.losses, g.planted.model),
    "cases.PlantedNet.accuracies": lambda g: call(g.planted.accuracies, g.planted.model),
    "cases.modular_addition": lambda g: call(
        cases.modular_addition, 3, 0.05 * g.scale, readout_scale=0.02
    ),
    "cases.modular_gibbs": lambda g: call(
        cases.modular_gibbs, 3, 2, 0.05 * g.scale, readout_scale=0.02
    ),
    "cases.modular_width": lambda g: call(
        cases.modular_width, 3, 0.05 * g.scale, readout_scale=0.02, key=g.key, draws=1000
    ),
    "cases.modular_modes": lambda g: call(
        cases.modular_modes, jnp.asarray(g.rng.normal(size=(2, 5)))
    ),
    "cases.modular_residual": lambda g: call(cases.modular_residual, *g.modular),
    "cases.modular_split": lambda g: call(cases.modular_split, 5, 0.6, key=g.key),
    "cases.modular_table": lambda g: call(cases.modular_table, 5),
    # localisation and screening
    "cases.anderson_chain": lambda g: call(cases.anderson_chain, 0.3 * g.scale, 1.0),
    "cases.lloyd_chain": lambda g: call(cases.lloyd_chain, 0.3 * g.scale, 1.0),
    "cases.exponential_process": lambda g: call(
        cases.exponential_process, g.x[:, 0], g.y, length=g.scale, noise_variance=0.3
    ),
    "cases.ExponentialProcess.covariance": lambda g: call(
        g.process.covariance, g.x[:3, 1], g.x[:2, 1]
    ),
    "cases.ExponentialProcess.response": lambda g: call(g.process.response, g.x[:3, 1]),
    "cases.ExponentialProcess.mean": lambda g: call(g.process.mean, g.x[:3, 1]),
    "cases.ExponentialProcess.screened": lambda g: call(
        g.process.screened, 0.0, g.x[:3, 1] ** 2, "resample", key=g.key
    ),
    "cases.PoissonData.process": lambda g: call(g.poisson.process, 4 * g.scale, key=g.key),
    "cases.PoissonData.screened": lambda g: call(
        g.poisson.screened, g.x[:3, 1] ** 2, extent=4.0, draws=3, key=g.key
    ),
    "cases.ExponentialProcess.gibbs": lambda g: call(g.process.gibbs, g.x[:3, 1]),
    "channels.screen": lambda g: call(
        ch.screen, g.energy, bx.Normal(), np.zeros(2), [1.0, 9.0], key=g.key, chains=2, draws=4
    ),
    "channels.far_field": lambda g: call(
        ch.far_field, g.energy, bx.Normal(), np.zeros(2), [1.0, 9.0], key=g.key, chains=2, draws=4
    ),
    "channels.data_interactions": lambda g: call(ch.data_interactions, g.drawn, g.energy, bins=3),
    "channels.label_response": lambda g: call(ch.label_response, g.drawn, g.energy, outputs),
    "channels.localization_length": lambda g: call(
        ch.localization_length,
        cases.lloyd_chain(0.3 * g.scale, 1.0),
        key=g.key,
        chains=2,
        sites=64,
        warmup=4,
        throw=False,
    ),
    # spectra
    "channels.participation_ratio": lambda g: call(ch.participation_ratio, g.rows),
    "channels.effective_rank": lambda g: call(ch.effective_rank, g.rows),
    "channels.stable_rank": lambda g: call(ch.stable_rank, g.rows),
    "channels.covariance_spectrum": lambda g: call(ch.covariance_spectrum, g.rows),
    "channels.jacobian_spectrum": lambda g: call(ch.jacobian_spectrum, g.layers, g.x),
    "channels.jacobian_ranks": lambda g: call(
        ch.jacobian_ranks, g.layers, g.x, key=g.key, probes=4, depths=(1, 2)
    ),
    "channels.classify_regime": lambda g: call(ch.classify_regime, g.many),
    "channels.canonical_spectrum": lambda g: call(ch.canonical_spectrum, g.rows, g.rows**2),
    # theory
    "theory.exact_free_energy": lambda g: call(
        bx.theory.exact_free_energy, potential, log_prior, [(-0.8, 0.8)], g.betas
    ),
}


given = functools.cache(Given)
