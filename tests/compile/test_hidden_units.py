"""Features of hidden units: the nodes of a family, and columns made orthogonal."""

import flint
import numpy as np
import pytest

from boltzax.compile._graded_features import UnitFamily, _design
from boltzax.compile._hidden_units import orthogonalise


@pytest.mark.parametrize("odd", [False, True])
def test_nodes_of_a_family_are_those_of_a_mean_of_even_functions(odd):
    """Of U(-1, 1); of an odd family the positive half, whose squares have the same mean."""
    rule = ([flint.arb(1)], [flint.arb(1)])
    family = UnitFamily(lambda b, x: b * x, rule, odd)
    nodes, weights, members = _design(family, 0.5, 3)
    assert (len(nodes), members.nrows()) == ((6, 6) if odd else (12, 12))
    assert np.all(nodes > 0) == odd
    assert [weights @ nodes**p for p in (0, 2, 4)] == pytest.approx([1, 1 / 3, 1 / 5])
    np.testing.assert_allclose([float(members[i, 0]) for i in range(6)], 0.5 * nodes[:6])


def test_columns_are_made_orthogonal_by_the_rows_that_count():
    """`Q = A R⁻¹` of all rows, with R of the QR factors of the first five."""
    rows = np.random.default_rng(0).normal(size=(8, 3))
    triangle = np.linalg.qr(rows[:5], mode="r")
    triangle *= np.sign(np.diag(triangle))[:, None]
    found, logs = orthogonalise(rows, 5)
    np.testing.assert_allclose(found, rows @ np.linalg.inv(triangle), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(logs, np.log(np.diag(triangle)), rtol=1e-9, atol=1e-12)
