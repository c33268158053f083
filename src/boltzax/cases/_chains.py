"""Chains of pieces that pass a signal on: linear ones with an exact cost, noisy ones of tanh."""

import math
from typing import Annotated

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..channels import Channel
from ..compile import prior
from ..core import Count, Key, renamed_arguments, scalar, typed
from ..declare import Empirical, Normal, PerDatum
from ._arguments import Above

NODES, GRID = 48, 129
"""Of signal with noise and of signal: strengths are right to 0.002 from `LEAST` on."""
LEAST = 0.05
"""Least noise that the nodes resolve."""
REACH = 6.0
"""Standard deviations of noise that are integrated."""


class LinearPieces(eqx.Module):
    """`h_k = W_k h_{k-1}/√width`."""

    weight: Float[Array, "piece width width"]

    def __call__(self, start: Float[Array, " width"]) -> Float[Array, ""]:
        """`log(|h_n|/|h_0|)`, without underflow."""

        def piece(carry, weight):
            sent, log_length = carry
            sent = weight @ sent / math.sqrt(weight.shape[-1])
            length = jnp.linalg.norm(sent)
            return (sent / length, log_length + jnp.log(length)), None

        first = (start / jnp.linalg.norm(start), jnp.zeros((), start.dtype))
        return jax.lax.scan(piece, first, self.weight)[0][1]


class LengthRatio(eqx.Module):
    """`log(|h_n|/|h_0|)` for a signal on the first wire."""

    def __call__(self, model: LinearPieces) -> Float[Array, ""]:
        return model(jnp.eye(1, model.weight.shape[-1], dtype=model.weight.dtype)[0])


class NoisyPieces(eqx.Module):
    """`a_k = tanh(W_k (a_{k-1} + noise_{k-1})/√width)`; 1 goes in on every wire, without noise."""

    weight: Float[Array, "piece width width"]

    def __call__(self, noise: Float[Array, "piece width"]) -> Float[Array, " width"]:
        """What the last piece gives; of the noise its last row is not used."""

        def piece(carry, of_piece):
            weight, noise = of_piece
            sent = jnp.tanh(weight @ carry[1] / math.sqrt(len(noise)))
            return (sent, sent + noise), None

        start = jnp.ones(self.weight.shape[-1], self.weight.dtype)
        return jax.lax.scan(piece, (start, start), (self.weight, noise))[0][0]


class RightMinusWrong(eqx.Module):
    """`|P(right) - P(wrong)|` of the sign of the first wire at the end, over the noise."""

    noise: Float[Array, "sample piece width"]
    sd: float

    def __call__(self, model: NoisyPieces) -> Float[Array, ""]:
        sent = jax.vmap(model)(self.noise)[:, 0]
        return jnp.abs(jnp.mean(jax.lax.erf(sent / (self.sd * math.sqrt(2)))))


class RightMinusWrongIntegrated(eqx.Module):
    """`|P(right) - P(wrong)|` of a chain of one wire, from its end to its start.

    With `a` before a piece the difference is `∫_0^∞ u(tanh(w t)) [p(t - a) - p(t + a)] dt`, u that
    with a given signal after it and p the density of the noise: u is odd. Gauss-Legendre nodes in
    t, and lines between the places of a grid in a.
    """

    sd: float

    def __call__(self, model: NoisyPieces) -> Float[Array, ""]:
        signal, (nodes, weights) = np.linspace(0, 1, GRID), np.polynomial.legendre.leggauss(NODES)
        most = 1 + REACH * self.sd
        arrives = 0.5 * most * (nodes + 1)
        near, far = (
            jax.scipy.stats.norm.pdf(arrives - side * signal[:, None], scale=self.sd)
            for side in (1, -1)
        )
        density = (0.5 * most * weights * (near - far)).astype(model.weight.dtype)

        def before(after, weight):
            return density @ _between(after, jnp.tanh(weight * arrives)), None

        last = jax.lax.erf(jnp.asarray(signal / (self.sd * math.sqrt(2)), model.weight.dtype))
        first, *others = model.weight.ravel()
        right = jax.lax.scan(before, last, jnp.stack(others), reverse=True)[0] if others else last
        return jnp.abs(_between(right, jnp.tanh(first)))


def _between(values: Float[Array, " place"], at: Array) -> Array:
    """An odd function with given values at even places from 0 to 1."""
    place = jnp.abs(at) * (len(values) - 1)
    return jnp.sign(at) * jax.scipy.ndimage.map_coordinates(values, [place], 1, mode="nearest")


class WrongBit(eqx.Module):
    """`-log P(right)` given the noise of all pieces but the last."""

    sd: float

    def __call__(self, model: NoisyPieces, noise: Float[Array, "piece width"]) -> Float[Array, ""]:
        return -jax.scipy.stats.norm.logcdf(model(noise)[0] / self.sd)


@typed
def linear_channel(length: Count, width: Count = 1, *, gain: Above = 1.0) -> Channel:
    """A chain of `length` Gaussian matrices; its strength is `log(|h_n|/|h_0|)`.

    The cost of strength `log t` is `theory.gaussian_chain_bits(length, width, gain=gain,
    threshold=t)`, exactly. It is not trained.

    Args:
        length: Number of matrices.
        width: Their size.
        gain: Standard deviation of their entries, times √width.
    """
    model = LinearPieces(jnp.zeros((length, width, width)))
    return Channel(prior(model, Normal(0.0, gain)), LengthRatio())


@renamed_arguments(noise="noise_sd")
@typed
def noisy_channel(
    length: Count,
    width: Count = 1,
    *,
    gain: Above = 1.0,
    noise_sd: Above = 0.2,
    samples: Count = 128,
    key: Key,
) -> Channel:
    """A chain of `length` noisy tanh pieces that is to pass one bit on.

    The bit, ±1, enters on all wires. Each piece is `tanh(W h/√width)`, `W ~ N(0, gain²)`, and
    noise is added to each of its wires. The bit is read as the sign of the first wire at the end,
    or its opposite, whichever is more often right: the strength is `|P(right) - P(wrong)|`, so that
    0.9 is a bit error of 5%. It is the mean over pairs of opposite noise, `samples` of them, given
    once and for all; the noise at the end is integrated. The energy of a training is the mean
    of `-log P(right)`, for the sign itself.

    Args:
        length: Number of pieces.
        width: Wires of each.
        gain: Standard deviation of the weights.
        noise_sd: Standard deviation of the noise of a wire.
        samples: Pairs of opposite noise.
        key: Of the noise.
    """
    drawn = noise_sd * jax.random.normal(key, (samples, length, width))
    both = jnp.concatenate([drawn, -drawn])
    model = NoisyPieces(jnp.zeros((length, width, width)))
    energy = PerDatum(model, Empirical(np.asarray(both)).normalized(), WrongBit(noise_sd))
    return Channel(prior(model, Normal(0.0, gain)), RightMinusWrong(both, noise_sd), energy)


@typed
def scalar_channel(
    length: Count,
    *,
    gain: Above = 1.0,
    noise_sd: Annotated[float, scalar(LEAST)] = 0.2,
) -> Channel:
    """The chain of `noisy_channel` of width 1, its strength without an error of sampled noise.

    The noise is integrated piece by piece. It is the reference of `noisy_channel`, whose
    strength is that of the noise it was given: with few samples its cost is off by the luck of
    their draw, which no error bar holds. It is not trained.

    Args:
        length: Number of pieces.
        gain: Standard deviation of the weights.
        noise_sd: Standard deviation of the noise after each piece, at least 0.05: the integral does
            not resolve less.
    """
    model = NoisyPieces(jnp.zeros((length, 1, 1)))
    return Channel(prior(model, Normal(0.0, gain)), RightMinusWrongIntegrated(noise_sd))
