"""Linear networks against codimension counts, which the library does not use."""

from fractions import Fraction
from functools import cache
from itertools import pairwise, permutations, product

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from boltzax.theory import deep_linear, direct_sum, homogeneous, psd_factorization, reduced_rank
from boltzax.theory import regular as regular_minimum

law = settings(derandomize=True, deadline=None, max_examples=200)
sizes = st.integers(1, 12)


def codimensions(m, h, n):
    """Codimensions of the components of {BA = 0}, by the rank k of one factor."""
    return [(m - k) * (h - k) + k * n for k in range(min(m, h) + 1)]


def test_reduced_rank_is_half_the_codimension():
    count = 0
    for m, h, n in product(range(1, 9), repeat=3):
        for r in range(min(m, h, n) + 1):
            counts = codimensions(m - r, h - r, n - r)
            found = reduced_rank(m, h, n, r)
            assert found.value == Fraction(r * (m + n - r) + min(counts), 2)
            assert found.multiplicity == counts.count(min(counts))
            count += 1
    assert count > 1000


def test_one_hidden_layer_is_reduced_rank():
    for m, h, n in product(range(1, 8), repeat=3):
        for r in range(min(m, h, n) + 1):
            assert deep_linear((m, h, n), r) == reduced_rank(m, h, n, r)


def test_a_single_matrix_is_regular():
    for m, n in product(range(1, 6), repeat=2):
        for r in range(min(m, n) + 1):
            assert deep_linear((m, n), r) == regular_minimum(m * n)


@cache
def fibre_codimension(dims):
    """Codimension of {W_L ... W_1 = 0} as the least over orbits of representations of a quiver.

    A tuple of composable matrices is a sum of intervals; its orbit has codimension
    dim Ext(V, V) = Σ m_I m_J over the pairs I = [a, b], J = [c, d] with a < c ≤ b + 1 ≤ d
    (Voigt's lemma), and the product vanishes when the interval over all vertices is absent.
    Pepin Lehalleur and Rimányi 2024, arXiv 2411.19920.
    """
    last = len(dims) - 1
    long = [(a, b) for a in range(last) for b in range(a + 1, last + 1) if (a, b) != (0, last)]
    best = None

    def choose(index, left, chosen):
        nonlocal best
        if index == len(long):
            parts = chosen + [((i, i), left[i]) for i in range(last + 1)]
            codim = sum(
                mi * mj for (a, b), mi in parts for (c, d), mj in parts if a < c <= b + 1 <= d
            )
            best = codim if best is None else min(best, codim)
            return
        a, b = long[index]
        for count in range(min(left[a : b + 1]) + 1):
            rest = tuple(x - count * (a <= i <= b) for i, x in enumerate(left))
            choose(index + 1, rest, [*chosen, ((a, b), count)])

    choose(0, tuple(dims), [])
    return best


def test_deep_linear_is_half_the_codimension_of_the_quiver():
    shapes = [*product(range(1, 4), repeat=4), (4, 4, 4, 4), (5, 2, 4, 3), (2, 2, 2, 2, 2)]
    for shape in shapes:
        assert deep_linear(shape, 0).value == Fraction(fibre_codimension(shape), 2)
        for r in range(1, min(shape)):
            delta = tuple(width - r for width in shape)
            outer = r * (shape[0] + shape[-1]) - r * r
            expected = Fraction(outer + fibre_codimension(delta), 2)
            assert deep_linear(shape, r).value == expected


def test_a_chain_of_scalars_is_a_normal_crossing():
    for layers in range(1, 7):
        chain = deep_linear((1,) * (layers + 1), 0)
        assert (chain.value, chain.multiplicity) == (Fraction(1, 2), layers)


@law
@given(sizes, sizes, sizes, st.data())
def test_reduced_rank_laws(m, h, n, data):
    r = data.draw(st.integers(0, min(m, h, n)))
    found = reduced_rank(m, h, n, r)
    assert found == reduced_rank(n, h, m, r)
    assert found.value <= Fraction(h * (m + n), 2)
    assert found.value <= Fraction(m * n, 2)
    assert found.value >= Fraction(r * (m + n - r), 2)
    assert found.value <= reduced_rank(m, h + 1, n, r).value


@law
@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.data())
def test_deep_linear_laws(widths, data):
    r = data.draw(st.integers(0, min(widths)))
    found = deep_linear(widths, r)
    hidden = widths[1:-1]
    for order in list(permutations(hidden))[:6]:
        assert deep_linear((widths[0], *order, widths[-1]), r) == found
    shuffled = data.draw(st.permutations(widths))
    assert deep_linear(shuffled, 0) == deep_linear(widths, 0)
    parameters = sum(a * b for a, b in pairwise(widths))
    assert found.value <= Fraction(parameters, 2)
    assert found.value <= Fraction(widths[0] * widths[-1], 2)
    assert 1 <= found.multiplicity <= parameters
    assert deep_linear([*widths[:-1], max(widths), widths[-1]], r).value <= found.value


def test_psd_normal_form():
    """The regular part is the rank of the derivative of U -> UUᵀ at a generic truth."""
    generator = np.random.default_rng(0)
    for d, h in product(range(1, 5), repeat=2):
        for r in range(min(d, h) + 1):
            truth = np.zeros((d, h))
            truth[:, :r] = generator.normal(size=(d, r))
            columns = []
            for i, j in product(range(d), range(h)):
                step = np.zeros((d, h))
                step[i, j] = 1
                columns.append((step @ truth.T + truth @ step.T).ravel())
            dim = np.linalg.matrix_rank(np.array(columns)) if r else 0
            parts = [regular_minimum(int(dim))]
            if (d - r) * (h - r):
                parts.append(homogeneous((d - r) * (h - r), 4))
            assert psd_factorization(d, h, r) == direct_sum(*parts)
            assert psd_factorization(d, h, r).value <= Fraction(d * h, 2)
