"""Vandermonde type: the counting rule, brute force over placements, a quadrature."""

from fractions import Fraction
from functools import cache
from itertools import product

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings

from boltzax.theory import exact_free_energy, gaussian_mixture, tanh_network, vandermonde

law = settings(derandomize=True, deadline=None, max_examples=80)


@cache
def counting_rule(width, step, outputs):
    """min over s of width s + outputs Σ (½ - power s)₊, and how many corners attain it."""
    powers = [1 + step * j for j in range(width + 1)]
    corners = [Fraction(1, 2 * p) for p in powers]

    def cost(s):
        return width * s + outputs * sum(max(Fraction(1, 2) - p * s, Fraction(0)) for p in powers)

    least = min(cost(s) for s in corners)
    return least, sum(cost(s) == least for s in corners)


@law
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 4))
def test_vandermonde_is_the_counting_rule(width, step, outputs):
    found = vandermonde(width, step, outputs)
    if width >= outputs:
        assert (found.value, found.multiplicity) == counting_rule(width, step, outputs)
    else:
        assert (found.value, found.multiplicity) == (Fraction(width, 2), 1)


@law
@given(st.integers(1, 200), st.data())
def test_units_cannot_raise_it_above_their_number(width, data):
    r = data.draw(st.integers(0, width))
    found = tanh_network(width, r)
    assert r <= found.value <= width
    assert found.value <= tanh_network(width + 1, r).value
    assert tanh_network(width + 1, r + 1).value <= found.value + 1
    assert 2 * vandermonde(width, 2).value <= width + 1
    mixture = gaussian_mixture(width, max(r, 1))
    assert mixture.value <= Fraction(2 * width - 1, 2)


def test_tanh_network_is_the_best_placement():
    for r in range(4):
        for spare in range(0 if r else 1, 13):
            options = []
            for extra in product(range(spare + 1), repeat=r):
                zero = spare - sum(extra)
                if zero < 0:
                    continue
                parts = [counting_rule(zero, 2, 1)] if zero else []
                for e in extra:
                    value, order = counting_rule(e + 1, 1, 1)
                    parts.append((value + Fraction(1, 2), order if e else 1))
                value = sum(v for v, _ in parts)
                options.append((value, -1 - sum(m - 1 for _, m in parts)))
            value, order = min(options)
            found = tanh_network(r + spare, r)
            assert (found.value, found.multiplicity) == (value, -order)


def test_two_units_learning_one():
    """5/4 by quadrature over the two embeddings, with the readout integrated out."""
    x, weight = np.polynomial.hermite_e.hermegauss(24)
    x, root = x[12:], np.sqrt(2 * weight[12:] / np.sqrt(2 * np.pi))

    def potential(shift, n):
        """-log ∫ N(a) exp(-½n|Σ a_h tanh((1 + shift_h)x) - tanh x|²), f* subtracted exactly."""
        truth = jnp.tanh(jnp.asarray(x))
        moved = jnp.tanh((1 + shift[:, None]) * x)
        gap = jnp.tanh(shift[:, None] * x) * (1 - moved * truth)
        scale = jnp.sqrt(n) * root
        one = jnp.concatenate([scale * (truth + gap[0]), jnp.array([1.0, 0.0])])
        both = jnp.concatenate([scale * (gap[1] - gap[0]), jnp.array([-1.0, 1.0])])
        rest = jnp.concatenate([scale * -gap[0], jnp.array([-1.0, 0.0])])
        r = jnp.linalg.norm(one)
        for _ in range(2):
            both = both - one * (one @ both) / r**2
            rest = rest - one * (one @ rest) / r**2
        s = jnp.linalg.norm(both)
        rest = rest - both * (both @ rest) / s**2
        return jnp.log(r) + jnp.log(s) + 0.5 * rest @ rest

    with jax.enable_x64(True):
        found = exact_free_energy(
            potential, lambda w: 0.0, [(-0.7, 1.0)] * 2, np.exp([8.0, 24.0]), tolerance=1e-3
        )
    value = tanh_network(2, 1)
    assert (value.value, value.multiplicity) == (Fraction(5, 4), 1)
    np.testing.assert_allclose(found.learning_coefficient[1], 1.25, atol=0.01)
    assert abs(found.learning_coefficient[0] - 1.25) > 0.02
