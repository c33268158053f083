"""Modular addition at finite width: the order 1/N of the residual."""

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core import Estimate, Key, NonNegative, Positive, typed, whole
from ._arguments import Modulus
from ._modular import modular_table
from ._modular_exact import ModularExact, modular_exact

CELLS = 1200
"""Cells an axis of the density of `|w_k|²`, `|v_k|²`."""
EDGE = 40.0
"""Where the table of a mode ends: `e^{-40}` of the prior is left out."""


@typed
def modular_width(
    modulus: Modulus,
    noise: Positive,
    *,
    readout_scale: Positive,
    gamma: NonNegative = 1.0,
    key: Key,
    draws: Annotated[int, whole(1000)] = 20_000,
) -> Estimate:
    """The coefficient `c` of `1/N` in the residual of a net: `E r = r* + c/N`.

    That of `finite_width`, `E f = f* - (T/2N) H⁻¹ t`, along the target, which is an eigenvector of
    `H = T + C`::

        c = (T/2) ⟨y, H⁻¹ t⟩/|y|²,   t = E_ρ[δh (δh·H⁻¹δh)],   T = s².

    The law `ρ` is that of `modular_exact`: modes are independent, `(|w_k|², |v_k|²)` has
    the density `exp(-2 S_k)` and phases are uniform, so neurons are drawn from it directly; the
    readout is integrated out. `C` is `[P³, P³]`, from the same draws: take many more than `P³`. The
    standard error is that of independent draws, at that `C`.

    `modulus`, `noise`, `readout_scale`, `gamma`: as of `modular_exact`.
    """
    exact = modular_exact(modulus, noise, readout_scale=readout_scale, gamma=gamma)
    left, right = _neurons(exact, modulus, noise, readout_scale, gamma, key, draws)
    pairs, target = modular_table(modulus)
    active = jnp.dot(left, pairs[:, :modulus].T) + jnp.dot(right, pairs[:, modulus:].T)
    feature = readout_scale * active**2
    value = _coefficient(feature, target, jnp.asarray(exact.residual), jnp.asarray(noise))
    return Estimate.of_samples(value)


@jax.jit
def _coefficient(feature: Float[Array, "draw pair"], target, residual, noise):
    """What each draw adds to the mean that is `c`."""
    draws, outputs = feature.shape[0], target.shape[1]
    readout = feature @ target * (residual / noise)  # mean of a_q given the rest
    mean = (readout[:, :, None] * feature[:, None, :]).reshape(draws, -1)
    f = jnp.mean(mean, axis=0)
    same = jnp.kron(jnp.eye(outputs, dtype=f.dtype), feature.T @ feature / draws)
    covariance = mean.T @ mean / draws + same - jnp.outer(f, f)
    inverse = jnp.linalg.inv(covariance + noise * jnp.eye(len(f), dtype=f.dtype))
    y = target.T.reshape(-1)
    off = mean - f
    screened = off @ inverse
    size = feature.shape[1]
    blocks = inverse.reshape(outputs, size, outputs, size)
    diagonal = jnp.einsum("qnqm->nm", blocks)
    spread = jnp.einsum("jn,jn->j", feature @ diagonal, feature)
    own = jnp.einsum("jn,jn->j", screened, off) + spread
    turned = jnp.einsum("jqn,jn->jq", screened.reshape(draws, outputs, size), feature)
    along = own * (off @ y) + 2 * jnp.einsum("jq,jq->j", turned, feature @ target)
    stiff = jnp.dot(y, inverse @ y) / jnp.dot(y, y)
    return 0.5 * noise * stiff * along / jnp.dot(y, y)


def _neurons(exact: ModularExact, modulus, noise, scale, gamma, key, draws):
    """`w` and `v` of independent neurons of the law, `[draw, P]` each."""
    half = (modulus - 1) // 2
    keys = jax.random.split(key, 4)
    edge = max(4.0, EDGE / modulus)
    middle = (np.arange(CELLS) + 0.5) * edge / CELLS
    coupling = 2 * (scale * modulus * exact.residual / noise) ** 2
    alone = middle / 2 + gamma / 6 * middle**3
    action = modulus * (alone[:, None] + alone - coupling * middle[:, None] * middle)
    cumulative = np.cumsum(np.exp(-2 * (action - action.min())).ravel())
    uniform = np.asarray(jax.random.uniform(keys[0], (draws, half)))
    cell = np.searchsorted(cumulative, uniform * cumulative[-1])
    places = np.stack(np.divmod(np.minimum(cell, CELLS**2 - 1), CELLS))
    inside = np.asarray(jax.random.uniform(keys[1], (2, draws, half)))
    sizes = (places + inside) * edge / CELLS
    phases = 2j * np.pi * np.asarray(jax.random.uniform(keys[2], (2, draws, half)))
    waves = np.sqrt(sizes) * np.exp(phases)
    z = np.linspace(-1, 1, 4001) * 12 / modulus**0.5
    mean = np.cumsum(np.exp(-modulus * (0.5 * z**2 + gamma / 6 * z**6)))
    at = np.asarray(jax.random.uniform(keys[3], (2, draws, 1))) * mean[-1]
    flat = z[np.minimum(np.searchsorted(mean, at), len(z) - 1)]
    spectrum = np.concatenate([flat.astype(complex), waves], axis=2)
    both = modulus * np.fft.irfft(spectrum, n=modulus, axis=2)
    return jnp.asarray(both[0]), jnp.asarray(both[1])
