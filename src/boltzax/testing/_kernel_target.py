"""The measure on which `check_kernel` judges a kernel, and its moments by quadrature."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from boltzax.compile import Gibbs, compile
from boltzax.declare import Empirical, Function, Independent, Normal, SquaredError
from boltzax.sample import AbstractKernel

BETAS = (3.0, 1.5)
"""The inverse temperatures of the run; the chains of the second begin at another."""

ELSEWHERE = 0.75
"""Where these chains begin."""

STIFFNESS = np.array([4.0, 1.0, 4.0, 2.0])
CENTRE = np.array([0.0, 1.0, -0.5, 0.3])
SHIFT = 0.5
POINTS = np.linspace(-8.0, 8.0, 8001)


def _responses(w) -> list:
    """What each coordinate predicts: `(w + ½)²` the first, `w` the others."""
    first, *others = w
    return [(first + SHIFT) ** 2, *others]


def _predictions(w, x):
    flat = jnp.stack(_responses([w["bent"], *w["vector"], w["zero"]]))
    return jnp.dot(flat, x)


@functools.cache
def kernel_target() -> Gibbs:
    """Independent coordinates `bent`, `vector` (two) and `zero`, at both betas.

    Prior `w ~ N(0, 1)`, energy `½ Σ_i k_i (φ_i(w_i) - c_i)²` with `φ(w) = w`, but `φ = (w + ½)²`
    for `bent`: a skew quartic well, the stiffest of the four. `bent` and `zero` have one shape.
    """
    zeros = {"bent": jnp.zeros(()), "vector": jnp.zeros(2), "zero": jnp.zeros(())}
    data = Empirical((np.eye(4), CENTRE), weights=STIFFNESS)
    energy = SquaredError(Function(_predictions, zeros), data)
    prior = Independent({"*": Normal(0.0, 1.0)})
    gibbs = compile(energy, prior, beta=BETAS[0], integral="nodes", marginalise=False)
    return gibbs.at(jnp.asarray(BETAS))


@functools.cache
def densities() -> np.ndarray:
    """Probabilities of the `POINTS`, `[coordinate, beta, point]`."""
    energy = [
        0.5 * k * (response - c) ** 2
        for response, k, c in zip(_responses([POINTS] * 4), STIFFNESS, CENTRE, strict=True)
    ]
    log_density = -0.5 * POINTS**2 - np.asarray(BETAS)[:, None] * np.stack(energy)[:, None]
    density = np.exp(log_density - log_density.max(axis=-1, keepdims=True))
    return density / density.sum(axis=-1, keepdims=True)


@functools.cache
def moments() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and `⟨z⁴⟩` of the standardised, each `[coordinate, beta]`."""
    density = densities()
    mean = density @ POINTS
    away = POINTS - mean[..., None]
    deviation = np.sqrt(np.sum(density * away**2, axis=-1))
    return mean, deviation, np.sum(density * away**4, axis=-1) / deviation**4


def standard(w: PyTree) -> np.ndarray:
    """Draws `[beta, chain, draw, ...]` with mean 0 and variance 1, `[coordinate, beta, ...]`."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(w)]
    flat = np.concatenate([np.moveaxis(x.reshape(*x.shape[:3], -1), -1, 0) for x in leaves])
    mean, deviation, _ = (each[:, :, None, None] for each in moments())
    return (flat - mean) / deviation


class BegunElsewhere(AbstractKernel):
    """A kernel whose chains at the second beta begin at another one and are moved from there."""

    kernel: AbstractKernel

    def init(self, gibbs, w, key, warmup):
        away = gibbs.beta == BETAS[1]
        beta = jnp.where(away, ELSEWHERE, gibbs.beta)
        there = eqx.tree_at(lambda g: g.beta, gibbs, beta)
        state = self.kernel.init(there, w, key, warmup)
        moved = self.kernel.moved(gibbs, state, w, jax.random.fold_in(key, 1))
        return jax.tree.map(lambda a, b: jnp.where(away, a, b), moved, state)

    def step(self, gibbs, state, key, gain, warmup):
        return self.kernel.step(gibbs, state, key, gain, warmup)

    def position(self, state):
        return self.kernel.position(state)

    def moved(self, gibbs, state, w, key):
        return self.kernel.moved(gibbs, state, w, key)
