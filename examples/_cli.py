"""What examples and studies share: flags, a JSON file of finite numbers, tables."""

import dataclasses
import json
import math
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import boltzax as bx

BEGAN = time.time()


@dataclass
class Drawn:
    """Flags of every example and study; the docstring of a subclass says what `quick` cuts."""

    seed: int = 0
    """Seed of all randomness, or the first of several."""
    quick: bool = False
    """A small run, for a first look."""
    json: Path | None = None
    """Where to write the results."""
    figure: Path | None = None
    """Where to draw the figure."""


def plain(value):
    """Arrays, numbers, estimates and results as JSON; a number that is not finite becomes null."""
    if isinstance(value, bx.Curve):
        return {value.axis: plain(value.x)} | plain(value.values)
    if isinstance(value, bx.Estimate | bx.Influence):
        return {"value": plain(value.value), "standard_error": plain(value.standard_error)}
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, str | bool) or value is None:
        return value
    array = np.asarray(value)
    if array.ndim:
        return [plain(each) for each in array]
    number = array.item()
    return None if isinstance(number, float) and not math.isfinite(number) else number


def save(results: dict, path: Path | None) -> None:
    """Write results as JSON, with the time taken and the peak memory."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    results = results | {"seconds": time.time() - BEGAN, "peak_MiB": peak}
    print(f"{results['seconds']:.0f} s, peak memory {peak:.0f} MiB")
    if path is not None:
        path.write_text(json.dumps(plain(results), indent=1) + "\n")


def table(columns: dict) -> str:
    """Columns of equal length as text; estimates with their errors, curves after their places."""
    shown = {}
    for name, column in columns.items():
        if isinstance(column, bx.Curve):
            shown[column.axis] = column.x
        if isinstance(column, bx.Curve | bx.Estimate):
            shown |= {name: column.value, f"±{' ' * len(shown)}": column.standard_error}
        else:
            shown[name] = column
    rows = zip(*shown.values(), strict=True)
    cells = [
        [name.strip() for name in shown],
        *[[x if isinstance(x, str) else f"{x:.6g}" for x in row] for row in rows],
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(shown))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in cells
    )
