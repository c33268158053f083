"""What it costs to begin: importing boltzax, and the first estimate of a tiny model.

Each number comes from fresh interpreters. The ratio is the time of `import boltzax` (with all that
it needs) to that of importing jax, equinox and numpyro: medians of runs taken in turns, less that
of an empty program. At most 1.3 is wanted. The first estimate, imports and compilation included and
nothing cached, is wanted within 15 s on an idle machine.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import tyro
from _common import Seeded, save

BASE = "import jax, equinox, numpyro"
OURS = "import boltzax"
FIRST = """
import jax
import jax.numpy as jnp
import boltzax as bx
energy = bx.SquaredError(bx.models.TwoLayer(2), bx.GaussianMeasure(1), target=bx.zero)
prior = bx.Independent(readout=bx.Normal(), embedding=bx.Normal())
gibbs = bx.compile(energy, prior, beta=100.0)
trace = bx.sample(gibbs, key=jax.random.key({seed}), throw=False)
print(bx.learning_coefficient(trace))
"""


@dataclass
class Options(Seeded):
    """How often.

    Quick: fewer interpreters.
    """

    repeats: int = 7
    """Interpreters a median."""


def fresh(code: str) -> tuple[float, float, str]:
    """Wall and CPU seconds of a program in a fresh interpreter, and what it prints."""
    # a cache of compiled kernels must not help; compiled modules do, as in an installed package
    drop = ("JAX_COMPILATION_CACHE_DIR", "PYTHONSTARTUP", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if name not in drop}
    command, began, before = [sys.executable, "-c", code], time.perf_counter(), children()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return time.perf_counter() - began, children() - before, done.stdout.strip()


def children() -> float:
    """CPU seconds of all finished subprocesses."""
    times = os.times()
    return times.children_user + times.children_system


def main(options: Options) -> None:
    """Time, print, write what was asked for."""
    repeats = min(options.repeats, 3) if options.quick else options.repeats
    runs = {"pass": [], BASE: [], OURS: []}
    for code in runs:
        fresh(code)  # fills the caches of the file system
    for _ in range(repeats):
        for code, each in runs.items():
            each.append(fresh(code)[:2])
    bare, base, ours = (np.median(each, axis=0) for each in runs.values())
    wall, cpu = (ours - bare) / (base - bare)
    first = [fresh(FIRST.format(seed=options.seed)) for _ in range(1 if options.quick else 3)]
    first_wall, first_cpu = np.median([each[:2] for each in first], axis=0)
    results = {
        "import_seconds": float(ours[0]),
        "base_import_seconds": float(base[0]),
        "import_ratio": float(wall),
        "import_ratio_cpu": float(cpu),
        "import_ratio_wanted": 1.3,
        "first_estimate_seconds": float(first_wall),
        "first_estimate_cpu_seconds": float(first_cpu),
        "first_estimate_seconds_wanted": 15.0,
        "repeats": repeats,
    }
    print(f"import boltzax: {ours[0]:.2f} s; against jax, equinox and numpyro {wall:.2f}:1 by wall")
    print(f"clock, {cpu:.2f}:1 by CPU seconds (wanted: at most 1.3)")
    print(f"first estimate: {first_wall:.1f} s, {first_cpu:.1f} s of CPU (wanted: at most 15)")
    print(first[0][2])
    save(results, options.json)


if __name__ == "__main__":
    main(tyro.cli(Options))
