"""A dozen declarations of all kinds, shared by the tests of laws.

The structure of each is fixed and its numbers are drawn: a program is compiled once a problem, and
every further example costs what it computes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx

WIDTH, DATA = 3, 8


class Problem(NamedTuple):
    """How a model, an energy of it, a prior and a chart are made from random numbers."""

    model: Callable[[np.random.Generator], Any]
    energy: Callable[[Any, np.random.Generator], Any]
    prior: Callable[[np.random.Generator], Any]
    chart: Any = None

    def declare(self, seed: int, other: int | None = None):
        """Model, energy, prior; `other` is the seed of another energy of the same model."""
        model = self.model(np.random.default_rng(seed))
        rng = np.random.default_rng([seed, seed if other is None else other])
        return model, self.energy(model, rng), self.prior(np.random.default_rng(seed))

    def gibbs(self, seed: int, beta: float, **options: Any) -> bx.Gibbs:
        _, energy, prior = self.declare(seed)
        return bx.compile(energy, prior, beta=beta, chart=self.chart, **options)


def net(dim=1, **options):
    def model(rng):
        key = jax.random.key(int(rng.integers(1 << 16)))
        return bx.models.TwoLayer(WIDTH, dim=dim, key=key, **options)

    return model


def data(rng, dim=1, label=(), weighted=False):
    weights = rng.uniform(0.5, 2.0, DATA) if weighted else None
    labels = rng.normal(size=(DATA, *label))
    return bx.Empirical((rng.normal(size=(DATA, dim)), labels), weights=weights)


def gaussian(rng, dim=1, order=32):
    mean, scale = rng.normal(size=dim), rng.uniform(0.25, 2.0, size=dim)
    return bx.GaussianMeasure(dim, mean=mean, scale=scale, order=order)


def sine(x):
    return jnp.sin(2 * x[0])


def log_cosh(model, x):
    return jnp.log(jnp.cosh(model(x) - 0.5))


def logits(params, x):
    return params["slope"] * x[0] + params["shift"]


def classes(rng):
    shape = {"slope": jnp.asarray(rng.normal(size=3)), "shift": jnp.asarray(rng.normal(size=3))}
    return bx.models.Function(logits, shape)


def deep_linear(rng):
    return bx.models.DeepLinear((2, 2, 1), key=jax.random.key(int(rng.integers(1 << 16))))


def normal(rng):
    return bx.Independent({"*": bx.Normal(rng.normal(), rng.uniform(0.5, 1.5))})


def uniform(rng):
    low = rng.uniform(-3.0, -2.0)
    return bx.Independent({"*": bx.Uniform(low, low + rng.uniform(3.0, 6.0))})


def mixed(rng):
    scale = rng.uniform(0.5, 1.5)
    return bx.Independent({"*": bx.Normal(0.0, scale), "embedding": bx.Uniform(-2.0, 2.0)})


def measured(measure, target=bx.zero):
    """A squared error over a measure; both factors vary."""

    def energy(model, rng):
        factor = float(rng.uniform(0.25, 2.0))
        return factor * bx.SquaredError(model, measure(rng), target)

    return energy


def supervised(*shape, weighted=False):
    return lambda model, rng: bx.SquaredError(model, data(rng, *shape, weighted=weighted))


PROBLEMS = {
    "zero target": Problem(net(), measured(gaussian), normal),
    "target": Problem(net(bias=True, scaling="mean_field"), measured(gaussian, sine), mixed),
    "data": Problem(net(scaling="ntk"), supervised(weighted=True), normal),
    "box": Problem(net(bias=True), supervised(), uniform),
    "readout frozen": Problem(net(), supervised(), normal, bx.Freeze("readout")),
    "readout alone": Problem(net(scaling="ntk"), supervised(), normal, bx.Select("readout")),
    "own loss": Problem(
        net(),
        lambda model, rng: bx.PerDatum(model, bx.Empirical(rng.normal(size=(DATA, 1))), log_cosh),
        mixed,
        bx.Mask({"embedding": np.arange(WIDTH)[:, None] < WIDTH - 1}),
    ),
    "deep linear": Problem(deep_linear, supervised(2, (1,)), normal),
    "classes": Problem(
        classes,
        lambda model, rng: bx.CrossEntropy(
            model, bx.Empirical((rng.normal(size=(DATA, 1)), rng.integers(0, 3, DATA)))
        ),
        normal,
    ),
    "interval": Problem(
        net(), measured(lambda rng: bx.IntervalMeasure(-rng.uniform(0.2, 1), 1.0, order=32)), mixed
    ),
    "circle": Problem(net(), measured(lambda rng: bx.CircleMeasure(32)), normal),
    "cube": Problem(net(dim=3), measured(lambda rng: bx.CubeMeasure(3)), normal),
    "plane": Problem(net(dim=2), measured(lambda rng: gaussian(rng, 2, 12), sine), normal),
    "sum": Problem(
        net(),
        lambda model, rng: supervised()(model, rng) + measured(gaussian)(model, rng),
        normal,
    ),
}
MEASURES = {
    "gaussian": gaussian,
    "data": lambda rng: bx.Empirical(rng.normal(size=(DATA, 1)), weights=rng.uniform(0.5, 2, DATA)),
    "minibatches": lambda rng: bx.Subsampled(bx.Empirical(rng.normal(size=(DATA, 1))), 2),
    "interval": lambda rng: bx.IntervalMeasure(-rng.uniform(0.2, 1), rng.uniform(1, 2), order=32),
    "circle": lambda rng: bx.CircleMeasure(32),
    "cube": lambda rng: bx.CubeMeasure(1),
}
"""Measures on vectors of length one."""

every_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=list(PROBLEMS))
