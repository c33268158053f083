"""Arrays over several devices, laid out so that the compiler splits what depends on them."""

import jax
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding


def automatic_mesh(mesh: Mesh) -> Mesh:
    """The same mesh with axes over which the compiler splits what depends on what was placed.

    Those of `jax.make_mesh` are explicit: each operation of a model would have to say how.
    """
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * mesh.devices.ndim)


def automatic(array: jax.Array) -> jax.Array:
    """The same array, on the devices where it is, over a mesh of automatic axes."""
    sharding = None if isinstance(array, Tracer) else array.sharding
    if not isinstance(sharding, NamedSharding) or not isinstance(sharding.mesh, Mesh):
        return array
    if AxisType.Explicit not in sharding.mesh.axis_types:
        return array
    return jax.device_put(array, NamedSharding(automatic_mesh(sharding.mesh), sharding.spec))
