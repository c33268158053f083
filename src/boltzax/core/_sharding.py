"""Arrays over several devices, with meshes that the compiler may split over."""

from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jaxtyping import PyTree


def automatic_mesh(mesh: Mesh) -> Mesh:
    """The same mesh with automatic axes, over which the compiler splits operations.

    The axes of `jax.make_mesh` are explicit: each operation of a model would have to name them.
    """
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * mesh.devices.ndim)


def automatic(tree: PyTree) -> PyTree:
    """The same arrays, on the devices where they are, over meshes with automatic axes."""

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or isinstance(leaf, Tracer):
            return leaf
        sharding = leaf.sharding
        if not isinstance(sharding, NamedSharding) or not isinstance(sharding.mesh, Mesh):
            return leaf
        if AxisType.Explicit not in sharding.mesh.axis_types:
            return leaf
        return jax.device_put(leaf, NamedSharding(automatic_mesh(sharding.mesh), sharding.spec))

    return jax.tree.map(moved, tree)


def to_host(tree: PyTree) -> PyTree:
    """Whole arrays in the memory of the host; those spread over processes are gathered."""

    def gathered(leaf):
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return multihost_utils.process_allgather(leaf, tiled=True)
        return np.asarray(leaf)

    return jax.tree.map(gathered, tree)
