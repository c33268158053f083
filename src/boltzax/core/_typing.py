"""Run-time checking of public calls against their annotations."""

import functools
import inspect
import operator
import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

from jaxtyping import jaxtyped

from ._arguments import Constraint, Refused, got
from ._constraints import ANYTHING, WORDS, constraint_of
from ._precision import full_products

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Class = TypeVar("Class", bound=type)
Decorated = TypeVar("Decorated", bound=Callable)


class Rules(NamedTuple):
    """The signature of a function, its annotations `hints`, and their constraints."""

    signature: inspect.Signature
    constraints: dict[str, Constraint]
    hints: dict[str, Any]
    returns: Any


CONSTRUCTORS = ("__init__", "__call__")
"""Methods with underscores whose arguments are checked too."""
TYPED: "weakref.WeakKeyDictionary[Callable, Callable[[], Rules]]" = weakref.WeakKeyDictionary()
"""The functions whose arguments are checked, and their rules."""


def typed(declared: Decorated) -> Decorated:
    """Decorator of public functions and classes: arguments are checked against their annotations.

    The constraint is the type: `draws: Count`, `step_size: Positive`, `key: Key`, a class, a union
    of them. Values are converted to their standard form (an `np.int64` to an `int`). The check runs
    when the function is called or traced, never in each step of a compiled loop. Axes of the same
    name have the same size in all arguments. Inside, matrices are multiplied in full precision (see
    `full_products`).

    For a class, its constructor and the public methods that it defines are decorated. A parameter
    without an annotation has that of the same method of a base class.

    Args:
        declared: The function or the class.

    Raises:
        DeclarationError: On the call, for a value that its parameter does not take.
    """
    checked: Any = declared
    return _typed_class(checked) if isinstance(declared, type) else _typed_function(checked)


def described(words: str, mend: str) -> Callable[[Class], Class]:
    """Decorator of classes: the words of errors where an argument must be of this class.

    Args:
        words: The name of an instance, such as "a kernel".
        mend: How to make one, such as "pass e.g. bx.NUTS()".
    """

    def decorate(kind: Class) -> Class:
        WORDS[kind] = (words, mend)
        return kind

    return decorate


def renamed_arguments(**names: str) -> Callable[[Decorated], Decorated]:
    """Decorator of functions and classes whose keyword arguments have changed their names.

    The old ones work, with a warning; of a class, the attributes of the old names too.

    Args:
        names: The new name for each old one.
    """

    def decorate(declared: Decorated) -> Decorated:
        changed: Any = declared
        if isinstance(declared, type):
            changed.__init__ = _renamed(declared.__init__, declared.__qualname__, names)
            for old, new in names.items():
                setattr(changed, old, property(operator.attrgetter(new)))
            return changed
        return _renamed(declared, declared.__qualname__, names)

    return decorate


def _renamed(fn: Callable, owner: str, names: dict[str, str]) -> Any:
    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        for old in names.keys() & kwargs.keys():
            told = f"the argument {old!r} of {owner} is now {names[old]!r}"
            warnings.warn(f"{told}; the old name will go with the next release",
                          DeprecationWarning, stacklevel=2)  # fmt: skip
            kwargs[names[old]] = kwargs.pop(old)
        return fn(*args, **kwargs)

    if fn in TYPED:
        TYPED[call] = TYPED[fn]
    return call


def _typed_function(fn: Callable[Arguments, Result], owner: type | None = None) -> Any:
    @functools.cache
    def rules() -> Rules:
        return _rules(fn, owner)

    @functools.wraps(fn)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        signature, constraints, _, returns = rules()
        bound = signature.bind(*args, **kwargs)  # a wrong call is Python's own TypeError
        with full_products(), jaxtyped("context"):
            for name, constraint in constraints.items():
                if name in bound.arguments:
                    given = bound.arguments[name]
                    bound.arguments[name] = _checked(constraint, name, given, signature)
            result = fn(*bound.args, **bound.kwargs)
            assert _is_declared(result, returns), f"{fn.__qualname__} returned {got(result)}"
        return result

    TYPED[call] = rules
    return call


def _is_declared(result: Any, returns: Any) -> bool:
    """Whether a result agrees with its annotation; arrays of numpy may replace those of jax."""
    if returns is None:
        return True
    from beartype.door import is_bearable  # a good part of the time to import boltzax

    if is_bearable(result, returns):
        return True
    try:
        constraint_of(returns).take(result)
    except Refused:
        return False
    return True


def _checked(constraint: Constraint, name: str, value: Any, signature: inspect.Signature) -> Any:
    kind, called = signature.parameters[name].kind, constraint.called
    if kind is inspect.Parameter.VAR_POSITIONAL:
        entries = enumerate(value)
        return tuple(constraint.check(called or f"{name}[{i}]", entry) for i, entry in entries)
    if kind is inspect.Parameter.VAR_KEYWORD:
        names = {key: f"{called}[{key!r}]" if called else key for key in value}
        return {key: constraint.check(names[key], entry) for key, entry in value.items()}
    if value is signature.parameters[name].default:
        return value
    return constraint.check(called or name, value)


def _rules(fn: Callable, owner: type | None) -> Rules:
    signature = inspect.signature(fn)
    inherited: dict[str, Any] = {}
    if owner is not None:
        for base in reversed(owner.__mro__[1:]):
            inherited |= _hints(vars(base).get(fn.__name__), base)
    hints = inherited | _hints(fn, owner)
    constraints = {p: constraint_of(hints[p]) for p in signature.parameters if p in hints}
    checked = {name: limit for name, limit in constraints.items() if limit is not ANYTHING}
    # a decorator such as contextmanager returns something else than the generator that it wraps
    returns = None if inspect.isgeneratorfunction(inspect.unwrap(fn)) else hints.get("return")
    return Rules(signature, checked, hints, returns)


def _hints(member: Any, owner: type | None) -> dict[str, Any]:
    """The annotations of a function or a method; `Any` for one that cannot be resolved."""
    fn = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    if not inspect.isfunction(fn):
        return {}
    fn = inspect.unwrap(fn)
    # the constructor that dataclasses write has globals of its own
    names = fn.__globals__ if owner is None else vars(sys.modules[owner.__module__])
    hints = inspect.get_annotations(fn).items()
    return {name: _resolved(hint, names) if isinstance(hint, str) else hint for name, hint in hints}


def _resolved(hint: str, names: dict[str, Any]) -> Any:
    try:
        return eval(hint, names)
    except NameError:  # imported for type checkers alone
        return Any


def _typed_class(kind: type) -> Any:
    for name, member in list(vars(kind).items()):
        if name.startswith("_") and name not in CONSTRUCTORS:
            continue
        wrapper = type(member) if isinstance(member, classmethod | staticmethod) else None
        method = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        abstract = inspect.isfunction(method) and method in abstract_methods(kind)
        if not inspect.isfunction(method) or method in TYPED or abstract:
            continue
        if len(inspect.signature(method).parameters) <= (wrapper is not staticmethod):
            continue  # the object itself is the only argument
        checked = _typed_function(method, kind)
        setattr(kind, name, wrapper(checked) if wrapper else checked)
    return kind


def abstract_methods(kind: type) -> set[Callable]:
    """The abstract methods that a class declares."""
    names = vars(kind).get("__abstractmethods__", frozenset())
    return {method for name, method in vars(kind).items() if name in names and callable(method)}
