"""The one exception for a wrong declaration, and errors that a model raises, in its words."""

import contextlib
import re
from collections.abc import Iterator

import equinox as eqx
import jax


class DeclarationError(ValueError):
    """A declaration that cannot mean what it says; raised before anything is traced or sampled.

    The message names the argument, what it got, what was expected and how to mend it; the four
    parts are kept as attributes.

    Args:
        argument: The name of what was passed.
        got: What it was.
        expected: What it should be.
        mend: What to write instead.
    """

    def __init__(self, argument: str, *, got: object, expected: str, mend: str):
        self.argument = argument
        self.got = str(got)
        self.expected = expected
        self.mend = mend
        super().__init__(
            f"`{argument}`: got {self.got}.\n  Expected: {expected}.\n  To mend it: {mend}."
        )


@contextlib.contextmanager
def installed(package: str, argument: str, extra: str) -> Iterator[None]:
    """Around the import of a package that only an optional extra of boltzax installs.

    Args:
        package: Its name.
        argument: What needs it.
        extra: The extra.

    Raises:
        DeclarationError: Without the package.
    """
    try:
        yield
    except ImportError as error:
        raise DeclarationError(
            argument,
            got=f"no {package}",
            expected=f"an installed {package}",
            mend=f'run pip install "boltzax[{extra}]"',
        ) from error


@contextlib.contextmanager
def model_errors(when: str) -> Iterator[None]:
    """Turn an error that a model raises into a `DeclarationError`: a context, or a decorator.

    A compiled program can raise by `eqx.error_if`, as solvers of diffrax and optimistix do with
    `throw=True`, or in a function of the host (`jax.pure_callback`). A chain visits weights that
    training never sees, so that one failed solution would end the run of all chains.

    Args:
        when: What was being done, e.g. "in bx.sample".

    Raises:
        DeclarationError: In place of such an error. Other errors are raised as they are.
    """
    try:
        yield
    except (eqx.EquinoxRuntimeError, jax.errors.JaxRuntimeError) as error:
        message = _message(str(error))
        if message is None:
            raise
        raise DeclarationError(
            "model",
            got=f"an error that the model, or another function given, raised {when}: {message}",
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


def function_errors(argument: str) -> contextlib.AbstractContextManager[None]:
    """Around a trace of a function of the model: `errors_named` for it.

    Args:
        argument: The name of the argument that the function is.
    """
    return errors_named(
        argument,
        expected="a function of one model, defined at the declared weights",
        mend="try it on the declared model first; its weights are traced arrays",
    )


def _message(text: str) -> str | None:
    """The message of an error raised inside a compiled program by its author; None for others."""
    equinox = re.search(r"EquinoxRuntimeError: (.*?)(?:\n\s*\n|\n-----|\Z)", text, re.DOTALL)
    if equinox:
        lines = [equinox[1]]
    elif "Callback error" in text:
        other = "Traceback|INTERNAL|UNKNOWN|XlaRuntimeError|jax"
        lines = re.findall(rf"^(?!{other})(\w[\w.]*(?:: .*)?)$", text, re.MULTILINE)
        lines = lines or ["an error in a function of the host"]
    else:
        return None
    return " ".join(lines[0].split())[:300]
