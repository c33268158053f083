"""Whether two models are one function of their weights."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from ..core import DeclarationError


def check_function(declared: PyTree, model: PyTree) -> None:
    """Raise `DeclarationError` if a model is another function than the declared one.

    Energies are evaluated with the declared model, of which only the weights are replaced: classes,
    static fields and functions must be those of the declared one. Functions are the same if their
    code and what they enclose are.
    """
    where = "" if declared is model else _difference(declared, model, "model")
    if where:
        raise DeclarationError(
            "model",
            got=f"a model with another {where} than the declared one",
            expected="the declared model with other weights",
            mend="compile a declaration of this model, or change the weights of the declared one, "
            "e.g. by eqx.tree_at",
        )


def _difference(one: Any, two: Any, path: str) -> str:
    """Where two models differ in what is no weight; empty if nowhere."""
    nodes = eqx.Module | Mapping | list | tuple
    if (isinstance(one, nodes) or isinstance(two, nodes)) and type(one) is not type(two):
        return f"class at `{path}`"
    if isinstance(one, eqx.Module):
        for field in dataclasses.fields(one):
            a, b = getattr(one, field.name, None), getattr(two, field.name, None)
            here = f"{path}.{field.name}"
            if field.metadata.get("static", False):
                if not _alike(a, b):
                    return f"`{here}`"
            elif found := _difference(a, b, here):
                return found
        return ""
    if isinstance(one, Mapping):
        if one.keys() != two.keys():
            return f"set of keys at `{path}`"
        parts = [(one[key], two[key], f"{path}[{key!r}]") for key in one]
    elif isinstance(one, list | tuple):
        if len(one) != len(two):
            return f"length at `{path}`"
        parts = [(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(one, two, strict=True))]
    else:
        return f"`{path}`" if callable(one) and not _alike(one, two) else ""
    return next((found for part in parts if (found := _difference(*part))), "")


def _alike(one: Any, two: Any) -> bool:
    """Whether two static values are equal, functions by their code and what they enclose."""
    if one is two:
        return True
    if isinstance(one, functools.partial) and isinstance(two, functools.partial):
        mine, other = ((each.func, *each.args, *each.keywords.values()) for each in (one, two))
        return list(one.keywords) == list(two.keywords) and _all_alike(mine, other)
    one, two = (getattr(each, "__wrapped__", each) for each in (one, two))
    mine, other = (getattr(each, "__code__", None) for each in (one, two))
    if mine is not None and other is not None:
        if mine.co_code != other.co_code or mine.co_names != other.co_names:
            return False
        constants = [
            tuple(c for c in code.co_consts if not hasattr(c, "co_code")) for code in (mine, other)
        ]
        cells = [
            tuple(cell.cell_contents for cell in each.__closure__ or ()) for each in (one, two)
        ]
        return _all_alike(*constants) and _all_alike(*cells)
    if isinstance(one, np.ndarray | jax.Array) or isinstance(two, np.ndarray | jax.Array):
        return np.array_equal(np.asarray(one), np.asarray(two))
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return _all_alike(tuple(one), tuple(two))
    if type(one) is not type(two):
        return False
    if type(one).__eq__ is object.__eq__:  # a module of another library, or a compiled function
        return getattr(one, "__name__", None) == getattr(two, "__name__", None)
    try:
        return bool(one == two)
    except (TypeError, ValueError):
        return True  # no equality to go by


def _all_alike(one: tuple, two: tuple) -> bool:
    return len(one) == len(two) and all(_alike(a, b) for a, b in zip(one, two, strict=True))
