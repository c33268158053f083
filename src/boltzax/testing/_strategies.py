"""Hypothesis strategies for models, energies, priors, charts and whole Gibbs measures.

Shapes are few (every new one is a compilation); numbers vary freely.
"""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from boltzax.compile import Gibbs, compile
from boltzax.core import Count, Model, typed
from boltzax.declare import (
    AbstractChart,
    AbstractEnergy,
    CrossEntropy,
    DeepLinear,
    Empirical,
    Freeze,
    Function,
    Independent,
    Mask,
    Normal,
    PerDatum,
    Select,
    SquaredError,
    TwoLayer,
    Uniform,
    zero,
)

from ._measures import empiricals, gaussians, positive, seeds

widths = st.sampled_from([1, 3])
"""Numbers of hidden units."""


@typed
@st.composite
def models(draw: st.DrawFn, dim: Count = 1) -> TwoLayer:
    """Two-layer nets of a few tanh units, random weights, every scaling, with and without bias.

    Args:
        dim: Length of an input.
    """
    return TwoLayer(
        draw(widths),
        dim=dim,
        bias=draw(st.booleans()),
        scaling=draw(st.sampled_from(["standard", "mean_field", "ntk"])),
        key=jax.random.key(draw(seeds)),
    )


@typed
@st.composite
def energies(draw: st.DrawFn, model: Model | None = None) -> AbstractEnergy:
    """A non-negative energy of a model of vectors of length one (drawn from `models` if None).

    A squared error over data or a Gaussian, with a target or the target zero, or a loss of one's
    own; of any positive factor.

    Args:
        model: A model of vectors of length one.
    """
    model = draw(models()) if model is None else model
    kind = draw(st.sampled_from(["population", "data", "own"]))
    if kind == "data":
        rng = np.random.default_rng(draw(seeds))
        data = Empirical(
            (rng.normal(size=(8, 1)), rng.normal(size=8)), weights=rng.uniform(0.5, 2.0, 8)
        )
        energy = SquaredError(model, data)
    elif kind == "population":
        energy = SquaredError(model, draw(gaussians()), draw(st.sampled_from([zero, _sine])))
    else:
        energy = PerDatum(model, draw(empiricals()), _log_cosh)
    return draw(positive) * energy


def _sine(x):
    return jnp.sin(2 * x[0])


def _log_cosh(model, x):
    return jnp.log(jnp.cosh(model(x) - 0.5))


def priors() -> st.SearchStrategy[Independent]:
    """Priors for `models`: Gaussian or uniform, by path or one for all."""
    return st.sampled_from(
        [
            Independent({"*": Normal(0.1, 0.8)}),
            Independent({"*": Normal(), "embedding": Uniform(-2.0, 2.0)}),
            Independent({"*": Uniform(-3.0, 2.5)}),
        ]
    )


@typed
@st.composite
def charts(draw: st.DrawFn, width: Count) -> AbstractChart | None:
    """Charts for `models`: all weights, or some of them."""
    mask = np.arange(width)[:, None] < max(1, width - 1)
    kinds = [None, Freeze("readout"), Select("readout"), Mask({"embedding": mask})]
    return draw(st.sampled_from(kinds))


@typed
@st.composite
def gibbs_measures(draw: st.DrawFn) -> Gibbs:
    """Compiled measures of all kinds: linear and nonlinear, marginalised or not, on any chart."""
    beta = draw(positive)
    kind = draw(st.sampled_from(["two-layer", "linear", "classes"]))
    if kind == "linear":
        rng = np.random.default_rng(draw(seeds))
        data = Empirical((rng.normal(size=(12, 2)), rng.normal(size=(12, 1))))
        net = DeepLinear((2, 2, 1), key=jax.random.key(draw(seeds)))
        return compile(SquaredError(net, data), Normal(), beta=beta)
    if kind == "classes":
        rng = np.random.default_rng(draw(seeds))
        data = Empirical((rng.normal(size=(8, 1)), rng.integers(0, 3, 8)))
        logits = Function(_logits, {"slope": jnp.zeros(3), "shift": jnp.zeros(3)})
        return compile(CrossEntropy(logits, data), Normal(), beta=beta)
    model = draw(models())
    chart = draw(charts(model.readout.shape[0]))
    energy = draw(energies(model))
    return compile(energy, draw(priors()), beta=beta, chart=chart)


def _logits(params, x):
    return params["slope"] * x[0] + params["shift"]
