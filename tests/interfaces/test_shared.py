"""One shared variable: amplifiers `y = w x`, `w ~ U[0, W]`, whose thresholds scale with it.

With inputs 0 → [0, l₀], 1 → [h₀, ∞) and outputs [0, l₁], [h₁, ∞) the contract is kept by
`h₁/h₀ <= w <= l₁/l₀`: an interval at each value g, so that everything has a closed form.

Planted mutants, each killed by the check against it: the law of g forgotten; the components at
different values of g; the coupling of probabilities in place of logarithms; the total correlation
without the information that the components have together.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import boltzax as bx
from boltzax.interfaces import _shared_variable as _shared
from boltzax.interfaces._shared_variable import shared_entropy

W = 10.0
GAIN = bx.models.Function(lambda w, x: w * x, jnp.zeros(()))
AMPLIFIER = bx.Component(GAIN, bx.Uniform(0.0, W))
VALUES, LAW = np.array([1.0, 1.25, 1.6, 2.0]), np.array([0.4, 0.3, 0.1, 0.2])
DRAWS = 16_384


def levels(low, high) -> bx.Interface:
    return bx.Interface.thresholds(low, high, range=(0.0, None))


def together(g) -> bx.Circuit:
    """Accepted: w₁ in [2g, 3g], w₂ in [2.3g, 3g]. Both gain by a larger g."""
    wires = [levels(1.0, 2.0), levels(3 * g, 4 * g), levels(9 * g**2, 9.2 * g**2)]
    return bx.Chain([AMPLIFIER, AMPLIFIER], wires, points=2)


def against(g) -> bx.Circuit:
    """Accepted: w₁ in [2g, 3g], w₂ in [2.3/g, 3/g]. One gains what the other loses."""
    wires = [levels(1.0, 2.0), levels(3 * g, 4 * g), levels(9.0, 9.2)]
    return bx.Chain([AMPLIFIER, AMPLIFIER], wires, points=2)


def alone(g) -> bx.Circuit:
    """Only the prior of the first knows g: w₁ in [2, 3] of U[0, W g]."""
    first = bx.Component(GAIN, bx.Uniform(0.0, W * g))
    wires = [levels(1.0, 2.0), levels(3.0, 4.0), levels(9.0, 9.2)]
    return bx.Chain([first, AMPLIFIER], wires, points=2)


def exact(ends: np.ndarray, p: np.ndarray) -> dict:
    """Closed forms for intervals `ends` `[value, component, 2]` of U[0, W]."""
    each = (ends[..., 1] - ends[..., 0]) / W
    product = each.prod(axis=1)
    total, marginal = np.log(p @ product), np.log(p @ each)
    posterior = p * product / (p @ product)
    # the densities are constant between the ends of all intervals
    cuts = [np.unique(ends[:, i]) for i in range(2)]
    inside = [(ends[:, i, :1] <= c[:-1]) & (ends[:, i, 1:] >= c[1:]) for i, c in enumerate(cuts)]
    cells = [
        np.diff(c)[None] * m / (ends[:, i, 1:] - ends[:, i, :1])
        for i, (c, m) in enumerate(zip(cuts, inside))
    ]
    joint = np.einsum("g,ga,gb->ab", posterior, *cells)
    apart = np.einsum("a,b->ab", joint.sum(1), joint.sum(0))
    seen = joint > 0
    correlation = np.sum(joint[seen] * np.log(joint[seen] / apart[seen]))
    return {
        "entropy": np.log(each),
        "joint": np.log(product),
        "total": total,
        "marginal": marginal,
        "posterior": posterior,
        "coupling": total - marginal.sum(),
        "total_correlation": correlation,
    }


def ends(g, second) -> np.ndarray:
    g = np.asarray(g)
    return np.stack([np.stack([2 * g, 3 * g], -1), np.stack([2.3 * second, 3 * second], -1)], 1)


TOGETHER = exact(ends(VALUES, VALUES), LAW)
AGAINST = exact(ends(VALUES, 1 / VALUES), LAW)


def check(build, truth: dict, key: int = 0, draws: int = DRAWS) -> _shared.SharedEntropy:
    found = shared_entropy(build, (VALUES, LAW), key=jax.random.key(key), draws=draws)
    # 21 numbers of Student's t with 31 degrees of freedom: beyond 4.5 by chance once in 500 at most
    for name, value in truth.items():
        z = np.asarray(getattr(found, name).z_score(value))
        assert np.all(np.abs(z) < 4.5), (name, z)
    # independent given g
    z = np.asarray(found.residual.z_score(0.0))
    assert np.all(np.abs(z) < 4.5), z
    assert np.isclose(jnp.sum(found.posterior.value), 1.0)
    return found


@pytest.mark.slow
def test_a_variable_that_helps_both_couples_them():
    found = check(together, TOGETHER)
    assert found.coupling.value > 4 * found.coupling.standard_error
    assert found.coupling.standard_error < 0.03
    assert found.total_correlation.standard_error < 0.1
    assert np.exp(TOGETHER["coupling"]) == pytest.approx((LAW @ VALUES**2) / (LAW @ VALUES) ** 2)
    assert "coupling: " in repr(found)


@pytest.mark.slow
def test_a_variable_that_helps_one_and_harms_the_other_couples_them_the_other_way():
    found = check(against, AGAINST)
    assert found.coupling.value < -4 * found.coupling.standard_error
    # knowing one component still tells of the other
    assert found.total_correlation.value > 4 * found.total_correlation.standard_error


def test_a_variable_of_one_component_couples_nothing():
    p = 1 / (W * VALUES)
    truth = {
        "entropy": np.stack([np.log(p), np.full(4, np.log(0.07))], axis=1),
        "marginal": np.log([LAW @ p, 0.07]),
        "total": np.log((LAW @ p) * 0.07),
        "posterior": LAW * p / (LAW @ p),
    }
    found = check(alone, truth)
    # the second has the same draws at each value, so that this is zero to rounding
    assert abs(float(found.coupling.value)) < 1e-12
    assert abs(float(found.total_correlation.value)) < 4.5 * float(
        found.total_correlation.standard_error
    )


@pytest.mark.slow
def test_a_law_that_is_drawn_from():
    """`g ~ U[1, 2]`: E[g²] = 7/3, E[g] = 3/2."""
    found = shared_entropy(
        together, bx.Uniform(1.0, 2.0), key=jax.random.key(4), draws=8192, values=48
    )
    # t with 31 degrees of freedom: beyond 4 by chance once in 2500
    assert abs(found.coupling.z_score(np.log(7 / 3) - 2 * np.log(1.5))) < 4
    assert abs(found.total.z_score(np.log(0.007 * 7 / 3))) < 4
    fixed = shared_entropy(
        together,
        (found.values, np.full(48, 1 / 48)),
        key=jax.random.key(4),
        draws=8192,
    )
    assert found.total.standard_error > 2 * fixed.total.standard_error


def test_mutant_law_forgotten_is_killed(monkeypatch):
    right = _shared._points
    monkeypatch.setattr(
        _shared, "_points", lambda *a: (right(*a)[0], jnp.full(len(LAW), 1 / len(LAW)), False)
    )
    with pytest.raises(AssertionError):
        check(together, TOGETHER)


def test_mutant_with_components_at_different_values_is_killed(monkeypatch):
    right = _shared._kept

    def mutant(levels, keys):
        kept = right(levels, keys)
        return kept.at[:, 1].set(kept[::-1, 1])

    monkeypatch.setattr(_shared, "_kept", mutant)
    with pytest.raises(AssertionError):
        check(together, TOGETHER)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", ["coupling", "correlation"])
def test_mutants_of_the_statistics_are_killed(mutant, monkeypatch):
    right = _shared._statistics
    check(together, TOGETHER)

    def statistics(kept, p, sampled):
        found = right(kept, p, sampled)
        if mutant == "coupling":
            wrong = found["total"].map(jnp.exp) - found["marginal"].map(lambda h: jnp.exp(sum(h)))
            return found | {"coupling": wrong}
        above, below = _shared._sums(p, jnp.prod(kept.astype(p.dtype), axis=1))
        own = jnp.sum(above) / jnp.sum(below)
        return found | {"total_correlation": found["total_correlation"] - own}

    monkeypatch.setattr(_shared, "_statistics", statistics)
    with pytest.raises(AssertionError):
        check(together, TOGETHER)


@pytest.mark.slow
@settings(max_examples=3)
@given(st.permutations(range(4)))
def test_the_order_of_the_values_does_not_matter(order):
    order = list(order)
    one, other = (
        shared_entropy(together, (VALUES[o], LAW[o]), key=jax.random.key(0), draws=2048)
        for o in (list(range(4)), order)
    )
    for name in ("total", "coupling", "total_correlation"):
        assert np.isclose(getattr(one, name).value, getattr(other, name).value, atol=1e-12)
    assert np.allclose(one.posterior.value[jnp.asarray(order)], other.posterior.value)
    assert np.array_equal(one.satisfied[jnp.asarray(order)], other.satisfied)


def test_more_tolerance_gives_more_entropy_draw_by_draw():
    """Wider outputs at each value: no entropy falls, with the same draws."""

    def wider(g):
        wires = [levels(1.0, 2.0), levels(3.5 * g, 3.5 * g), levels(9 * g**2, 9.2 * g**2)]
        return bx.Chain([AMPLIFIER, AMPLIFIER], wires, points=2)

    narrow, wide = (
        shared_entropy(build, (VALUES, LAW), key=jax.random.key(0), draws=2048)
        for build in (together, wider)
    )
    assert np.all(wide.satisfied[:, 0] >= narrow.satisfied[:, 0])


def test_a_value_at_which_nothing_is_kept_counts_for_nothing():
    found = shared_entropy(
        lambda g: bx.Chain(
            [AMPLIFIER], [levels(1.0, 2.0), levels(3 * g, 30.0 - 26 * g + 0 * g)], points=2
        ),
        ([1.0, 0.5], [0.5, 0.5]),
        key=jax.random.key(0),
        draws=4096,
    )
    assert found.satisfied[1, 0] == 0 and found.entropy.value[1, 0] == -np.inf
    assert abs(found.total.z_score(np.log(0.05))) < 4.5
    assert np.array_equal(found.posterior.value, [1.0, 0.0])


@pytest.mark.parametrize(
    "change, argument",
    [
        ({"law": ([1.0, 2.0], [0.5, 0.6])}, "law"),
        ({"law": ([1.0, 2.0], [1.5, -0.5])}, "law"),
        ({"law": ([1.0], [0.5, 0.5])}, "law"),
        ({"draws": 5}, "draws"),
        ({"values": 1}, "values"),
        ({"build": lambda g: AMPLIFIER}, "build"),
        (
            {
                "build": lambda g: bx.Contract(
                    bx.Component(
                        bx.models.Function(jnp.multiply if g > 1 else jnp.add, jnp.zeros(())),
                        bx.Normal(),
                    ),
                    levels(1.0, 2.0),
                    levels(1.0, 2.0),
                )
            },
            "build",
        ),
    ],
)
def test_wrong_arguments_are_refused(change, argument):
    given = {"build": together, "law": ([1.0, 2.0], [0.5, 0.5])} | change
    with pytest.raises(bx.DeclarationError) as raised:
        shared_entropy(given.pop("build"), given.pop("law"), key=jax.random.key(0), **given)
    assert raised.value.argument == argument
