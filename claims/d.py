"""Mean field: neurons in a background that they make themselves."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import boltzax as bx
from boltzax import cases
from boltzax import meanfield as mf
from boltzax.testing import Claim

from ._row import MEAN_FIELD, Row

RUBIN = "N. Rubin, I. Seroussi and Z. Ringel, arXiv:2310.03789"


def clover(temperature=0.02, order=8):
    """Hard-tanh neurons that learn the product of two inputs."""
    unit = mf.Unit(lambda z: jnp.clip(z, -1, 1), dim=2, bias=True)
    return mf.SelfConsistency(
        mf.Neuron(unit, bx.Normal()), lambda x: x[0] * x[1], bx.GaussianMeasure(2, order=order),
        temperature,
    )  # fmt: skip


def fixed_point(of):
    def check(temperature, *, key, effort):
        found = mf.solve(clover(temperature), order=1024, seed=0)
        return bx.Estimate.exact(of(found))

    return check


@functools.lru_cache
def trained(seed, effort):
    """A net of 600 neurons in equilibrium, and as many riders."""
    return mf.train(
        clover(), 600, key=jax.random.key(seed), steps=1600 * effort, batch=64, riders=600, frames=4
    )


def p_values(found):
    return bx.Estimate.exact(jnp.stack([found.energy.p_value, found.gap.p_value]))


def riders(seed, *, key, effort):
    """p-values of cloud and function: riders beside the neurons of the net."""
    return p_values(mf.confront(trained(seed, effort), key=key))


def lazy(seed, *, key, effort):
    """The same of neurons in the background of the Gaussian process; the least of the two."""
    problem, net = clover(), trained(seed, effort)
    background = mf.Background.lazy(problem, order=1024)
    foreground = mf.foreground(
        problem, background, 600, key=key, steps=1600 * effort, dynamics=net.dynamics
    )
    return p_values(mf.confront(net, foreground, key=key)).map(jnp.min)


def deeper(key, steps=1000):
    """A net of two hidden layers with riders in the second, and its problem."""
    neuron = mf.Neuron(mf.Unit(jnp.tanh, dim=4, bias=True), bx.Normal(0.0, 2.0))
    measure = bx.GaussianMeasure(4, order=256, rule="sobol")
    problem = mf.Layered(neuron, lambda x: jnp.prod(jnp.tanh(3 * x)), measure, 0.01, hidden=(64,))
    return problem, mf.train(problem, 256, key=key, **among(steps))


def among(steps):
    return {"steps": steps, "dynamics": mf.Langevin(0.04), "batch": None, "riders": 512}


@eqx.filter_jit
def outputs(problem, net, neurons):
    """What neurons of layer 2 give on the data."""
    at = problem.inputs()
    return jax.vmap(lambda one: jax.vmap(lambda x: problem.couple(net, one, x))(at))(neurons)


def gain_of_riders(layer1, *, key, effort):
    """Mean part along the target of riders of layer 2, over that of the neurons: four nets."""
    ratios = []
    for each in jax.random.split(key, 4 * effort):
        problem, net = deeper(each)
        riders, own = (
            jnp.mean(outputs(problem, net.net, neurons) @ problem.targets())
            for neurons in (net.riders, net.net[-1])
        )
        ratios.append(float(riders / own))
    return bx.Estimate.of_replicates(np.array(ratios))


def over_fixed_layer(layer1, *, key, effort):
    """p-value of the clouds of gain and size: riders over a fixed layer 1, and neurons."""
    keys = jax.random.split(key)
    problem, net = deeper(keys[0], 1000 * effort)
    frozen = mf.train(mf.Frozen(problem, net.net), 256, key=keys[1], **among(1000 * effort))

    def cloud(neurons):
        h = outputs(problem, net.net, neurons)
        return jnp.stack([h @ problem.targets() / h.shape[1], jnp.std(h, axis=1)], axis=1)

    test = bx.energy_distance(cloud(net.net[-1]), cloud(frozen.riders), key=key, permutations=999)
    return bx.Estimate.exact(test.p_value)


def modular(noise, *, key, effort):
    """The residual of the infinite net, over the closed form of a first-order transition."""
    scale = 0.05 / 11
    exact = cases.modular_exact(11, noise, readout_scale=scale).residual
    return bx.Estimate.exact(exact / cases.modular_phases(11, readout_scale=scale).residual(noise))


def largest_jump(modulus, *, key, effort):
    """The largest step of the residual between 30 noises about the transition."""
    scale = 0.05 / modulus
    onset = cases.modular_phases(modulus, readout_scale=scale).onset
    residuals = [
        cases.modular_exact(modulus, noise, readout_scale=scale).residual
        for noise in onset * np.linspace(0.5, 1.5, 30)
    ]
    return bx.Estimate.exact(np.abs(np.diff(residuals)).max())


def kernels(seed):
    """Functions of 64 neurons on 24 points, and the same neurons rotated."""
    points = jnp.linspace(-2, 2, 24)[:, None]
    neuron = mf.Neuron(mf.Unit(jnp.tanh, dim=1, bias=True), bx.Normal())
    problem = mf.SelfConsistency(neuron, lambda x: jnp.sin(2 * x[0]), bx.GaussianMeasure(1), 0.1)
    h = mf.neuron_functions(problem, problem.draw_net(jax.random.key(seed), 64), points)
    turn = jnp.linalg.qr(jax.random.normal(jax.random.key(seed + 1), (64, 64)))[0]
    return jnp.sin(2 * points[:, 0]), h, turn @ h


def rotated(seed, *, key, effort):
    """Paths of a readout on rotated features by descent, less those of the kernel's flow."""
    y, h, other = kernels(seed)
    flow = mf.gradient_flow(mf.data_kernel(h), jnp.zeros(24), y, 0.01 * jnp.arange(1000))

    def move(readout, _):
        f = readout @ other / len(other)
        return readout - 0.01 * other @ (f - y) / len(y), f

    path = jax.lax.scan(move, jnp.zeros(len(other)), length=1000)[1]
    return bx.Estimate.exact(jnp.max(jnp.abs(path - flow)))


def two_nets(seed, *, key, effort):
    """Distance of the kernels of two nets of one law, over that expected of independent neurons."""
    a, b = (mf.data_kernel(kernels(each)[1]) for each in (2 * seed, 2 * seed + 1))
    return bx.Estimate.exact(mf.frobenius_distance(a, b) / jnp.hypot(a.noise, b.noise))


def finite_width(width, *, key, effort):
    """N (⟨|b|²⟩ of a sampled net - limit), over its prediction for N to infinity."""
    x = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    data = bx.Empirical((x, x[:, 0] * x[:, 1]), weights=jnp.full(4, 0.25))
    neuron = mf.Neuron(mf.Unit(jnp.tanh, dim=2, bias=True), bx.Normal())
    problem = mf.SelfConsistency(neuron, None, data, 0.1)
    point = mf.solve(problem, rule="trapezoid", order=40, refinements=0)
    theory = mf.finite_width(point, lambda one: jnp.sum(one.embedding**2))
    trace = bx.sample(
        problem.gibbs(width),
        bx.HMC(max_steps=16),
        key=key,
        chains=8,
        draws=3000 * effort,
        warmup=500,
    )
    mean = trace.mean(lambda net: jnp.mean(jnp.sum(net.neurons.embedding**2, axis=-1)))
    return (mean - theory.limit) * (width / theory.observable)


ROWS = [
    Row("D1", Claim(
        "The background determines the law of a neuron, and the mean over it is the background: "
        "there is such a fixed point, found to a residual (which bounds the error) below 1e-6",
        MEAN_FIELD, [0.02, 0.1, 1.0], fixed_point(lambda found: found.residual),
        low=-math.inf, high=1e-6,
    ), "mean_field"),
    Row("D1b", Claim(
        "Going around the loop, background to neurons to background, converges: it shrinks "
        "errors",
        f"a reading of {MEAN_FIELD}", [0.02], fixed_point(lambda found: found.stiffness),
        low=-math.inf, high=1.0,
    ), "refuted_others", "refuted"),
    Row("D2", Claim(
        "Neurons that do not contribute to the net, in its background, make the same cloud and "
        "function: no p-value below 0.001",
        MEAN_FIELD, [0], riders, low=0.001, high=1.0,
    ), "background", missing="width 2,048 and ten seeds: studies/clover.py"),
    Row("D2b", Claim(
        "So it is in deeper nets while all layers train: riders follow the target as far as the "
        "neurons of the net do, within a quarter",
        f"a reading of {MEAN_FIELD}", ["live"], gain_of_riders, low=0.75, high=1.25,
    ), "refuted_riders", "refuted", full=(2, 8), missing=(
        "other widths, and descent: studies/continuous_xor.py"
    )),
    Row("D2c", Claim(
        "It is so in deeper nets over a fixed first layer: the p-value is above 0.01",
        "S. Mei, A. Montanari and P.-M. Nguyen, PNAS 115 (2018) E7665",
        ["fixed"], over_fixed_layer, low=0.01, high=1.0,
    ), "deeper_fields"),
    Row("D3", Claim(
        "In a wrong background, that of a Gaussian process, neurons do not align: a p-value is "
        "below 0.01",
        MEAN_FIELD, [0], lazy, low=-math.inf, high=0.01,
    ), "background"),
    Row("D4", Claim(
        "Modular addition passes from a Gaussian-process-like phase to Fourier features as at a "
        "first-order transition with a mixed phase: the residual is that of the lever rule "
        "within 10%",
        RUBIN, [0.12, 0.06, 0.05, 0.04, 0.03], modular, low=0.9, high=1.1,
    ), "modular_addition",
    missing="sampled nets, and parts of the table: studies/modular_addition.py"),
    Row("D4b", Claim(
        "The residual of the net jumps at the transition, by more than 0.05",
        f"a reading of {RUBIN}", [11], largest_jump, low=0.05,
    ), "refuted_others", "refuted"),
    Row("D5", Claim(
        "The data kernel fixes the dynamics up to rotations of the neurons: descent on rotated "
        "features follows the flow of the kernel within 0.01",
        MEAN_FIELD, [0, 1], rotated, low=-math.inf, high=0.01,
    ), "data_kernel"),
    Row("D5b", Claim(
        "Two nets of one law have one kernel: distances are those of independent neurons within "
        "a factor of 2",
        MEAN_FIELD, [0, 1, 2], two_nets, low=0.5, high=2.0,
    ), "data_kernel", missing="trained nets: studies/continuous_xor.py"),
    Row("D6", Claim(
        "Sampled nets approach the fixed point as 1/N, with the coefficient of theory, within a "
        "third at N = 32",
        MEAN_FIELD, [32], finite_width, low=0.67, high=1.33,
    ), "fixed_points", missing="five widths, four observables: studies/width_convergence.py"),
]  # fmt: skip
