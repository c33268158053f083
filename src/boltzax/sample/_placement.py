"""The placement of chains, data and weights over a mesh of devices."""

import dataclasses
import functools
from typing import TypeVar

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from ..compile import Gibbs, NodeResidual, Weights
from ..core import DeclarationError, automatic_mesh, described, typed, weights_of
from ..declare import Empirical
from ._dynamics import AbstractDynamics, AbstractGibbsDynamics

Declared = TypeVar("Declared", Gibbs, AbstractDynamics)

described("a jax.sharding.Mesh", 'pass e.g. jax.make_mesh((2,), ("chain",))')(Mesh)
described("a jax.sharding.PartitionSpec", 'pass e.g. PartitionSpec(None, "model")')(PartitionSpec)


def _is_data(node: object) -> bool:
    return isinstance(node, Empirical | NodeResidual)


@typed
class Placement(eqx.Module):
    """Chains, data and weights over the axes of a `jax.sharding.Mesh`.

    The draws do not depend on the placement, up to the rounding of sums that are split.

    Args:
        mesh: Devices, e.g. `jax.make_mesh((2,), ("chain",))`; on CPU as many as
            `jax.config.update("jax_num_cpu_devices", 2)` has made. With several processes
            (`jax.distributed`) a mesh over `jax.devices()` spans them all.
        chains: The mesh axis that the chains are split over (None: every device has all of them).
        data: The mesh axis that the data are split over: each device sums over its own part.
        weights: For a model that is too large for one device: a partition of leaves by path, e.g.
            `{"weight[0]": PartitionSpec(None, "model")}`.
    """

    mesh: Mesh = eqx.field(static=True, converter=automatic_mesh)
    chains: str | None = eqx.field(static=True, default="chain")
    data: str | None = eqx.field(static=True, default=None)
    weights: dict[str, PartitionSpec] | None = eqx.field(static=True, default=None)

    def __check_init__(self):
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

        Data are the arrays of every `Empirical` measure; where a squared loss has been lowered to
        moments of the data there are none left to split.

        Raises:
            DeclarationError: If the chains, or the data, do not divide over their axis.
        """
        own = self.weights or {}
        self._check_paths(own, start)
        before = (None,) * gibbs.beta.ndim

        def spread(path: str, leaf: Array) -> Array:
            if self.chains is not None:
                self._divides("chains", leaf.shape[gibbs.beta.ndim], self.chains)
            return self._put(leaf, PartitionSpec(*before, self.chains, *own.get(path, ())))

        start = {path: spread(path, leaf) for path, leaf in start.items()}
        declared = weights_of(gibbs.declared) | gibbs.coordinates.base
        split = {id(leaf): own[path] for path, leaf in declared.items() if path in own}
        return self._place(gibbs, split), start

    def lay(self, dynamics: AbstractDynamics, start: PyTree) -> tuple[AbstractDynamics, PyTree]:
        """Any dynamics and its start on their devices.

        As `place` for chains of a Gibbs measure. Of another dynamics the arrays of the start are
        split by their first axis, numbers are everywhere, and data are split by rows.

        Raises:
            DeclarationError: If an axis does not divide over its devices.
        """
        if isinstance(dynamics, AbstractGibbsDynamics):
            gibbs, start = self.place(dynamics.gibbs, start)
            return dataclasses.replace(dynamics, gibbs=gibbs), start

        def one(leaf: Array) -> Array:
            if self.chains is None or not leaf.ndim:
                return self._put(leaf, PartitionSpec())
            self._divides("chains", len(leaf), self.chains)
            return self._put(leaf, PartitionSpec(self.chains))

        return self._place(dynamics, {}), jax.tree.map(one, start)

    def _place(self, declared: Declared, split: dict[int, PartitionSpec]) -> Declared:
        """With data by rows, weights as `split` says (by `id`), and all else whole."""
        there: dict[tuple[int, PartitionSpec], Array] = {}

        def put(leaf, spec: PartitionSpec):
            # data are there twice, as declared and as lowered: one array must stay one array
            if (id(leaf), spec) not in there:
                there[id(leaf), spec] = self._put(leaf, spec)
            return there[id(leaf), spec]

        def by_row(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda leaf: put(leaf, PartitionSpec(self.data)), tree)

        def one(node):
            if isinstance(node, Empirical) and self.data is not None:
                self._divides("data", node.size, self.data)
                return by_row(node)
            if isinstance(node, NodeResidual) and self.data is not None:
                term = jax.tree.map(one, node.term, is_leaf=_is_data)
                even = len(node.scale) % self.mesh.shape[self.data] == 0
                lay = by_row if even else functools.partial(jax.tree.map, one)
                return NodeResidual(lay(node.rows), lay(node.scale), term)
            return put(node, split.get(id(node), PartitionSpec())) if eqx.is_array(node) else node

        return jax.tree.map(one, declared, is_leaf=_is_data)

    def _check_paths(self, own: dict[str, PartitionSpec], start: Weights) -> None:
        for path in own:
            if path not in start:
                raise DeclarationError(
                    f"weights[{path!r}]",
                    got="no such weights",
                    expected=f"one of {list(start)}",
                    mend="name the weights by their paths, as in trace.w",
                )

    def _divides(self, argument: str, count: int, axis: str) -> None:
        devices = self.mesh.shape[axis]
        if count % devices:
            fewer = count - count % devices
            raise DeclarationError(
                argument,
                got=f"{count} {argument} over {devices} devices (axis {axis!r})",
                expected="a multiple of the number of devices",
                mend=f"take {f'{fewer} or ' if fewer else ''}{fewer + devices}, or fewer devices",
            )

    def _put(self, leaf: Array, spec: PartitionSpec) -> Array:
        sharding = NamedSharding(self.mesh, spec)
        if sharding.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
