"""Every result survives being stored, and a file is read under its own declaration alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.core import DeclarationError
from boltzax.numerics import Split
from boltzax.report._save import _renumbered, found

KEY = jax.random.key(0)
X = np.linspace(-1.0, 1.0, 12)[:, None]


class Line(eqx.Module):
    """A model of the user's own."""

    slope: jax.Array

    def __call__(self, x):
        return self.slope * x[0]


def gibbs_of(shift=0.0):
    data = bx.Empirical((X, 0.5 * X[:, 0] + shift))
    energy = bx.PerDatum(Line(jnp.zeros(())), data, lambda m, z: (m(z[0]) - z[1]) ** 4)
    return bx.compile(energy, prior=bx.Normal(), beta=2.0)


def same(a, b):
    """Equal leaves, bit for bit, and equal structure."""
    leaves, others = (jax.tree.leaves(eqx.filter(each, eqx.is_array_like)) for each in (a, b))
    assert len(leaves) == len(others)
    for one, other in zip(leaves, others, strict=True):
        if jnp.issubdtype(jnp.asarray(one).dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        np.testing.assert_array_equal(one, other)
    assert type(a) is type(b)


def test_what_has_moved_is_found_where_old_files_name_it():
    assert found("boltzax.compile._walk:Split") is Split


@pytest.fixture(scope="module")
def ladder():
    gibbs = gibbs_of()
    kernel = bx.RandomWalk()
    return bx.anneal(
        gibbs, [1.0, 4.0], kernel, key=KEY, draws=40, warmup=40, throw=False, keep=True
    )


@pytest.mark.slow
def test_a_ladder_comes_back_with_its_bridges(ladder, tmp_path):
    bx.save(tmp_path / "run", ladder)
    back = bx.load(tmp_path / "run", gibbs_of())
    same(back, ladder)
    assert back.bridges.requested == ladder.bridges.requested
    assert back.status == ladder.status
    same(bx.free_energy(back), bx.free_energy(ladder))
    slope = back.evaluate(lambda model: model.slope)
    np.testing.assert_array_equal(slope, ladder.evaluate(lambda model: model.slope))


@pytest.mark.slow
def test_a_ladder_without_its_declaration_or_under_another_is_refused(ladder, tmp_path):
    bx.save(tmp_path / "run", ladder)
    with pytest.raises(DeclarationError, match="Line"):
        bx.load(tmp_path / "run")
    with pytest.raises(DeclarationError, match="another declaration"):
        bx.load(tmp_path / "run", gibbs_of(shift=1.0))


def test_results_without_code_of_the_user_need_no_declaration(tmp_path):
    estimate = bx.Estimate(*(jnp.array([x, np.nan, np.inf]) for x in (1.0, 2.0, 3.0, 1.0)))
    low = jnp.array([1.5, -2.0], jnp.bfloat16)
    for result in (estimate, {"a/b": (low, 3, None)}, {"key": KEY}, bx.Status.lagging):
        bx.save(tmp_path / "one", result)
        same(bx.load(tmp_path / "one"), result)
    assert bx.load(tmp_path / "one") == bx.Status.lagging


@pytest.mark.slow
def test_interfaces_and_fixed_points(tmp_path):
    signal = bx.Interface.thresholds(1.0, 4.0, range=(0, 5))
    part = bx.cases.affine_component()
    entropy = bx.interfaces.entropy(bx.Contract(part, signal, signal), key=KEY, samples=2000)
    bx.save(tmp_path / "entropy", entropy)
    same(bx.load(tmp_path / "entropy"), entropy)
    assert repr(bx.load(tmp_path / "entropy")) == repr(entropy)


@pytest.mark.slow
@pytest.mark.skipif("__reduce__" not in vars(Split), reason="lowered programs cannot be stored")
def test_a_local_learning_coefficient(tmp_path):
    data = bx.Empirical((X, 0.5 * X[:, 0]))
    energy = bx.SquaredError(Line(jnp.array(0.5)), data)
    result = bx.local_learning_coefficient(energy, key=KEY, kernel=bx.MALA(), tolerance=0.5)
    bx.save(tmp_path / "llc", result)
    back = bx.load(tmp_path / "llc", energy)
    same(back, result)
    assert back.verdict == result.verdict
    assert back.reason == result.reason
    curve = bx.coefficient_curve(back.trace, [float(result.trace.gibbs.beta)])
    same(curve, bx.coefficient_curve(result.trace, [float(result.trace.gibbs.beta)]))


@pytest.mark.slow
def test_a_fixed_point(tmp_path):
    mf = bx.meanfield
    neuron = mf.Neuron(mf.Unit(jnp.tanh, dim=1), prior=bx.Normal())

    def problem(scale):
        target = lambda x: scale * x[0]  # noqa: E731
        return mf.SelfConsistency(neuron, target, bx.GaussianMeasure(order=8), temperature=0.5)

    fixed = mf.solve(problem(1.0), order=256, throw=False)
    bx.save(tmp_path / "fixed", fixed)
    back = bx.load(tmp_path / "fixed", problem(1.0))
    same(back, fixed)
    np.testing.assert_array_equal(back.background(jnp.ones(1)), fixed.background(jnp.ones(1)))
    with pytest.raises(DeclarationError, match="another declaration"):
        bx.load(tmp_path / "fixed", problem(2.0))


def test_foreign_files_are_named(tmp_path):
    (tmp_path / "x").write_text("no")
    for place in ("x", "nothing"):
        with pytest.raises(DeclarationError, match="bx.save"):
            bx.load(tmp_path / place)


def test_outcomes_keep_their_names_where_their_numbers_changed():
    """A version with outcomes in another order, one of them unknown here."""
    stored = ["successful", "unheard_of", "lagging", "stuck"]
    current = list(bx.Status._name_to_item)
    found = _renumbered(jnp.asarray([2, 0, 3]), stored, current)
    assert [current[i] for i in found] == ["lagging", "successful", "stuck"]
    with pytest.raises(bx.DeclarationError, match="unheard_of"):
        _renumbered(jnp.asarray([1]), stored, current)


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DeclarationError, match="a folder that exists"):
        bx.save(tmp_path / "missing" / "kept.npz", bx.Estimate.exact(1.0))


@pytest.mark.parametrize("dtype", [">f8", ">i4", "<U6", "S3", "M8[s]", ">M8[D]"])
def test_numpy_arrays_of_other_formats_come_back(dtype, tmp_path):
    """In the byte order of the machine."""
    given = np.array([1, 2], "i8").astype(dtype)
    bx.save(tmp_path / "kept", {"values": given})
    found = bx.load(tmp_path / "kept")["values"]
    np.testing.assert_array_equal(found, given)
    assert found.dtype.isnative and found.dtype == given.dtype.newbyteorder("=")


@pytest.mark.parametrize(
    "value",
    [
        np.array([None]),
        np.zeros(2, [("a", float), ("b", int)]),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        {1, 2},
        frozenset([1]),
    ],
    ids=["objects", "structured", "masked", "set", "frozenset"],
)
def test_what_could_not_be_read_again_is_not_stored(value, tmp_path):
    with pytest.raises(bx.DeclarationError, match="result"):
        bx.save(tmp_path / "kept", {"value": value})
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_contains_itself_is_not_stored(tmp_path):
    value: dict = {}
    value["again"] = [value]
    with pytest.raises(bx.DeclarationError, match="contains itself"):
        bx.save(tmp_path / "kept", value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(bx.DeclarationError, match="a folder"):
        bx.save(tmp_path, bx.Estimate.exact(1.0))
