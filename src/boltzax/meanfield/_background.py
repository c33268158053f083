"""Backgrounds: given outputs of a net, whose residual acts on a neuron."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..core import (
    Arrays,
    Count,
    DeclarationError,
    Whole,
    as_argument,
    check_finite,
    given_numbers,
    typed,
)
from ._cumulant import Rule, lower
from ._self_consistency import AbstractEnsemble, SelfConsistency

DIVERGED = "look at the status of the run that gave it: a run that failed has no output"
"""What to do about outputs of a net that are not finite."""


@typed
class Background(eqx.Module):
    """A given output `f` of a net: `values` at the nodes of the measure, and a function elsewhere.

    The field of a neuron in it is `(y - f)/T`. Made by `from_net`, `from_ensemble`, `from_kernel`,
    `lazy` and `from_array` (known at the nodes only). A `FixedPoint` has one.

    Args:
        values: At the nodes, `[node, *out]`.
        function: `f` of an input; None if it is known at the nodes only.
    """

    values: Float[Array, "node *out"]
    function: Callable | None = None

    def __call__(self, x: Arrays) -> Array:
        """`f(x)` at one datum."""
        if self.function is None:
            raise DeclarationError(
                "background",
                got="a background from an array, at new data",
                expected="a background with a function",
                mend="make it with from_net, from_ensemble or from_kernel, or stay at its nodes",
            )
        return self.function(x)

    @staticmethod
    def from_array(values: Float[Array, "node *out"], problem: AbstractEnsemble) -> "Background":
        """A background known at the nodes of the problem's measure."""
        expected = jax.eval_shape(problem.targets).shape
        if values.shape != expected:
            raise DeclarationError(
                "values",
                got=f"shape {values.shape}",
                expected=f"shape {expected}: a value for each node of the measure",
                mend="evaluate at `problem.inputs()`",
            )
        check_finite("values", values, DIVERGED)
        return Background(values)

    @staticmethod
    def from_net(net: Callable, problem: AbstractEnsemble) -> "Background":
        """The output of any model, `net(x)` at one datum.

        Raises:
            DeclarationError: For outputs that are not finite at the nodes of the measure.
        """
        values = _at_inputs(as_argument(net), problem)
        check_finite("net", values, DIVERGED)
        return Background(values, net)

    @staticmethod
    def from_ensemble(net: Arrays, problem: AbstractEnsemble) -> "Background":
        """The output of a net of neurons, `problem.output`: `(1/N) Σ_i h(x; θ_i)`."""
        return Background.from_net(NetFunction(problem, net), problem)

    @staticmethod
    def from_kernel(kernel: Callable, problem: AbstractEnsemble) -> "Background":
        """Posterior mean of a Gaussian process: `f = K (K + T)⁻¹ y`, `K` the integral operator.

        `kernel(x, x')` is a number, and outputs are independent of each other (Rasmussen & Williams
        2006, eq. 2.25, with noise `T` in the inner product of the measure).
        """
        weights = problem.measure.nodes()[1]
        x, y = problem.inputs(), problem.targets()

        def at(a, b):
            return given_numbers("kernel", kernel(a, b))

        gram = jax.vmap(lambda a: jax.vmap(lambda b: at(a, b))(x))(x)
        check_finite("kernel", gram, "look where kernel(x, x') divides, or takes a root")
        root = jnp.sqrt(weights)
        matrix = root[:, None] * gram * root + problem.temperature * jnp.eye(len(weights))
        flat = root[:, None] * y.reshape(len(weights), -1)
        dual = jax.scipy.linalg.solve(matrix, flat.astype(matrix.dtype), assume_a="pos")
        return Background.from_net(
            KernelMean(kernel, x, (root[:, None] * dual).reshape(y.shape)), problem
        )

    @staticmethod
    def lazy(
        problem: SelfConsistency,
        *,
        rule: Rule = "sobol",
        order: Count | None = None,
        seed: Whole = 0,
    ) -> "Background":
        """The lazy background: the Gaussian process of neurons that keep their prior.

        `f = K (K + T)⁻¹ y` with `K = E_{p0}[h h]`, a sum over nodes in the weights (as of `solve`):
        the self-consistent field to first order in the field.
        """
        cumulant = lower(problem, rule, order, seed)
        y = problem.to_vector(problem.targets())
        nothing = jnp.zeros_like(y)
        mean = cumulant.mean(nothing)
        kernel = cumulant.covariance(nothing) + jnp.outer(mean, mean)
        matrix = kernel + problem.temperature * jnp.eye(len(y))
        dual = jax.scipy.linalg.solve(matrix, y, assume_a="pos")
        return Background.from_net(cumulant.response(dual), problem)


@eqx.filter_jit
def _at_inputs(net: Callable, problem: AbstractEnsemble) -> Array:
    return jax.vmap(lambda x: given_numbers("net", net(x)))(problem.inputs())


class NetFunction(eqx.Module):
    """The output of a net as a function."""

    problem: AbstractEnsemble
    net: PyTree

    def __call__(self, x: PyTree) -> Array:
        return self.problem.output(self.net, x)


class KernelMean(eqx.Module):
    """`f(x) = Σ_i k(x, x_i) α_i`."""

    kernel: Callable
    points: PyTree
    dual: Float[Array, "node *out"]

    def __call__(self, x: PyTree) -> Array:
        row = jax.vmap(lambda other: self.kernel(x, other))(self.points)
        return jnp.tensordot(row, self.dual, axes=1)
