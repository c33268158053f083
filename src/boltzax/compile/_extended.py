"""Functions and quadrature rules in extended precision. The only importer of python-flint.

Its quirks: the working precision is a global of the library, set and restored around each use;
arithmetic is on balls, of which only the midpoint is carried on after each factorisation step.
"""

import contextlib
import math
from collections.abc import Callable

import jax
import numpy as np
from flint import arb, arb_mat, ctx
from jax.extend.core import Literal

_OPERATIONS: dict[str, Callable] = {
    "tanh": lambda x, **_: x.tanh(),
    "exp": lambda x, **_: x.exp(),
    "log": lambda x, **_: x.log(),
    "log1p": lambda x, **_: x.log1p(),
    "expm1": lambda x, **_: x.expm1(),
    "sin": lambda x, **_: x.sin(),
    "cos": lambda x, **_: x.cos(),
    "atan": lambda x, **_: x.atan(),
    "sinh": lambda x, **_: x.sinh(),
    "cosh": lambda x, **_: x.cosh(),
    "erf": lambda x, **_: x.erf(),
    "erfc": lambda x, **_: x.erfc(),
    "sqrt": lambda x, **_: x.sqrt(),
    "rsqrt": lambda x, **_: x.rsqrt(),
    "logistic": lambda x, **_: 1 / (1 + (-x).exp()),
    "neg": lambda x, **_: -x,
    "square": lambda x, **_: x * x,
    "add": lambda x, y, **_: x + y,
    "add_any": lambda x, y, **_: x + y,
    "sub": lambda x, y, **_: x - y,
    "mul": lambda x, y, **_: x * y,
    "div": lambda x, y, **_: x / y,
    "pow": lambda x, y, **_: x**y,
    "integer_pow": lambda x, y, **_: x**y,
    "convert_element_type": lambda x, **_: x,
    "copy": lambda x, **_: x,
    "copy_p": lambda x, **_: x,
    "stop_gradient": lambda x, **_: x,
    # arrays of one entry
    "reshape": lambda x, **_: x,
    "squeeze": lambda x, **_: x,
    "broadcast_in_dim": lambda x, **_: x,
    "reduce_sum": lambda x, **_: x,
}


class UnsupportedError(NotImplementedError):
    """A primitive without a rule in extended precision."""


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
    """A scalar JAX function of scalars, evaluated by its jaxpr in ball arithmetic."""
    closed = jax.make_jaxpr(fn)(*([1.0] * arguments))
    return lambda *values: _evaluate(closed.jaxpr, closed.consts, values)[0]


def _evaluate(jaxpr, consts, values) -> list[arb]:
    env = dict(zip(jaxpr.constvars, consts, strict=True))
    env |= dict(zip(jaxpr.invars, values, strict=True))

    def read(var) -> arb:
        value = var.val if isinstance(var, Literal) else env[var]
        return value if isinstance(value, arb) else arb(float(value))

    for eqn in jaxpr.eqns:
        operands = [read(var) for var in eqn.invars]
        inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        if inner is not None:
            consts = getattr(inner, "consts", ())
            results = _evaluate(getattr(inner, "jaxpr", inner), consts, operands)
        elif eqn.primitive.name in _OPERATIONS and all(v.aval.size == 1 for v in eqn.outvars):
            results = [_OPERATIONS[eqn.primitive.name](*operands, **eqn.params)]
        else:
            raise UnsupportedError(eqn.primitive.name)
        env |= dict(zip(eqn.outvars, results, strict=True))
    return [read(var) for var in jaxpr.outvars]


def gaussian_rule(mean: float, scale: float, digits: int, nodes: int) -> tuple[list, list]:
    """Trapezoid rule for N(mean, scale²) to the given digits of tail, on `2 nodes` points.

    It converges exponentially for functions analytic in a strip (Trefethen & Weideman 2014).
    """
    top = math.sqrt(2 * digits * math.log(10)) + 1
    x = [(arb(2 * k + 1) / (2 * nodes)) * arb(top) for k in range(-nodes, nodes)]
    weights = [(-(t * t) / 2).exp() for t in x]
    total = sum(weights, arb(0))
    return [(arb(mean) + arb(scale) * t).mid() for t in x], [(w / total).mid() for w in weights]


def interval_rule(low: float, high: float, nodes: int) -> tuple[list, list]:
    """Gauss-Legendre rule of the uniform probability on [low, high], `2 nodes` points."""
    pairs = [arb.legendre_p_root(2 * nodes, k, weight=True) for k in range(2 * nodes)]
    middle, half = (arb(low) + arb(high)) / 2, (arb(high) - arb(low)) / 2
    return [(middle + half * x).mid() for x, _ in pairs], [(w / 2).mid() for _, w in pairs]


def circle_rule(nodes: int) -> tuple[list, list]:
    """Trapezoid rule of the uniform probability on [0, 2π), `2 nodes` points."""
    count = 2 * nodes
    x = [(2 * arb.pi() * k / count).mid() for k in range(count)]
    return x, [(arb(1) / count).mid()] * count


def matrix(rows: np.ndarray) -> arb_mat:
    """A float matrix in extended precision."""
    return arb_mat(*rows.shape, [arb(float(x)) for x in rows.ravel()])


def table(fn: Callable[..., arb], first: np.ndarray, rule: tuple[list, list]) -> arb_mat:
    """`fn(b_i, x_q) * sqrt(w_q)`, rows by b."""
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
    return np.array([[float(values[i, j] * inverse[j]) for j in range(columns)] for i in range(rows)])


def logs(values: list[arb]) -> np.ndarray:
    """Natural logarithms in float64."""
    return np.array([float(value.log()) for value in values])
