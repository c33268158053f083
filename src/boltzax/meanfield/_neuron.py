"""One neuron: a function of a datum, and the prior of its weights."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..compile import Coordinates, compile
from ..core import Count, DeclarationError, Model, typed, weights_of
from ..declare import AbstractMeasure, Distribution, Independent, PerDatum


@typed
class Unit(eqx.Module):
    """`h(x) = a act(b·x + c)`: the neuron of a two-layer net.

    Leaves: `readout` `a`, `[]` or `[out]`; `embedding` `b` `[dim]`; `bias` `c` `[]` (None without).
    All are zero here; a `Neuron` gives them their law.

    Args:
        activation: `act`, a function of a number.
    """

    readout: Float[Array, "*out"]
    embedding: Float[Array, " dim"]
    bias: Float[Array, ""] | None
    activation: Callable = eqx.field(static=True)

    def __init__(
        self,
        activation: Callable = jnp.tanh,
        dim: Count = 1,
        *,
        bias: bool = False,
        out: Count | None = None,
    ):
        self.readout = jnp.zeros(() if out is None else (out,))
        self.embedding = jnp.zeros(dim)
        self.bias = jnp.zeros(()) if bias else None
        self.activation = activation

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "*out"]:
        # not `jnp.sum(b * x)`: see `models.TwoLayer`
        drive = jnp.dot(self.embedding, x)
        drive = drive if self.bias is None else drive + self.bias
        return self.readout * self.activation(drive)


@typed
class Neuron(eqx.Module):
    """A neuron: its contribution to the output, and the prior of its weights.

    A net of `N` of them is `f(x) = (1/N) Σ_i h(x; θ_i)` (Mei, Montanari & Nguyen 2018, PNAS
    115:E7665).

    Args:
        model: `h(x)`, any callable pytree with weights: `Unit`, an equinox module,
            `bx.models.Function(fn, params)`.
        prior: `p0`, as of `bx.compile`: one distribution, or `bx.Independent` by path.
    """

    model: Model
    prior: Independent | Distribution

    def __check_init__(self):
        if not callable(self.model) or not weights_of(self.model):
            raise DeclarationError(
                "model",
                got=type(self.model).__name__,
                expected="a callable pytree with weights: model(x)",
                mend="pass meanfield.Unit(jnp.tanh, dim=2), or bx.models.Function(fn, params)",
            )

    def coordinates(self, measure: AbstractMeasure) -> Coordinates:
        """Unconstrained coordinates of the weights of one neuron, with their prior."""
        return compile(PerDatum(self.model, measure, _nothing), self.prior).coordinates


def _nothing(model: PyTree, datum: PyTree) -> Float[Array, ""]:
    return jnp.zeros(())


def population(coordinates: Coordinates, key: PRNGKeyArray, count: int) -> dict[str, Array]:
    """`count` independent neurons from the prior: coordinates with a leading neuron axis."""
    return jax.vmap(coordinates.sample_prior)(jax.random.split(key, count))
