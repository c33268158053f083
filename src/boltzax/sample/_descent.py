"""Descent to minima, with the curvature there."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..numerics import absolute, newton_minimum
from ._annealed_importance import Flat, Gaussian

FLOOR = 0.1
"""Least curvature of a Gaussian, where the prior's is about 1."""


@eqx.filter_jit
def _local(flat: Flat, x: Float[Array, " dim"], beta: Float[Array, ""]):
    """Value, gradient and curvature of `-log p`, the last by central differences of gradients."""

    def loss(x):
        return -flat.log_density(x, beta)

    value, gradient = jax.value_and_grad(loss)(x)
    step = float(jnp.finfo(x.dtype).eps) ** (1 / 3)
    shifts = step * jnp.eye(x.shape[0], dtype=x.dtype)
    slope = jax.vmap(jax.grad(loss))
    curvature = (slope(x[None] + shifts) - slope(x[None] - shifts)) / (2 * step)
    return value, gradient, 0.5 * (curvature + curvature.T)


def descend(
    flat: Flat, x: np.ndarray, beta: float, iterations: int
) -> tuple[np.ndarray, float, np.ndarray, int]:
    """A minimum of `-log p` next to `x`, by Newton's method with the absolute curvatures.

    Returns the place, `-log p` and the curvature there, and the number of evaluations.
    """
    spent = 0

    def look(x):
        nonlocal spent
        spent += 2 * (2 * len(x) + 1)
        found = _local(flat, jnp.asarray(x), jnp.asarray(beta))
        value, gradient, curvature = (np.asarray(each, float) for each in found)
        return float(value), gradient, curvature

    return *newton_minimum(look, x, iterations, FLOOR), spent


def laplace(x: np.ndarray, value: float, curvature: np.ndarray) -> tuple[Gaussian, float]:
    """The Gaussian of Laplace's approximation, and its free energy."""
    sizes, axes = absolute(curvature, FLOOR)
    law = gaussian(x, axes @ np.diag(1 / sizes) @ axes.T)
    return law, value - 0.5 * len(x) * np.log(2 * np.pi) + 0.5 * np.sum(np.log(sizes))


def gaussian(centre: np.ndarray, covariance: np.ndarray) -> Gaussian:
    """The Gaussian of a mean and a covariance (which is made positive definite)."""
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    correlation = covariance / np.outer(scale, scale)
    factor = np.linalg.cholesky(correlation + 1e-6 * np.eye(len(centre)))
    dtype = np.asarray(centre).dtype
    return Gaussian(jnp.asarray(centre), jnp.asarray((scale[:, None] * factor).astype(dtype)))
