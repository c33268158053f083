"""Per datum: curves of splitting, free directions and overlaps, against exact block memories.

Planted mutants, each killed by the check that it is named with: the mean in place of the worst
error, all data in place of the subset, the first output alone; λ for 2λ and ε for log ε; no
whitening; rank by the squares; a union that counts common data twice.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpyro.distributions import VonMises
from scipy.special import ndtr

import boltzax as bx
from boltzax.interfaces import _free_directions, _subsets
from boltzax.interfaces._free_directions import free_directions, overlap
from boltzax.interfaces._subsets import SubsetEntropy, Worst, memories, subset_entropy
from boltzax.sample import Level

DIMS = (2, 3, 4)
BLOCKS = {"a": [0, 1], "b": [2, 3, 4], "c": [5, 6, 7, 8]}
TOLERANCES = np.array([1.0, 0.5, 0.2, 0.1, 0.05, 0.02])


def line(size: int) -> bx.models.Function:
    return bx.models.Function(lambda w, z: w @ z, jnp.zeros(size))


def rotation(rng, size: int) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(size, size)))[0]


def memory(seed: int = 0, scale: float = 0.4):
    """Data in disjoint blocks of weights, orthonormal inside each: `y = θ·φ`, so that the errors
    are independent and the probability of a box is a product."""
    rng = np.random.default_rng(seed)
    features = scipy.linalg.block_diag(*[rotation(rng, d) for d in DIMS])
    return features, scale * rng.normal(size=sum(DIMS))


def exact(y: np.ndarray, tolerances=TOLERANCES) -> np.ndarray:
    """`Σ_i log(Φ(y_i + ε) - Φ(y_i - ε))` `[tolerance]`."""
    e = np.asarray(tolerances)[:, None]
    return np.sum(np.log(ndtr(y + e) - ndtr(y - e)), axis=1)


@pytest.fixture(scope="module")
def blocks() -> SubsetEntropy:
    x, y = memory()
    whole = BLOCKS | {"all": list(range(9))}
    return subset_entropy(
        line(9),
        bx.Normal(),
        x,
        y,
        whole,
        TOLERANCES,
        key=jax.random.key(0),
        particles=128,
        moves=6,
        replicates=16,
    )


# Errors are of 16 replicates: Student's t with 15 degrees of freedom, which is above 4 once in 900
# and above 5 once in 6300.


@pytest.mark.slow
def test_curves_are_those_of_the_gaussian_box(blocks):
    _, y = memory()
    rows = [*BLOCKS.values(), list(range(9))]
    truth = np.stack([exact(y[r]) for r in rows])
    z = np.asarray(blocks.entropy.z_score(truth))
    # 24 numbers of 4 runs: by chance once in 260
    assert np.all(np.abs(z) < 5), z
    assert np.all(blocks.entropy.standard_error < 0.4)
    slopes = np.stack([np.gradient(t, np.log(TOLERANCES)) for t in truth])
    z = np.asarray(blocks.dimension.z_score(slopes))[:, 1:-1]
    assert np.all(np.abs(z) < 5), z
    assert blocks.successful
    # more data leave less
    assert np.all(blocks.entropy.value[3] < blocks.entropy.value[:3])
    assert "2λ = " in repr(blocks) and "'all'" in repr(blocks)


@pytest.mark.slow
def test_slopes_count_the_directions_that_each_block_constrains(blocks):
    slope = blocks.slope(3, 5)
    dims = np.array([*DIMS, sum(DIMS)])
    # between 0.1 and 0.02 the exact slope of the box differs from the dimension by less than 0.003
    _, y = memory()
    true = (exact(y)[3] - exact(y)[5]) / np.log(5)
    assert abs(true - 9) < 0.03
    assert np.all(np.abs(slope.z_score(dims)) < 4), slope
    assert np.all(slope.standard_error < 0.25)


@pytest.mark.slow
def test_disjoint_blocks_do_not_interact(blocks):
    between = blocks.interaction("all", list(BLOCKS))
    assert np.all(np.abs(between.value) < 4.5 * between.standard_error), between
    with pytest.raises(bx.DeclarationError, match="name"):
        blocks.interaction("all", ["d"])


@pytest.mark.slow
def test_data_that_share_weights_interact():
    # two equal data: both are right when one is, so that the interaction is -H of one
    x, y = np.ones((2, 1)), np.zeros(2)
    found = subset_entropy(
        line(1),
        bx.Normal(),
        x,
        y,
        {"i": [0], "j": [1], "both": [True, True]},
        [0.3, 0.03],
        key=jax.random.key(1),
        particles=128,
        moves=8,
    )
    between = found.interaction("both", ["i", "j"])
    truth = -exact(np.zeros(1), [0.3, 0.03])
    assert np.all(np.abs(between.z_score(truth)) < 4.5), between


def drawn(worst, prior, model, count=4000, seed=3):
    """The level of shared draws of the prior."""
    level = Level(bx.prior(model, prior), worst)
    return levels(level, jax.random.split(jax.random.key(seed), count))


@eqx.filter_jit
def levels(level, keys):
    return jax.vmap(lambda key: level(level.draw(key)))(keys)


class Two(eqx.Module):
    """Two outputs, one weight each."""

    w: jax.Array

    def __call__(self, x):
        return self.w * x


def check_level(worst: type) -> None:
    """`P[level >= -ε]` against the exact box, for a subset, with two outputs."""
    model = Two(jnp.zeros(2))
    x, y = jnp.array([[1.0], [5.0]]), jnp.array([[0.3, -0.2], [9.0, 9.0]])
    level = np.asarray(drawn(worst(x, y, jnp.array([0, 0])), bx.Normal(), model))
    for tolerance in (0.3, 1.0, 2.0):
        p = np.exp(exact(np.array([0.3, -0.2]), [tolerance])[0])
        error = np.sqrt(p * (1 - p) / len(level))
        # three numbers, normal: by chance once in 5000
        assert abs(np.mean(level >= -tolerance) - p) < 4 * error


def test_the_level_is_the_worst_error_on_the_subset():
    check_level(Worst)


class MeanError(eqx.Module):
    x: jax.Array
    y: jax.Array
    rows: jax.Array

    def __call__(self, model):
        return -jnp.mean(jnp.abs(jax.vmap(model)(self.x[self.rows]) - self.y[self.rows]))


class AllData(eqx.Module):
    x: jax.Array
    y: jax.Array
    rows: jax.Array

    def __call__(self, model):
        return -jnp.max(jnp.abs(jax.vmap(model)(self.x) - self.y))


class FirstOutput(eqx.Module):
    x: jax.Array
    y: jax.Array
    rows: jax.Array

    def __call__(self, model):
        found = jax.vmap(model)(self.x[self.rows])
        return -jnp.max(jnp.abs(found - self.y[self.rows])[:, 0])


@pytest.mark.parametrize("mutant", [MeanError, AllData, FirstOutput])
def test_mutants_of_the_level_are_killed(mutant):
    with pytest.raises(AssertionError):
        check_level(mutant)


def synthetic(dim: float, noise: float = 0.1) -> SubsetEntropy:
    """Replicates that scatter about `(ε/2)^dim` by a common factor each."""
    e = jnp.asarray(TOLERANCES)
    factor = 1 + noise * jax.random.normal(jax.random.key(0), (12, 1))
    logs = dim * jnp.log(e / 2) + jnp.log(factor)
    return SubsetEntropy(("s",), e, (curve_of(-e, logs),))


def curve_of(at: jax.Array, logs: jax.Array) -> bx.LogProbability:
    """A curve whose replicates are known, `[replicate, level]`."""
    p = jnp.exp(logs)
    estimate = bx.Estimate.of_replicates(p).map(jnp.log)
    good = jax.tree.map(lambda _: bx.Status.successful, list(range(len(at))))
    status = jax.tree.map(lambda *each: jnp.stack(each), *good)
    return bx.LogProbability(at, estimate, jnp.zeros_like(at), status, 1, "levels", logs)


def check_dimension() -> None:
    found = synthetic(2.5)
    assert np.allclose(found.dimension.value, 2.5, rtol=1e-9)
    assert np.allclose(found.slope(1, 4).value, 2.5, rtol=1e-9)
    # the factor of a replicate is common to all tolerances: a slope has no error, H has
    assert np.all(found.dimension.standard_error < 1e-9)
    factor = np.exp(np.asarray(found.curves[0].replicates[:, 0])) / 0.5**2.5
    expected = factor.std(ddof=1) / factor.mean() / np.sqrt(12)
    assert np.allclose(found.entropy.standard_error, expected, rtol=0.05)


def test_slopes_of_power_laws_are_exact_and_errors_are_those_of_replicates():
    check_dimension()
    at = jnp.array([0.0, -0.3, -1.0, -1.1])
    found = _subsets._differences(np.asarray(at)) @ np.asarray(at**2)
    assert np.allclose(found[1:-1], 2 * at[1:-1])


@pytest.mark.parametrize("mutant", ["half", "linear"])
def test_mutants_of_the_slope_are_killed(mutant, monkeypatch):
    right = _subsets._differences
    wrong = {"half": lambda at: right(at) / 2, "linear": lambda at: right(np.exp(at))}
    monkeypatch.setattr(_subsets, "_differences", wrong[mutant])
    with pytest.raises(AssertionError):
        check_dimension()


@settings(max_examples=8)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.permutations(range(6)),
)
def test_laws_on_shared_draws(s, t, order):
    """Monotone in ε, antitone in s; a union is a conjunction; order does not matter."""
    rng = np.random.default_rng(5)
    x, y = jnp.asarray(rng.normal(size=(6, 2))), jnp.asarray(rng.normal(size=6))
    net = bx.models.TwoLayer(3, jnp.tanh, dim=2, key=jax.random.key(0))

    def level(rows, x=x, y=y):
        rows = np.resize(rows, 12)
        return np.asarray(drawn(Worst(x, y, jnp.asarray(rows)), bx.Normal(), net, count=64))

    one, other, both = level(s), level(t), level([*s, *t])
    assert np.array_equal(both, np.minimum(one, other))
    curve = np.mean(one >= -TOLERANCES[:, None], axis=1)
    assert np.all(np.diff(curve) <= 0)
    assert np.array_equal(one, level([*reversed(s), s[0]]))
    places = np.argsort(order)
    moved = level(places[s], x[jnp.asarray(order)], y[jnp.asarray(order)])
    assert np.allclose(one, moved, rtol=1e-12)


@pytest.mark.slow
def test_a_curve_falls_with_the_tolerance_and_outcomes_are_told(blocks):
    assert all(np.all(np.diff(curve.replicates, axis=-1) <= 0) for curve in blocks.curves)
    # a step cannot be approached: its error is 1 or 0
    step = bx.models.Function(lambda w, z: jnp.sign(w @ z), jnp.zeros(1))
    given = step, bx.Normal(), np.ones((1, 1)), np.zeros(1), [[0]], [0.5]
    few = {"key": jax.random.key(0), "particles": 16, "moves": 1}
    with pytest.raises(bx.RunError, match="could not go on"):
        subset_entropy(*given, **few)
    found = subset_entropy(*given, throw=False, **few)
    assert not found.successful and bool(found.last[0].status == bx.Status.extinct)
    assert "could not go on" in repr(found)


@pytest.mark.slow
def test_a_contract_of_memories_is_the_same_set():
    x, y = memory()
    model = line(9)
    contract = memories(model, bx.Normal(), x, y, 0.25)
    worst = Worst(jnp.asarray(x), jnp.asarray(y), jnp.arange(9))
    for seed in range(3):
        drawn = bx.models.Function(model.fn, jax.random.normal(jax.random.key(seed), (9,)))
        assert np.isclose(contract.margin(drawn), 0.25 + worst(drawn), atol=1e-12)
    near = memories(model, bx.Normal(), x, y, 0.25, reach=0.1)
    exact_model = bx.models.Function(model.fn, jnp.asarray(np.linalg.solve(x, y)))
    reached = 0.1 * np.abs(np.linalg.solve(x, y)).sum()
    assert np.isclose(contract.margin(exact_model), 0.25, atol=1e-12)
    tighter = bx.Contract(contract.component, contract.assume, contract.guarantee.erode(0.2))
    assert np.isclose(tighter.margin(exact_model), 0.05, atol=1e-12)
    # the corners that are looked at need not hold the worst one in 9 dimensions
    assert 0.25 - reached - 1e-12 <= near.margin(exact_model) < 0.25


def check_free() -> None:
    """A spectrum over ten digits, and whitening by known scales."""
    rng = np.random.default_rng(2)
    spectrum = np.array([1.0, 1e-3, 1e-9, 1e-11])
    x = rotation(rng, 4) @ np.diag(spectrum) @ rotation(rng, 6)[:4]
    found = free_directions(line(6), np.concatenate([x, x[:1] + x[1:2]]))
    assert np.allclose(found.singular[:3] / spectrum[:3], 1.0, rtol=0.8)
    assert int(found.rank) == 4 and int(found.free) == 2
    scales = jnp.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    white = free_directions(line(6), x, prior=bx.Normal(0.0, scales))
    assert np.allclose(white.singular, np.linalg.svd(x * scales)[1], rtol=1e-6, atol=1e-15)
    assert np.isclose(
        white.information(1e-3),
        0.5 * np.sum(np.log1p((np.linalg.svd(x * scales)[1] / 1e-3) ** 2)),
    )


def test_free_directions_keep_digits_and_are_whitened():
    check_free()


def by_squares(gibbs, x, mask, rtol):
    """Singular values by the eigenvalues of the Gram matrix."""
    jacobian = _free_directions.whitened_jacobian(gibbs, x)[:, 0]
    values, vectors = jnp.linalg.eigh(jacobian @ jacobian.T)
    s = jnp.sqrt(jnp.maximum(values[::-1], 0.0))
    directions = (vectors[:, ::-1].T @ jacobian) / jnp.maximum(s, 1e-30)[:, None]
    return s, directions, _free_directions._threshold(jacobian, rtol)


def test_mutant_rank_by_squares_is_killed(monkeypatch):
    monkeypatch.setattr(_free_directions, "_decomposed", by_squares)
    with pytest.raises(AssertionError):
        check_free()


def test_mutant_without_whitening_is_killed(monkeypatch):
    right = _free_directions._decomposed
    plain = bx.prior(line(6), bx.Normal())
    monkeypatch.setattr(
        _free_directions, "_decomposed", lambda gibbs, x, mask, rtol: right(plain, x, mask, rtol)
    )
    with pytest.raises(AssertionError):
        check_free()


def test_each_block_constrains_its_own_weights():
    x, _ = memory()
    for rows, dim in zip(BLOCKS.values(), DIMS, strict=True):
        found = free_directions(line(9), x, subset=rows)
        assert int(found.rank) == dim and int(found.free) == 9 - dim
        pinned = np.zeros(9)
        pinned[rows] = 1.0
        assert np.allclose(found.leverage()["params"], pinned, atol=1e-12)
        assert np.isclose(found.share()["params"], dim / 9)
        assert np.isclose(np.sum(found.leverage(0.5)["params"]), found.effective(0.5))
        assert np.isclose(found.effective(0.5), dim * 1 / 1.25)
    assert int(free_directions(line(9), x).rank) == 9
    assert "2 of 9 directions" in repr(free_directions(line(9), x, subset=BLOCKS["a"]))


def check_overlap(fn) -> None:
    """Shared constraints against shared weights."""
    one, skew = np.array([1.0, 0, 0, 0]), np.array([0.6, 0.8, 0, 0])
    x = np.stack([one, one, skew, [0, 0, 1.0, 0], [0, 0, 0, 2.0]])
    subsets = {"one": [0], "again": [1], "skew": [2], "far": [3, 4], "pair": [0, 3]}
    found = fn(line(4), x, subsets, tolerance=0.1)
    rank = np.array(
        [[1, 1, 0, 0, 1], [1, 1, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 2, 1], [1, 1, 0, 1, 2]]
    )
    assert np.array_equal(found.rank, rank)

    def nats(*rows):
        distinct = sorted(set(rows))
        gram = x[distinct] @ x[distinct].T / 0.01
        return 0.5 * np.linalg.slogdet(np.eye(len(distinct)) + gram)[1]

    rows = list(subsets.values())
    truth = [[nats(*s) + nats(*t) - nats(*s, *t) for t in rows] for s in rows]
    assert np.allclose(found.information, truth, atol=1e-9)
    # skew shares a weight with one, and no constraint
    assert found.information[0, 2] > 0.2 and found.rank[0, 2] == 0
    assert np.array_equal(found.information, found.information.T)
    assert abs(float(found.information[0, 3])) < 1e-12


def test_overlap_tells_shared_constraints_from_shared_weights():
    check_overlap(overlap)


def test_mutant_union_that_counts_common_data_twice_is_killed():
    def mutant(model, x, subsets, tolerance):
        """Common data as if they had been measured twice."""
        doubled = np.concatenate([x] * 5)
        names = list(subsets)
        apart = {n: [len(x) * i + r for r in subsets[n]] for i, n in enumerate(names)}
        return overlap(model, doubled, apart, tolerance=tolerance)

    with pytest.raises(AssertionError):
        check_overlap(mutant)


@settings(max_examples=5)
@given(st.integers(0, 1000), st.permutations(range(8)))
def test_laws_of_overlap(seed, order):
    """Symmetric, zero between disjoint blocks, never negative, the same for relabelled data."""
    rng = np.random.default_rng(seed)
    rows = {"s": [0, 1, 2], "t": [2, 3, 4], "u": [5, 6, 7]}
    left = np.concatenate([rng.normal(size=(5, 4)), np.zeros((5, 4))], axis=1)
    right = np.concatenate([np.zeros((3, 4)), rng.normal(size=(3, 4))], axis=1)
    x = np.concatenate([left, right])
    found = overlap(line(8), x, rows, tolerance=0.1)
    assert np.array_equal(found.rank, found.rank.T)
    assert np.array_equal(found.information, found.information.T)
    assert np.all(found.rank[:2, 2] == 0) and np.all(np.abs(found.information[:2, 2]) < 1e-9)
    assert np.all(np.asarray(found.information) > -1e-9) and np.all(np.asarray(found.rank) >= 0)
    # 3 + 3 constraints on 4 weights
    assert int(found.rank[0, 1]) == 2
    places = np.argsort(order)
    again = overlap(line(8), x[list(order)], {n: places[r] for n, r in rows.items()}, tolerance=0.1)
    assert np.array_equal(found.rank, again.rank)
    assert np.allclose(found.information, again.information, atol=1e-9)


class Parts(eqx.Module):
    """One leaf of each kind of prior."""

    z: jax.Array
    b: jax.Array
    c: jax.Array

    def __call__(self, x):
        return x[:2] @ self.z + x[2:3] @ self.b + x[3:] @ self.c


@pytest.mark.slow
def test_every_prior_whitens_by_its_own_map():
    """`∂f/∂u` against the derivative of the map from normals, and Gauss for a joint prior."""
    cov = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    prior = bx.Independent(
        z=bx.MultivariateNormal(jnp.zeros(2), cov), b=bx.Uniform(-1, 3), c=bx.Laplace(0.0, 2.0)
    )
    u = {"z": jnp.array([0.3, -0.4]), "b": jnp.array([0.7]), "c": jnp.array([-0.2, 0.9])}
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)))
    start = Parts(jnp.zeros(2), jnp.zeros(1), jnp.zeros(2))
    gibbs = bx.prior(start, prior)
    level = Level(gibbs, len)
    jacobian = eqx.filter_jit(jax.jacobian(lambda u: jax.vmap(level.model(u))(x)))(u)
    flat = np.concatenate([jacobian[p] for p in "zbc"], axis=1)
    found = free_directions(level.model(u), x, prior=prior)
    assert np.allclose(found.singular, np.linalg.svd(flat)[1], rtol=1e-6)
    # in the order of the model, which is not that of the alphabet
    whole = found.leverage(1.0)
    assert list(whole) == ["z", "b", "c"]
    hat = flat.T @ np.linalg.solve(np.eye(3) + flat @ flat.T, flat)
    assert np.allclose(np.concatenate([whole[p] for p in whole]), np.diag(hat), rtol=1e-6)
    frozen = free_directions(level.model(u), x, prior=prior, chart=bx.Freeze("z"))
    assert frozen.directions.shape[1] == 3 and set(frozen.share()) == {"b", "c"}
    assert np.allclose(frozen.singular, np.linalg.svd(flat[:, 2:])[1], rtol=1e-6)


@pytest.mark.parametrize(
    "change, argument",
    [
        ({"y": np.zeros(3)}, "x, y"),
        ({"y": np.zeros((9, 2))}, "y"),
        ({"x": np.zeros((9, 4))}, "model"),
        ({"subsets": []}, "subsets"),
        ({"subsets": [[0, 9]]}, "subsets[0]"),
        ({"subsets": {"e": []}}, "subsets['e']"),
        ({"subsets": [np.zeros(9, bool)]}, "subsets[0]"),
        ({"subsets": [[0.5]]}, "subsets[0]"),
        ({"tolerances": [0.1, 0.0]}, "tolerances"),
        ({"tolerances": [np.nan]}, "tolerances"),
        ({"replicates": 2}, "replicates"),
        ({"prior": VonMises(0.0, 1.0)}, "prior"),
    ],
)
def test_wrong_arguments_are_refused(change, argument):
    x, y = memory()
    given = {"x": x, "y": y, "subsets": [[0]], "tolerances": [0.1], "prior": bx.Normal()} | change
    with pytest.raises(bx.DeclarationError) as raised:
        subset_entropy(line(9), key=jax.random.key(0), particles=8, moves=1, **given)
    assert raised.value.argument.startswith(argument)


def test_free_directions_refuse_what_does_not_fit():
    x, _ = memory()
    with pytest.raises(bx.DeclarationError, match="subset"):
        free_directions(line(9), x, subset=[9])
    with pytest.raises(bx.DeclarationError, match="rtol"):
        free_directions(line(9), x, rtol=2.0)
    with pytest.raises(bx.DeclarationError, match="tolerance"):
        overlap(line(9), x, BLOCKS, tolerance=0.0)
    with pytest.raises(bx.DeclarationError, match="support"):
        free_directions(line(9), x, prior=bx.Uniform(1.0, 2.0))
    with pytest.raises(bx.DeclarationError, match="two"):
        _ = SubsetEntropy(
            ("s",), jnp.ones(1), (curve_of(-jnp.ones(1), jnp.zeros((4, 1))),)
        ).dimension


def test_float32():
    x, _ = memory()
    x = x.astype(np.float32)
    with jax.enable_x64(False):
        model = bx.models.Function(lambda w, z: w @ z, jnp.zeros(9, jnp.float32))
        found = overlap(model, x, BLOCKS, tolerance=0.1)
        assert found.information.dtype == jnp.float32
        assert np.array_equal(found.rank, np.diag(DIMS))


@pytest.mark.slow
def test_float32_curves():
    x, _ = memory()
    with jax.enable_x64(False):
        model = bx.models.Function(lambda w, z: w @ z, jnp.zeros(9, jnp.float32))
        run = subset_entropy(
            model,
            bx.Normal(),
            x,
            np.zeros(9),
            [BLOCKS["a"]],
            [1.0, 0.1],
            key=jax.random.key(0),
            particles=64,
            moves=4,
            replicates=8,
        )
        assert run.entropy.value.dtype == jnp.float32
        # t with 7 degrees of freedom: beyond 6 once in 1800
        assert np.all(np.abs(run.entropy.z_score(exact(np.zeros(2), [1.0, 0.1]))) < 6)


@pytest.mark.parametrize("raised", [NotImplementedError, ImportError])
def test_a_prior_without_a_distribution_function_is_named(raised):
    """numpyro computes some of them with a package that need not be there."""

    class Unknown(bx.Laplace):
        def cdf(self, value):
            raise raised

    with pytest.raises(bx.DeclarationError, match="no distribution function"):
        _free_directions._scale("w", Unknown(0.0, 1.0), jnp.zeros(2))
