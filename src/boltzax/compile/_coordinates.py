"""Unconstrained coordinates of the free weights, and their prior."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..core import DeclarationError, known
from ..declare import AbstractChart, Distribution, Slots, biject_to, from_normal
from ._potential import Plain

Weights = dict[str, Array]
"""Free weights by path, in unconstrained coordinates; a masked leaf is a vector of its entries."""


class Coordinates(eqx.Module):
    """The bijection between unconstrained coordinates and the weights of the model.

    Args:
        base: Every leaf of the declared model by path, frozen values included.
        priors: The distribution of each free leaf.
        indices: For a leaf that is free in part, the flat indices of its free entries.
        ties: For each tied leaf, the leaf whose values it takes.
        localisations: The `Localisation` terms, which are part of the prior.
    """

    base: dict[str, Array]
    priors: dict[str, Distribution]
    indices: dict[str, Int[Array, " entry"]]
    ties: dict[str, str] = eqx.field(static=True)
    localisations: tuple[Plain, ...] = ()

    def check_precision(self) -> None:
        """Check that the default float dtype has not changed since the measure was compiled.

        Raises:
            DeclarationError: If `jax_enable_x64` was switched.
        """
        made, now = next(iter(self.base.values())).dtype, jnp.result_type(float)
        if made != now:
            raise DeclarationError(
                "gibbs",
                got=f"a measure compiled in {made}, while the default dtype is now {now}",
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
        """The coordinates of weights; `weights` holds all leaves by path."""
        self.check_precision()
        return {path: self._unconstrain(path, weights[path]) for path in self.priors}

    @property
    def moving(self) -> tuple[str, ...]:
        """Paths of the weights that change with the coordinates."""
        return (*self.priors, *self.ties)

    def replaced(self, weights: dict[str, Array], *, declared: bool = False) -> list[str]:
        """The leaves that have other values than the chart gives them: frozen, masked or tied ones.

        Args:
            weights: All leaves by path, also with leading axes; of traced values nothing is known.
            declared: Let a tied leaf have its declared value too.
        """
        if not known(self.base, weights):
            return []
        return [path for path in self.base if not self._kept(path, weights, declared)]

    def _kept(self, path: str, weights: dict[str, Array], declared: bool) -> bool:
        given, base = np.asarray(weights[path]), np.asarray(self.base[path])
        if path in self.ties:
            tied = _close(given, np.asarray(weights[self.ties[path]]))
            return tied or (declared and _close(given, base))
        if path in self.indices:
            fixed = np.ones(base.size, bool)
            fixed[np.asarray(self.indices[path])] = False
            axes = given.shape[: given.ndim - base.ndim]
            return _close(given.reshape(*axes, base.size)[..., fixed], base.reshape(-1)[fixed])
        return path in self.priors or _close(given, base)

    def log_prior(self, w: Weights) -> Float[Array, ""]:
        """Log-density of the prior in unconstrained coordinates, in nats.

        It includes the log-Jacobian of the map to the support, and `Localisation` terms.
        """
        self.check_precision()
        total = sum((self._log_prior(path, w[path]) for path in self.priors), jnp.zeros(()))
        if not self.localisations:
            return total
        weights = self.constrain(w)
        return total - sum(term.value(weights) for term in self.localisations)

    def sample_prior(self, key: PRNGKeyArray) -> Weights:
        """One draw of the prior."""
        self.check_precision()
        keys = jax.random.split(key, max(len(self.priors), 1))
        weights = dict(self.base)
        # sorted by path, as `jit` sorts dictionaries, so that a key always gives the same draw
        for k, (path, prior) in zip(keys, sorted(self.priors.items()), strict=False):
            shape = self.base[path].shape
            batch = shape[: len(shape) - prior.event_dim]
            draw = prior.expand(batch).sample(k)
            weights[path] = jnp.asarray(draw, self.base[path].dtype)
        return self.unconstrain(weights)

    def from_normal(self, u: Weights) -> dict[str, Array]:
        """All weights of the model as a function of standard normals `u`.

        `u` has one leaf for each free leaf of the model, of its shape. The free weights then have
        the law of the prior, without `Localisation` terms.
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
        """Coordinates in the shape of the leaf, zero at entries that are not free."""
        shape = self.base[path].shape
        flat = jnp.zeros(int(np.prod(shape)), value.dtype)
        return flat.at[self.indices[path]].set(value).reshape(shape)

    def log_prior_entries(self, path: str, value: Array) -> Array:
        """Log-density of each entry of a leaf with independent entries, with the log-Jacobian."""
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


def _close(given: np.ndarray, kept: np.ndarray) -> bool:
    """Whether numbers are equal to the rounding of the coarser of two kinds."""
    coarse = max(float(jnp.finfo(x.dtype).eps) for x in (given, kept))
    given, kept = given.astype(float), kept.astype(float)
    return bool(np.allclose(given, kept, rtol=8 * coarse, atol=0.0, equal_nan=True))


def coordinates(
    base: dict[str, Array],
    chart: AbstractChart | None,
    prior_of,
) -> Coordinates:
    """The coordinates of a chart and a prior; `prior_of(base, free)` gives the distributions."""
    slots = Slots({path: tuple(leaf.shape) for path, leaf in base.items()}, tuple(base), {}, {})
    slots = slots if chart is None else chart.restrict(slots)
    if not slots.free:
        raise DeclarationError(
            "chart",
            got="a chart that freezes every weight",
            expected="at least one free weight",
            mend="leave at least one leaf free",
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
