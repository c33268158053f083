"""Rising levels in the loop: what is cut goes on to the last bit, and memory changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import boltzax as bx
from boltzax.sample import Level, rise
from boltzax.sample import _run_levels as module

GIBBS = bx.prior(bx.models.Function(lambda p: p[0], jnp.zeros(2)), bx.Normal())
LEVEL = Level(GIBBS, lambda model: model.params[0])
SIZES = {"particles": 32, "moves": 2, "replicates": 4, "max_levels": 40, "keep": True}
KEY = jax.random.key(3)


def run(**more):
    return rise(LEVEL, 3.0, key=KEY, **SIZES | more)


def same(a, b) -> bool:
    a, b = jax.tree.leaves(a), jax.tree.leaves(b)
    return all(
        np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in zip(a, b, strict=True)
    )


WHOLE = run()


def test_a_run_that_was_cut_goes_on_to_the_last_bit(tmp_path, monkeypatch):
    class Cut(Exception):
        pass

    def cut(parts):
        if len(parts) == 2:
            raise Cut
        return False

    saved = bx.Checkpoints(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_done", cut)
        with pytest.raises(Cut):
            run(checkpoints=saved)
    assert len(WHOLE.levels) > 8  # what was cut had not ended
    assert same(run(checkpoints=saved), WHOLE)


def test_particles_are_the_prior_above_each_level():
    assert np.all(WHOLE.reached) and not np.any(WHOLE.extinct)
    for row in range(1, int(np.nanmin(np.sum(np.isfinite(WHOLE.levels), axis=0)))):
        assert np.all(WHOLE.values[row] > WHOLE.levels[row][:, None])
    assert WHOLE.u is not None
    weights = np.asarray(jax.vmap(jax.vmap(LEVEL))(WHOLE.u))
    assert weights.min() >= 3.0


def test_replicates_one_after_the_other_are_the_same(monkeypatch):
    monkeypatch.setattr(module, "CELLS", 150)
    apart = run()
    assert apart.levels.shape[1] == 4
    np.testing.assert_allclose(apart.log_probability(3.0), WHOLE.log_probability(3.0), rtol=1e-9)
