"""The walk that finds what a function is affine in: it misses little and never claims too much."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from boltzax.numerics._affine import Split, affine_in

W = jnp.array([0.3, -1.2, 0.7])
MATRIX = jnp.arange(6.0).reshape(2, 3)


@jax.jit
def jitted(w, x):
    return MATRIX @ w * x


@jax.custom_jvp
def slanted(w):
    return 2 * w + 1


slanted.defjvps(lambda t, out, w: 2 * t)

AFFINE = {
    "identity": lambda w, x: w,
    "constant": lambda w, x: x,
    "negation and shift": lambda w, x: 3 - w,
    "times the datum": lambda w, x: w * jnp.tanh(x),
    "over the datum": lambda w, x: w / (1 + x**2),
    "inner product": lambda w, x: jnp.dot(w, jnp.sin(x * jnp.arange(3.0))),
    "matrix": lambda w, x: MATRIX @ w,
    "sum of slices": lambda w, x: w[0] + w[1:].sum() - w[::-1][0],
    "reshaped and joined": lambda w, x: jnp.concatenate([w.reshape(3, 1).T[0], w]),
    "broadcast": lambda w, x: jnp.broadcast_to(w, (2, 3)) * x,
    "padded": lambda w, x: jnp.pad(w, 2),
    "running sum": lambda w, x: jnp.cumsum(w),
    "convolution": lambda w, x: jnp.convolve(w, jnp.arange(4.0) * x),
    "chosen by the datum": lambda w, x: jnp.where(x > 0, w, -2 * w),
    "gathered by the datum": lambda w, x: w[(x > 0).astype(int)],
    "jitted": jitted,
    "jitted activation of the datum": lambda w, x: w * jax.nn.gelu(x) + jax.nn.relu(x),
    "rematerialised": lambda w, x: jax.checkpoint(lambda u: 3 * u * x)(w),
    "custom derivative of the datum": lambda w, x: w * slanted(x),
    "mapped": lambda w, x: jax.vmap(lambda u: u * x + 1)(w),
    "mean": lambda w, x: jnp.mean(w) * x,
    "scan over the datum alone": lambda w, x: w * jax.lax.scan(lambda c, _: (c * x, c), x, W)[0],
}

NOT_AFFINE = {
    "custom derivative, which is not looked into": lambda w, x: slanted(w) * x,
    "square": lambda w, x: w**2,
    "product of two entries": lambda w, x: w[0] * w[1],
    "inner product with itself": lambda w, x: w @ w,
    "tanh": lambda w, x: jnp.tanh(w * x),
    "jitted activation": lambda w, x: jax.nn.silu(w * x),
    "relu": lambda w, x: jax.nn.relu(w),
    "absolute value": lambda w, x: jnp.abs(w),
    "in the denominator": lambda w, x: x / w,
    "maximum": lambda w, x: jnp.max(w),
    "sorted": lambda w, x: jnp.sort(w),
    "chosen by the weights": lambda w, x: jnp.where(w > 0, w, 2 * w),
    "gathered by the weights": lambda w, x: jnp.arange(3.0)[jnp.argmax(w)] * w,
    "rounded": lambda w, x: w.astype(int).astype(float),
    "floor": lambda w, x: jnp.floor(w),
    "power of the datum": lambda w, x: jnp.abs(x) ** w,
    "product of rows": lambda w, x: jnp.prod(w),
    "normalised": lambda w, x: w / jnp.sum(w),
    "square inside jit": lambda w, x: jax.jit(lambda w: w * w)(w) * x,
    "one bad output of two": lambda w, x: (w, w**2),
    "scan over the weights": lambda w, x: jax.lax.scan(lambda c, u: (c * u, c), x, w)[0],
    "linear scan, which is not looked into": lambda w, x: jax.lax.scan(
        lambda c, u: (c + u, c), x, w
    )[0],
}


@pytest.mark.parametrize("name", AFFINE)
def test_affine_is_found(name):
    assert affine_in(AFFINE[name], W, jnp.asarray(0.4))


@pytest.mark.parametrize("name", AFFINE)
def test_what_is_called_affine_is_affine(name):
    """f(u + v) - f(v) does not depend on v, at places where a kink would show."""
    fn = AFFINE[name]
    u, v = jnp.array([1.7, -0.2, 0.9]), jnp.array([-2.0, 0.4, 3.1])
    x = jnp.asarray(0.4)
    left = jax.tree.map(jnp.subtract, fn(u + v, x), fn(v, x))
    right = jax.tree.map(jnp.subtract, fn(u, x), fn(jnp.zeros(3), x))
    np.testing.assert_allclose(left, right, atol=1e-12)


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_the_rest_is_not(name):
    assert not affine_in(NOT_AFFINE[name], W, jnp.asarray(0.4))


def test_jointly_affine():
    """Each factor of a product alone, not both."""

    def product(pair, x):
        return pair["a"] * pair["b"] * x

    a, b, x = jnp.asarray(1.0), jnp.asarray(2.0), jnp.asarray(0.4)
    assert affine_in(lambda a, b, x: a * b * x, a, b, x)
    assert affine_in(lambda b, a, x: a * b * x, b, a, x)
    assert not affine_in(product, {"a": a, "b": b}, x)


# --- features of the data -------------------------------------------------------------------------

DATUM = jnp.array([0.5, -1.5])


def split(fn, weights=W, datum=DATUM):
    return Split(fn, {"shift": jnp.asarray(0.3)}, weights, datum)


SPLITS = {
    "linear in the datum": (lambda b, w, x: w[:2] @ x + w[2], 2),
    "polynomial features": (lambda b, w, x: w[0] + w[1] * x[0] ** 2 + w[2] * (x[0] * x[1]), 2),
    "frozen shift": (lambda b, w, x: w[:2] @ jnp.tanh(x + b["shift"]), 2),
    "deep linear": (lambda b, w, x: w[0] * (w[1:] @ x), 2),
    "nonlinear in the weights": (lambda b, w, x: jnp.sin(w[:2]) @ x + w[2] ** 2, 2),
    "a feature used twice": (lambda b, w, x: w[:2] @ x - w[1:] @ x, 2),
    "an offset by the datum": (lambda b, w, x: w[:2] @ x + jnp.sum(x**2), 3),
}


@pytest.mark.parametrize("name", SPLITS)
def test_a_split_puts_the_function_together_again(name):
    fn, size = SPLITS[name]
    parts = split(fn)
    assert parts.is_affine
    assert parts.size == size
    base, w, x = {"shift": jnp.asarray(-0.8)}, jnp.array([1.1, 0.2, -0.6]), jnp.array([2.0, 0.7])
    features = parts.features(base, x)
    assert features.shape == (size,)
    np.testing.assert_allclose(parts.apply(base, w, features), fn(base, w, x), rtol=1e-13)


@pytest.mark.parametrize(
    "fn",
    [
        lambda b, w, x: jnp.tanh(w[:2] @ x),
        lambda b, w, x: (w[:2] @ x) ** 2,
        lambda b, w, x: jnp.where(x[0] > w[0], w[1], w[2]),
        lambda b, w, x: w[0] * x[0] / (w[1] + x[1]),
        lambda b, w, x: jnp.where(x[0] > 0, w[0], w[1]),
        lambda b, w, x: w[(x[0] > 0).astype(int)],
    ],
    ids=["tanh", "square", "threshold", "ratio", "chosen by the datum", "gathered by the datum"],
)
def test_a_split_knows_what_is_not_affine(fn):
    assert not split(fn).is_affine


def test_splits_of_one_program_are_equal():
    """So that compiling a declaration again does not retrace; another program is another split."""
    fn, other = SPLITS["deep linear"][0], SPLITS["frozen shift"][0]
    assert split(fn) == split(fn)
    assert hash(split(fn)) == hash(split(fn))
    assert split(fn) != split(other)
    traces = []

    @eqx.filter_jit
    def apply(parts, w):
        traces.append(1)
        return parts.apply({"shift": jnp.asarray(0.0)}, w, jnp.ones(2))

    apply(split(fn), W)
    apply(split(fn), 2 * W)
    assert len(traces) == 1
