"""In which precision matrices are multiplied."""

import contextlib
from collections.abc import Iterator

import jax

FULL = "highest"
"""The precision of JAX in which products have all digits of their format."""


def _chosen() -> str | None:
    """What the user has chosen for products of matrices, if anything."""
    return jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]


def shortened() -> bool:
    """Whether the user has chosen to multiply matrices in fewer digits than they have."""
    return _chosen() not in (None, FULL, "float32")


@contextlib.contextmanager
def full_products() -> Iterator[None]:
    """Multiply matrices in all digits of their format: a context, or a decorator of a function.

    On accelerators JAX multiplies float32 matrices, and convolves, with 8 or 11 bits unless told
    otherwise. A loss is then off by 1e-4 of itself, which times `n β` is many nats; and the errors
    at neighbouring weights are the same, so that no comparison of neighbours shows them. What the
    user has chosen (`jax_default_matmul_precision`, or the `precision` of an operation) is left as
    it is.
    """
    if _chosen() is not None:
        yield
    else:
        with jax.default_matmul_precision(FULL):
            yield
