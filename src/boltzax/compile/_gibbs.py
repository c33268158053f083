"""The Gibbs measure over the weights, on which samplers and observables work."""

import dataclasses
from functools import partial
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..core import (
    DeclarationError,
    Key,
    Model,
    NonNegative,
    Said,
    at_once,
    automatic,
    described,
    eager,
    finite,
    full_products,
    known,
    refuted,
    state_of,
    typed,
    weights_of,
    with_weights,
)
from ..declare import Localisation, in_support, subsamplings
from ._check import check_betas, check_function, check_settings
from ._coordinates import Coordinates, Weights
from ._potential import AbstractPotential, Moments, Plain
from ._relative_energy import ControlledPotential, energy_slope, relative_potential

InverseTemperatures: TypeAlias = Annotated[
    Float[Array, "*beta"],
    Said(
        expected="a number or, in bx.compile, a Temperature",
        mend="pass beta=1.0, or bx.compile(..., beta=bx.temperature.watanabe(n))",
    ),
]


@typed
@described("a Gibbs measure", "compile the declaration first: bx.compile(energy, prior)")
class Gibbs(eqx.Module):
    """The measure `log p(w) = log π(w) - U(w, β) - log Z(β)`; `bx.compile` builds it.

    `U = β E(w)` for a plain energy; if weights were integrated out, U is their free energy. `w` is
    a dictionary from path to unconstrained coordinates (see `constrain`). Log-densities are in
    nats. All arrays are leaves: a new `beta` or new data of the same shape do not retrace. Every
    method takes one `w`; use `jax.vmap` for many. Densities and energies are compiled at their
    first call. A Python variable that a model reads is read then.

    Args:
        potential: `U(w, β)` of the weights.
        coordinates: The map from `w` to weights, with the prior.
        beta: The inverse temperature, or several.
        declared: The model as it was declared.
        reason: What was integrated out, or why nothing was.
        masses: Those of the data measures, which a temperature multiplies.
    """

    potential: AbstractPotential
    coordinates: Coordinates
    beta: Float[Array, "*beta"]
    declared: Model
    reason: str = eqx.field(static=True)
    masses: tuple[Array, ...]

    @at_once
    def log_prior(self, w: Weights) -> Float[Array, ""]:
        """`log π(w)` in nats, with the log-Jacobian of the map to the support."""
        return self.coordinates.log_prior(w)

    @at_once
    def potential_at(self, w: Weights, beta: Float[Array, ""]) -> Float[Array, ""]:
        """`U(w, β)` in nats at any β."""
        return self.potential(self.coordinates.constrain(w), beta)

    @at_once
    def moments(self, w: Weights) -> Moments:
        """`U`, `∂U/∂β` and `-∂²U/∂β²` at this `beta`."""
        return self.potential.moments(self.coordinates.constrain(w), self.beta)

    def energy(self, w: Weights) -> Float[Array, ""]:
        """The energy `∂U/∂β` at this `beta`, averaged over weights that were integrated out."""
        return self.moments(w).energy

    def energy_variance(self, w: Weights) -> Float[Array, ""]:
        """`-∂²U/∂β²`, the variance of the energy over weights that were integrated out, else 0."""
        return self.moments(w).energy_variance

    @at_once
    def energy_estimate(self, w: Weights, key: Key) -> Float[Array, ""]:
        """An unbiased estimate of `energy`: from a minibatch if the measure is `Subsampled`.

        Relative to a reference, both energies are from the same minibatch, so most of its noise
        cancels.
        """
        return self.potential.energy_estimate(self.coordinates.constrain(w), self.beta, key)

    @property
    def reference_energy(self) -> float | Array:
        """`E(w_ref)` of a measure that is `relative_to` a model, else 0.

        Added to `energy` it gives the declared energy. It is a float64 on the host, also in float32
        runs.
        """
        high, low = self.potential.offset()
        return float(high) + float(low) if known(high, low) else high + low

    @eager
    def relative_to(self, model: Model | None = None) -> "Gibbs":
        """The same measure with energies `E(w) - E(w_ref)` relative to a reference model.

        The losses of each datum are subtracted before they are summed; for squared errors
        `½|r|² - ½|r_ref|² = (f - f_ref)·(r + r_ref)/2`. So the difference keeps its digits if the
        energies are large (float32, many data, targets in large units). For `Subsampled` measures
        both energies are from the same minibatch. `energy`, `energy_of`, `log_prob` and the
        energies of draws are relative; `reference_energy` is `E(w_ref)`. The law of draws does not
        change.

        Args:
            model: The reference, of the declared structure; by default the declared model.

        Returns:
            A measure whose density is the same up to a constant.

        Raises:
            DeclarationError: If the model has another structure, or weights were integrated out.
        """
        given = self._given(model)
        potential = relative_potential(self.potential, given)
        return eqx.tree_at(lambda gibbs: gibbs.potential, self, potential)

    @eager
    def with_control_variates(self, model: Model | None = None) -> "Gibbs":
        """The same measure with less noise in its minibatches: control variates at a model `a`.

        `ê(w) = e_B(w) - e_B(a) + (∇e(a) - ∇e_B(a))·(w - a)`, so that the gradient of a minibatch is
        `g_B(w) - g_B(a) + g(a)`: unbiased at any `w`, and of a variance that goes as `|w - a|²`
        near the anchor. Energies are relative, as those of `relative_to(model)`. The law does not
        change. An estimate takes two passes over its minibatch, and a gradient over all data is
        computed now.

        Baker, Fearnhead, Fox & Nemeth 2019, Stat. Comput. 29:599 (SGLD-CV). For chains that go far
        from every model, see `SVRG`.

        Args:
            model: The anchor, of the declared structure; by default the declared model.

        Returns:
            A measure whose density is the same up to a constant.

        Raises:
            DeclarationError: As `relative_to`; and if no measure is `Subsampled`.
        """
        if not subsamplings(self.potential):
            raise DeclarationError(
                "gibbs",
                got="a measure whose estimates are exact: no data are Subsampled",
                expected="an energy over minibatches",
                mend="declare it over bx.Subsampled(bx.Empirical(data), batch_size)",
            )
        given = self._given(model)
        relative = relative_potential(self.potential, given)
        potential = ControlledPotential(
            relative, given, energy_slope(relative, given, self.coordinates.moving)
        )
        return eqx.tree_at(lambda gibbs: gibbs.potential, self, potential)

    @at_once
    def log_prob(self, w: Weights) -> Float[Array, ""]:
        """`log π(w) - U(w, β)`, in nats, without the constant `-log Z`."""
        return self.log_prior(w) - self.potential_at(w, self.beta)

    @at_once
    def log_prob_estimate(self, w: Weights, key: Key) -> Float[Array, ""]:
        """An unbiased estimate of `log_prob`: from a minibatch if the measure is `Subsampled`."""
        weights = self.coordinates.constrain(w)
        # the residuals of a prior are as large as the weights, so they are recomputed
        return eqx.filter_checkpoint(self.log_prior)(w) - self.potential.estimate(
            weights, self.beta, key
        )

    def sample_prior(self, key: Key) -> Weights:
        """One draw of the prior, in unconstrained coordinates."""
        drawn = _draw(self.coordinates, key)
        return {path: drawn[path] for path in self.coordinates.priors}  # jit sorts dictionaries

    def constrain(self, w: Weights) -> dict[str, Any]:
        """All weights of the model by path, frozen and tied ones included."""
        return self.coordinates.constrain(w)

    def model(self, w: Weights) -> PyTree:
        """The declared model with the weights `w`."""
        return with_weights(self.declared, self.constrain(w))

    def complete(self, w: Weights, key: Key) -> PyTree:
        """The model at `w`, with integrated weights drawn from their law given `w`."""
        weights = self.potential.complete(self.constrain(w), self.beta, key)
        return with_weights(self.declared, weights)

    def energy_of(self, model: Model) -> Float[Array, ""]:
        """The energy `E` of a model of the declared structure, without averages.

        Raises:
            DeclarationError: If the model has weights of other shapes, other settings (numbers that
                are not weights), or is another function of its weights.
        """
        # strong dtypes: with weak ones a model could compute in a narrower dtype
        base = self.coordinates.base
        weights = {k: jnp.asarray(v, base[k].dtype) for k, v in self._given(model).items()}
        return _energy_at(self.potential, weights)

    @eager
    def position(self, model: Model | None = None) -> dict[str, Any]:
        """The coordinates `w` of the weights of a model, by default the declared one.

        Raises:
            DeclarationError: If the weights have other shapes, lie outside the support or at its
                edge (where coordinates are infinite), or if the model has other settings (numbers
                that are not weights), or other values of frozen or tied weights.
        """
        given = self._given(model)
        if model is not None:
            check_kept(self, "model", given, declared=True)
        for path, prior in self.coordinates.priors.items():
            if refuted(partial(in_support, prior), given[path]):
                raise DeclarationError(
                    f"model.{path}",
                    got="weights outside the prior's support",
                    expected=f"values in {prior.support}",
                    mend="widen the prior, or move the weights inside",
                )
        position = self.coordinates.unconstrain(given)
        for path, leaf in position.items():
            if refuted(finite, leaf):
                raise DeclarationError(
                    f"model.{path}",
                    got="weights whose coordinates are not finite",
                    expected=f"finite values inside {self.coordinates.priors[path].support}, "
                    "none at its edge",
                    mend="move them inside, e.g. by jnp.clip, or widen the prior",
                )
        return position

    def _given(self, model: Model | None) -> dict[str, Array]:
        """The weights of a model of the declared structure, by path."""
        model = self.declared if model is None else model
        check_settings(self.declared, model)
        check_function(self.declared, model)
        given = automatic(weights_of(model))
        shapes = {path: leaf.shape for path, leaf in self.coordinates.base.items()}
        if {path: jnp.shape(leaf) for path, leaf in given.items()} != shapes:
            raise DeclarationError(
                "model",
                got=f"weights { ({k: jnp.shape(v) for k, v in given.items()}) }",
                expected=f"the declared weights {shapes}",
                mend="pass a model of the declared structure",
            )
        return given

    @eager
    def at(self, beta: InverseTemperatures) -> "Gibbs":
        """The same measure at another inverse temperature, or at several, `[beta]`.

        Raises:
            DeclarationError: If a beta is negative, not finite, or too large for float32.
        """
        value = jnp.asarray(beta, float)
        check_betas("beta", value, self.masses)
        return eqx.tree_at(lambda gibbs: gibbs.beta, self, value)

    @eager
    def localised(self, strength: NonNegative, model: Model | None = None) -> "Gibbs":
        """The same measure with `γ/2 |w - w*|²` subtracted from its log-prior; see `Localisation`.

        Args:
            strength: γ. It multiplies the squared distance of all weights, not `beta`.
            model: The centre `w*`, of the declared structure; by default the declared model.

        Raises:
            DeclarationError: If the model has another structure, or weights were integrated out.
        """
        lost = self.potential.integrated()
        if lost:
            raise DeclarationError(
                "gibbs",
                got=f"a measure with weights integrated out: {', '.join(lost)}",
                expected="a measure that keeps all weights",
                mend="compile it with marginalise=False",
            )
        given = self._given(model)
        term = Localisation(with_weights(self.declared, given), strength)
        terms = (*self.coordinates.localisations, Plain(jnp.ones(()), term))
        coordinates = dataclasses.replace(self.coordinates, localisations=terms)
        return dataclasses.replace(self, coordinates=coordinates)

    @property
    def dim(self) -> int:
        """Number of free coordinates that are sampled."""
        shapes = jax.eval_shape(self.sample_prior, jax.random.key(0))
        return sum(leaf.size for leaf in shapes.values())

    @property
    def parameters(self) -> int:
        """Number of free weights, including those that were integrated out."""
        integrated = self.potential.integrated()
        return self.dim + sum(self.coordinates.base[path].size for path in integrated)

    def __repr__(self) -> str:
        names = ", ".join(
            f"{path}{list(self.coordinates.base[path].shape)} ~ {type(prior).__name__}"
            for path, prior in self.coordinates.priors.items()
        )
        frozen = [
            path
            for path in self.coordinates.base
            if path not in self.coordinates.priors
            and path not in self.coordinates.ties
            and path not in self.potential.integrated()
        ]
        lines = [f"Gibbs measure over {self.dim} coordinates: {names}"]
        if not self.coordinates.priors:
            lines = ["Gibbs measure with all weights integrated out: log_prob({}) = log Z"]
        if known(self.beta) and jnp.ndim(self.beta) == 0:
            lines.append(f"beta = {float(self.beta):.6g}")
        elif known(self.beta):
            low, high = float(jnp.min(self.beta)), float(jnp.max(self.beta))
            lines.append(f"{jnp.size(self.beta)} values of beta from {low:.6g} to {high:.6g}")
        lines += list(self.potential.notes())
        if self.reason:
            lines.append(f"nothing integrated out: {self.reason}")
        for path, prior in self.coordinates.priors.items():
            if str(prior.support) != "Real()":
                lines.append(f"{path}: support {prior.support} in unconstrained coordinates")
        if frozen:
            lines.append(f"frozen: {', '.join(frozen)}")
        state = state_of(self.declared)
        if state:
            lines.append(f"state of the model, not weights: {', '.join(state)}")
        if self.coordinates.ties:
            ties = ", ".join(f"{a} = {b}" for a, b in self.coordinates.ties.items())
            lines.append(f"tied: {ties}")
        return "\n  ".join(lines)


def check_kept(
    gibbs: Gibbs, argument: str, weights: dict[str, Array], *, declared: bool = False
) -> None:
    """Raise `DeclarationError` for weights that coordinates would lose: other values of frozen,
    masked or tied leaves than the chart gives them; see `Coordinates.replaced`.
    """
    lost = set(gibbs.coordinates.replaced(weights, declared=declared))
    lost -= set(gibbs.potential.integrated())
    if lost:
        raise DeclarationError(
            argument,
            got=f"other values of weights that the chart fixes: {', '.join(sorted(lost))}",
            expected="the declared values of frozen weights, and tied weights that are equal",
            mend="compile the measure with these values declared, or without the chart",
        )


@full_products()
@at_once
def _energy_at(potential: AbstractPotential, weights: dict[str, Array]) -> Float[Array, ""]:
    return potential.energy_at(weights)


@full_products()
@at_once
def _draw(coordinates: Coordinates, key: Key) -> Weights:
    return coordinates.sample_prior(key)
