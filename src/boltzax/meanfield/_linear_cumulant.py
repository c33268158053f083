"""Ψ in closed form: a linear neuron with Gaussian weights."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core import DeclarationError, NonNegative, typed
from ._cumulant import AbstractCumulant
from ._self_consistency import SelfConsistency


@typed
class LinearCumulant(AbstractCumulant):
    """`h(x) = a w·x`, `a ~ N(0, σ_a²)`, `w ~ N(0, σ_w²)`: with `v = ∫ g x dm`, ::

        Ψ(g) = -½ log(1 - σ_a²σ_w²|v|²),    finite for σ_a²σ_w²|v|² < 1.

    (`E_w` gives `exp(½σ_w²a²|v|²)`, and `E_a` of that is `(1 - σ_a²σ_w²|v|²)^(-½)`.) Beyond the
    domain `value` is infinite: a step of `solve` never ends there. `root` `[datum, dim]` are the
    data times the roots of their weights, `strength` is `σ_a²σ_w²`.

    `LinearCumulant.of(problem, readout=σ_a, weight=σ_w)` makes it; pass it as
    `solve(problem, cumulant=...)`.
    """

    root: Float[Array, "n dim"]
    strength: Float[Array, ""]

    @staticmethod
    def of(
        problem: SelfConsistency,
        *,
        readout: NonNegative = 1.0,
        weight: NonNegative = 1.0,
    ) -> "LinearCumulant":
        """That of a problem's data; `readout` and `weight` are standard deviations of the prior.

        Raises:
            DeclarationError: Unless inputs are vectors and the target is one number.
        """
        x, y = problem.inputs(), problem.targets()
        if not eqx.is_array(x) or x.ndim != 2 or y.ndim != 1:
            raise DeclarationError(
                "problem",
                got=f"inputs {getattr(x, 'shape', type(x).__name__)} and targets {y.shape}",
                expected="inputs that are vectors and targets that are numbers",
                mend="solve on nodes, without `cumulant`",
            )
        roots = jnp.sqrt(problem.measure.nodes()[1])
        strength = jnp.asarray((readout * weight) ** 2, roots.dtype)
        return LinearCumulant(roots[:, None] * x, strength)

    def value(self, field):
        room = self._room(field)
        safe = jnp.where(room > 0, room, 1.0)
        return jnp.where(room > 0, -0.5 * jnp.log(safe), jnp.inf)

    def mean(self, field):
        return self.strength / self._room(field) * (self.root @ (field @ self.root))

    def covariance(self, field):
        scaled = self.strength / self._room(field)
        along = scaled * (self.root @ (field @ self.root))
        return scaled * self.root @ self.root.T + 2 * jnp.outer(along, along)

    def ess(self, field):
        return jnp.asarray(jnp.inf, field.dtype)

    def _room(self, field: Float[Array, " n"]) -> Float[Array, ""]:
        v = field @ self.root
        return 1 - self.strength * (v @ v)
