"""Functions and quadrature rules in extended precision, by python-flint.

The working precision is a global variable of the library; `precision` sets and restores it. The
arithmetic is that of balls. Factorisations keep only the midpoints after each step.
"""

import contextlib
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flint import arb, arb_mat, ctx

from ._interpreter import called, interpret

_METHODS = "tanh exp log log1p expm1 sin cos atan sinh cosh erf erfc sqrt rsqrt".split()
_OPERATIONS: dict[str, Callable] = {
    **{name: operator.methodcaller(name) for name in _METHODS},
    "logistic": lambda x: 1 / (1 + (-x).exp()),
    "neg": operator.neg,
    "square": lambda x: x * x,
    "add": operator.add,
    "add_any": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "dot_general": operator.mul,  # all arrays have one entry
    "div": operator.truediv,
    "pow": operator.pow,
    "integer_pow": lambda x, y: x**y,
}

_IDENTITY = frozenset(
    "convert_element_type copy copy_p stop_gradient reshape squeeze broadcast_in_dim "
    "reduce_sum".split()
)
"""Primitives that do not change an array of one entry."""


class UnsupportedError(NotImplementedError):
    """Raised for a primitive without a rule in extended precision."""


@contextlib.contextmanager
def precision(bits: int):
    """Work at this many bits inside the block."""
    before = ctx.prec
    ctx.prec = bits
    try:
        yield
    finally:
        ctx.prec = before


def extended(fn: Callable, arguments: int) -> Callable[..., arb]:
    """A scalar JAX function of scalars, in ball arithmetic.

    The jaxpr is converted once to a list of operations on numbered registers. Reshapings, factors
    of one and terms of zero are removed.

    Args:
        fn: The function.
        arguments: The number of its arguments.

    Raises:
        UnsupportedError: For a primitive without a rule.
    """
    program: list[tuple[Callable, tuple[int, ...], dict, int]] = []
    registers: list = [None] * arguments

    def register(value: arb | None) -> int:
        registers.append(value)
        return len(registers) - 1

    def constant(value: Any) -> int:
        if np.size(value) != 1 or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            raise UnsupportedError("a constant that is not one real number")
        return register(arb(float(np.reshape(value, ()))))

    def rule(eqn: Any, sources: list[int]) -> list[int] | None:
        name = eqn.primitive.name
        if called(eqn) is not None:
            return None
        if not (name in _IDENTITY or name in _OPERATIONS) or not _exact(eqn):
            raise UnsupportedError(name)
        if name in _IDENTITY:
            return [sources[0]]
        if (kept := _neutral(name, sources, registers)) is not None:
            return [kept]
        params = {"y": eqn.params["y"]} if name == "integer_pow" else {}
        program.append((_OPERATIONS[name], tuple(sources), params, register(None)))
        return [program[-1][-1]]

    closed = jax.make_jaxpr(fn)(*([1.0] * arguments))
    (result,) = interpret(closed, range(arguments), rule, constant)

    def run(*values: arb) -> arb:
        memory = list(registers)
        memory[:arguments] = values
        for operation, sources, params, target in program:
            memory[target] = operation(*[memory[i] for i in sources], **params)
        return memory[result]

    return run


def _exact(eqn) -> bool:
    """Whether all arrays of an equation have one entry of the default float dtype."""
    wide = jnp.result_type(float)
    return all(var.aval.size == 1 and var.aval.dtype == wide for var in (*eqn.invars, *eqn.outvars))


def _neutral(name: str, sources: list[int], registers: list) -> int | None:
    """The operand that a product with one, or a sum with zero, leaves as it is."""
    unit = {"mul": 1, "dot_general": 1, "add": 0, "add_any": 0}.get(name)
    if unit is None:
        return None
    first, second = sources
    for neutral, other in ((first, second), (second, first)):
        if registers[neutral] is not None and registers[neutral] == unit:
            return other
    return None


def gaussian_rule(mean: float, scale: float, digits: int, nodes: int) -> tuple[list, list]:
    """The trapezoid rule for N(mean, scale²) on `2 nodes` points, cut at a tail of 10^-digits.

    It converges exponentially for functions that are analytic in a strip (Trefethen & Weideman
    2014, SIAM Review 56:385).
    """
    top = math.sqrt(2 * digits * math.log(10)) + 1
    x = [(arb(2 * k + 1) / (2 * nodes)) * arb(top) for k in range(-nodes, nodes)]
    weights = [(-(t * t) / 2).exp() for t in x]
    total = sum(weights, arb(0))
    return [(arb(mean) + arb(scale) * t).mid() for t in x], [(w / total).mid() for w in weights]


def interval_rule(low: float, high: float, nodes: int) -> tuple[list, list]:
    """The Gauss-Legendre rule of the uniform law on [low, high], on `2 nodes` points."""
    pairs = [arb.legendre_p_root(2 * nodes, k, weight=True) for k in range(2 * nodes)]
    middle, half = (arb(low) + arb(high)) / 2, (arb(high) - arb(low)) / 2
    return [(middle + half * x).mid() for x, _ in pairs], [(w / 2).mid() for _, w in pairs]


def matrix(rows: np.ndarray) -> arb_mat:
    """A float matrix in extended precision."""
    return arb_mat(*rows.shape, [arb(float(x)) for x in rows.ravel()])


def table(fn: Callable[..., arb], first: np.ndarray, rule: tuple[list, list]) -> arb_mat:
    """The matrix `fn(b_i, x_q) sqrt(w_q)`, `[i, q]`."""
    roots = [w.sqrt() for w in rule[1]]
    points = list(zip(rule[0], roots, strict=True))
    return arb_mat([[fn(arb(float(b)), x) * r for x, r in points] for b in first])


def triangular(gram: arb_mat) -> tuple[arb_mat, list[arb]]:
    """Inverse of the Cholesky factor of a Gram matrix, and the factor's diagonal."""
    size = gram.nrows()
    lower = [[arb(0)] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            left = gram[i, j] - sum((lower[i][k] * lower[j][k] for k in range(j)), arb(0))
            lower[i][j] = (left.mid().sqrt() if i == j else left / lower[j][j]).mid()
    inverse = [[arb(0)] * size for _ in range(size)]
    for j in range(size):
        for i in range(j, size):
            unit = arb(1 if i == j else 0)
            left = unit - sum((lower[i][k] * inverse[k][j] for k in range(j, i)), arb(0))
            inverse[i][j] = (left / lower[i][i]).mid()
    flat = [entry for row in inverse for entry in row]
    return arb_mat(size, size, flat), [lower[j][j] for j in range(size)]


def to_float(values: arb_mat, scales: list[arb]) -> np.ndarray:
    """Columns divided by their scales, rounded to float64."""
    inverse = [1 / scale for scale in scales]
    rows, columns = values.nrows(), values.ncols()
    return np.array(
        [[float(values[i, j] * inverse[j]) for j in range(columns)] for i in range(rows)]
    )


def largest(values: arb_mat) -> arb:
    """The largest absolute entry."""
    return max(abs(entry.mid()) for row in values.tolist() for entry in row)


def logs(values: list[arb]) -> np.ndarray:
    """Natural logarithms in float64."""
    return np.array([float(value.log()) for value in values])


def powers(
    members: arb_mat, functions: arb_mat, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the mean square along each function, and of the rest after the first k."""
    along = members * functions.transpose()
    rows, columns = along.nrows(), along.ncols()
    w = [arb(float(x)) for x in weights]
    squares = [
        sum((w[i] * along[i, j] * along[i, j] for i in range(rows)), arb(0)) for j in range(columns)
    ]
    nodes = range(members.ncols())
    left = sum(
        (w[i] * sum((members[i, q] * members[i, q] for q in nodes), arb(0)) for i in range(rows)),
        arb(0),
    )
    tails = [left]
    for square in squares:
        tails.append((tails[-1] - square).mid())
    return logs(squares), np.array([float(abs(t).log()) for t in tails])
