"""The difference of the functions of foreground and background, and its predicted noise."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import POWER, POWER_QUANTILE, map_within, typed
from ._self_consistency import SelfConsistency


@typed
class Gap(eqx.Module):
    """The functions of foreground and background, and their losses.

    With `δ = f_fg - f_bg` and its predicted covariance `Σ`:

    Args:
        distance: `|δ|` in the norm of the measure.
        predicted: `(tr Σ)^½`.
        size: `|f_bg|`.
        z: `(|δ|² - tr Σ)/sd`.
        p_value: The chance of so large a `|δ|` for `δ ~ N(0, Σ)`.
        loss_foreground: `½|f - y|²` of the foreground.
        loss_background: `½|f - y|²` of the background.
        ratio: Of the two losses.
        predicted_ratio: `1 + tr Σ/(2 loss_background)`.
        loss_p_value: Two-sided.
        detectable: The `|E δ|`, along `f_bg`, that would have been seen with probability .95.
        detectable_ratio: Of losses, the ratio above 1 that would have been seen so.
        loss_nothing: `½|y|²`, the loss of a net that makes nothing.
    """

    distance: Float[Array, ""]
    predicted: Float[Array, ""]
    size: Float[Array, ""]
    z: Float[Array, ""]
    p_value: Float[Array, ""]
    loss_foreground: Float[Array, ""]
    loss_background: Float[Array, ""]
    ratio: Float[Array, ""]
    predicted_ratio: Float[Array, ""]
    loss_p_value: Float[Array, ""]
    detectable: Float[Array, ""]
    detectable_ratio: Float[Array, ""]
    loss_nothing: Float[Array, ""]


@eqx.filter_jit
def gap_of(
    problem: SelfConsistency, riders, net, values, key, count: int, level: float = 1e-3
) -> Gap:
    """Distance and losses, with p-values at `count` draws of `N(0, Σ)`."""
    data, weights = problem.measure.nodes()
    x, y = jax.vmap(problem.split)(data)
    root = jnp.sqrt(weights)

    def vector(f):
        return (root[:, None] * f.reshape(len(weights), -1)).reshape(-1)

    def contributions(neurons):
        def one(neuron):
            return vector(jax.vmap(lambda datum: problem.couple(neuron, neuron, datum))(x))

        return map_within(one, neurons)

    def noise(h, key):
        """Draws of `N(0, C/M)`, and `tr C/M`."""
        size = h.shape[0]
        off = (h - jnp.mean(h, axis=0)) / (size * (size - 1.0)) ** 0.5
        return jax.random.normal(key, (count, size), h.dtype) @ off, jnp.sum(off**2)

    keys = jax.random.split(key)
    ours = contributions(riders)
    target, f = vector(y).astype(ours.dtype), jnp.mean(ours, axis=0)
    draws, trace = noise(ours, keys[0])
    if net is None:
        base = vector(values).astype(ours.dtype)
    else:
        theirs = contributions(net)
        base = jnp.mean(theirs, axis=0)
        more, added = noise(theirs, keys[1])
        draws, trace = draws + more, trace + added
    square, null = jnp.sum((f - base) ** 2), jnp.sum(draws**2, axis=1)
    before, after = 0.5 * jnp.sum((base - target) ** 2), 0.5 * jnp.sum((f - target) ** 2)
    losses = 0.5 * jnp.sum((base + draws - target) ** 2, axis=1)
    low, high = _share(losses <= after), _share(losses >= after)
    critical = jnp.quantile(null, 1 - level)
    along = draws @ (base / jnp.linalg.norm(base))
    # how far each draw of the noise must be moved along f_bg to be seen
    needed = jnp.sqrt(jnp.maximum(critical - null + along**2, 0.0)) - along
    loss = jnp.quantile(losses, 1 - level / 2) + POWER_QUANTILE * jnp.std(losses)
    return Gap(
        distance=jnp.sqrt(square),
        predicted=jnp.sqrt(trace),
        size=jnp.linalg.norm(base),
        z=(square - trace) / jnp.std(null),
        p_value=_share(null >= square).astype(f.dtype),
        loss_foreground=after,
        loss_background=before,
        ratio=after / before,
        predicted_ratio=1 + 0.5 * trace / before,
        loss_p_value=jnp.minimum(1.0, 2 * jnp.minimum(low, high)).astype(f.dtype),
        detectable=jnp.quantile(needed, POWER),
        detectable_ratio=loss / before,
        loss_nothing=0.5 * jnp.sum(target**2),
    )


def _share(reached: Array) -> Array:
    return (1 + jnp.sum(reached)) / (1 + reached.shape[0])
