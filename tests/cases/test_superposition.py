"""The toy model of superposition: its energy, its phases and its critical points."""

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import boltzax as bx
from boltzax import cases

law = hypothesis.settings(derandomize=True, deadline=None, max_examples=8)


def energy(net: cases.SuperpositionNet) -> float:
    return float(net.energy.value(net))


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_the_energy_of_constants(bias):
    """`f = b`: one feature with `E (b - x)²`, and b² for each of the others."""
    net = cases.SuperpositionNet(jnp.zeros((2, 6)), jnp.full(6, bias))
    assert energy(net) == pytest.approx(1 / 3 - bias + 6 * bias**2, abs=1e-6)


@law
@hypothesis.given(st.floats(0, 6.3), st.permutations(range(6)), st.integers(4, 6))
def test_turned_and_renamed_features_are_the_same(angle, order, corners):
    net = cases.superposition_polygon(corners, bias=0.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    order = np.array(order)
    moved = cases.SuperpositionNet(
        jnp.asarray(turn, float) @ net.embedding[:, order], net.bias[order]
    )
    assert energy(moved) == pytest.approx(energy(net), rel=1e-4)
    np.testing.assert_array_equal(moved.phase, net.phase)


@pytest.mark.parametrize("corners, bias, loss, phase", [
    (5, -0.5, 0.06874, "5-gon"), (5, 0.1, 0.06180, "5-gon, b > 0"), (6, -0.3, 0.04819, "6-gon"),
])  # fmt: skip
def test_descents_come_to_the_critical_points(corners, bias, loss, phase):
    start = cases.superposition_polygon(corners, bias=bias)
    (net,) = bx.trained(start.energy, optax.lbfgs(), [400])
    assert energy(net) == pytest.approx(loss, abs=2e-5)
    assert cases.SUPERPOSITION_PHASES[int(jnp.argmax(net.phase))] == phase


def test_phases_are_told_apart():
    names = [cases.superposition_polygon(k, 7).phase.argmax() for k in (3, 4, 5, 6, 7)]
    assert [cases.SUPERPOSITION_PHASES[int(i)] for i in names] == [
        "other", "4-gon", "5-gon", "6-gon", "other",
    ]  # fmt: skip


def test_corners_are_features():
    with pytest.raises(bx.DeclarationError, match="corners"):
        cases.superposition_polygon(7, 6)
