"""Gates of one unit, and a circuit of three of them in which a solution is planted."""

from typing import Literal

import jax
import jax.numpy as jnp

from ..core import Positive, typed
from ..declare import Circuit, Component, Function, Interface, Normal, Points

TABLES = {
    "not": {0: 1, 1: 0},
    "and": {(0, 0): 0, (0, 1): 0, (1, 0): 0, (1, 1): 1},
    "or": {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 1},
    "nand": {(0, 0): 1, (0, 1): 1, (1, 0): 1, (1, 1): 0},
    "nor": {(0, 0): 1, (0, 1): 0, (1, 0): 0, (1, 1): 0},
    "xor": {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 0},
}
PLANTED = {"or": (1.0, 2.5), "nand": (-1.0, 7.5), "and": (1.0, 7.5)}
"""The sign of the weights, and the sum of the inputs at which the output turns."""


def _unit(params, x):
    return 5 * jax.nn.sigmoid(x @ params["weight"] + params["bias"])


@typed
def gate(
    name: Literal["not", "and", "or", "nand", "nor", "xor"], *, scale: Positive = 5.0
) -> Component:
    """A gate of one unit, `5 σ(w · x + b)` volts, with weights from `N(0, scale²)`.

    Exact: no weights make an exclusive or, which no plane separates (Minsky & Papert 1969,
    Perceptrons): its entropy is -inf under any interfaces of thresholds.

    Args:
        name: The truth table that the gate is to compute.
        scale: Standard deviation of the weights and of the bias.
    """
    table = TABLES[name]
    inputs = 1 if name == "not" else 2
    params = {"weight": jnp.zeros(inputs), "bias": jnp.zeros(())}
    return Component(Function(_unit, params), Normal(0.0, scale), table)


@typed
def xor_circuit(*, scale: Positive = 5.0, points: Points = 9) -> Circuit:
    """An exclusive or of three gates, `and(or(a, b), nand(a, b))`.

    On every wire 0 is -1 to 1 V and 1 is 4 to 6 V. Exact: `planted_xor` keeps all contracts.

    Args:
        scale: Standard deviation of the weights and biases of each gate.
        points: As of `Circuit`.
    """
    signal = Interface.thresholds(1.0, 4.0, range=(-1.0, 6.0))
    gates = [gate(name, scale=scale) for name in ("or", "nand", "and")]
    return Circuit(gates, [signal] * 5, wires=[(0, 1), (0, 1), (2, 3)], points=points)


@typed
def planted_xor(gain: Positive = 6.0) -> tuple[Function, ...]:
    """Models for `xor_circuit` whose margin is `5 σ(gain/2) - 4` volts.

    Sums of two inputs come as near as 0.5 V to where each unit turns, and `5 σ(gain/2)` volts is
    what it then gives. A gain of at least `2 log 4` keeps the contracts, and no other.

    Args:
        gain: Weight of each input, up to its sign.
    """
    return tuple(
        Function(
            _unit, {"weight": sign * gain * jnp.ones(2), "bias": jnp.asarray(-sign * gain * turn)}
        )
        for sign, turn in PLANTED.values()
    )
