"""The precision of products of matrices."""

import contextlib
from collections.abc import Iterator

import jax

FULL = "highest"
"""The precision of JAX in which products have all digits of their number format."""


def _chosen() -> str | None:
    """The precision of products of matrices that the user has set, if any."""
    return jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]


def shortened() -> bool:
    """Whether the user has set products of matrices to fewer digits than the format has."""
    return _chosen() not in (None, FULL, "float32")


@contextlib.contextmanager
def full_products() -> Iterator[None]:
    """Multiply matrices in all digits of their format: a context, or a decorator of a function.

    On accelerators JAX multiplies float32 matrices, and convolves, with 8 or 11 bits by default.
    The relative error of a loss is then 1e-4, which times `n β` is many nats. The errors at
    neighbouring weights are equal, so that no comparison of neighbours detects them. A setting of
    the user (`jax_default_matmul_precision`, or the `precision` of an operation) is not changed.
    """
    if _chosen() is not None:
        yield
    else:
        with jax.default_matmul_precision(FULL):
            yield
