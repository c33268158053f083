"""Argument types: the values that an argument takes, and the words of its errors.

The annotations of a public function declare its arguments: `draws: Count`, `step_size: Positive`,
`key: Key`. `typed` reads them, and raises a `DeclarationError` that names the argument for another
value. `constraint_of` in `_constraints.py` derives the constraint of a plain annotation (`int`,
`Sequence[float]`, `Float[Array, "n d"]`, a class, a union).
"""

import math
from collections.abc import Callable
from numbers import Integral, Real
from types import ModuleType
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jaxtyping import Float, PRNGKeyArray, PyTree

from ._errors import DeclarationError


class Refused(Exception):
    """Raised by a constraint for a value that it does not take.

    Args:
        part: The place of the wrong part inside the value, such as `[2]`.
        value: That part.
        constraint: The constraint of that part.
    """

    def __init__(self, part: str = "", value: Any = None, constraint: "Constraint | None" = None):
        super().__init__(part)
        self.part, self.value, self.constraint = part, value, constraint


class Constraint(NamedTuple):
    """The values that an argument takes.

    Args:
        expected: These values in words.
        mend: How to correct another value.
        take: A function that returns the value in its standard form (an `int` for a whole number of
            numpy or jax) or raises `Refused`.
        arrays: Whether an array of jax is taken without conversion.
        called: The name of the argument in errors, if it is not the parameter's name.
    """

    expected: str
    mend: str
    take: Callable[[Any], Any]
    arrays: bool = False
    called: str = ""

    def __repr__(self) -> str:
        """The words without marks of code, as the reference prints an annotation."""
        return self.expected.replace("`", "")

    def check(self, argument: str, value: Any) -> Any:
        """The value in its standard form.

        Raises:
            DeclarationError: For a value that is not taken.
        """
        try:
            return self.take(value)
        except Refused as refused:
            inner = refused.constraint
            wrong, broken = (value, self) if inner is None else (refused.value, inner)
            raise DeclarationError(
                argument + refused.part,
                got=got(wrong),
                expected=broken.expected,
                mend=broken.mend,
            ) from None


class Said(NamedTuple):
    """Words of an argument in errors, instead of those of its type: `Annotated[int, Said(...)]`.

    Args:
        expected: The values that it takes, in words.
        mend: How to correct another value.
        called: The name of the argument, if it is not the parameter's name.
    """

    expected: str = ""
    mend: str = ""
    called: str = ""

    def __repr__(self) -> str:
        """The words without marks of code, as the reference prints an annotation."""
        return self.expected.replace("`", "") or f"called {self.called}"

    def of(self, constraint: Constraint) -> Constraint:
        """The constraint in these words."""
        return constraint._replace(**{name: x for name, x in self._asdict().items() if x})


def got(value: Any) -> str:
    """A given value in words."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, Tracer):
        return f"a traced value of shape {value.shape}, {value.dtype}"
    if isinstance(value, np.ma.MaskedArray):
        return "a masked array"
    if isinstance(value, np.ndarray | Array) and (value.size > 4 or _is_key(value)):
        return f"an array of shape {value.shape}, {value.dtype}"
    try:
        text = f"{value!r:.80}"
    except Exception:  # a repr of the user that fails must not hide the error
        text = f"a {type(value).__name__}"
    return text


def whole(least: int | None = None, most: int | None = None) -> Constraint:
    """A whole number between two bounds; not a truth value."""

    def take(value: Any) -> int:
        number = integer(value)
        if (least is not None and number < least) or (most is not None and number > most):
            raise Refused
        return number

    bounds = "" if least is None else f" of at least {least}"
    bounds = f" from {least} to {most}" if most is not None else bounds
    example = 1 if least is None else max(least, 1)
    return Constraint(f"an integer{bounds}", f"pass e.g. {example}", take)


def integer(value: Any) -> int:
    """A whole number of Python, numpy or jax as one of Python; not a truth value."""
    if isinstance(value, bool | np.bool_):
        raise Refused
    if isinstance(value, Integral):
        return int(value)
    array = isinstance(value, np.ndarray | Array) and not isinstance(value, Tracer)
    if not array or value.ndim or not jnp.issubdtype(value.dtype, jnp.integer):
        raise Refused
    return int(value)


def scalar(
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
    array: bool = False,
) -> Constraint:
    """One real number between two bounds. The value of a traced number is not checked.

    Args:
        low: Lower bound.
        high: Upper bound.
        open_low: Exclude the lower bound.
        open_high: Exclude the upper bound.
        array: Take a number of jax without conversion.
    """
    finite = open_low or open_high or low > -math.inf or high < math.inf

    def take(value: Any) -> Any:
        number = real(value)
        if isinstance(number, Tracer):
            return number
        plain = float(number)
        below = plain <= low if open_low else plain < low
        above = plain >= high if open_high else plain > high
        if below or above or (finite and not math.isfinite(plain)):
            raise Refused
        return number if array and isinstance(number, Array) else plain

    words = _range(low, high, open_low, open_high)
    return Constraint(words, _example(low, high), take, arrays=array)


def real(value: Any) -> Any:
    """A number, or an array of jax with one; a number of numpy as one of Python."""
    if isinstance(value, bool | np.bool_ | np.ma.MaskedArray):
        raise Refused
    if isinstance(value, Real):
        try:
            return float(value)
        except OverflowError:  # an integer past every float
            raise Refused from None
    if not isinstance(value, np.ndarray | np.generic | Array) or value.ndim:
        raise Refused
    if not (jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)):
        raise Refused
    return value if isinstance(value, Array) else float(value)


def _range(low: float, high: float, open_low: bool, open_high: bool) -> str:
    if math.isinf(low) and math.isinf(high):
        return "a finite number" if open_low or open_high else "a number"
    if math.isinf(high):
        if low == 0:
            return "a positive number" if open_low else "a number that is not negative"
        return f"a number above {low:g}" if open_low else f"a number of at least {low:g}"
    if math.isinf(low):
        return f"a number below {high:g}" if open_high else f"a number of at most {high:g}"
    ends = {
        (True, True): "between {} and {}",
        (False, False): "from {} to {}",
        (True, False): "above {} and at most {}",
        (False, True): "from {} to below {}",
    }
    return "a number " + ends[open_low, open_high].format(f"{low:g}", f"{high:g}")


def _example(low: float, high: float) -> str:
    if math.isinf(high):
        return f"pass e.g. {max(low, 0) + 1:g}"
    return f"pass e.g. {(max(low, high - 1) + high) / 2:g}"


def _is_key(value: Any) -> bool:
    return isinstance(value, Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def _key(value: Any) -> Any:
    if _is_key(value):
        if value.ndim:
            raise Refused
        return value
    raw = isinstance(value, np.ndarray | Array) and value.dtype == jnp.uint32
    if not raw or value.shape not in ((2,), (4,)):
        raise Refused
    return value if isinstance(value, Array) else jax.device_put(value)


def _model(value: Any) -> Any:
    if isinstance(value, type | str | bytes | ModuleType | np.ma.MaskedArray):
        raise Refused
    arrays = [leaf for leaf in jax.tree.leaves(value) if isinstance(leaf, np.ndarray | Array)]
    if not (callable(value) or arrays):
        raise Refused
    return value


def _arrays(value: Any) -> Any:
    leaves = jax.tree.leaves(value)
    numeric = (int, float, np.ndarray, np.generic, Array)
    good = all(isinstance(leaf, numeric) for leaf in leaves) and bool(leaves)
    named = any(isinstance(leaf, np.ma.MaskedArray) or _of_text(leaf) for leaf in leaves)
    if isinstance(value, bool) or named or not good:
        raise Refused
    return value


def _function(value: Any) -> Any:
    if not callable(value) or isinstance(value, type):
        raise Refused
    return value


def _of_text(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "OUSMm"


def given_numbers(argument: str, out: PyTree) -> PyTree:
    """What a function of the user returned, if it is an array or a pytree of arrays.

    Args:
        argument: The name of the function among the arguments.
        out: What it returned.

    Raises:
        DeclarationError: For None, and for leaves that are no numbers.
    """
    kinds = (int, float, complex, np.ndarray, np.generic, Array, jax.ShapeDtypeStruct)
    leaves = jax.tree.leaves(out)
    wrong = [leaf for leaf in leaves if not isinstance(leaf, kinds) or _of_text(leaf)]
    if wrong or out is None:
        raise DeclarationError(
            argument,
            got=f"a function that returns {got(wrong[0] if wrong else out)}",
            expected="a function that returns an array, or a pytree of arrays",
            mend="return the numbers that it computes, with jax.numpy",
        )
    return out


Whole: TypeAlias = Annotated[int, whole(0)]
"""An integer that is not negative."""
Count: TypeAlias = Annotated[int, whole(1)]
"""An integer of at least 1."""
Number: TypeAlias = Annotated[float | Float[Array, ""], scalar(open_low=True, array=True)]
"""One finite real number; an array of jax without axes stays one."""
Positive: TypeAlias = Annotated[float | Float[Array, ""], scalar(0, open_low=True, array=True)]
"""One finite number above 0."""
NonNegative: TypeAlias = Annotated[float | Float[Array, ""], scalar(0, open_high=True, array=True)]
"""One finite number of at least 0."""
Fraction: TypeAlias = Annotated[float, scalar(0, 1, open_low=True, open_high=True)]
"""A number between 0 and 1, neither of them."""
Probability: TypeAlias = Annotated[float, scalar(0, 1)]
"""A number from 0 to 1."""
KEY = Constraint(
    "one key of jax.random",
    "pass key=jax.random.key(0); jax.random.split gives several, of which one is taken by an index",
    _key,
)
Key: TypeAlias = Annotated[PRNGKeyArray, KEY]
"""One key of jax.random, typed or raw."""
MODEL = Constraint(
    "a model: a pytree that holds arrays, or a function",
    "pass an equinox module, or bx.models.Function(fn, params)",
    _model,
)
Model: TypeAlias = Annotated[PyTree, MODEL]
"""A model: a pytree that holds arrays, such as an equinox module."""
ModelFunction: TypeAlias = Annotated[
    Callable, Constraint("a function of the model", "pass e.g. lambda model: model.w", _function)
]
"""A function of the model; a class is none."""
Arrays: TypeAlias = Annotated[
    PyTree, Constraint("arrays of numbers", "pass an array, or a pytree of arrays", _arrays)
]
"""A pytree of arrays or numbers, such as one datum."""
