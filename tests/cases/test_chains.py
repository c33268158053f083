"""Worked chains and circuits against their exact answers."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import gamma as gamma_law

import boltzax as bx
from boltzax import cases, theory
from boltzax import interfaces as it

KEY = jax.random.key(0)
FAMILY = bx.Family.thresholds([2.0, 8**0.5, 4.0, 4 * 2**0.5, 7.0], range=(0.0, None))


NODES, WEIGHTS = np.polynomial.legendre.leggauss(60)


def below(c, count, width):
    """`P[w_1 ... w_count <= c]`, by quadrature over one gain of the law of the others."""
    c = np.asarray(c)[..., None]
    if count == 1:
        return np.clip(c[..., 0] / width, 0, 1)
    edge = np.minimum(c / width ** (count - 1), width)  # below it the others may be anything
    x = edge * (width / edge) ** ((NODES + 1) / 2)  # evenly in log x
    inner = below(c / x, count - 1, width) * x
    return edge[..., 0] / width + np.log(width / edge)[..., 0] / 2 * (inner @ WEIGHTS) / width


@given(st.integers(1, 4), st.floats(0.1, 1.5), st.floats(1.05, 1.3), st.floats(2.0, 3.0))
def test_evidence_of_gains_is_an_integral(length, low, ratio, width):
    wanted = below(low * ratio, length, width) - below(low, length, width)
    ends = {"first": (1.0, 1.0), "last": (low * ratio, low), "width": width}
    assert cases.gain_chain_evidence(length, **ends) == pytest.approx(np.log(wanted), abs=1e-7)


@given(st.integers(1, 60), st.floats(0.02, 3.0), st.floats(1.1, 4.0))
def test_evidence_of_rare_chains_is_a_gamma_tail(length, margin, ratio):
    """Of chains whose largest product, `width^n`, is little above the least that is needed."""
    width = 2.0
    low = width**length * math.exp(-margin)
    found = cases.gain_chain_evidence(
        length, width=width, first=(1.0, 1.0), last=(ratio * low, low)
    )
    short = max(margin - math.log(ratio), 0.0)
    log_density = gamma_law(length).logpdf
    z, weights = np.polynomial.legendre.leggauss(80)
    t = short + (margin - short) * (z + 1) / 2
    wanted = logsumexp(log_density(t), b=weights * (margin - short) / 2)
    assert found == pytest.approx(wanted, abs=1e-9, rel=1e-9)


@pytest.mark.parametrize(
    ("length", "width", "log_evidence"),
    [(20, 1.05, -67.8752), (40, 1.03, -139.3968), (15, 1.1, -33.1764), (1, 1.0, -math.inf)],
)
def test_evidence_of_narrow_gains(length, width, log_evidence):
    """By the incomplete gamma function of SciPy, and by quadrature."""
    found = cases.gain_chain_evidence(length, width=width)
    assert found == pytest.approx(log_evidence, abs=1e-4)
    assert math.isfinite(cases.gain_chain_evidence(700))
    assert cases.gain_chain_evidence(300, width=0.05) == -math.inf


def test_entropies_of_a_chain_of_gains():
    chain = cases.gain_chain(3, FAMILY)
    best = it.maximum_entropy(chain, key=KEY, draws=4000)
    pairs = [(float(i.upper[0, 0, 0]), float(i.lower[1, 0, 0])) for i in best.interfaces]
    exact = [theory.linear_interface(3.0, *pair) for pair in itertools.pairwise(pairs)]
    assert (np.abs(best.entropies.z_score(np.array(exact))) < 4).all()
    assert sum(exact) <= theory.linear_chain_maximum(3.0, (1.0, 4.0), (8.0, 8.0), 3)


def test_no_products_are_refused():
    with pytest.raises(bx.DeclarationError, match="widen the thresholds"):
        cases.gain_chain_evidence(2, first=(1.0, 2.0), last=(1.0, 2.0))


def test_the_planted_solution_keeps_every_contract():
    circuit = cases.xor_circuit()
    for gain in (3.0, 6.0):
        margin = 5 / (1 + np.exp(-gain / 2)) - 4
        assert float(circuit.margin(cases.planted_xor(gain))) == pytest.approx(margin)
        assert it.certify(circuit, cases.planted_xor(gain)).holds
    assert float(circuit.margin(cases.planted_xor(2 * np.log(4.0) - 0.01))) < 0
    models = cases.planted_xor()
    for a, b in itertools.product((0.3, 4.8), repeat=2):
        out = float(circuit.output(models, jnp.array([a]), jnp.array([b]))[0])
        assert (out > 2.5) == ((a > 2.5) != (b > 2.5))


def test_one_unit_makes_every_gate_but_the_exclusive_or():
    signal, out = (bx.Interface.thresholds(*t, range=(0.0, 5.0)) for t in ((0.5, 4.5), (2.5, 2.5)))
    for name in ("and", "or", "nand", "nor", "xor"):
        contract = bx.Contract(cases.gate(name), signal @ signal, out, points=2)
        found = it.entropy(contract, key=KEY, by="direct", samples=8000, throw=False)
        assert np.isneginf(found.value) == (name == "xor")
    inverter = bx.Contract(cases.gate("not"), signal, out, points=2)
    assert float(it.entropy(inverter, key=KEY, by="direct", samples=8000).value) > -2


def test_chains_of_voltages():
    middles = cases.voltage_middles()
    chain = cases.voltage_chain(bx.Family.of(list(middles.values())), width=4)
    assert len(chain.families[1]) == len(middles) == 6
    assert chain.at([3]).interfaces[1] == middles["plain"]
    assert middles["weird, low side"] <= middles["weird"]
    assert middles["weird"].contains([0.2, 4.7, 3.0], 0).tolist() == [True, True, False]
    for component in (cases.voltage_amplifier(), cases.voltage_net()):
        gibbs = bx.compile(bx.Violation(bx.Contract(component, *chain.interfaces[::2])),
                           component.prior)  # fmt: skip
        rising = bx.Ensemble.prior(gibbs, 2000, key=KEY).map(ends)
        assert 0.5 < float(jnp.mean(rising)) < 0.9  # upright more often than not


def ends(model):
    return model(jnp.array([5.0])) > model(jnp.array([0.0]))
