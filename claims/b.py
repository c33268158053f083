"""Weights as a thermal ensemble: what dies when a model is heated, and what a remainder is."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
from hypothesis import strategies as st
from scipy.special import gammainc

import boltzax as bx
from boltzax import cases, degrade, theory
from boltzax.testing import Claim

from ._row import DEGRADING, KOAN, LOCALIZATION, Row


def line(sizes=(6.0, 2.0, 0.7)):
    """A linear model of three modes, with a target of amplitude 3 for each."""
    rng = np.random.default_rng(0)
    x = np.linalg.qr(rng.normal(size=(12, 3)))[0] * sizes
    values, vectors = np.linalg.eigh(x @ x.T)
    y = 3 * vectors[:, -1:-4:-1]
    model = bx.models.Function(lambda w, z: z @ w, np.linalg.lstsq(x, y)[0])
    gibbs = bx.compile(bx.SquaredError(model, bx.Empirical((x, y))), bx.Normal(), marginalise=False)
    return model, gibbs, x, y, np.maximum(values, 0), vectors


def energy_at(temperature, *, key, effort):
    """The mean energy of draws, over the exact one."""
    _, gibbs, _, y, values, vectors = line()
    trace = bx.sample(gibbs.at(1 / temperature), bx.HMC(), key=key, draws=1000 * effort)
    exact = sum(
        theory.linear_survival(
            values, (vectors.T @ y[:, k]) ** 2, np.array([1 / temperature])
        ).energy[0]
        for k in range(3)
    )
    return trace.mean_of(trace.energy) / exact


def death_of_a_mode(mode, *, key, effort):
    """The temperature at which half of a mode is left, over the exact one."""
    _, gibbs, x, y, values, vectors = line()
    exact = theory.linear_temperature(values, (vectors.T @ y[:, mode]) ** 2)
    curve = degrade.along_dial(
        degrade.Tempered(bx.HMC(max_steps=32), warmup=200), exact * np.geomspace(0.4, 2.5, 8),
        lambda model: jnp.sum(jax.vmap(model)(x)[:, mode] * y[:, mode]) / 9,
        gibbs=gibbs, key=key, count=3200 * effort,
    )  # fmt: skip
    return degrade.characteristic_temperature(curve) / exact


@functools.lru_cache
def planted(seed, effort):
    """Survival of the heads of a planted net along the temperature, and the net."""
    net = cases.planted_net(key=jax.random.key(seed))
    dial = degrade.Tempered(
        bx.HMC(max_steps=12), start="prior", chains=4, warmup=80 * effort, throw=False
    )
    curves = degrade.along_dial(
        dial, np.geomspace(0.25, 6, 8), net.overlaps, gibbs=net.gibbs(marginalise=False),
        key=jax.random.key(seed), count=80 * effort,
    )  # fmt: skip
    return net, curves


def temperature_of_death(seed, effort, head):
    return degrade.characteristic_temperature(planted(seed, effort)[1][:, head])


def order_of_death(heads):
    """log of the ratio of the temperatures at which two heads die."""

    def check(seed, *, key, effort):
        first, second = (temperature_of_death(seed, effort, head) for head in heads)
        return (first / second).map(jnp.log)

    return check


def infinite_width(seed, *, key, effort):
    """The same of the 5-parity and the random labels in the limit of infinite width."""
    net = cases.planted_net(key=jax.random.key(seed))
    values, vectors = np.linalg.eigh(cases.planted_kernel(net))
    squares = (vectors.T @ net.y) ** 2
    parity, labels = (
        theory.linear_temperature(np.maximum(values, 0), squares[:, k]) for k in (2, 3)
    )
    return bx.Estimate.exact(np.log(parity / labels))


def watanabe(seed, *, key, effort):
    """Watanabe's temperature log n of the summed energy, over that at which the 3-parity dies."""
    net, _ = planted(seed, effort)
    mark = degrade.temperature_marks(net.gibbs(marginalise=False))["watanabe"]
    return mark / temperature_of_death(seed, effort, 1)


def window(_, *, key, effort):
    """log of the temperature where a clean window closes, less where it opens."""
    _, gibbs, x, y, *_ = line()
    found = degrade.clean_window(
        lambda model: bx.models.Function(model.fn, model.params * jnp.array([0.0, 1.0, 0.5])),
        lambda outputs: outputs[:, 0] @ y[:, 0],
        lambda outputs: 0.5 * jnp.sum((outputs - y)[:, 1:] ** 2, axis=0),
        degrade.Tempered(bx.HMC(max_steps=32), warmup=200), np.geomspace(0.03, 60, 12),
        outputs=lambda model: jax.vmap(model)(x), gibbs=gibbs, key=key, count=800 * effort,
        tolerance=0.3,
    )  # fmt: skip
    opens, closes = found.ends
    return closes.map(jnp.log) - opens.map(jnp.log)


def less_selective(dial, grid):
    """Random labels that survive a dial where 0.7 of the 3-parity does, less those in tempering."""

    def check(seed, *, key, effort):
        net, tempered = planted(seed, effort)
        (model,) = bx.trained(net.energy, optax.adam(0.02), np.array([2000]))
        cold = bx.compile(bx.SquaredError(model, net.energy.measure), net.prior, marginalise=False)
        noisy = degrade.along_dial(
            dial, grid, net.overlaps, gibbs=cold, key=key, count=200 * effort
        )
        first, second = (
            degrade.selectivity(curves[:, 1], curves[:, 3]) for curves in (noisy, tempered)
        )
        return first - second

    return check


def slope_of_free_energy(log_n, *, key, effort):
    """dF/d log n by differences, less λ̂ = n⟨E⟩, for a linear model above its least energy."""
    *_, y, values, vectors = line()
    at = np.exp(log_n + np.array([-1e-3, 0.0, 1e-3]))
    each = [theory.linear_survival(values, (vectors.T @ y[:, k]) ** 2, at) for k in range(3)]
    free = sum(one.free_energy for one in each)
    return bx.Estimate.exact(
        (free[2] - free[0]) / 2e-3 - at[1] * sum(one.energy[1] for one in each)
    )


def effective_number(log_n, *, key, effort):
    """F/log n over λ̂."""
    *_, y, values, vectors = line()
    at = np.exp(np.array([log_n]))
    each = [theory.linear_survival(values, (vectors.T @ y[:, k]) ** 2, at) for k in range(3)]
    free, slope = (sum(e.free_energy[0] for e in each), at[0] * sum(e.energy[0] for e in each))
    return bx.Estimate.exact(free / log_n / slope)


def edgeworth(case, *, key, effort):
    """The largest error of a probability at one order, over that at the order before."""
    terms, order = case
    x = np.maximum(terms + np.sqrt(terms) * np.linspace(-5, 5, 1001), 0.0)
    cumulants = terms * np.array([1.0, 1.0, 2.0, 6.0, 24.0])
    errors = [
        np.abs(degrade.Edgeworth(cumulants, k).distribution(x) - gammainc(terms, x)).max()
        for k in (order - 1, order)
    ]
    return bx.Estimate.exact(errors[1] / errors[0])


def walk_share(steps, *, key, effort):
    """The share of the first component of a random walk in 400 dimensions."""
    walks = jnp.cumsum(jax.random.normal(key, (16 * effort, steps, 400)), axis=1)
    return bx.Estimate.of_replicates(
        np.array(
            [
                float(
                    degrade.trajectory_spectrum(np.asarray(walk), key=key, shuffles=9).fractions[0]
                )
                for walk in walks
            ]
        )
    )


def training_share(seed, *, key, effort):
    """The share of the first component of the checkpoints of a training by SGD."""
    keys = jax.random.split(jax.random.key(seed), 5)
    x = jax.random.normal(keys[0], (2000, 10))
    y = jax.vmap(bx.models.TwoLayer(4, dim=10, key=keys[1]))(x)
    y += 0.3 * jax.random.normal(keys[2], (2000,))
    student = bx.models.TwoLayer(64, dim=10, key=keys[3])
    energy = bx.SquaredError(student, bx.Subsampled(bx.Empirical((x, y)), 20))
    models = bx.trained(energy, optax.sgd(0.05), 40 * np.arange(1, 121), key=keys[4])
    path = bx.Ensemble.of_models(
        bx.compile(energy, bx.Normal(), marginalise=False), models, axes=("checkpoint",)
    )
    return bx.Estimate.exact(
        float(degrade.trajectory_spectrum(path, key=key, shuffles=9).fractions[0])
    )


ROWS = [
    Row("B1", Claim(
        "Weights follow the tempered Boltzmann distribution of the loss: the mean energy of "
        "draws is the exact one of a linear model within 5%",
        f"a comment of the author of {LOCALIZATION}", [0.1, 1.0, 10.0], energy_at, low=0.95,
        high=1.05,
    ), "degradation"),
    Row("B2", Claim(
        "Tempering removes a circuit at its usefulness over its description length: a linear "
        "mode of any amplitude at its kernel eigenvalue, within 10%",
        DEGRADING, [0], death_of_a_mode, low=0.9, high=1.1,
    ), "degradation"),
    Row("B2b", Claim(
        "A parity of three bits dies at a higher temperature than one of five",
        DEGRADING, [0], order_of_death((1, 2)), low=0.0,
    ), "degradation", missing="eight nets: examples/planted_circuits.py"),
    Row("B2c", Claim(
        "A parity of five bits dies at a higher temperature than labels at random",
        DEGRADING, [0], order_of_death((2, 3)), low=0.0,
    ), "degradation", missing="eight nets: examples/planted_circuits.py"),
    Row("B2d", Claim(
        "So it is at infinite width too",
        f"a reading of {DEGRADING}", [0, 1], infinite_width, low=0.0,
    ), "refuted_others", "refuted"),
    Row("B3", Claim(
        "There is a temperature window in which an intervention no longer harms the rest and its"
        " effect persists, if its target outlives what it harms",
        DEGRADING, ["modes at 36 and 4, 0.5"], window, low=0.0,
    ), "degradation", missing="a net: examples/clean_window.py"),
    Row("B4", Claim(
        "Tempering is more selective than weight noise: at equal survival of structure (0.7) "
        "more labels at random survive weight noise",
        DEGRADING, [0], less_selective(degrade.WeightNoise(), np.geomspace(0.03, 1, 12)), low=0.0,
    ), "degradation", missing="16 nets, nine dials and combinations: benchmarks/dials.py"),
    Row("B5", Claim(
        "Watanabe's temperature 1/log n is too low to remove a circuit: it is below that of a "
        "3-parity",
        DEGRADING, [0], watanabe, low=-math.inf, high=1.0,
    ), "refuted_others", "refuted"),
    Row("B6", Claim(
        "The slope of the free energy over log n is λ̂",
        "S. Watanabe, Algebraic Geometry and Statistical Learning Theory (2009)",
        st.floats(-2, 20), slope_of_free_energy, low=-1e-4, high=1e-4,
    ), "degradation", cases=8),
    Row("B6b", Claim(
        "The effective parameter count F/log n is λ̂ within 10%, from log n = 5 on",
        KOAN, st.floats(5, 30), effective_number, low=0.9, high=1.1,
    ), "refuted_others", "refuted", cases=8),
    Row("B7", Claim(
        "A remainder of n parts is a Gaussian with Edgeworth's corrections: each order has a "
        "smaller error than the one before, for n from 8",
        KOAN, st.tuples(st.integers(8, 512), st.integers(1, 3)), edgeworth,
        low=-math.inf, high=1.0,
    ), "remainders", cases=10),
    Row("B8", Claim(
        "The principal components of a random walk are cosines: the first has 60.8% of the "
        "variance, within 2%",
        "J. Antognini and J. Sohl-Dickstein, NeurIPS 2018", [40], walk_share, low=0.588,
        high=0.628,
    ), "remainders"),
    Row("B8b", Claim(
        "A training is like a random walk: its first component has 60.8% of the variance, within"
        " 10%",
        "J. Antognini and J. Sohl-Dickstein, NeurIPS 2018", [0], training_share, low=0.508,
        high=0.708,
    ), "refuted_others", "refuted",
    missing="four trainings of 40,000 steps: examples/trajectory_null.py"),
]  # fmt: skip
