"""Every public parameter refuses a value of a wrong kind with an error that names it.

The parameters are enumerated from the signatures. `typed` checks all arguments before the body
runs, so the other arguments need only be of the right kind: instances that were never initialised
serve. What is enumerated here costs no compilation.
"""

import importlib
import inspect
import itertools
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from jaxtyping import AbstractArray

import boltzax as bx
from boltzax.core import (
    ANYTHING,
    TYPED,
    Constraint,
    Count,
    DeclarationError,
    Key,
    Positive,
    Refused,
    Said,
    constraint_of,
    typed,
)

SPACES = ("boltzax", *(f"boltzax.{name}" for name in (
    "cases", "channels", "degrade", "interfaces", "meanfield", "theory", "models", "temperature",
    "testing", "report.plot",
)))  # fmt: skip
LATER: tuple[str, ...] = ()
"""Folders whose public functions are not all decorated yet: this list only shrinks."""
FREE: dict[str, str] = {
    "boltzax.testing.check_dynamics:start": "what the dynamics starts from",
    "boltzax.interfaces.Counterexample.__init__:value": "a logical value: any that can be a key",
    "boltzax.interfaces.SubsetEntropy.interaction:whole": "the name of a subset, looked up there",
    "boltzax.models.Function.__init__:params": "any pytree: `compile` looks for weights in it",
    "boltzax.Interface.index:value": "a logical value, looked up among those there are",
    "boltzax.Interface.contains:value": "a logical value, looked up among those there are",
    "boltzax.tap:value": "any pytree: its arrays are named",
    "boltzax.save:result": "any result; what cannot be stored is told with its place in it",
    "boltzax.load:declared": "what was declared, compared with what was stored",
    "boltzax.Checkpoints.open:state": "any pytree, of the structure that was saved",
    "boltzax.Placement.lay:start": "any pytree of arrays that the dynamics starts with",
    "boltzax.Blackjax:options": "options of blackjax, looked up in the signature of the algorithm",
    "boltzax.meanfield.Langevin.step:state": "any pytree: what `init` gave",
    "boltzax.meanfield.Descent.step:state": "any pytree: what `init` gave",
    "boltzax.run:start": "any pytree: `init` of the dynamics looks at it",
    "boltzax.Run.__init__:state": "any pytree: the state of the dynamics",
    "boltzax.testing.ClaimReport.__init__:case": "a case: what the domain of the claim holds",
    "boltzax.testing.with_fields:fields": "fields of a class: any values",
}
"""Parameters that take anything, `owner.function:parameter`, and what looks at their meaning."""


class Opaque:
    """A value of no kind at all."""


WRONG = [
    Opaque(), Opaque, None, "text", b"bytes", 1j, True, -3, 2.5, float("nan"), [], {}, (None,),
    {"a": Opaque()}, [Opaque()], len, slice(None), np.array(["a", "b"]), np.ma.ones(2),
    np.ones((2, 2, 2, 2, 2, 2)), np.array(1j), jax.random.key(0), eqx.Module, bx.NUTS, bx,
]  # fmt: skip


def public() -> Iterator[tuple[str, Callable, type | None]]:
    """Every public function, constructor and method: its name, itself, and its class."""
    seen = set()
    for space in SPACES:
        module = importlib.import_module(space)
        for name in module.__all__:
            value = getattr(module, name)
            if id(value) in seen or isinstance(value, types.ModuleType):
                continue
            seen.add(id(value))
            label = f"{space}.{name}"
            if isinstance(value, type):
                yield from ((f"{label}{part}", fn, value) for part, fn in _members(value))
            elif callable(value) and _ours(value, space) and inspect.signature(value).parameters:
                yield label, value, None


def _ours(function: Callable, space: str) -> bool:
    """Whether a function is of this package; strategies are made by hypothesis."""
    return function.__module__.startswith("boltzax") or space.endswith("testing")


def _members(kind: type) -> Iterator[tuple[str, Callable]]:
    plain = issubclass(kind, BaseException | tuple | eqx.Enumeration)
    if not kind.__module__.startswith("boltzax") or plain:
        return
    abstract = getattr(kind, "__abstractmethods__", frozenset())
    for name, member in vars(kind).items():
        method = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        shown = name == "__init__" or not name.startswith("_")
        if not shown or name in abstract or not inspect.isfunction(method):
            continue
        if len(inspect.signature(method).parameters) > (not isinstance(member, staticmethod)):
            yield f".{name}", method


def folder(fn: Callable, owner: type | None) -> str:
    module = (owner or inspect.unwrap(fn)).__module__
    # strategies are made by hypothesis
    return module.split(".")[1] if module.startswith("boltzax.") else "testing"


def parameters(name: str, fn: Callable) -> list[tuple[str, Any]]:
    """Parameters and their annotations, without the object itself."""
    rules = TYPED[fn]()
    shown = [each for each in rules.signature.parameters if each not in ("self", "cls")]
    return [(each, rules.hints.get(each, inspect.Parameter.empty)) for each in shown]


PUBLIC = list(public())
CHECKED = [each for each in PUBLIC if each[1] in TYPED]


def test_every_public_function_is_checked():
    missing = [name for name, fn, owner in PUBLIC if fn not in TYPED]
    late = [name for name, fn, owner in PUBLIC if fn not in TYPED and folder(fn, owner) in LATER]
    assert sorted(set(missing) - set(late)) == []
    done = [each for each in LATER if not any(
        folder(fn, owner) == each for name, fn, owner in PUBLIC if fn not in TYPED
    )]  # fmt: skip
    assert done == [], "take these folders from the list"


@pytest.mark.parametrize("name, fn, owner", CHECKED, ids=[name for name, _, _ in CHECKED])
def test_wrong_kinds(name, fn, owner):
    assert complaints(name, fn, owner) == []


def complaints(name: str, fn: Callable, owner: type | None = None) -> list[str]:
    """The parameters of a function that take what they should not, or that are not named."""
    found = []
    pairs = parameters(name, fn)
    for parameter, hint in pairs:
        constraint = constraint_of(hint)
        if not _refuses(constraint, WRONG[0]):
            if f"{name}:{parameter}" not in FREE:
                found.append(f"{parameter} takes anything ({hint})")
            continue
        default = TYPED[fn]().signature.parameters[parameter].default
        for wrong in WRONG:
            if _refuses(constraint, wrong) and wrong is not default:
                error = _call(fn, owner, dict(pairs), parameter, wrong)
                if error is not None:
                    found.append(f"{parameter}={wrong!r:.40}: {error}")
    return found


def _refuses(constraint: Constraint, value: Any) -> bool:
    try:
        constraint.take(value)
    except Refused:
        return True
    return False


def _call(fn, owner, hints: dict[str, Any], parameter: str, wrong: Any) -> str | None:
    """What is wrong with the error of a call; None if it is as it should be."""
    signature = TYPED[fn]().signature
    given = {}
    for name, hint in hints.items():
        kind = signature.parameters[name].kind
        needed = signature.parameters[name].default is inspect.Parameter.empty
        various = kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        if name == parameter:
            given[name] = wrong
        elif needed and not various:
            given[name] = valid(hint)
    various = signature.parameters[parameter].kind is inspect.Parameter.VAR_POSITIONAL
    if various:
        given.pop(parameter)
    before = (
        inspect.Parameter.POSITIONAL_ONLY,
        *[inspect.Parameter.POSITIONAL_OR_KEYWORD] * various,
    )
    positional = [
        given.pop(name) for name, each in signature.parameters.items()
        if each.kind in before and name in given
    ]  # fmt: skip
    positional += [wrong] * various
    first = [name for name in signature.parameters if name in ("self", "cls")]
    this = [next(_instances(owner))] if first and owner is not None else []
    try:
        fn(*this, *positional, **given)
    except DeclarationError as error:
        whole = all(str(part).strip() for part in (error.got, error.expected, error.mend))
        called = constraint_of(hints[parameter]).called or parameter
        named = error.argument.split("[")[0].split(".")[0] == called
        return None if named and whole else f"names {error.argument}: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error!s:.200}"
    return "was accepted"


def valid(hint: Any) -> Any:
    """A value of the kind that an annotation asks for; instances are not initialised."""
    constraint = constraint_of(hint)
    # arrays before empty sequences: axes of one name have one size, which is 2 here
    for value in itertools.chain(_candidates(hint), _arrays(), ((), {}, set())):
        if not _refuses(constraint, value):
            return value
    raise AssertionError(f"no value of {hint}")


def _candidates(hint: Any) -> Iterator[Any]:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        yield from _arrays()  # axes of one name have one size in all arguments
    plain = (4, 3, 20_001, 0.5, 2.0, True, "text", len, jax.random.key(0), slice(None), None)
    yield from plain
    if origin is Annotated:
        yield from _candidates(parts[0])
    elif origin in (typing.Union, types.UnionType):
        for part in parts:
            yield from _candidates(part)
    elif origin is Literal:
        yield from parts
    elif isinstance(origin, type) and issubclass(origin, tuple | Sequence):
        members = [valid(part) for part in parts if part is not Ellipsis]
        yield tuple(members)
        yield list(members)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield {valid(parts[0]): valid(parts[1])}
    elif isinstance(hint, type):
        yield from _instances(hint)


def _instances(kind: type) -> Iterator[Any]:
    for each in (kind, *kind.__subclasses__()):
        try:
            yield tuple.__new__(each) if issubclass(each, tuple) else object.__new__(each)
        except TypeError:
            if each is not kind:
                yield from _instances(each)


def _arrays() -> Iterator[Any]:
    for dtype in (float, int, bool):
        yield from (np.ones((2,) * axes, dtype) for axes in range(7))
    yield bx.Normal()
    yield optax.sgd(0.1)


# --- planted breaches


def test_a_parameter_that_takes_anything_is_told():
    @typed
    def verb(model, count: Count):
        return model

    assert complaints("verb", verb)[0].startswith("model takes anything")


def test_a_check_after_another_is_told():
    """A function whose body looks at one argument before the other was checked."""

    @typed
    def verb(count: Count, step: Any):
        if not isinstance(step, float):
            raise ValueError("step")
        return step

    verb_of = TYPED[verb]
    TYPED[verb] = lambda: verb_of()._replace(hints={"count": Count, "step": Positive})
    assert any("step" in each and "ValueError" in each for each in complaints("verb", verb))


def test_a_right_function_is_not_told():
    @typed
    def verb(count: Count, step: Positive = 1.0, *, key: Key):
        return step

    assert complaints("verb", verb) == []


def test_words_that_are_said_besides_the_type():
    @typed
    def verb(*paths: Annotated[str, Said("a path", "name one", called="Verb")]):
        return paths

    assert complaints("verb", verb) == []
    with pytest.raises(DeclarationError) as caught:
        verb("a", 3)  # pyright: ignore
    error = caught.value
    assert (error.argument, error.expected, error.mend) == ("Verb", "a path", "name one")


def test_constraints_of_what_cannot_be_told():
    assert constraint_of(Any) is ANYTHING


DONE = {
    "channels",
    "degrade",
    "meanfield",
    "cases",
    "core",
    "compile",
    "declare",
    "interfaces",
    "numerics",
    "theory",
    "report",
    "testing",
    "sample",
    "observe",
}


def test_packages_import():
    """Enumerated are all folders: a new one must be listed."""
    folders = {each.name for each in pkgutil.iter_modules(bx.__path__) if each.ispkg}
    assert folders - set(LATER) <= DONE
