"""What every example shares: flags, a JSON file of finite numbers, a figure."""

import json
import math
from pathlib import Path

import numpy as np


def plain(value):
    """Arrays and numbers as JSON; a number that is not finite becomes null."""
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
    """Write results as JSON."""
    if path is not None:
        path.write_text(json.dumps(plain(results), indent=1) + "\n")


def table(columns: dict) -> str:
    """Columns of equal length as text."""
    names = list(columns)
    rows = [names, *[[f"{x:.6g}" for x in row] for row in zip(*columns.values(), strict=True)]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(names))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
