"""Runs over four devices of the host, for `test_placement.py`: prints what differs from one."""

import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

import boltzax as bx
from boltzax.sample._loop import _advance

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_enable_x64", True)

X = jax.random.normal(jax.random.key(0), (96, 3))
DATA = bx.Empirical((X, jnp.sin(X[:, 0])))
NET = bx.models.MLP((3, 4, 1), key=jax.random.key(1))
PLACES = {
    "chains": bx.Placement(jax.make_mesh((2,), ("chain",))),
    "data": bx.Placement(jax.make_mesh((2,), ("data",)), chains=None, data="data"),
    "both": bx.Placement(jax.make_mesh((2, 2), ("chain", "data")), data="data"),
    "weights": bx.Placement(
        jax.make_mesh((2, 2), ("chain", "model")), weights={"weight[0]": PartitionSpec("model")}
    ),
}
KERNELS = {
    "sgld": lambda: bx.SGLD(1e-4),
    "adam": bx.AdamSGLD,
    "underdamped": bx.Underdamped,
    "walk": bx.RandomWalk,
    "mala": bx.MALA,
    "hmc": bx.HMC,
    "nuts": bx.NUTS,
}


def run(name: str, placement: bx.Placement | None) -> tuple[bx.Trace, int]:
    """A short run, and how many programs its loop compiled."""
    stochastic = name in ("sgld", "adam", "underdamped")
    measure = bx.Subsampled(DATA, 20) if stochastic else DATA
    gibbs = bx.compile(bx.SquaredError(NET, measure), bx.Normal(), marginalise=False)
    before = _advance._cached._cache_size()
    trace = bx.sample(
        gibbs, KERNELS[name](), key=jax.random.key(2), warmup=4, draws=6, throw=False,
        placement=placement,
    )  # fmt: skip
    return trace, _advance._cached._cache_size() - before


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference, relative to the largest value."""
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))) / np.max(np.abs(np.asarray(b))))


def main(names: list[str]) -> None:
    """A line of JSON for each kernel and placement."""
    for pair in names:
        name, *places = pair.split(":")
        whole, _ = run(name, None)
        for place in places:
            began = time.perf_counter()
            trace, programs = run(name, PLACES[place])
            assert trace.gibbs.beta.sharding == whole.gibbs.beta.sharding
            found = {
                "kernel": name,
                "place": place,
                "same": all(np.array_equal(trace.w[path], whole.w[path]) for path in whole.w),
                "apart": max(apart(trace.w[path], whole.w[path]) for path in whole.w),
                "energies_apart": apart(trace.energy, whole.energy),
                "programs": programs,
                "seconds": time.perf_counter() - began,
            }
            sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
