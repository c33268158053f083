"""Unconstrained coordinates: the free weights, their prior, and the way back to the model."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..core import DeclarationError
from ..declare import AbstractChart, Distribution, Slots, biject_to, from_normal
from ._potential import Plain

Weights = dict[str, Array]
"""Free weights by path, in unconstrained coordinates. A masked leaf is the vector of its free
entries."""


class Coordinates(eqx.Module):
    """The bijection between unconstrained coordinates and the weights of the model.

    `base` holds every leaf of the declared model (frozen values included); `springs` are the
    `Localisation` terms, which belong to the prior.
    """

    base: dict[str, Array]
    priors: dict[str, Distribution]
    indices: dict[str, Int[Array, " entry"]]
    ties: dict[str, str] = eqx.field(static=True)
    springs: tuple[Plain, ...] = ()

    def check_precision(self) -> None:
        """Refuse numbers of another precision than the one this process computes in now.

        Raises:
            DeclarationError: if `jax_enable_x64` was switched after the measure was compiled.
        """
        made, now = next(iter(self.base.values())).dtype, jnp.result_type(float)
        if made != now:
            raise DeclarationError(
                "gibbs",
                got=f"a measure compiled in {made}, in a process that now computes in {now}",
                expected="one precision from the model to the last draw",
                mend='set jax.config.update("jax_enable_x64", ...) once, at the top, and make the '
                "model, the data and the measure after it",
            )

    def constrain(self, w: Weights) -> dict[str, Array]:
        """All weights of the model, by path, at these coordinates."""
        self.check_precision()
        moved = {path: self._constrain(path, value) for path, value in w.items()}
        full = self.base | moved
        return full | {leaf: full[source] for leaf, source in self.ties.items()}

    def unconstrain(self, weights: dict[str, Array]) -> Weights:
        """The coordinates of given weights (all leaves by path)."""
        self.check_precision()
        return {path: self._unconstrain(path, weights[path]) for path in self.priors}

    def log_prior(self, w: Weights) -> Float[Array, ""]:
        """Log-density of the prior in unconstrained coordinates, in nats.

        The log-Jacobian of the supports is included, and so are the springs of `Localisation`.
        """
        self.check_precision()
        total = sum((self._log_prior(path, w[path]) for path in self.priors), jnp.zeros(()))
        if not self.springs:
            return total
        weights = self.constrain(w)
        return total - sum(spring.value(weights) for spring in self.springs)

    def sample_prior(self, key: PRNGKeyArray) -> Weights:
        """One draw of the prior."""
        self.check_precision()
        keys = jax.random.split(key, max(len(self.priors), 1))
        weights = dict(self.base)
        # a dictionary that has been through `jit` has its keys sorted: draw in that order always
        for k, (path, prior) in zip(keys, sorted(self.priors.items()), strict=False):
            shape = self.base[path].shape
            batch = shape[: len(shape) - prior.event_dim]
            draw = prior.expand(batch).sample(k)
            weights[path] = jnp.asarray(draw, self.base[path].dtype)
        return self.unconstrain(weights)

    def from_normal(self, u: Weights) -> dict[str, Array]:
        """All weights of the model where the free ones are images of standard normals `u`.

        If `u` (a leaf for each free leaf of the model, of its shape) is standard normal, the
        weights have the law of the prior. A prior with springs has no such map.
        """
        self.check_precision()
        moved = dict(self.base)
        for path, prior in self.priors.items():
            leaf = self.base[path]
            value = jnp.broadcast_to(from_normal(path, prior, u[path]), leaf.shape)
            if path in self.indices:
                chosen = self.indices[path]
                inside = value.reshape(-1)[chosen]
                value = leaf.reshape(-1).at[chosen].set(inside).reshape(leaf.shape)
            moved[path] = value
        return moved | {leaf: moved[source] for leaf, source in self.ties.items()}

    def _constrain(self, path: str, value: Array) -> Array:
        transform = biject_to(self.priors[path].support)
        if path not in self.indices:
            return transform(value)
        leaf = self.base[path]
        inside = transform(self._embed(path, value)).reshape(-1)[self.indices[path]]
        return leaf.reshape(-1).at[self.indices[path]].set(inside).reshape(leaf.shape)

    def _unconstrain(self, path: str, value: Array) -> Array:
        inverse = biject_to(self.priors[path].support)._inverse(value)
        return inverse.reshape(-1)[self.indices[path]] if path in self.indices else inverse

    def _embed(self, path: str, value: Array) -> Array:
        """A leaf-shaped array of coordinates with the free entries in place, zeros elsewhere."""
        shape = self.base[path].shape
        flat = jnp.zeros(int(np.prod(shape)), value.dtype)
        return flat.at[self.indices[path]].set(value).reshape(shape)

    def log_prior_entries(self, path: str, value: Array) -> Array:
        """Log-density of each entry of a leaf with independent entries, log-Jacobian included."""
        prior = self.priors[path]
        transform = biject_to(prior.support)
        x = transform(value)
        return prior.log_prob(x) + transform.log_abs_det_jacobian(value, x)

    def _log_prior(self, path: str, value: Array) -> Float[Array, ""]:
        prior = self.priors[path]
        transform = biject_to(prior.support)
        masked = path in self.indices
        z = self._embed(path, value) if masked else value
        x = transform(z)
        log_p, log_j = prior.log_prob(x), transform.log_abs_det_jacobian(z, x)
        if masked:
            density = jnp.broadcast_to(log_p, z.shape) + log_j
            return jnp.sum(density.reshape(-1)[self.indices[path]])
        return jnp.sum(log_p) + jnp.sum(log_j)


def coordinates(
    base: dict[str, Array],
    chart: AbstractChart | None,
    prior_of,
) -> Coordinates:
    """Lower a chart and a prior; `prior_of(base, free_paths)` gives the distributions."""
    slots = Slots({path: tuple(leaf.shape) for path, leaf in base.items()}, tuple(base), {}, {})
    slots = slots if chart is None else chart.restrict(slots)
    if not slots.free:
        raise DeclarationError(
            "chart",
            got="a chart that freezes every weight",
            expected="at least one free weight",
            mend="free something: a Gibbs measure needs weights",
        )
    priors = prior_of(base, set(slots.free))
    indices = {}
    for path, mask in slots.masks.items():
        if priors[path].event_dim:
            raise DeclarationError(
                f"prior[{path!r}]",
                got="a joint distribution over a leaf that a Mask frees in part",
                expected="independent entries",
                mend="use a univariate prior for this leaf, or free all of it",
            )
        indices[path] = jnp.asarray(np.flatnonzero(mask))
    ordered = {path: priors[path] for path in slots.free}
    return Coordinates(base, ordered, indices, slots.ties)
