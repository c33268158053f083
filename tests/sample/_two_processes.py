"""One of two processes that share a run, for `test_placement.py`: number, port, output."""

import sys

import jax
import numpy as np

import boltzax as bx

if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    number, port, output = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    if number >= 0:
        jax.distributed.initialize(f"127.0.0.1:{port}", 2, number, initialization_timeout=60)
    x = np.random.default_rng(0).normal(size=(40, 3))
    net = bx.models.MLP((3, 4, 1), key=jax.random.key(1))
    data = bx.Subsampled(bx.Empirical((x, np.sin(x[:, 0]))), 10)
    gibbs = bx.compile(bx.SquaredError(net, data), bx.Normal())
    placement = bx.Placement(jax.make_mesh((2,), ("chain",))) if number >= 0 else None
    if number >= 0:
        assert len(jax.local_devices()) == 1
        assert len(jax.devices()) == 2
    trace = bx.sample(
        gibbs, bx.SGLD(), key=jax.random.key(2), warmup=8, draws=8, throw=False,
        reduce={"norm": bx.Mean(lambda model: (model.weight[0] ** 2).sum(), length=4)},
        placement=placement,
    )  # fmt: skip
    np.savez(output, energy=trace.energy, **trace.w, norm=trace.reduced["norm"].value)
    assert np.isfinite(float(bx.learning_coefficient(trace).value))
