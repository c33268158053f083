"""The methods of a kernel in a dynamics, with their errors named."""

import contextlib

from jaxtyping import Array, PRNGKeyArray, PyTree

from ..compile import Gibbs, Weights
from ..core import errors_named
from ._kernel import AbstractKernel, Move


def kernel_init(
    kernel: AbstractKernel, gibbs: Gibbs, w: Weights, key: PRNGKeyArray, warmup: int
) -> PyTree:
    """`kernel.init(...)`.

    Raises:
        DeclarationError: In place of an error that it raises.
    """
    with _named(kernel, "init(gibbs, w, key, warmup)"):
        return kernel.init(gibbs, w, key, warmup)


def kernel_step(
    kernel: AbstractKernel,
    gibbs: Gibbs,
    state: PyTree,
    key: PRNGKeyArray,
    gain: Array,
    warmup: int,
) -> tuple[PyTree, Move]:
    """`kernel.step(...)`.

    Raises:
        DeclarationError: In place of an error that it raises.
    """
    with _named(kernel, "step(gibbs, state, key, gain, warmup)"):
        new, move = kernel.step(gibbs, state, key, gain, warmup)
    return new, move


def _named(kernel: AbstractKernel, call: str) -> contextlib.AbstractContextManager[None]:
    method, _ = call.split("(")
    return errors_named(
        f"kernel.{method}",
        expected=f"a method `{call}` of {type(kernel).__name__} that jax can compile",
        mend="try it with testing.check_kernel; its arguments are traced arrays of one chain",
    )
