"""Where the arrays of a run live: chains, data and weights over a mesh of devices."""

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from ..compile import Gibbs, Weights
from ..core import DeclarationError


class Placement(eqx.Module):
    """Chains, data and weights over the axes of a `jax.sharding.Mesh`.

    - `mesh`: devices, e.g. `jax.make_mesh((2,), ("chain",))`; on CPU as many as
      `jax.config.update("jax_num_cpu_devices", 2)` has made. With several processes
      (`jax.distributed`) a mesh over `jax.devices()` spans them all.
    - `chains`: the mesh axis that the chains are split over (None: every device has all of them).
    - `data`: the mesh axis that the data are split over: each device sums over its own part.
    - `weights`: for a model too large for one device, a partition of each leaf by path, e.g.
      `{"weight[0]": PartitionSpec(None, "model")}`.

    The draws do not depend on the placement, up to the rounding of sums that are split.
    """

    mesh: Mesh = eqx.field(static=True)
    chains: str | None = eqx.field(static=True, default="chain")
    data: str | None = eqx.field(static=True, default=None)
    weights: dict[str, PartitionSpec] | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if not isinstance(self.mesh, Mesh):
            raise DeclarationError(
                "mesh",
                got=type(self.mesh).__name__,
                expected="a jax.sharding.Mesh",
                mend='pass e.g. jax.make_mesh((2,), ("chain",))',
            )
        for argument, axis in (("chains", self.chains), ("data", self.data)):
            if axis is not None and axis not in self.mesh.axis_names:
                raise DeclarationError(
                    argument,
                    got=repr(axis),
                    expected=f"one of the mesh's axes, {self.mesh.axis_names}, or None",
                    mend="name an axis of the mesh",
                )

    def place(self, gibbs: Gibbs, start: Weights) -> tuple[Gibbs, Weights]:
        """The measure and the starts `[*beta, chain, ...]` on their devices.

        Raises `DeclarationError` if the chains, or the data, do not divide over their axis.
        """
        before = (None,) * gibbs.beta.ndim
        shapes = self.weights or {}

        def spread(path: str, leaf: Array) -> Array:
            if self.chains is not None:
                self._divides("chains", leaf.shape[gibbs.beta.ndim], self.chains)
            own = shapes.get(path, PartitionSpec())
            return self._put(leaf, PartitionSpec(*before, self.chains, *own))

        start = {path: spread(path, leaf) for path, leaf in start.items()}
        arrays, rest = eqx.partition(gibbs, eqx.is_array)
        sizes = self._data_sizes(gibbs)

        def one(leaf: Array) -> Array:
            split = self.data is not None and leaf.ndim > 0 and leaf.shape[0] in sizes
            return self._put(leaf, PartitionSpec(self.data) if split else PartitionSpec())

        return eqx.combine(jax.tree.map(one, arrays), rest), start

    def _data_sizes(self, gibbs: Gibbs) -> set[int]:
        if self.data is None:
            return set()
        sizes = gibbs.potential.row_counts()
        for size in sizes:
            self._divides("data", size, self.data)
        return sizes

    def _divides(self, argument: str, count: int, axis: str) -> None:
        devices = self.mesh.shape[axis]
        if count % devices:
            raise DeclarationError(
                argument,
                got=f"{count} {argument} over {devices} devices (axis {axis!r})",
                expected="a multiple of the number of devices",
                mend=f"take {devices * -(-count // devices)}, or fewer devices",
            )

    def _put(self, leaf: PyTree, spec: PartitionSpec) -> Array:
        sharding = NamedSharding(self.mesh, spec)
        if sharding.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
