"""A one-parameter family of features, expanded in a basis of functions sorted by size.

For a family `φ_b(x)` and a scale `s`, take polynomials `p_j` orthonormal under `b ~ U(-s, s)`,
`A_j = E_b[p_j(b) φ_b]`, and orthonormalise the functions `A_0, A_1, ...` of `x` in this order, in
extended precision. This gives `e_j`, orthonormal in L²(μ), and `σ_j`, the norm of the part of `A_j`
that is orthogonal to `A_0, ..., A_{j-1}`. Then `⟨e_j, φ_b⟩ = σ_j v_j(b)`, where `v_j` is of order
one for `|b| < s`, so `v_j` can be tabulated in float64 for any size of `σ_j`. The number of
functions is chosen by the remainder of the expansion and not by `σ_j`, because `v_j` also contains
the components of later `A_m` along `e_j`. The scale must match the spread of the units `b`: at a
scale c times too wide the vectors `(v_j(b_h))_h` become collinear as `c^{-2j}`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev, legendre

from ..numerics import (
    UnsupportedError,
    arb_mat,
    extended,
    logs,
    matrix,
    powers,
    precision,
    table,
    to_float,
    triangular,
)

BITS = 320
"""First working precision: 96 decimal digits, enough for σ_j down to 1e-45."""

MOST_BITS = 1280


class Frame(NamedTuple):
    """A basis at one scale: `v_j(b) = b^odd Σ_d coefficients[panel, d, j] u^d`.

    The panel and the position `u` in (-1, 1) inside it are functions of `asinh(b/s)/asinh(top/s)`,
    which lies in (0, 1) for an odd family, else in (-1, 1).
    """

    coefficients: np.ndarray
    log_sigma: np.ndarray
    scale: float
    top: float


class UnitFamily(NamedTuple):
    """A family `fn(b, x)` of scalar functions, the quadrature of its measure, and its parity."""

    fn: Callable
    rule: tuple[list, list]
    odd: bool


def _polynomials(count: int, nodes: np.ndarray, odd: bool) -> np.ndarray:
    """Legendre polynomials orthonormal under U(-1, 1), `[count, node]`; the odd ones if asked."""
    degrees = [2 * j + 1 if odd else j for j in range(count)]
    return np.stack([legendre.Legendre.basis(d)(nodes) * np.sqrt(2 * d + 1) for d in degrees])


def _design(family: UnitFamily, scale: float, count: int) -> tuple[np.ndarray, np.ndarray, arb_mat]:
    """Gauss nodes and weights of U(-1, 1) (the positive half if odd), and the family there.

    There are twice as many nodes as `count` functions need. With fewer nodes the functions would
    interpolate, and the remainder of the expansion would be underestimated.
    """
    count = 2 * count
    nodes, weights = legendre.leggauss(2 * count)
    if family.odd:
        nodes, weights = nodes[count:], 2 * weights[count:]
    return nodes, weights / 2, table(extended(family.fn, 2), scale * nodes, family.rule)


class Graded(NamedTuple):
    """The graded functions of a family at one scale: `e_j(x_q) sqrt(w_q)`, and the `σ_j`.

    `log_power[j] = log E_b ⟨e_j, φ_b⟩²` over the nodes in `b`; `log_tail[k]` is the logarithm of
    the part of `E_b |φ_b|²` outside the span of the first `k` functions.
    """

    functions: arb_mat
    diagonal: list
    log_sigma: np.ndarray
    log_power: np.ndarray
    log_tail: np.ndarray
    bits: int


def grade(family: UnitFamily, scale: float, modes: int) -> Graded:
    """Orthonormalise the first `modes` moments of the family in extended precision.

    The Gram matrix holds `σ_j²`, so the precision is doubled until all of them are resolved.
    """
    bits = BITS
    while bits <= MOST_BITS:
        with precision(bits):
            nodes, weights, members = _design(family, scale, modes + 6)
            projector = _polynomials(modes, nodes, family.odd) * weights
            moments = matrix(projector) * members
            inverse, diagonal = triangular(moments * moments.transpose())
            log_sigma = logs(diagonal)
            lost = -2 * log_sigma.min() / np.log(2)
            if np.all(np.isfinite(log_sigma)) and lost + 80 < bits:
                functions = inverse * moments
                power, tail = powers(members, functions, weights)
                return Graded(functions, diagonal, log_sigma, power, tail, bits)
        bits *= 2
    raise UnsupportedError("moments of the family are zero or linearly dependent")


def frame(
    family: UnitFamily,
    graded: Graded,
    scale: float,
    top: float,
    modes: int,
    *,
    panels: int = 64,
    degree: int = 7,
    coarse: int = 8,
    order: int = 20,
) -> Frame:
    """The first `modes` graded functions, tabulated for `|b| < top`.

    Chebyshev panels are filled in extended precision (`coarse` of `order` points) and refined in
    float64 to `panels` of low `degree`, which a compiled program evaluates cheaply.
    """
    with precision(graded.bits):
        edge = 0.0 if family.odd else -1.0
        points = np.cos(np.pi * (np.arange(order) + 0.5) / order)
        inside = (np.arange(coarse)[:, None] + (points + 1) / 2) / coarse
        place = edge + (1 - edge) * inside.ravel()
        b = scale * np.sinh(place * np.arcsinh(top / scale))
        values = table(extended(family.fn, 2), b, family.rule) * graded.functions.transpose()
        v = to_float(values, graded.diagonal)[:, :modes]
    if family.odd:
        v = v / b[:, None]
    v = v.reshape(coarse, order, modes)
    ratio, size = panels // coarse, degree + 1
    fine = np.cos(np.pi * (np.arange(size) + 0.5) / size)
    local = 2 * ((np.arange(ratio)[:, None] + (fine + 1) / 2) / ratio).ravel() - 1
    vander = chebyshev.chebvander
    refine = vander(local, order - 1) @ np.linalg.inv(vander(points, order - 1))
    refined = np.einsum("fo,pok->pfk", refine, v).reshape(panels, size, modes)
    monomials = np.linalg.inv(np.vander(fine, size, increasing=True))
    coefficients = np.einsum("dq,pqk->pdk", monomials, refined)
    return Frame(coefficients, graded.log_sigma[:modes], scale, top)
