"""Values that are known, and values that are traced by `jax.jit`, `jax.vmap` or `jax.grad`."""

import functools
import math
from collections.abc import Callable
from types import ModuleType
from typing import ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jaxtyping import ArrayLike, PyTree

from ._errors import DeclarationError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

SMALL = 2**20
"""Most entries of an array that is copied to the host to be read."""


def known(*trees: PyTree) -> bool:
    """Whether the values of all arrays are known: none of them is traced."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(trees))


def at_hand(array: ArrayLike) -> Array | np.ndarray:
    """A known array to be read: as NumPy's if it is small.

    Every operation of jnp on a new shape compiles a program, which takes longer than to copy a
    megabyte from a device.
    """
    size, held = np.size(array), not isinstance(array, Array) or array.is_fully_addressable
    return np.asarray(array) if size <= SMALL and held else jnp.asarray(array)


def library(*trees: PyTree) -> ModuleType:
    """NumPy for known values, where no operation compiles a program; else `jax.numpy`."""
    return np if known(*trees) else jnp


def finite(values: Array | np.ndarray) -> Array | np.ndarray:
    """Which entries are neither NaN nor infinite."""
    return abs(values) < math.inf


def refuted(condition: Callable[..., ArrayLike], *values: ArrayLike) -> bool:
    """Whether a condition on values is known to fail somewhere; False for traced values.

    The condition receives the values from `at_hand`.
    """
    return known(*values) and not bool(np.all(condition(*map(at_hand, values))))


def eager(fn: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator of functions that read values.

    Under `jax.jit` a jnp operation on a constant gives a tracer, whose value cannot be read. In a
    decorated function operations on known values are evaluated immediately; values that depend on
    a traced argument remain tracers. Outside `jax.jit` the decorator changes nothing: there JAX
    would also evaluate a model's operations on constants while the model is traced, and an
    `eqx.error_if` with a constant message would raise it.
    """

    @functools.wraps(fn)
    def looking(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if known(jnp.zeros(()) + 1):
            return fn(*args, **kwargs)
        with jax.ensure_compile_time_eval():
            return fn(*args, **kwargs)

    return looking


def at_once(fn: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator of functions of arrays: on known values the function is one compiled program.

    Without it, each operation on a new shape would be a program of its own. With traced values the
    function is called as written. Floats of Python among the arguments are values, not settings.
    """
    program = eqx.filter_jit(fn)

    @functools.wraps(fn)
    def whole(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if not known(args, kwargs):
            return fn(*args, **kwargs)
        given = [jnp.asarray(x, float) if isinstance(x, float) else x for x in args]
        return program(*given, **kwargs)

    return whole


def as_argument(fn: Callable) -> Callable:
    """A function of the user as an argument of a program, which is compiled once for each function.

    A function that cannot be hashed is wrapped, and compiled at every call.
    """

    def hashable(leaf):
        try:
            hash(leaf)
        except TypeError:
            return functools.partial(leaf) if callable(leaf) else leaf
        return leaf

    return jax.tree.map(hashable, fn)


def check_known(argument: str, value: PyTree, reader: str) -> None:
    """Refuse a traced value for a function that reads values.

    Args:
        argument: Its name.
        value: A pytree of arrays.
        reader: The name of the function.

    Raises:
        DeclarationError: If an array is traced.
    """
    if not known(value):
        raise DeclarationError(
            argument,
            got="values that are traced by jax.jit, jax.vmap or jax.grad",
            expected=f"known values: {reader} reads them on the host",
            mend="return the numbers from the transformed function, and make the estimate outside; "
            "`of_samples`, `of_replicates`, `of_hits` and arithmetic work inside too",
        )


def check_finite(argument: str, values: PyTree, mend: str) -> None:
    """Refuse numbers that are known not to be finite.

    Args:
        argument: Their name.
        values: A pytree of arrays.
        mend: What to do about it.

    Raises:
        DeclarationError: For NaN and infinity; not for traced values.
    """
    for leaf in jax.tree.leaves(values):
        if refuted(finite, leaf):
            wrong = int(np.sum(~np.asarray(finite(at_hand(leaf)))))
            raise DeclarationError(
                argument,
                got=f"{wrong} of {np.size(leaf)} numbers that are not finite",
                expected="finite numbers",
                mend=mend,
            )


def check_on_host(verb: str, arguments: dict[str, PyTree]) -> None:
    """Refuse a call of `verb`, which is a loop of the host, inside a transformation of jax.

    Args:
        verb: The public name of the function.
        arguments: Its arguments that hold arrays, by name.

    Raises:
        DeclarationError: If an argument is traced, or the call itself (under `jax.jit`, with
            constant arguments).
    """
    traced = [name for name, value in arguments.items() if not known(value)]
    if traced or not known(jnp.zeros(()) + 1):
        raise DeclarationError(
            traced[0] if traced else verb,
            got="a value that is traced by jax.jit, jax.vmap or jax.grad"
            if traced
            else "a call inside jax.jit",
            expected=f"values that are known: bx.{verb} is a loop that runs on the host",
            mend=f"call bx.{verb} outside the transformation (inside, use compile, log_prob, "
            "energy); it compiles its own steps and runs many chains at once",
        )
