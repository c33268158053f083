"""Draws as an xarray tree. The only importer of xarray.

Its quirk: a group of a tree that shares a dimension with its parent must agree with it, so every
group carries coordinates of its own and the root none.
"""

from importlib.metadata import PackageNotFoundError, version

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree
from xarray import Dataset, DataTree
from xarray import open_zarr as open_zarr

from ..core import Key, Status, path_name, typed
from ..sample import AbstractDrawn, Trace, trace_of
from ._names import stored_name, stored_values


@typed
def to_xarray(trace: Trace | AbstractDrawn, key: Key | None = None) -> DataTree:
    """The draws as a `DataTree` with the groups and dimensions of ArviZ: `chain, draw` first.

    - `posterior`: every free weight by path, in the model's own coordinates (frozen and tied ones
      are left out). Weights that were integrated out are drawn from their conditional law with
      `key`. Missing if the run did not keep its draws (`keep=False`).
    - `sample_stats`: `energy` (`∂U/∂β`), `energy_variance`, and under ArviZ's names
      `acceptance_rate` and `diverging`.
    - `ladder`, of an annealed run: `energy` and `energy_variance` at every level, `swap_rate` by
      pair, `round_trips` by chain.

    Names that cannot stand are escaped (`/` is `%2f`, a weight called `beta` is `%62eta`); the
    attribute `name` of a variable has the path as it is in the trace.

    A run at several temperatures has a dimension `beta` after `chain, draw`. The attributes say
    what became of the run (`status`), what was sampled (`gibbs`) and by which version.

    ArviZ 1 reads the tree itself; for older ones use `arviz.InferenceData.from_datatree(tree)`.
    """
    trace = trace_of(trace)
    groups = {"sample_stats": _statistics(trace)}
    if trace.w is not None:
        groups = {"posterior": _posterior(trace, key)} | groups
    if trace.bridges is not None:
        groups["ladder"] = _ladder(trace)
    tree = DataTree.from_dict(groups)
    tree.attrs = {
        "status": Status[trace.status],
        "gibbs": repr(trace.gibbs),
        "inference_library": "boltzax",
        "inference_library_version": _version(),
    }
    return tree


def _version() -> str:
    try:
        return version("boltzax")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def _statistics(trace: Trace) -> Dataset:
    names = {
        "energy": trace.energy,
        "energy_variance": trace.energy_variance,
        "acceptance_rate": trace.acceptance,
        "diverging": trace.divergent,
    }
    if trace.noise is not None:
        names["energy_noise"] = trace.noise
    return _dataset(trace, names)


def _posterior(trace: Trace, key: PRNGKeyArray | None) -> Dataset:
    coordinates = trace.gibbs.coordinates
    integrated = getattr(trace.gibbs.potential, "readout", {})
    free = [path for path in coordinates.base if path in coordinates.priors or path in integrated]
    return _dataset(trace, trace.evaluate(Named(tuple(free)), key))


class Named(eqx.Module):
    """Some leaves of a model, by their names."""

    names: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, model: PyTree) -> dict[str, Array]:
        leaves, _ = jax.tree_util.tree_flatten_with_path(model)
        by_path = {path_name(path): leaf for path, leaf in leaves}
        return {path: by_path[path] for path in self.names}


def _dataset(trace: Trace, leaves: dict[str, Array]) -> Dataset:
    """Leaves `[*beta, chain, draw, *shape]` as variables `(chain, draw, *beta, *shape)`."""
    several = trace.betas.ndim
    betas = ["beta"] if several == 1 else [f"beta_{i}" for i in range(several)]
    variables = {}
    for name, leaf in leaves.items():
        front = jnp.moveaxis(leaf, (several, several + 1), (0, 1))
        place = stored_name(name)
        dims = ["chain", "draw", *betas]
        dims += [f"{place}_dim_{i}" for i in range(leaf.ndim - several - 2)]
        variables[place] = (dims, stored_values(np.asarray(front)), {"name": name})
    *_, chains, draws = trace.energy.shape
    places = {"chain": np.arange(chains), "draw": np.arange(draws)}
    if several < 2:
        places["beta"] = np.asarray(trace.betas)
    return Dataset(variables, places)


def _ladder(trace: Trace) -> Dataset:
    bridges = trace.bridges
    assert bridges is not None
    *_, chains, draws = bridges.energy.shape
    variables = {
        name: (["chain", "draw", "level"], np.moveaxis(np.asarray(leaf), 0, 2))
        for name, leaf in (("energy", bridges.energy), ("energy_variance", bridges.energy_variance))
    }
    variables["swap_rate"] = (["pair"], np.asarray(bridges.swap_rate))
    variables["round_trips"] = (["chain"], np.asarray(bridges.round_trips))
    places = {
        "chain": np.arange(chains),
        "draw": np.arange(draws),
        "level": np.asarray(bridges.betas),
    }
    return Dataset(variables, places)
