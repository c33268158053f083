"""What every benchmark shares: flags, a JSON file, and times of compiled functions in turns."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Flags:
    """Flags of every benchmark; the docstring of a subclass says what `quick` cuts."""

    quick: bool = False
    """A small run, to see that it works."""
    json: Path | None = None
    """Where to write the results."""


@dataclass
class Seeded(Flags):
    """Flags of a benchmark with one seed."""

    seed: int = 0
    """Seed of all randomness, or the first of several."""


@dataclass
class Drawn(Flags):
    """Flags of a benchmark with a figure."""

    figure: Path | None = None
    """Where to draw the figure."""


def save(results: dict | list, path: Path | None) -> None:
    """Write results as JSON; a number that is not finite becomes null."""
    if path is not None:
        path.write_text(json.dumps(_finite(results), indent=1) + "\n")


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def seconds(calls: dict[str, Callable], rounds: int, least: float = 0.02) -> dict[str, float]:
    """Least seconds of each call over `rounds`, in turns, so that all feel the same load.

    The first call of each is a warm-up; a call is repeated until a round takes `least` seconds.
    """
    import jax  # here, so that a process can choose its cores first

    repeats = {}
    for name, call in calls.items():
        jax.block_until_ready(call())
        began = time.perf_counter()
        jax.block_until_ready(call())
        repeats[name] = max(1, round(least / (time.perf_counter() - began)))
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            for _ in range(repeats[name]):
                jax.block_until_ready(call())
            times[name].append((time.perf_counter() - began) / repeats[name])
    return {name: min(each) for name, each in times.items()}
