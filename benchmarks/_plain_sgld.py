"""SGLD of an MLP as an expert writes it by hand: plain JAX, and the kernel of blackjax."""

import itertools

import blackjax
import jax
import jax.numpy as jnp
from blackjax.sgmcmc.gradients import grad_estimator


def start(widths: tuple[int, ...], key):
    """Matrices and biases of an MLP."""
    keys = jax.random.split(key, len(widths) - 1)
    pairs = zip(keys, itertools.pairwise(widths), strict=True)
    return [(jax.random.normal(k, (i, o)) / i**0.5, jnp.zeros(o)) for k, (i, o) in pairs]


def log_prior(params):
    """Independent standard normals."""
    return -0.5 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))


def predict(params, x):
    """Outputs of a batch."""
    for weight, bias in params[:-1]:
        x = jnp.tanh(x @ weight + bias)
    return (x @ params[-1][0] + params[-1][1])[..., 0]


def log_likelihood(params, data):
    """Sum over a batch (blackjax vmaps over it: then of one datum)."""
    return -0.5 * jnp.sum((predict(params, data[0]) - data[1]) ** 2)


def runner(data, batch: int, steps: int, step_size: float, kernel: str):
    """A compiled function of parameters with a leading axis of chains, and a key for each."""
    n = len(data[1])

    def log_density(params, few):
        return log_prior(params) + n / batch * log_likelihood(params, few)

    def plain(key, params, few, step_size):
        gradient = jax.grad(log_density)(params, few)
        leaves, tree = jax.tree.flatten(params)
        keys = jax.random.split(key, len(leaves))
        noise = [jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
        noise = jax.tree.unflatten(tree, noise)
        return jax.tree.map(
            lambda w, g, e: w + 0.5 * step_size * g + step_size**0.5 * e, params, gradient, noise
        )

    if kernel == "blackjax":
        # half the gradient, for the noise of blackjax's step has twice the variance of ours
        move = blackjax.sgld(grad_estimator(log_prior, log_likelihood, n)).step
        step_size = step_size / 2
    else:
        move = plain

    def chain(params, key, data):
        def step(params, key):
            key_batch, key_move = jax.random.split(key)
            chosen = jax.random.randint(key_batch, (batch,), 0, n)
            return move(key_move, params, (data[0][chosen], data[1][chosen]), step_size), None

        return jax.lax.scan(step, params, jax.random.split(key, steps))[0]

    return jax.jit(jax.vmap(chain, in_axes=(0, 0, None)))
