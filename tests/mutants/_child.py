"""The process that tests one mutant. It is forked from one that holds the libraries, but nothing of
the package: no thread of JAX runs there yet, and each mutant is imported anew."""

import os
import sys

LIBRARIES = (
    *("jax", "jax.numpy", "equinox", "jaxtyping", "beartype", "optax", "optimistix", "matfree"),
    *("numpyro", "numpyro.distributions", "numpyro.infer", "scipy.stats", "scipy.optimize"),
    *("scipy.special", "scipy.integrate", "flint", "hypothesis", "matplotlib.pyplot", "pytest"),
    *("tqdm", "hypothesis.strategies", "xdist.plugin", "pytest_cov.plugin"),
)


def pytest_in(tree: str, arguments: list[str], output: str) -> None:
    """Run pytest in a tree, its text into a file; the status of the process is that of pytest."""
    os.setsid()  # what tests start ends with it
    os.chdir(tree)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.path.insert(0, os.path.join(tree, "src"))
    import pytest

    status = int(pytest.main(arguments))
    sys.stdout.flush()
    os._exit(status)  # to take compiled programs down takes seconds
