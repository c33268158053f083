"""Verbs of a chain take what it is made of, for one release: components, candidates, ends."""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..core import TYPED
from ..declare import Chain, Component, Family, Interface


def of_chain(*names: str, points: int = 33) -> Callable:
    """Decorator of a verb whose first argument is a `Chain`.

    Args:
        names: What was given in place of the chain: `components`, `first`, `last`, and `families`
            (of each joint, or one for all) or `candidates` (interfaces for the one joint).
        points: The points of contracts that the verb used to take by itself.
    """

    def decorate(verb: Callable) -> Any:
        @functools.wraps(verb)
        def call(*args, **kwargs):
            given = dict(zip(names, args, strict=False))
            given |= {name: kwargs[name] for name in names if name in kwargs}
            parts = given.get("components", ())
            old = isinstance(parts, tuple | list) and len(parts) > 0
            if not old or not all(isinstance(part, Component) for part in parts):
                return verb(*args, **kwargs)
            warnings.warn(
                f"{verb.__name__}({', '.join(names)}) is now {verb.__name__}(chain), with "
                "chain = bx.Chain(components, [first, ..., last]); the old form will go with the "
                "next release",
                DeprecationWarning,
                stacklevel=2,
            )
            more = {name: value for name, value in kwargs.items() if name not in (*names, "points")}
            return verb(_chain(given, kwargs.get("points", points)), **more)

        TYPED[call] = TYPED[verb]
        return call

    return decorate


def _chain(given: dict[str, Any], points: int) -> Chain:
    components = given["components"]
    joints: Sequence[Interface | Family | None] = [None] * (len(components) - 1)
    if "families" in given:
        families = given["families"]
        joints = [families] * len(joints) if isinstance(families, Family) else list(families)
    if "candidates" in given:
        joints = [Family.of(given["candidates"])]
    return Chain(components, [given["first"], *joints, given["last"]], points=points)
