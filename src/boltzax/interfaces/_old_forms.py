"""Old ways to call a verb, which work for one release with a warning."""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from ..core import TYPED, DeclarationError
from ..declare import Chain, Component, Family, Interface

Verb = TypeVar("Verb", bound=Callable)


def of_words(names: Mapping[str, str], **values: Mapping[str, str]) -> Callable[[Verb], Verb]:
    """Decorator of a verb of which keywords, or words that they take, have changed.

    Args:
        names: The new keyword for each old one.
        values: For a (new) keyword, the new word for each old one.
    """

    def decorate(verb: Verb) -> Verb:
        @functools.wraps(verb)
        def call(*args, **kwargs):
            told = []
            for old in names.keys() & kwargs.keys():
                if names[old] in kwargs:
                    raise TypeError(f"{verb.__name__}() takes {old}= or {names[old]}=, not both")
                kwargs[names[old]] = kwargs.pop(old)
                told.append(f"{old}= is now {names[old]}=")
            for name, words in values.items():
                old = kwargs.get(name)
                if isinstance(old, str) and old in words:
                    kwargs[name] = words[old]
                    told.append(f"{old!r} is now {words[old]!r}")
            if told:
                told = f"{verb.__name__}: {', '.join(sorted(told))}"
                warnings.warn(
                    f"{told}; the old form will go with the next release",
                    DeprecationWarning,
                    stacklevel=2,
                )
            return verb(*args, **kwargs)

        TYPED[call] = TYPED[verb]
        return cast(Verb, call)

    return decorate


def of_chain(*names: str, points: int = 33, formerly: str = "") -> Callable:
    """Decorator of a verb whose first argument is a `Chain`.

    Args:
        names: What was given in place of the chain: `components`, `first`, `last`, and `families`
            (of each joint, or one for all) or `candidates` (interfaces for the one joint).
        points: The points of contracts that the verb used to take by itself.
        formerly: The old name of the verb, for a function that stands for it: any call warns.
    """

    def decorate(verb: Callable) -> Any:
        @functools.wraps(verb)
        def call(*args, **kwargs):
            given = dict(zip(names, args, strict=False))
            given |= {name: kwargs[name] for name in names if name in kwargs}
            parts = given.get("components")
            old = isinstance(parts, tuple | list)
            if old:
                _check(verb.__name__, names, given, parts)
            if old or formerly:
                warnings.warn(
                    f"{formerly or verb.__name__}({', '.join(names)}) is now "
                    f"{verb.__name__}(chain), with chain = bx.Chain(components, [first, ..., "
                    "last]); the old form will go with the next release",
                    DeprecationWarning,
                    stacklevel=2,
                )
            if not old:
                return verb(*args, **kwargs)
            more = {name: value for name, value in kwargs.items() if name not in (*names, "points")}
            return verb(_chain(given, kwargs.get("points", points)), **more)

        TYPED[call] = TYPED[verb]
        return call

    return decorate


def _check(verb: str, names: Sequence[str], given: Mapping[str, Any], parts: Sequence) -> None:
    mend = f"write {verb}(chain), with chain = bx.Chain(components, [first, ..., last])"
    wrong = [repr(part) for part in parts if not isinstance(part, Component)]
    if wrong or not parts:
        raise DeclarationError(
            "components",
            got=wrong[0] if wrong else "none",
            expected="a bx.Chain, or at least one bx.Component",
            mend=mend,
        )
    for name in names:
        if name not in given:
            raise DeclarationError(
                name, got="nothing", expected=f"the arguments {', '.join(names)}", mend=mend
            )


def _chain(given: dict[str, Any], points: int) -> Chain:
    components = given["components"]
    joints: Sequence[Interface | Family | None] = [None] * (len(components) - 1)
    if "families" in given:
        families = given["families"]
        joints = [families] * len(joints) if isinstance(families, Family) else list(families)
    if "candidates" in given:
        joints = [Family.of(given["candidates"])]
    return Chain(components, [given["first"], *joints, given["last"]], points=points)
