"""Fingerprints: everything that the draws of a run depend on, in a form that can be compared.

A fingerprint is a flat dictionary from readable paths (`gibbs.potential.parts[0].rows[0]`) to
values: numbers as they are, arrays by shape, dtype and sha256 of their bytes, functions by name,
bytecode and closure. It is written as JSON beside the files that it describes.
"""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ..core import LIBRARIES, Reader, in_library, name_of
from ._run_plan import Plan

SOFT = "made by "
"""Begins the names of entries that may differ between a run and its resumption (versions)."""

Fingerprint = dict[str, Any]


def fingerprint(plan: Plan) -> Fingerprint:
    """The fingerprint of a run: its declaration, its settings, and what makes it."""
    reader = Reader()
    held = vars(plan.dynamics)
    values = [(name, held[name]) for name in sorted(held, key=lambda name: (name != "gibbs", name))]
    values += [(name, vars(plan)[name]) for name in ("start", "key", "warmup", "thin", "rows")]
    # the class comes last: what the measure reaches then has the names that `describe` gives it
    found = {name: each for pair in values for name, each in reader.walk(*pair)}
    found |= dict(reader.walk("dynamics", type(plan.dynamics)))
    sink = None if plan.sink is None else name_of(type(plan.sink))
    return made_by() | _packages(reader) | found | {"sink": sink, "steps": STEPS}


STEPS = "warm-up to the step"
"""How the steps of a run are numbered; runs of other versions count otherwise."""


def made_by() -> Fingerprint:
    """Versions and devices: what may differ between a run and its resumption."""
    found: Fingerprint = {name: _version(name) for name in ("jax", "jaxlib", "numpyro", "boltzax")}
    found["python"] = ".".join(platform.python_version_tuple()[:2])
    found["devices"] = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    return {f"{SOFT}{name}": value for name, value in found.items()}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def _packages(reader: Reader) -> Fingerprint:
    """Versions of other packages whose code was named and not read."""
    tops = {module.split(".")[0] for module in reader.modules if in_library(module)}
    tops -= {*LIBRARIES, *sys.stdlib_module_names}
    return {f"{SOFT}{top}": _version(top) for top in sorted(tops)}


def describe(path: str, value: PyTree) -> Fingerprint:
    """The entries of one value, under names that begin with `path`."""
    reader = Reader()
    found = dict(reader.walk(path, value))
    return found | _packages(reader)


def differences(old: Fingerprint, new: Fingerprint) -> tuple[list[str], list[str]]:
    """What differs, a line each: what the draws depend on, and then what may differ.

    Under other versions or devices, arrays that boltzax computed can differ by rounding, and
    bytecode does: then floating-point arrays need only agree to six digits in their mean and norm,
    and functions in their names.
    """
    soft = [name for name in {**old, **new} if name.startswith(SOFT)]
    changed = sorted(name for name in set(soft) if old.get(name) != new.get(name))
    other = [f"{name.removeprefix(SOFT)}: {old.get(name)} -> {new.get(name)}" for name in changed]
    lines = []
    for name in sorted({**old, **new}, key=lambda name: (name not in new, name)):
        if name.startswith(SOFT):
            continue
        if name not in old or name not in new:
            have, which = (old, "gone") if name in old else (new, "new")
            lines.append(f"{name}: {which} ({_short(have[name])})")
        elif _plain(old[name]) != _plain(new[name]) and not (other and _near(old[name], new[name])):
            lines.append(f"{name}: {_change(old[name], new[name])}")
    return lines, other


def _plain(entry: Any) -> Any:
    """An entry without the parts that only help to compare it."""
    return {k: v for k, v in entry.items() if k != "moments"} if isinstance(entry, dict) else entry


def _near(old: Any, new: Any) -> bool:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return False
    if "code" in old and "code" in new:
        return old.get("function") == new.get("function")
    same = all(old.get(name) == new.get(name) for name in ("shape", "dtype"))
    moments = old.get("moments"), new.get("moments")
    return same and None not in moments and bool(np.allclose(*moments, rtol=1e-6, atol=1e-12))


def _change(old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        if "shape" in old and "shape" in new:
            if old["shape"] == new["shape"] and old["dtype"] == new["dtype"]:
                if "value" in old and "value" in new:
                    return f"{old['value']} -> {new['value']}"
                return f"data changed (shape {_shape(old)} both, other values)"
            return f"{_short(old)} -> {_short(new)}"
        if "code" in old and "code" in new and _short(old) == _short(new):
            return f"{_short(old)} has another body"
    return f"{_short(old)} -> {_short(new)}"


def _shape(entry: dict) -> str:
    return str(tuple(entry["shape"]))


def _short(entry: Any) -> str:
    if not isinstance(entry, dict):
        return f"{entry:.80}" if isinstance(entry, str) else f"{entry}"
    if "code" in entry:
        return entry["function"] if "function" in entry else entry["text"]
    return str(entry["value"]) if "value" in entry else f"{entry['dtype']} {_shape(entry)}"
