"""jax's own switches over the main verbs: they find faults of ours, so nothing of ours may fail."""

import contextlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.sample import Chains
from boltzax.sample._replica_exchange import ReplicaExchange
from boltzax.sample._smc import TemperedSMC

SWITCHES = {
    "strict promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "no rank promotion": lambda: jax.numpy_rank_promotion("raise"),
    "leaks": jax.checking_leaks,
    "nans": lambda: jax.debug_nans(True),
    "key reuse": lambda: jax.debug_key_reuse(True),
    "no jit": jax.disable_jit,
    "rbg": lambda: jax.default_prng_impl("rbg"),
}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 2))
Y = np.sin(X[:, 0])
LABELS = (Y > 0).astype(int)
FEW = {"chains": 2, "warmup": 20, "draws": 200, "throw": False}
"""Enough for estimates to have errors: one without is NaN, which `debug_nans` takes for a fault."""


def line(p, x):
    return jnp.dot(p, x)


def logits(p, x):
    return jnp.dot(p, x)


def key():
    return jax.random.key(0)


def linear(measure=None):
    model = bx.models.Function(line, jnp.ones(2))
    return bx.SquaredError(model, bx.Empirical((X, Y)) if measure is None else measure)


def classes():
    model = bx.models.Function(logits, jnp.ones((2, 2)))
    return bx.CrossEntropy(model, bx.Empirical((X, LABELS)))


def binary():
    return bx.CrossEntropy(bx.models.Function(line, jnp.ones(2)), bx.Empirical((X, LABELS)))


def units():
    return bx.SquaredError(bx.models.TwoLayer(2, dim=2, key=key()), bx.Empirical((X, Y)))


def net():
    return bx.SquaredError(bx.models.MLP((2, 2, 1), key=key()), bx.Empirical((X, Y)))


def at_start(energy, prior=None, **options):
    gibbs = bx.compile(energy, bx.Normal() if prior is None else prior, **options)
    w = gibbs.sample_prior(key())
    values = gibbs.log_prob(w), gibbs.energy(w), gibbs.log_prob_estimate(w, key())
    return *values, jax.grad(gibbs.log_prob)(w) if w else 0.0


def drawn(energy, kernel, **options):
    gibbs = bx.compile(energy, bx.Normal(), marginalise=False)
    trace = bx.sample(gibbs, kernel, key=key(), **(FEW | options))
    return trace.energy, bx.learning_coefficient(trace).value, trace.weights


def minibatch():
    return linear(bx.Subsampled(bx.Empirical((X, Y)), 16))


def laddered(by="replica_exchange"):
    gibbs = bx.compile(units(), bx.Normal())
    trace = bx.anneal(gibbs, [0.5, 1.0], bx.RandomWalk(), key=key(), by=by, spacing=2.0, **FEW)
    return bx.free_energy(trace).value, bx.heat_capacity(trace).value


def local():
    return bx.local_learning_coefficient(
        linear(), key=key(), kernel=bx.MALA(), max_gradients=1000, chains=2
    ).estimate.value


def observed():
    gibbs = bx.compile(units(), bx.Normal())
    trace = bx.sample(gibbs, bx.RandomWalk(), key=key(), **FEW)
    near = bx.coefficient_curve(trace, [1.0, 1.1]).value
    matrix = bx.susceptibility(trace, lambda model: model(jnp.ones(2)), units()).value
    return near, matrix, bx.influence(trace, units()).value


def contracts():
    sigmoid = bx.models.Function(lambda p, x: jax.nn.sigmoid(p[0] * x[0] + p[1]), jnp.ones(2))
    signal = bx.Interface.thresholds(0.4, 0.6, range=(0, 1))
    contract = bx.Contract(bx.Component(sigmoid, bx.Normal(0.0, 3.0)), signal, signal)
    few = {"particles": 16, "moves": 1, "replicates": 2, "max_levels": 9, "throw": False}
    value = bx.interfaces.entropy(contract, key=key(), by="levels", **few).naive_error
    bx.interfaces.certify(contract)
    return value, contract.margin(sigmoid)


def directions():
    return bx.interfaces.free_directions(bx.models.Function(line, jnp.ones(2)), X[:3]).leverage()


def integrals():
    by_measure = []
    for measure in (bx.GaussianMeasure(2, order=5), bx.IntervalMeasure(order=8)):
        model = bx.models.TwoLayer(2, dim=measure.dim, bias=True, key=key())
        energy = bx.SquaredError(model, measure, bx.zero)
        by_measure.append((energy.value(model), measure.sample(key(), 3)))
    return by_measure


def mean_field():
    neuron = bx.meanfield.Neuron(bx.meanfield.Unit(jnp.tanh, dim=1), bx.Normal())
    problem = bx.meanfield.SelfConsistency(
        neuron, lambda x: jnp.sin(x[0]), bx.GaussianMeasure(order=6), temperature=0.5
    )
    return bx.meanfield.solve(problem, order=64, throw=False).loss


VERBS = {
    "contracts": contracts,
    "directions": directions,
    "integrals": integrals,
    "mean field": mean_field,
    "compile": lambda: (at_start(linear(), marginalise=False), at_start(units())),
    "compile others": lambda: (
        at_start(linear()),
        at_start(classes(), bx.Laplace()),
        at_start(binary(), bx.Uniform(-3, 3)),
    ),
    "random walk": lambda: drawn(net(), bx.RandomWalk()),
    "MALA": lambda: drawn(classes(), bx.MALA()),
    "HMC": lambda: drawn(linear(), bx.HMC(max_steps=4)),
    "SGLD": lambda: drawn(minibatch(), bx.SGLD()),
    "underdamped": lambda: drawn(linear(), bx.Underdamped()),
    "NUTS": lambda: drawn(linear(), bx.NUTS()),
    "anneal": laddered,
    "smc": lambda: laddered("smc"),
    "local": local,
    "observables": observed,
}
QUICK = {
    ("strict promotion", "compile"),
    ("key reuse", "contracts"),
    ("no rank promotion", "directions"),
}
BY_HAND = {"local", "contracts", "mean field"}
"""Loops of thousands of steps: without jit they take minutes."""


KERNELS = (
    bx.RandomWalk(), bx.MALA(), bx.HMC(), bx.NUTS(), bx.SGLD(), bx.AdamSGLD(), bx.RMSpropSGLD(),
    bx.Underdamped(), bx.SGNHT(), bx.MinibatchMALA(),
)  # fmt: skip
TRACED = {
    "promotion": ("strict promotion", "no rank promotion"),
    "leaks": ("leaks",),
}
"""Switches that act while a program is traced: nothing has to be compiled."""


def traces():
    for kernel in KERNELS:
        for switch in TRACED:
            for precision in (32, 64):
                # a search for leaks takes minutes where programs are nested
                alone = type(kernel) is bx.MALA
                dear = type(kernel) in (bx.RandomWalk, bx.NUTS)
                quick = precision == 32 and (alone if switch == "leaks" else not dear)
                marks = [] if quick else [pytest.mark.slow]
                name = f"{type(kernel).__name__}-{switch}-{precision}"
                yield pytest.param(kernel, switch, precision, id=name, marks=marks)


def traced(dynamics, start):
    """Trace what the loop runs."""
    state = eqx.filter_eval_shape(lambda: dynamics.init(start, key(), 3))
    time, draw, gain = jnp.zeros((), int), jnp.zeros((), int), jnp.zeros(())
    state = eqx.filter_eval_shape(lambda s: dynamics.step(s, key(), gain, time, 3), state)
    eqx.filter_eval_shape(lambda s: dynamics.record(s, draw), state)


def spread(gibbs, *lead):
    """One place for every chain."""
    place = gibbs.sample_prior(key())
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*lead, *leaf.shape)), place)


@pytest.mark.parametrize(("kernel", "switch", "precision"), list(traces()))
def test_every_kernel_is_traced_under_a_switch_of_jax(kernel, switch, precision):
    few = not isinstance(kernel, bx.HMC | bx.NUTS | bx.MALA | bx.RandomWalk)
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(precision == 64))
        for each in TRACED[switch]:
            stack.enter_context(SWITCHES[each]())
        gibbs = bx.compile(minibatch() if few else net(), bx.Normal(), marginalise=False)
        reduce = {"norm": bx.Mean(lambda model: jnp.ones(2), 2)}
        traced(Chains(gibbs, kernel, True, reduce), spread(gibbs, 2))
        if not few and not isinstance(kernel, bx.NUTS):  # of which ladders trace many copies
            levels = gibbs.at([0.0, 0.5, 1.0])
            traced(ReplicaExchange(levels, kernel, True), spread(gibbs, 3, 2))
            traced(TemperedSMC(levels, kernel, 2, True), spread(gibbs, 2, 8))


def cases():
    for switch in SWITCHES:
        for verb in VERBS:
            if switch == "no jit" and verb in BY_HAND:
                continue
            marks = [] if (switch, verb) in QUICK else [pytest.mark.slow]
            yield pytest.param(switch, verb, marks=marks)


@pytest.mark.parametrize("precision", [32, pytest.param(64, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("switch", "verb"), list(cases()))
def test_the_main_verbs_work_under_a_switch_of_jax(switch, verb, precision):
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.enable_x64(precision == 64))
        stack.enter_context(SWITCHES[switch]())
        values = VERBS[verb]()
    if verb != "observables":
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(values))
