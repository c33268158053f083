"""Where arrays live does not change what is drawn: several devices, and several processes."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from scipy import stats

import boltzax as bx
from boltzax.sample._normal_noise import normals

HERE = Path(__file__).parent
ONE = jax.make_mesh((1,), ("chain",))


def differences(*cases: str) -> list[dict]:
    """What `_devices.py` says of runs over four devices, in a process of its own."""
    command = [sys.executable, str(HERE / "_devices.py"), *cases]
    out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=500)
    return [json.loads(line) for line in out.stdout.splitlines()]


def check(found: list[dict]) -> None:
    """Equal but for rounding.

    The same bits if only chains are split, in all these runs; but nothing makes the compiler round
    a program for two chains as it does one for four, and sums that are split have another order.
    """
    for each in found:
        assert each["energies_apart"] < 1e-6, each
        assert each["apart"] < 1e-6, each
        assert each["programs"] == 1 or each["kernel"] == "nuts", each


@pytest.mark.slow
def test_minibatches_over_chains_and_data():
    found = differences("sgld:chains:both")
    assert len(found) == 2
    check(found)


@pytest.mark.slow
def test_every_sampler_draws_the_same_wherever_it_runs():
    found = differences(
        "sgld:data:weights", "adam:chains:both", "underdamped:chains:both", "walk:chains:data",
        "mala:chains:both:weights", "hmc:chains:both", "nuts:chains:data",
    )  # fmt: skip
    assert len(found) == 15
    check(found)


@pytest.mark.slow
def test_two_processes_draw_what_one_does(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    script = [sys.executable, str(HERE / "_two_processes.py")]
    files = {number: tmp_path / f"{number}.npz" for number in (0, 1, -1)}
    each = [subprocess.Popen([*script, str(n), port, str(file)]) for n, file in files.items()]
    try:
        assert [process.wait(timeout=120) for process in each] == [0, 0, 0]
    finally:
        for process in each:
            process.kill()
    first, second, alone = (np.load(file) for file in files.values())
    assert set(first) == set(alone) >= {"energy", "norm", "weight[0]"}
    for name in alone:
        assert np.array_equal(first[name], second[name]), name
        np.testing.assert_allclose(first[name], alone[name], rtol=1e-6, err_msg=name)


def gibbs(n: int = 6) -> bx.Gibbs:
    data = bx.Empirical((np.ones((n, 2)), np.ones(n)))
    net = bx.models.MLP((2, 3, 1), key=jax.random.key(0))
    return bx.compile(bx.SquaredError(net, data), bx.Normal(), marginalise=False)


def test_data_stay_one_array_and_a_default_mesh_will_do():
    placement = bx.Placement(ONE, data="chain", chains=None)
    placed, start = placement.place(gibbs(), {"weight[0]": jnp.ones((4, 3, 2))})
    (part,) = placed.potential.parts
    assert part.rows[0] is part.term.measure.data[0]
    assert part.rows[0].sharding.spec == PartitionSpec("chain")
    assert placed.beta.sharding.spec == PartitionSpec()
    assert start["weight[0]"].sharding.mesh == placement.mesh


def test_weights_are_split_wherever_they_are():
    own = {"weight[0]": PartitionSpec("chain")}
    placed, start = bx.Placement(ONE, chains=None, weights=own).place(
        gibbs(), {"weight[0]": jnp.ones((4, 3, 2))}
    )
    assert placed.coordinates.base["weight[0]"].sharding.spec == own["weight[0]"]
    assert placed.declared.weight[0].sharding.spec == own["weight[0]"]
    assert start["weight[0]"].sharding.spec == PartitionSpec(None, "chain")


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"mesh": (2,)}, r"`mesh`: got \(2,\)"),
        ({"chains": "chians"}, "`chains`: got 'chians'"),
        ({"data": 3}, "`data`: got 3"),
        ({"weights": {"weigth": PartitionSpec()}}, "weigth.*no such weights"),
    ],
)
def test_wrong_placements_say_how_to_mend_them(wrong, words):
    with pytest.raises(bx.DeclarationError, match=words):
        bx.Placement(**({"mesh": ONE} | wrong)).place(gibbs(), {"weight[0]": jnp.ones((4, 3, 2))})


def test_what_does_not_divide_is_refused():
    placement = bx.Placement(ONE)
    with pytest.raises(bx.DeclarationError, match="take 4 or 6, or fewer devices"):
        _pretend_two(placement)._divides("chains", 5, "chain")
    with pytest.raises(bx.DeclarationError, match="take 2, or fewer devices"):
        _pretend_two(placement)._divides("chains", 1, "chain")


def _pretend_two(placement: bx.Placement) -> bx.Placement:
    class Mesh:
        shape = {"chain": 2}

    object.__setattr__(placement, "mesh", Mesh())
    return placement


def test_fast_normals_are_normal():
    shapes = {"large": (300, 1001), "vector": (33,), "number": (), "matrix": (7, 5)}
    draw = jax.jit(lambda key: normals(shapes, key))
    found = jax.vmap(draw)(jax.random.split(jax.random.key(3), 8))
    assert {path: leaf.shape[1:] for path, leaf in found.items()} == shapes
    assert all(leaf.dtype == jnp.float32 for leaf in found.values())
    large = np.asarray(found["large"], float)
    z, n = large.ravel(), large.size
    assert stats.kstest(z, "norm").pvalue > 1e-3
    for power in range(1, 9):
        moment = stats.norm.moment(power)
        error = np.sqrt((stats.norm.moment(2 * power) - moment**2) / n)
        assert abs(np.mean(z**power) - moment) < 4.5 * error, power
    # the two of a word, and the words of a counter, are a quarter of a row apart
    for lag in (1, 250, 251, 502, 753):
        a, b = large[..., lag:], large[..., :-lag]
        assert abs(np.mean(a * b)) * a.size**0.5 < 4.5
        assert abs(np.mean(a**2 * b**2) - 1) * (a.size / 8) ** 0.5 < 4.5
