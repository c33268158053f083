"""Draws that stream to a Zarr store as they are made. The only importer of zarr.

The store is one group in the layout of xarray: one array for each record, with dimensions
`chain, draw, *beta` for chains of a Gibbs measure, else `draw`. Quirks:

- Only whole chunks are written, each by one write: a kill during a write to a chunk that holds
  earlier draws would lose them.
- The array `written` marks the draws that are stored, and is written last.
- zarr does not store chunks equal to the fill value, unless each opened array is told to; without
  that they would look lost.
- A name with `/` makes folders.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..compile import Gibbs
from ..core import Count, DeclarationError, RunError, installed, typed
from ..sample import (
    AbstractDynamics,
    AbstractGibbsDynamics,
    AbstractSink,
    Plan,
    Trace,
    describe,
    differences,
    fingerprint,
    integrated_key,
    judge,
    made_by,
)
from . import _xarray
from ._derived import mapped
from ._names import stored_name, stored_values

NAMES = {"acceptance": "acceptance_rate", "divergent": "diverging"}
"""Names of ArviZ for records that have one."""
RECORDS = {
    "energy", "energy_variance", "acceptance_rate", "diverging", "log_prior", "gradients", "moved",
    "who", "swap", "up", "down", "w", "beta", "written", "chain", "draw",
}  # fmt: skip
"""Names that `derive` cannot have."""
LARGEST = 2**26
"""Bytes of a chunk above which the axes of a weight are split."""


@typed
@dataclasses.dataclass(frozen=True)
class ZarrSink(AbstractSink):
    """Write the records of any run to a Zarr store as they are made, and keep them out of memory.

    `bx.sample(..., sink=bx.ZarrSink("run.zarr"))` returns a trace whose `w` is None; energies and
    other numbers are both in memory and in the store. With `checkpoints=` a killed run can resume,
    and the store is then that of an unbroken run.

    Args:
        path: A folder, one for each run.
        names: Names of the records to store, e.g. `("w", "energy")`; all if None. Draws leave
            memory even if they are not stored.
        derive: Further arrays to store, `{"name": fn}`: `fn(model)` at every draw, e.g. the loss of
            each datum. Weights that were integrated out are drawn from their conditional law.
        memory: Approximate bytes of draws in memory at once; longer runs take more chunks.

    Raises:
        DeclarationError: For a store of another declaration, and unknown `names`.
        RunError: For a store that lacks draws which a resumed run had made, or that cannot be
            written.
    """

    path: str | Path
    names: tuple[str, ...] | None = None
    derive: Mapping[str, Callable[[PyTree], Any]] | None = None
    memory: Count = 2**28

    def __post_init__(self):
        taken = {name for name in self.derive or {} if name in RECORDS or name.startswith("w.")}
        if taken:
            raise DeclarationError(
                "derive",
                got=str(sorted(taken)),
                expected="names that no record has",
                mend="pass e.g. {'norm': lambda model: jnp.sum(model.w**2)}",
            )

    def part(self, name: str) -> "ZarrSink":
        """A store in a folder of this folder, for one run of several."""
        return dataclasses.replace(self, path=Path(self.path) / name)

    def begin(self, plan: Plan, done: int) -> Callable[[int, PyTree], PyTree]:
        """The writer of a run. Only the first process writes; all must call it."""
        named = describe("names", self.names) | describe("derive", self.derive)
        # gathers arrays that are spread over processes: all must take part
        found = fingerprint(plan) | named
        store = None
        if jax.process_index() == 0:
            store = _Store(Path(self.path).absolute(), plan, found, done)
        derived = {name: mapped(fn) for name, fn in (self.derive or {}).items()}

        def write(first: int, records: PyTree) -> PyTree:
            flat = _flat(plan.dynamics, records)
            for name, fn in derived.items():
                flat[name] = fn(plan.dynamics, first, records)
            if store is not None:
                store.write(first, self._chosen(flat))
            streamed = plan.dynamics.streamed
            gone = records if streamed is None else streamed
            return {name: leaf for name, leaf in records.items() if name not in gone}

        return write

    def _chosen(self, flat: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.names is None:
            return flat
        whole = self.derive or {}
        heads = {name: name if name in whole else name.split(".")[0] for name in flat}
        if unknown := set(self.names) - set(heads.values()):
            raise DeclarationError(
                "names",
                got=f"{sorted(unknown)}",
                expected=f"names among {sorted(set(heads.values()))}",
                mend="leave names out to store everything",
            )
        return {name: leaf for name, leaf in flat.items() if heads[name] in self.names}


def _flat(dynamics: AbstractDynamics, records: PyTree) -> dict[str, np.ndarray]:
    """Records by name; parts of one (the weights `w`) as its name, a dot, and their path."""
    leaves = jax.tree_util.tree_leaves_with_path(records)
    flat = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    if isinstance(dynamics, AbstractGibbsDynamics):
        return {NAMES.get(name, name): leaf for name, leaf in flat.items()}
    if taken := {"beta", "written", "chain", "draw"} & set(flat):
        raise DeclarationError(
            "sink",
            got=f"records called {sorted(taken)}",
            expected="records with names that the store does not use itself",
            mend="give them other names in `record`",
        )
    return flat


def _is_begun(path: Path) -> bool:
    """Whether a folder has any content; a missing one is made, and checked to be writable."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return any(path.iterdir())
    except OSError as error:
        raise DeclarationError(
            "sink",
            got=f"{path}: {error.strerror or error}",
            expected="a folder that can be made and written",
            mend="give another path",
        ) from error


class _Store:
    """One open store, of the first process."""

    def __init__(self, path: Path, plan: Plan, declaration: dict, done: int):
        self.path, self.plan = path, plan
        self.length = plan.rows * -(-plan.draws // plan.rows)
        dynamics = plan.dynamics
        chains = isinstance(dynamics, AbstractGibbsDynamics)
        self.betas = dynamics.gibbs.beta.ndim if chains else None
        self.pairs = dynamics.pairs if chains else ()
        if not _is_begun(path):
            self._lacks(done, 0)
            about = {"declaration": declaration, "rows": plan.rows, "whole": True}
            about |= {"gibbs": repr(dynamics.gibbs)} if chains else {"dynamics": repr(dynamics)}
            about |= {"inference_library": "boltzax", "draws": plan.draws}
            words = np.asarray(jax.random.key_data(plan.key)).tolist()
            about |= {"key": words, "key_impl": str(jax.random.key_impl(plan.key))}
            self.group = self._try(lambda: _zarr().create_group(path, attributes=about))
            if chains:
                self._beta(dynamics.gibbs.beta)
            return
        self.group = _group(path)
        lines, _ = differences(dict(self.group.attrs["declaration"]), declaration)
        if lines:
            shown = "\n    ".join(lines[:8])
            raise DeclarationError(
                "sink",
                got=f"{path}, the store of another declaration:\n    {shown}",
                expected="the declaration and the settings that the store was begun with",
                mend="give another path, or remove the store",
            )
        self._lacks(done, _written(self.group, done))
        if self.group.attrs["draws"] != plan.draws:
            self.group.attrs["draws"] = plan.draws

    def write(self, first: int, flat: dict[str, np.ndarray]) -> None:
        """Write the records of a chunk, one array after the other, then mark them as written."""
        count = len(next(iter(flat.values())))
        for name, leaf in flat.items():
            place, values, front = stored_name(name), stored_values(leaf), ["draw"]
            if self.betas is not None:
                values = np.moveaxis(values, (1 + self.betas, 0), (0, 1))
                many = [f"beta_{i}" for i in range(self.betas)]
                middle = ["beta"] if self.betas == 1 else many
                front = ["chain", "draw", *(["pair"] if name in self.pairs else middle)]
            own = [f"{place}_dim_{i}" for i in range(values.ndim - len(front))]
            self._put(place, [*front, *own], values, front.index("draw"), first, name)
        self._put("written", ["draw"], np.ones(count, bool), 0, first, "written")

    def _put(
        self, place: str, dims: list[str], values: np.ndarray, axis: int, first: int, name: str
    ) -> None:
        shape = list(values.shape)
        shape[axis] = self.length

        def put():
            if place not in self.group:
                codecs = _zarr().codecs
                self.group.create_array(
                    place,
                    shape=tuple(shape),
                    dtype=values.dtype,
                    chunks=_chunk(values, axis, self.plan.rows),
                    # a checksum in every chunk: one that was damaged is refused when it is read
                    compressors=[codecs.ZstdCodec(), codecs.Crc32cCodec()],
                    fill_value=np.nan if values.dtype.kind == "f" else 0,
                    dimension_names=dims,
                    attributes={"name": name},
                )
            array = self.group[place].with_config({"write_empty_chunks": True})
            if array.shape[axis] < self.length:
                array.resize(tuple(shape))
            rows = (slice(None),) * axis + (slice(first, first + values.shape[axis]),)
            array[rows] = values

        self._try(put)

    def _beta(self, beta: jax.Array) -> None:
        if beta.ndim < 2:
            self.group.create_array(
                "beta",
                shape=beta.shape,
                dtype=np.asarray(beta).dtype,
                chunks=beta.shape,
                dimension_names=["beta"] * beta.ndim,
            )[...] = np.asarray(beta)

    def _lacks(self, done: int, there: int) -> None:
        if there < done:
            raise RunError(
                f"The run had made {done} draws, but the store {self.path} has only the first "
                f"{there}.\nPut the store back, or begin again with other folders for both."
            )

    def _try(self, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except OSError as error:
            raise RunError(
                f"The store {self.path} could not be written: {error}.\nThe draws before are in "
                "it: with checkpoints the run goes on from them once there is room."
            ) from error


def _chunk(values: np.ndarray, axis: int, rows: int) -> tuple[int, ...]:
    """One chain and one write in each chunk; the longest axes of a large weight are halved."""
    sizes = [1 if i < axis else max(size, 1) for i, size in enumerate(values.shape)]
    sizes[axis] = rows
    while np.prod(sizes[axis + 1 :], dtype=float) * rows * values.itemsize > LARGEST:
        longest = int(np.argmax(sizes[axis + 1 :])) + axis + 1
        if sizes[longest] == 1:
            break
        sizes[longest] = -(-sizes[longest] // 2)
    return tuple(sizes)


def _written(group: Any, want: int) -> int:
    """How many draws a store has without a gap from the first on, at most `want`."""
    if "written" not in group:
        return 0
    marks = np.asarray(group["written"][:])
    there = int(np.argmin(marks)) if not marks.all() else len(marks)
    rows = group.attrs["rows"]
    whole = group.attrs.get("whole", False)  # chunks equal to the fill value are stored too
    for name, array in group.arrays():
        if name not in ("beta", "written") and array.size and (whole or array.dtype.kind == "f"):
            length = array.shape[array.metadata.dimension_names.index("draw")]
            pieces = array.nchunks // -(-length // rows)
            there = min(there, array.nchunks_initialized // pieces * rows)
    return min(there, want)


@typed
def open_zarr(path: str | Path) -> _xarray.Dataset:
    """The draws of a store as an xarray `Dataset`; values are read when they are used.

    Variables have the names and dimensions of `to_xarray`: `energy`, `energy_variance`,
    `acceptance_rate`, `diverging` and so on over `chain, draw`, then `beta`. The unconstrained
    coordinates of a weight, as in `trace.w`, are called `w.` and its path. A run in progress, or
    one that was interrupted, has the draws so far. Forbidden names are escaped as in `to_xarray`.

    Args:
        path: The folder of the sink.

    Raises:
        DeclarationError: For a folder without a store of boltzax.
    """
    group = _group(Path(path).absolute())
    there = _written(group, group.attrs["draws"])  # the last chunk extends beyond them
    place = str(Path(path).absolute())
    data = _xarray.open_zarr(place, consolidated=False, chunks=None, decode_cf=False)
    data = data.drop_vars("written", errors="ignore").isel(draw=slice(0, there))
    places = {name: np.arange(data.sizes[name]) for name in ("chain", "draw") if name in data.dims}
    for name in ("declaration", "key", "key_impl"):
        data.attrs.pop(name, None)
    return data.assign_coords(places).set_coords([name for name in ["beta"] if name in data])


@typed
def load_trace(path: str | Path, gibbs: Gibbs, draws: slice = slice(None)) -> Trace:
    """The trace of a store, with its weights.

    Args:
        path: The folder of the sink.
        gibbs: The Gibbs measure that was sampled.
        draws: Which draws of each chain to load; all by default.

    Raises:
        DeclarationError: For draws of another Gibbs measure, and a store without them.
    """
    about = _group(Path(path).absolute()).attrs
    stored = dict(about["declaration"])
    own = {name: stored[name] for name in stored if name.startswith(("gibbs", "made by "))}
    lines, _ = differences(own, describe("gibbs", gibbs) | made_by())
    if lines:
        raise DeclarationError(
            "gibbs",
            got="another measure than that of the store:\n    " + "\n    ".join(lines[:8]),
            expected="the measure that was sampled",
            mend="compile the same declaration at the same beta",
        )
    data = open_zarr(path)
    fields = {field.name for field in dataclasses.fields(Trace)} - {"gibbs", "w", "status", "key"}
    names = {NAMES.get(name, name): name for name in fields}
    needed = {"energy", "energy_variance", "acceptance_rate", "diverging"}
    if missing := needed - set(data):
        raise DeclarationError(
            "path",
            got=f"a store without {sorted(missing)}",
            expected="the records of a trace",
            mend="leave out names in ZarrSink",
        )
    data = data.isel(draw=draws)
    betas = gibbs.beta.ndim

    def leaf(name: str) -> jax.Array:
        return jnp.asarray(np.moveaxis(data[name].values, (0, 1), (betas, betas + 1)))

    read = {field: leaf(name) for name, field in names.items() if name in data}
    kinds = jax.eval_shape(gibbs.sample_prior, jax.random.key(0))
    stored = {path: stored_name(f"w.{path}") for path in kinds}
    w = {path: leaf(stored[path]).astype(kind.dtype) for path, kind in kinds.items()
         if stored[path] in data}  # fmt: skip
    key = None  # of a store without one
    if "key" in about:
        words = jnp.asarray(about["key"], jnp.uint32)
        key = integrated_key(jax.random.wrap_key_data(words, impl=str(about["key_impl"])))
    return Trace(gibbs, w=w or None, status=judge(read, 1.1), key=key, **read)


def _group(path: Path) -> Any:
    try:
        group = _zarr().open_group(path, mode="r+")
        assert {"declaration", "rows", "draws"} <= set(group.attrs)
    except (OSError, AssertionError, ValueError, KeyError, TypeError) as error:
        raise DeclarationError(
            "path",
            got=f"{path}, which holds no draws of boltzax",
            expected="a store that bx.ZarrSink has written",
            mend="give the path of the sink",
        ) from error
    return group


def _zarr() -> Any:
    with installed("zarr", "sink", "storage"):
        import zarr
        import zarr.codecs
    return zarr
