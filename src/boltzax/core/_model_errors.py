"""Errors that a model raises while it is computed, said as what they are."""

import contextlib
import re
from collections.abc import Iterator

import equinox as eqx
import jax

from ._errors import DeclarationError


@contextlib.contextmanager
def model_errors(when: str) -> Iterator[None]:
    """Say that a model raised an error, and when: a context, or a decorator of a verb.

    A compiled program can raise by `eqx.error_if`, as solvers of diffrax and optimistix do
    with `throw=True`, or in a function of the host (`jax.pure_callback`). A chain visits weights
    that training never sees, so one failed solution would end the run of all chains.

    Args:
        when: What was being done, e.g. "in bx.sample".

    Raises:
        DeclarationError: in place of such an error. Others go on as they are.
    """
    try:
        yield
    except (eqx.EquinoxRuntimeError, jax.errors.JaxRuntimeError) as error:
        said = _said(str(error))
        if said is None:
            raise
        raise DeclarationError(
            "model",
            got=f"an error that the model, or another function given, raised {when}: {said}",
            expected="functions that are defined at all weights, if by a number that is not finite",
            mend="give infinity where the model fails, and samplers with a Metropolis test reject "
            "such weights: for diffrax "
            "`sol = diffeqsolve(..., throw=False)` and "
            "`jnp.where(sol.result == diffrax.RESULTS.successful, sol.ys[-1], jnp.inf)`; instead "
            "of `eqx.error_if(x, bad, ...)` use `jnp.where(bad, jnp.inf, x)`; or narrow the prior",
        ) from error


@contextlib.contextmanager
def errors_named(argument: str, *, expected: str, mend: str) -> Iterator[None]:
    """Say an error of a function of the user as one of the argument that it is.

    Args:
        argument: Its name.
        expected: What it must be.
        mend: What to do about another.

    Raises:
        DeclarationError: in place of any error but one.
    """
    try:
        yield
    except DeclarationError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        got = f"one that raises {type(error).__name__}: {lines[0][:200]}"
        raise DeclarationError(argument, got=got, expected=expected, mend=mend) from error


def _said(text: str) -> str | None:
    """The message of an error raised inside a compiled program by its author; None for others."""
    equinox = re.search(r"EquinoxRuntimeError: (.*?)(?:\n\s*\n|\n-----|\Z)", text, re.DOTALL)
    if equinox:
        return _short(equinox[1])
    if "Callback error" not in text:
        return None
    other = "Traceback|INTERNAL|UNKNOWN|XlaRuntimeError|jax"
    lines = re.findall(rf"^(?!{other})(\w[\w.]*(?:: .*)?)$", text, re.MULTILINE)
    return _short(lines[0]) if lines else "an error in a function of the host"


def _short(text: str) -> str:
    return " ".join(text.split())[:300]
