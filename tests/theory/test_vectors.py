"""Tabulated learning coefficients.

Values computed from, and in part printed in: Aoyagi and Watanabe 2005, Neural Networks 18:924
(reduced rank); Aoyagi 2024, Neural Networks 172:106132 (deep linear); Aoyagi and Watanabe 2005,
IEICE Transactions J88-D-II:2112 (tanh, true function 0); Aoyagi 2010, Communications in
Statistics: Theory and Methods 39:2667, and Aoyagi and Nagata 2012, Neural Computation 24:1569
(Vandermonde type, mixtures, tanh with true units).
"""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from boltzax import theory

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())


@pytest.mark.parametrize("name", VECTORS)
def test_tabulated_values(name):
    for case in VECTORS[name]:
        found = getattr(theory, name)(*case["arguments"])
        expected = Fraction(case["value"]), case["multiplicity"]
        assert (found.value, found.multiplicity) == expected, case


def test_every_family_has_cases():
    assert sum(len(cases) for cases in VECTORS.values()) == 117
