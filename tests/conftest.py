"""What every test runs under: float64, and hypothesis without surprises."""

import gc
import os
import subprocess
import sys

import hypothesis
import jax
import matplotlib
import pytest

FLAGS = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    " --xla_cpu_parallel_codegen_split_count=1",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false",
    "--xla_backend_optimization_level=0",
    "",
)
"""Most of the time of tests goes into compiling programs that run once: the first of these that XLA
knows (one that it does not know ends the process)."""


def known_to_xla(flags: str) -> bool:
    start = [sys.executable, "-c", "import jax; jax.devices()"]
    given = os.environ | {"XLA_FLAGS": flags}
    return not subprocess.run(start, env=given, capture_output=True, check=False).returncode


if "XLA_FLAGS" not in os.environ:  # the workers of xdist have those of the process that starts them
    os.environ["XLA_FLAGS"] = next(flags for flags in FLAGS if known_to_xla(flags))

# one cache of compiled programs a process: two that write and read the same file can crash
if "JAX_COMPILATION_CACHE_DIR" in os.environ and "PYTEST_XDIST_WORKER" in os.environ:
    own = os.path.join(os.environ["JAX_COMPILATION_CACHE_DIR"], os.environ["PYTEST_XDIST_WORKER"])
    os.environ["JAX_COMPILATION_CACHE_DIR"] = own  # for processes that tests start
    jax.config.update("jax_compilation_cache_dir", own)

jax.config.update("jax_enable_x64", True)
matplotlib.use("agg")


def pytest_collection_finish():
    """Let Python look for cycles seldom: what is traced is many objects that live long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


hypothesis.settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=12,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=500)
hypothesis.settings.load_profile("ci")


MOST_MAPS = 40_000
"""Compiled programs hold maps of memory; Linux grants a process 65,530, and without one it dies.
No module makes 10,000. To forget them takes seconds."""


@pytest.fixture(autouse=True, scope="module")
def few_compiled_programs():
    """Forget compiled programs between modules where they have become many."""
    yield
    try:
        with open("/proc/self/maps") as maps:
            many = sum(1 for _ in maps) > MOST_MAPS
    except OSError:  # not on Linux
        many = False
    if many:
        jax.clear_caches()
        gc.collect()
