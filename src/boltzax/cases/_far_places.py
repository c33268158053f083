"""An environment with two far-apart places, and nets in which a channel between them may form."""

import math
from typing import Annotated, Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from ..channels import NaturalLatent, gaussian_information, natural_latent
from ..compile import Gibbs, Weights, prior
from ..core import (
    Count,
    Curve,
    DeclarationError,
    Estimate,
    Key,
    Model,
    NonNegative,
    Positive,
    map_within,
    renamed_arguments,
    scalar,
    text_of_values,
    typed,
    weights_of,
    whole,
    with_weights,
)
from ..declare import Empirical, Normal, PerDatum, Subsampled
from ..sample import Ensemble, Optimiser, trained
from ._arguments import Above

Flip: TypeAlias = Annotated[float, scalar(0, 0.5)]
"""A probability from 0 to 1/2."""


class FarData(NamedTuple):
    """Inputs (first wire: the shared bit, at the first places; second wire: a private bit of each
    place), the noise of the net, and targets (the private bits, then the far one)."""

    x: Float[Array, "*datum place wire"]
    noise: Float[Array, "*datum place width"]
    y: Float[Array, "*datum target"]


class LocalNet(eqx.Module):
    """A row of places that see only their neighbour, `h_t = tanh(A_t h_{t-1} + B_t x_t + b_t)`.

    Noise is added to every state. Each place has an output; the last one has a second.
    """

    along: Float[Array, "place width width"]
    inward: Float[Array, "place width wire"]
    bias: Float[Array, "place width"]
    local: Float[Array, "place width"]
    far: Float[Array, " width"]

    def states(self, x: Float[Array, "place wire"], noise: Float[Array, "place width"]) -> Array:
        """The noisy state of every place, `[place, width]`."""
        scale = 1 / math.sqrt(self.bias.shape[1])

        def place(before, at):
            along, inward, bias, x, noise = at
            state = jnp.tanh(scale * (along @ before) + inward @ x + bias) + noise
            return state, state

        start = jnp.zeros(self.bias.shape[1], self.bias.dtype)
        rows = (self.along, self.inward, self.bias, x, noise)
        return jax.lax.scan(place, start, rows)[1]

    def __call__(self, x: Float[Array, "place wire"], noise: Float[Array, "place width"]) -> Array:
        """The outputs, `[place + 1]`."""
        states = self.states(x, noise)
        outputs = jnp.append(jnp.sum(self.local * states, axis=1), self.far @ states[-1])
        return outputs / math.sqrt(self.bias.shape[1])


def misfit(model: LocalNet, datum: FarData) -> Float[Array, ""]:
    """Half the squared error, over all outputs."""
    return 0.5 * jnp.sum((model(datum.x, datum.noise) - datum.y) ** 2)


class ToldAtTheEnd(eqx.Module):
    """`-½ log(1 - R²)` in nats, of the best affine reading of a bit from the last state."""

    data: FarData
    wire: int

    def __call__(self, model: LocalNet) -> Float[Array, ""]:
        states = jax.vmap(model.states)(self.data.x, self.data.noise)[:, -1]
        bit = self.data.x[:, 0, self.wire]
        states, bit = (z - jnp.mean(z, axis=0) for z in (states, bit))
        left = bit - states @ jnp.linalg.solve(states.T @ states, states.T @ bit)
        return 0.5 * jnp.log(jnp.sum(bit**2) / jnp.sum(left**2))


@renamed_arguments(noise="noise_sd")
@typed
class FarPlaces(eqx.Module):
    """What `far_places` returns.

    Args:
        prior: Of nets, with standard normal weights.
        noise_sd: Standard deviation of what is added to every state.
        flip: Probability that the far target is not the shared bit.
        copies: At how many places, from the first, the shared bit is to be seen.
    """

    prior: Gibbs
    noise_sd: Positive
    flip: NonNegative
    copies: int = eqx.field(static=True)

    @property
    def information(self) -> float:
        """Mutual information of the shared bit and the far target in the environment, nats."""
        flip = float(self.flip)
        parts = [p * math.log(p) for p in (flip, 1 - flip) if p > 0]
        return math.log(2) + sum(parts)

    def data(self, count: Count, *, key: Key) -> FarData:
        """Independent samples of the environment and of the noise."""
        places, width = self.prior.declared.bias.shape
        shared, private, other, flipped, noise = jax.random.split(key, 5)

        def bits(key: Key, *shape: int, chance: ArrayLike = 0.5) -> Array:
            return jnp.where(jax.random.bernoulli(key, chance, shape), -1.0, 1.0)

        bit = bits(shared, count)
        own = bits(private, count, places)
        first = bits(other, count, places).at[:, : self.copies].set(bit[:, None])
        far = bit * bits(flipped, count, chance=self.flip)
        drawn = self.noise_sd * jax.random.normal(noise, (count, places, width))
        return FarData(jnp.stack([first, own], -1), drawn, jnp.append(own, far[:, None], axis=1))

    def told(
        self, wire: Annotated[int, whole(0, 1)], count: Count = 200, *, key: Key
    ) -> "ToldAtTheEnd":
        """The strength of a channel: what the last state tells of a bit that the first place sees.

        Args:
            wire: 0 for the shared bit, 1 for the private bit.
            count: Samples of the environment and the noise, given once and for all.
            key: Of these.
        """
        return ToldAtTheEnd(self.data(count, key=key), wire)

    def energy(self, count: Count = 4096, batch_size: Count = 64, *, key: Key) -> PerDatum:
        """Half the squared error of all outputs, over minibatches of so many data."""
        data = self.data(count, key=key)
        return PerDatum(self.prior.declared, Subsampled(Empirical(data), batch_size), misfit)


@renamed_arguments(noise="noise_sd")
@typed
def far_places(
    places: Annotated[int, whole(2)] = 4,
    width: Count = 6,
    *,
    flip: Flip = 0.1,
    noise_sd: Above = 0.2,
    copies: Count = 1,
) -> FarPlaces:
    """A row of places, of which the first and the last share a bit through the environment.

    Every place sees a bit of its own, which it has to tell at once (a local task). The first place
    also sees a shared bit; the last one has to tell a target that is this bit, flipped with
    probability `flip`: at 1/2 the two places have no mutual information. The nets are rows of
    places too, each of which passes its noisy state to the next, so that a channel between the ends
    takes every place on the way.

    Args:
        places: Of the environment and of the net.
        width: Units of the net at each place.
        flip: Probability that the far target differs from the shared bit.
        noise_sd: Standard deviation of the noise of each unit.
        copies: At how many places, from the first, the shared bit is to be seen.
    """
    if copies > places:
        raise DeclarationError(
            "copies",
            got=f"{copies} copies at {places} places",
            expected="at most one at each place",
            mend=f"pass copies={places} or less",
        )
    model = LocalNet(
        jnp.zeros((places, width, width)), jnp.zeros((places, width, 2)),
        *(jnp.zeros((places, width)) for _ in range(2)), jnp.zeros(width),
    )  # fmt: skip
    return FarPlaces(prior(model, Normal()), jnp.asarray(noise_sd), jnp.asarray(flip), copies)


@typed
class FarChannels(eqx.Module):
    """What is known at each place of two bits that the first place sees, over trained nets.

    All curves are means over nets, in nats of `channels.gaussian_information` without bias, with
    intervals of Student's t over nets.

    Args:
        shared: The bit that the far target depends on, in trained nets.
        private: The private bit of the first place.
        shared_before: The first in the nets that the trainings started from.
        private_before: The second there.
        far_loss: Mean squared error of the far output; 1 without a channel, and at least
            `4 flip (1 - flip)`.
        local_loss: Mean squared error of the local outputs.
        information: Of the environment between the shared bit and the far target, nats.
        latent: How natural the state half-way is as a latent of what the first place sees and the
            far target; means over nets.
        models: The trained nets, with an axis over nets in front.
    """

    shared: Curve
    private: Curve
    shared_before: Curve
    private_before: Curve
    far_loss: Estimate
    local_loss: Estimate
    information: float
    latent: NaturalLatent
    models: Model

    @text_of_values
    def __repr__(self) -> str:
        rows = [
            f"  {name}: " + ", ".join(f"{float(v):.3g} ± {float(e):.2g}" for v, e in
            zip(curve.value, curve.standard_error, strict=True))
            for name, curve in (("shared bit ", self.shared), ("private bit", self.private))
        ]  # fmt: skip
        return "\n".join([
            f"FarChannels, nats at each place (environment {self.information:.3g})",
            *rows, f"  loss of the far output {self.far_loss!r}", f"half-way: {self.latent!r}",
        ])  # fmt: skip


@typed
def far_channels(
    system: FarPlaces,
    optimiser: Optimiser,
    steps: Count,
    *,
    nets: Annotated[int, whole(2)] = 8,
    samples: Annotated[int, whole(100)] = 2000,
    key: Key,
) -> FarChannels:
    """Train nets in an environment, and measure which channels formed between its ends.

    Args:
        system: The environment and the law of its nets.
        optimiser: Of optax; weight decay makes channels that nothing pays for small.
        steps: Of each training.
        nets: Independent trainings, each with data of its own.
        samples: Fresh samples on which the channels of each net are measured.
        key: Of nets, data and noise.
    """
    key_start, key_train = jax.random.split(key)
    models = Ensemble.prior(system.prior, nets, key=key_start).models()
    keys = jax.random.split(key_train, nets)
    looks = _trained_nets(system, optimiser, steps, samples, weights_of(models), keys)
    first, last = jax.tree.map(lambda x: np.asarray(x, float), [each[:2] for each in looks])
    return FarChannels(
        *map(_over_places, (*_known(*last[0]), *_known(*first[0]))),
        Estimate.of_replicates(last[1][:, -1]),
        Estimate.of_replicates(last[1][:, :-1].mean(axis=1)),
        system.information,
        _latent(*last[0]),
        with_weights(system.prior.declared, looks[1][2]),
    )


@eqx.filter_jit
def _trained_nets(
    system: FarPlaces, optimiser: Any, steps: int, samples: int, starts: Weights, keys: Array
) -> list[tuple[tuple[Array, Array, Array], Array, Weights]]:
    """Before and after the training of each net: states `[net, sample, place, width]` with what the
    first place sees and the far target, squared errors `[net, target]`, and weights."""

    def looked(model: LocalNet, seen: FarData) -> tuple:
        states = jax.vmap(model.states)(seen.x, seen.noise)
        errors = jax.vmap(model)(seen.x, seen.noise) - seen.y
        sides = (states, seen.x[:, 0], seen.y[:, -1:])
        return sides, jnp.mean(errors**2, axis=0), weights_of(model)

    def one(start: tuple) -> list:
        weights, key = start
        key_data, key_batch, key_seen = jax.random.split(key, 3)
        energy = system.energy(key=key_data)
        energy = eqx.tree_at(lambda e: e.model, energy, with_weights(energy.model, weights))
        seen = system.data(samples, key=key_seen)
        models = trained(energy, optimiser, [0, steps], key=key_batch)
        return [looked(model, seen) for model in models]

    return map_within(one, (starts, keys))


def _known(states: np.ndarray, bits: np.ndarray, far: np.ndarray) -> list[np.ndarray]:
    """Information of the states about each bit that the first place sees, `[net, place]`."""
    return [
        np.array([
            [
                float(gaussian_information(bit[:, [i]], net[:, place]).estimate.value)
                for place in range(net.shape[1])
            ]
            for net, bit in zip(states, bits, strict=True)
        ])
        for i in range(bits.shape[-1])
    ]  # fmt: skip


def _latent(states: np.ndarray, x: np.ndarray, far: np.ndarray) -> NaturalLatent:
    """Of the states half-way, the mean over nets."""
    middle = states[:, :, (states.shape[2] - 1) // 2]
    each = [natural_latent(*sides) for sides in zip(x, far, middle, strict=True)]
    columns = zip(*((e.information, e.mediation, e.redundancy) for e in each), strict=True)
    means = [Estimate.of_replicates(np.stack([e.value for e in column])) for column in columns]
    return NaturalLatent(*means, each[0].family)


def _over_places(rows: np.ndarray) -> Curve:
    places = np.arange(1.0, 1 + rows.shape[1])
    return Curve(places, Estimate.of_replicates(rows), axis="place")
