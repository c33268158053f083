"""A system in which a channel can form."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from ..compile import Gibbs
from ..core import DeclarationError, Model, function_errors, got, typed
from ..declare import AbstractEnergy


@typed
class Channel(eqx.Module):
    """A system with random weights, and how strong a channel in it is.

    Args:
        prior: The law of the weights, e.g. `bx.prior(model, bx.Normal())`.
        strength: A function of the model that gives one number. The channel transmits where it is
            at least a threshold.
        energy: What a training that makes the channel minimises; its model has the structure of
            that of the prior. None if it is not trained.
    """

    prior: Gibbs
    strength: Callable
    energy: AbstractEnergy | None = None


def check_strength(argument: str, strength: Callable, model: Model, *, steps: bool = False) -> None:
    """Refuse a strength that is not one real number, by its shape at a model.

    Args:
        argument: Its name.
        strength: A function of the model.
        model: Of the structure that it is for.
        steps: Whether truth values and whole numbers will do.

    Raises:
        DeclarationError: For another, and one that raises an error.
    """
    with function_errors(argument):
        out = eqx.filter_eval_shape(strength, model)
    kinds = (jnp.floating, jnp.integer, jnp.bool_) if steps else (jnp.floating,)
    array = isinstance(out, jax.ShapeDtypeStruct)
    if not (array and out.shape == () and any(jnp.issubdtype(out.dtype, kind) for kind in kinds)):
        shape = f"an array of shape {out.shape}, {out.dtype}" if array else got(out)
        raise DeclarationError(
            argument,
            got=f"a function that gives {shape}",
            expected="a function of the model that gives one real number"
            + ("" if steps else ", which tells nearly good weights from bad ones"),
            mend="write e.g. lambda model: -jnp.max(jnp.abs(model(x) - y))",
        )
