"""Draws as an xarray tree. The only importer of xarray.

Quirk: a group of a tree must agree with its parent on shared dimensions. Therefore every group has
coordinates of its own, and the root has none.
"""

from importlib.metadata import PackageNotFoundError, version

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree
from xarray import Dataset, DataTree
from xarray import open_zarr as open_zarr

from ..core import DeclarationError, Key, Status, path_name, typed
from ..declare import AbstractDataTerm, AbstractEnergy
from ..observe import DatumLosses
from ..sample import SAMPLES, AbstractDrawn, Ensemble, Trace, trace_of
from ._names import stored_name, stored_values


@typed
def to_xarray(
    trace: Trace | AbstractDrawn | Ensemble,
    key: Key | None = None,
    *,
    log_likelihood: AbstractEnergy | None = None,
) -> DataTree:
    """The draws as a `DataTree` with the groups and dimensions of ArviZ: `chain, draw` first.

    - `posterior`: every free weight by path, in the model's own coordinates, without frozen and
      tied ones. Weights that were integrated out are drawn from their conditional law with `key`.
      Missing if the run did not keep its draws (`keep=False`).
    - `log_likelihood`, if an energy is given: `-β μ_i ℓ_i(w)` of each datum, for `arviz.loo` and
      `arviz.compare` (without the constant of the likelihood that does not depend on weights).
    - `sample_stats` of a run: `energy` (`∂U/∂β`), `energy_variance`, and under ArviZ's names
      `acceptance_rate` and `diverging`.
    - `ladder`, of an annealed run: `energy` and `energy_variance` at every level, `swap_rate` by
      pair, `round_trips` by chain.

    Forbidden names are escaped (`/` is `%2f`, a weight called `beta` is `%62eta`). The attribute
    `name` of a variable holds the path as it is in the trace.

    A run at several temperatures has a dimension `beta` after `chain, draw`. Independent draws of
    an `Ensemble` are stored as the draws of one chain, followed by its other axes: the first of the
    axes `sample`, `neuron` and `subset` is `draw`, others keep their names. The attributes
    hold the status of the run (`status`), the measure (`gibbs`) and the version of boltzax.

    ArviZ 1 reads the tree itself; for older versions use `arviz.InferenceData.from_datatree(tree)`.

    Args:
        trace: The result of a run, or an `Ensemble`.
        key: For weights that were integrated out.
        log_likelihood: The energy, with one integral over data, whose losses are stored.

    Returns:
        A tree with the groups above.

    Raises:
        DeclarationError: For an energy without data, or with several integrals over data, and for
            an axis that has the name of a weight.
    """
    run = None if isinstance(trace, Ensemble) else trace_of(trace)
    ensemble = trace if isinstance(trace, Ensemble) else None
    if run is not None and run.w is not None:
        ensemble = run.ensemble
    groups = {}
    if ensemble is not None:
        groups["posterior"] = _posterior(ensemble, key)
        if log_likelihood is not None:
            groups["log_likelihood"] = _log_likelihood(ensemble, log_likelihood, key)
    if run is not None:
        groups["sample_stats"] = _statistics(run)
        if run.bridges is not None:
            groups["ladder"] = _ladder(run)
    tree = DataTree.from_dict(groups)
    tree.attrs = {
        **({} if run is None else {"status": Status[run.status]}),
        "gibbs": repr((ensemble or run).gibbs),  # pyright: ignore
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


def _posterior(ensemble: Ensemble, key: PRNGKeyArray | None) -> Dataset:
    coordinates = ensemble.gibbs.coordinates
    integrated = ensemble.gibbs.potential.integrated()
    free = [path for path in coordinates.base if path in coordinates.priors or path in integrated]
    leaves = ensemble.map(Named(tuple(free)), key=key)
    return _table(leaves, ensemble.axes, ensemble.shape, ensemble.gibbs.beta)


def _log_likelihood(
    ensemble: Ensemble, energy: AbstractEnergy, key: PRNGKeyArray | None
) -> Dataset:
    data = [(f, term) for f, term in energy.terms() if isinstance(term, AbstractDataTerm)]
    if len(data) != 1:
        raise DeclarationError(
            "log_likelihood",
            got=f"an energy with {len(data)} integrals over data",
            expected="one integral over data",
            mend="pass the term whose losses are wanted",
        )
    factor, term = data[0]
    points, weights = term.measure.nodes()
    losses = weights * ensemble.map(DatumLosses(factor, term, points), key=key)
    beta = ensemble.gibbs.beta
    scaled = -beta.reshape(beta.shape + (1,) * (losses.ndim - beta.ndim)) * losses
    return _table({"datum": scaled}, ensemble.axes, ensemble.shape, beta)


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
    return _table(leaves, (*betas, "chain", "draw"), trace.energy.shape, trace.betas)


def _table(
    leaves: dict[str, Array], axes: tuple[str, ...], shape: tuple[int, ...], beta: Array
) -> Dataset:
    """Leaves `[*axes, *shape]` as variables `(chain, draw, *other axes, *shape)`."""
    samples = [axis for axis in axes if axis in SAMPLES and "draw" not in axes]
    named = ["draw" if axis in samples[:1] else axis for axis in axes]
    front = [named.index(axis) for axis in ("chain", "draw") if axis in named]
    others = [axis for axis in named if axis not in ("chain", "draw")]
    variables = {}
    for name, leaf in leaves.items():
        host = np.moveaxis(np.asarray(leaf), front, range(len(front)))
        host = host if "chain" in named else host[None]
        place = stored_name(name)
        dims = ["chain", *(["draw"] if "draw" in named else []), *others]
        dims += [f"{place}_dim_{i}" for i in range(host.ndim - len(dims))]
        variables[place] = (dims, stored_values(host), {"name": name})
    sizes = dict(zip(named, shape, strict=True))
    places = {axis: np.arange(sizes.get(axis, 1)) for axis in ("chain", "draw") if axis in named}
    places |= {} if "chain" in named else {"chain": np.arange(1)}
    clash = sorted(set(others) & set(variables))
    if clash:
        raise DeclarationError(
            "axes",
            got=f"an axis {clash[0]!r}, which is the name of a variable too",
            expected="axes with names of their own",
            mend="give the axis another name, as in bx.Ensemble.of(gibbs, w, axes=...)",
        )
    if "beta" in named or beta.ndim == 1:
        axis = "beta" if "beta" in named else named[0]
        places["beta"] = ([axis], np.broadcast_to(np.asarray(beta), sizes[axis]))
    elif beta.ndim == 0:
        places["beta"] = np.asarray(beta)
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
