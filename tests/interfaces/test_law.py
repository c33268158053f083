"""Laws of emergent interfaces against all pairs (and triples) of the prior draws.

The draws of the tables are joined in every combination, and each quantity is counted from its
definition: nothing is statistical. Mutants that are told apart: ζ transposed, the mode of the image
law for that of the satisfaction law, the sum over members for Z, one logical value only.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax import cases
from boltzax.core import DeclarationError, RunError
from boltzax.declare import Family
from boltzax.interfaces._interface_law import interface_law
from boltzax.interfaces._maximum_entropy import max_plus

AMPLIFIER = bx.models.Function(
    lambda p, x: 5 * jax.nn.sigmoid(p["g"] * (x[0] - 2.5) + p["b"]),
    {"g": jnp.zeros(()), "b": jnp.zeros(())},
)


def amplifier(gain):
    prior = {"params['g']": bx.Normal(gain, 1.5), "params['b']": bx.Normal()}
    return bx.Component(AMPLIFIER, bx.Independent(prior))


FAMILY = Family.thresholds([0.5, 1.2, 2.5, 3.8, 4.5], range=(0, 5))
FIRST = bx.Interface.intervals({0: [(0, 1.2)], 1: [(3.5, 5.0)]})
LAST = bx.Interface.intervals({0: [(0, 1.5)], 1: [(4.0, 5.0)]})
DRAWS = 120


def law_of(*gains, draws=DRAWS, seed=0, last=LAST):
    parts = [amplifier(gain) for gain in gains]
    chain = bx.Chain(parts, [FIRST, *[FAMILY] * (len(parts) - 1), last], points=3)
    return interface_law(chain, key=jax.random.key(seed), draws=draws, throw=False)


@pytest.fixture(scope="module")
def two():
    return law_of(1.0, 1.5)


@pytest.fixture(scope="module")
def three():
    return law_of(1.0, 1.5, 2.0, draws=60)


def kept(law, i):
    """Which draws of component i keep each contract, `[before, after, draw]`, from the table."""
    table = law.tables.at(i)
    return np.asarray(table.contains)[np.asarray(table.cell)].transpose(0, 2, 1)


def mutual_information(joint):
    joint = joint / joint.sum()
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    there = joint > 0
    return float(np.sum(joint[there] * np.log(joint[there] / product[there])))


@pytest.mark.slow
def test_two_components_by_all_pairs(two):
    one, other = kept(two, 0)[0], kept(two, 1)[:, 0]  # [member, draw]
    both = one[:, :, None] & other[:, None, :]  # [member, draw, draw]
    spec = both.any(0)
    count = spec.sum()
    assert 100 < count < spec.size / 2
    assert np.isclose(float(two.log_evidence().value), np.log(spec.mean()))
    means = (spec.mean(1), spec.mean(0))  # what each draw of either component contributes
    error = np.sqrt(sum(each.var() / DRAWS for each in means)) / spec.mean()
    assert np.isclose(float(two.log_evidence().standard_error), error)
    shares = both.sum((1, 2)) / count
    assert np.allclose(two.satisfaction().value, shares)
    # the tightest image of each draw, by inclusion of the members themselves
    order = np.asarray(FAMILY.order())
    tightest = [np.flatnonzero(s)[order[np.ix_(s, s)].all(1)] for s in one.T]
    assert all(len(t) == min(1, s.sum()) for t, s in zip(tightest, one.T, strict=True))
    law = np.zeros(len(FAMILY))
    for n, t in enumerate(tightest):
        if len(t):
            law[t[0]] += spec[n].sum()
    assert np.allclose(two.image().value, law / count)
    assert np.isclose(float(jnp.sum(two.image().value)), 1)
    assert np.allclose(two.image(0, [3, 5]).value, law[[3, 5]] / count)
    # products of e^H count a system once for each member
    entropies = one.mean(1) * other.mean(1)
    assert np.allclose(shares, entropies / spec.mean())
    assert np.isclose(float(two.expected_interfaces().value), both.sum() / count)
    assert both.sum() > 1.5 * count
    best = int(np.argmax(shares))
    assert max_plus(two.tables).members == (best,)
    assert np.isclose(float(two.log_coverage().value), np.log(shares.max()))
    assert np.isclose(float(two.satisfaction_of([best]).value), shares.max())


@pytest.mark.slow
def test_mutual_information_and_swap_rate_by_all_pairs(two):
    one, other = kept(two, 0)[0], kept(two, 1)[:, 0]
    spec = (one[:, :, None] & other[:, None, :]).any(0)
    assert np.isclose(float(two.mutual_information().value), mutual_information(1.0 * spec))
    assert float(two.mutual_information().value) > 0.05
    rows, columns = spec.sum(1) / spec.sum(), spec.sum(0) / spec.sum()
    swapped = rows @ spec @ columns
    for component in (0, 1):
        assert np.isclose(float(two.swap_rate(component).value), swapped)
    assert spec.mean() < swapped < 1
    # given an interface the components decouple: nothing shared, and any swap succeeds
    best = max_plus(two.tables).members[0]
    given = one[best][:, None] & other[best][None, :]
    assert abs(mutual_information(1.0 * given)) < 1e-12
    assert given[np.ix_(one[best], other[best])].all()


@pytest.mark.slow
def test_three_components_by_all_triples(three):
    a, b, c = kept(three, 0)[0], kept(three, 1), kept(three, 2)[:, 0]
    chains = np.einsum("in,ijm,jk->ijnmk", *(1.0 * x for x in (a, b, c)), optimize=True) > 0
    spec = chains.any((0, 1))
    count = spec.sum()
    assert count > 100
    assert np.isclose(float(three.log_evidence().value), np.log(spec.mean()))
    assert np.allclose(three.satisfaction(0).value, chains.any(1).sum((1, 2, 3)) / count)
    assert np.allclose(three.satisfaction(1).value, chains.any(0).sum((1, 2, 3)) / count)
    assert np.isclose(float(three.expected_interfaces().value), chains.sum() / count)
    joint = chains.sum((2, 3, 4)) / count
    members = tuple(int(m) for m in np.unravel_index(joint.argmax(), joint.shape))
    assert np.isclose(joint[max_plus(three.tables).members], joint.max())
    assert np.isclose(float(three.satisfaction_of(members).value), joint.max())
    draws = spec.shape[0]
    left = mutual_information(1.0 * spec.reshape(draws, -1))
    right = mutual_information(1.0 * spec.reshape(-1, draws))
    assert np.isclose(float(three.mutual_information(0).value), left)
    assert np.isclose(float(three.mutual_information(1).value), right)
    law = spec / count
    for component in range(3):
        marginal = law.sum(tuple(i for i in range(3) if i != component))
        others = law.sum(component)
        success = np.tensordot(np.moveaxis(spec, component, -1) * 1.0, marginal, 1)
        expected = float(np.sum(others * success))
        assert np.isclose(float(three.swap_rate(component).value), expected)


@pytest.mark.slow
def test_the_laws_are_told_apart():
    """Their modes differ here, so that one in place of another is seen."""
    law = law_of(1.0, 1.5, draws=4000)
    image, satisfaction = (np.asarray(x.value) for x in (law.image(), law.satisfaction()))
    assert np.argmax(image) != np.argmax(satisfaction)
    assert abs(satisfaction.sum() - 1) > 1
    order = np.asarray(FAMILY.order(), float)
    k, m = (np.asarray(law.tables.at(i).probability) for i in (0, 1))
    assert np.allclose(satisfaction, k[0] * m[:, 0] / np.exp(float(law.log_evidence().value)))
    # the mutants: ζ transposed, and products of e^H for the evidence
    left = np.linalg.solve(order.T, k[0])
    assert np.isclose(np.log(left @ m[:, 0]), float(law.log_evidence().value))
    assert not np.isclose(np.log(np.linalg.solve(order, k[0]) @ m[:, 0]), np.log(left @ m[:, 0]))
    assert np.log(k[0] @ m[:, 0]) > float(law.log_evidence().value) + 0.5
    # what the family is too coarse to see: a lower bound of the end-to-end specification
    gap = law.resolution()
    assert float(gap.value) < 4 * float(gap.standard_error)
    assert float(law.log_coverage().value) < 0


@pytest.mark.slow
def test_errors_are_those_of_repeated_runs():
    """z-scores of 150 runs about their mean: root mean square 1 ± 0.058, here within 4 s.e."""
    rows = []
    for seed in range(150):
        law = law_of(1.5, 1.5, draws=400, seed=100 + seed)
        found = [
            law.log_evidence(),
            law.mutual_information(),
            law.swap_rate(0),
            law.expected_interfaces(),
        ]
        rows.append([(float(x.value), float(x.standard_error)) for x in found])
    values, errors = np.moveaxis(np.array(rows), -1, 0)
    z = (values - values.mean(0)) / errors
    assert (np.abs(np.sqrt(np.mean(z**2, axis=0)) - 1) < 0.23).all()


def test_series_takes_the_first_into_the_last():
    """The end-to-end probability of two gains: P[2 <= w v <= 8], w, v ~ U[0, 3]."""
    family = Family.thresholds([2.0, 3.0, 4.0, 6.0], range=(0, None))
    law = interface_law(cases.gain_chain(2, family), key=jax.random.key(1))
    assert abs(float(law.end_to_end.entropy[0, 0].z_score(cases.gain_chain_evidence(2)))) < 4
    assert float(law.resolution().value) < 0


@pytest.mark.slow
def test_what_is_wrong_is_refused():
    hard = bx.Interface.intervals({0: [(0, 1e-9)], 1: [(5.0, 5.0)]})
    never = law_of(0.0, 0.0, last=hard)
    with pytest.raises(RunError, match="No draws kept"):
        never.log_evidence()
    law = law_of(1.0, 1.5)
    for call in (
        lambda: law.image(1),
        lambda: law.mutual_information(-1),
        lambda: law.swap_rate(2),
    ):
        with pytest.raises(DeclarationError, match="joint|component"):
            call()
    crossing = Family.of([FAMILY[1], FAMILY[6]])  # neither inside the other
    parts = [amplifier(1.0), amplifier(1.0)]
    with pytest.raises(DeclarationError, match="smallest members"):
        interface_law(bx.Chain(parts, [FIRST, crossing, LAST]), key=jax.random.key(0), draws=300)
    with pytest.raises(DeclarationError, match="Family of candidates"):
        interface_law(bx.Chain(parts, [FIRST, None, LAST]), key=jax.random.key(0))


def test_a_single_component_has_nothing_to_choose():
    law = law_of(1.0)
    best, entropy = max_plus(law.tables), law.tables.at(0).entropy[0, 0]
    assert best.members == best.runner_up == () and best.interfaces == (FIRST, LAST)
    assert float(best.entropy.value) == pytest.approx(float(entropy.value))
    assert np.isinf(best.lead.value)
    for nothing in (law.log_coverage(), law.log_coverage(best), law.swap_rate(0).map(jnp.log)):
        assert float(nothing.value) == pytest.approx(0, abs=1e-4)
    with pytest.warns(DeprecationWarning, match="now .mutual_information"):
        older = law.modularity
    with pytest.raises(DeclarationError, match="there is none"):
        older()
    with pytest.raises(DeclarationError, match="there is none"):
        law.image()
    hard = bx.Interface.intervals({0: [(0, 1e-9)], 1: [(5.0, 5.0)]})
    with pytest.raises(RunError, match="by rising levels"):
        max_plus(law_of(0.0, last=hard).tables)
