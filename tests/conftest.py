"""What every test runs under: float64, and hypothesis without surprises."""

import os

import hypothesis
import jax
import matplotlib

# one cache of compiled programs a process: two that write and read the same file can crash
if "JAX_COMPILATION_CACHE_DIR" in os.environ and "PYTEST_XDIST_WORKER" in os.environ:
    own = os.path.join(os.environ["JAX_COMPILATION_CACHE_DIR"], os.environ["PYTEST_XDIST_WORKER"])
    os.environ["JAX_COMPILATION_CACHE_DIR"] = own  # for processes that tests start
    jax.config.update("jax_compilation_cache_dir", own)

jax.config.update("jax_enable_x64", True)
matplotlib.use("agg")

hypothesis.settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=20,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=500)
hypothesis.settings.load_profile("ci")
