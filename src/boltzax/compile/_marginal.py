"""Closed-form marginalisation of a linear Gaussian readout."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..declare import AbstractUnitModel, Distribution, Normal, from_normal, is_gaussian
from ..numerics import affine_in
from ._potential import AbstractLowered, AbstractMarginalPotential, Moments, half_spacing
from ._residual import AbstractResidual, BasisResidual, NodeResidual


class LinearGaussian(eqx.Module):
    """`U = -log ∫ N(a; 0, I) exp(-β ½|C a - y|²) da` and its derivatives in β.

    With `M = I + β C Cᵀ`: `U = ½ log det M + ½ β yᵀM⁻¹y`. M is not formed: one QR of `[√β C; I]`
    (or of `[√β Cᵀ; I]` if that is smaller) keeps the digits of singular values down to 1/√β.

    Args:
        design: The matrix C, `[row, weight]`.
        target: The vector y, `[row]`.
    """

    design: Float[Array, "row weight"]
    target: Float[Array, " row"]

    def moments(self, beta: Float[Array, ""]) -> Moments:
        """`U`, `∂U/∂β` and `-∂²U/∂β²`."""
        c, y = self.design, self.target
        rows, weights = c.shape
        side = c if rows > weights else c.T
        size = side.shape[1]
        r = jnp.linalg.qr(jnp.concatenate([jnp.sqrt(beta) * side, jnp.eye(size)]), mode="r")
        log_det = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(r))))
        # t tᵗ has the eigenvalues of C Cᵀ M⁻¹; v = M⁻¹ y is the residual at the mean readout
        t = jax.scipy.linalg.solve_triangular(r, side.T, trans="T")
        if rows > weights:
            mean = beta * _solve(r, c.T @ y)
            v = y - c @ mean
            quadratic = beta * jnp.sum(v**2) + jnp.sum(mean**2)
            bent = jnp.sum(jax.scipy.linalg.solve_triangular(r, c.T @ v, trans="T") ** 2)
        else:
            v = _solve(r, y)
            quadratic = beta * (jnp.sum(v**2) + beta * jnp.sum((c.T @ v) ** 2))
            bent = jnp.sum((c.T @ v) * (c.T @ _solve(r, v)))
        u = log_det + 0.5 * quadratic
        energy = 0.5 * jnp.sum(t**2) + 0.5 * jnp.sum(v**2)
        variance = 0.5 * jnp.sum((t @ t.T) ** 2) + bent
        return Moments(u, energy, variance)

    def draw(self, beta: Float[Array, ""], key: PRNGKeyArray) -> Float[Array, " weight"]:
        """One draw of `a` from `∝ N(a; 0, I) exp(-β ½|C a - y|²)`.

        `a = argmin β|C a - y - ε/√β|² + |a - ξ|²` with standard normal `ε`, `ξ` has this law
        (Papandreou & Yuille 2010, Gaussian sampling by local perturbations, NeurIPS 23).
        """
        c, y = self.design, self.target
        key_data, key_prior = jax.random.split(key)
        root = jnp.sqrt(beta)
        noisy = root * y + jax.random.normal(key_data, y.shape)
        anchor = jax.random.normal(key_prior, (c.shape[1],))
        system = jnp.concatenate([root * c, jnp.eye(c.shape[1])])
        q, r = jnp.linalg.qr(system)
        return jax.scipy.linalg.solve_triangular(r, q.T @ jnp.concatenate([noisy, anchor]))


def _solve(r: Array, b: Array) -> Array:
    inner = jax.scipy.linalg.solve_triangular(r, b, trans="T")
    return jax.scipy.linalg.solve_triangular(r, inner)


class MarginalPotential(AbstractMarginalPotential):
    """The potential after the weights `readout` were integrated out.

    The model is linear in these weights and their priors are Gaussian. If they are all weights of
    the model, `U` is the negative log evidence `-log ∫ π(a) exp(-β E(a)) da`.
    """

    residuals: tuple[AbstractResidual, ...]
    readout: dict[str, Distribution]
    units: AbstractUnitModel | None

    def linear_gaussian(self, weights: dict[str, Array]) -> LinearGaussian:
        """Design matrix and target of the readout, in units of its prior."""
        size = sum(weights[path].size for path in self.readout)
        loc, pull = jax.vjp(lambda u: self.image(weights, u), jnp.zeros(size))
        at = weights | loc
        design = jnp.concatenate([part.jacobian(at, loc) for part in self.residuals])
        offset = jnp.concatenate([part.residuals(at) for part in self.residuals])
        design = jax.vmap(lambda row: pull(self._split(weights, row))[0])(design)
        return LinearGaussian(design, -offset)

    def image(self, weights: dict[str, Array], u: Array) -> dict[str, Array]:
        """The readout as a function of standard normals `u`, `[weight]`."""
        parts = self._split(weights, u)
        return {p: from_normal(p, prior, parts[p]) for p, prior in self.readout.items()}

    def _split(self, weights: dict[str, Array], flat: Array) -> dict[str, Array]:
        """A vector over the readout as arrays of the leaves' shapes."""
        parts, start = {}, 0
        for path in self.readout:
            shape, size = weights[path].shape, weights[path].size
            parts[path] = flat[start : start + size].reshape(shape)
            start += size
        return parts

    def __call__(self, weights, beta):
        return self.linear_gaussian(weights).moments(beta)[0]

    def moments(self, weights, beta):
        return self.linear_gaussian(weights).moments(beta)

    def rounding(self, energy):
        return half_spacing(energy)

    def complete(self, weights, beta, key):
        drawn = self.linear_gaussian(weights).draw(beta, key)
        return weights | self.image(weights, drawn)

    def energy_at(self, weights):
        return sum((part.value(weights) for part in self.residuals), jnp.zeros(()))

    def notes(self):
        names = ", ".join(self.readout)
        lines = [part.note() for part in self.residuals]
        lines.append(f"{names}: linear with a Gaussian prior, integrated out in closed form")
        if self.units is not None:
            lines.append("units are exchangeable: single-unit moves by rank-two updates")
        return tuple(lines)


BUDGET = 2e7
"""Largest `rows x weights x min(rows, weights)` for which the readout is integrated out unasked."""


def marginal_potential(
    parts: tuple[AbstractLowered, ...],
    weights: dict[str, Array],
    priors: dict[str, Distribution],
    fixed: set[str],
    budget: float,
) -> tuple[MarginalPotential | None, str]:
    """The potential with as many weights integrated out as possible; or None, and the reason."""
    residuals = tuple(part for part in parts if isinstance(part, AbstractResidual))
    if len(residuals) < len(parts):
        return None, "not every energy term is a squared loss over all data"
    gaussian = [p for p, d in priors.items() if is_gaussian(d) and p not in fixed]
    chosen: dict[str, Array] = {}
    for path in sorted(gaussian, key=lambda p: -weights[p].size):
        trial = chosen | {path: weights[path]}
        if all(_affine(part, weights, trial) for part in residuals):
            chosen = trial
    if not chosen:
        return None, "no weights with a Gaussian prior enter the model linearly"
    rows = sum(jax.eval_shape(part.residuals, weights).shape[0] for part in residuals)
    size = sum(leaf.size for leaf in chosen.values())
    if rows * size * min(rows, size) > budget:
        return None, (
            f"integrating out {', '.join(chosen)} would cost a factorisation of {rows} x {size} "
            "at every step; pass marginalise=True to do so"
        )
    # sorted by name, as `jit` and `vjp` sort dictionaries, so that columns match leaves
    readout = {path: priors[path] for path in sorted(chosen)}
    return MarginalPotential(residuals, readout, _units(residuals, readout, priors, fixed)), ""


def _affine(part: AbstractResidual, weights: dict[str, Array], trial: dict[str, Array]) -> bool:
    rest = {path: leaf for path, leaf in weights.items() if path not in trial}
    first = jax.tree.map(lambda leaf: leaf[0], part.rows)
    return affine_in(lambda s, rest, z: part.row(rest | s, z), trial, rest, first)


def _units(residuals, readout, priors, fixed) -> AbstractUnitModel | None:
    if len(residuals) != 1 or not isinstance(residuals[0], NodeResidual | BasisResidual):
        return None
    model = residuals[0].term.model
    if not isinstance(model, AbstractUnitModel) or set(readout) != {"readout"}:
        return None
    if not isinstance(readout["readout"], Normal):
        return None  # entries that depend on each other are not exchangeable
    free = set(priors) - {"readout"}
    return model if free == set(model.unit_weights()) and not free & fixed else None
