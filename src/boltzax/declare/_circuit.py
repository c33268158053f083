"""Components joined by wires."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..core import DeclarationError, Model, Whole, typed
from ._contract import Component, Contract, Points
from ._extremes import least
from ._family import Family
from ._interface import Interface
from ._prior import Independent


class AbstractCircuit(eqx.Module):
    """Components joined by wires: `wires[i]` names those that component `i` reads.

    Wires are counted from the inputs of the whole; then comes the output of each component.
    """

    components: eqx.AbstractVar[tuple[Component, ...]]
    interfaces: eqx.AbstractVar[tuple[Interface | Family | None, ...]]
    wires: eqx.AbstractVar[tuple[tuple[int, ...], ...]]
    points: eqx.AbstractVar[int]

    @property
    def contracts(self) -> tuple[Contract, ...]:
        """The contract of each component: what it reads, and what it must write."""
        inputs = len(self.interfaces) - len(self.components)
        found = []
        for i, component in enumerate(self.components):
            assume, *others = [self._interface(wire) for wire in self.wires[i]]
            for other in others:
                assume = assume @ other
            after = self._interface(inputs + i)
            found.append(Contract(component, assume, after, points=self.points))
        return tuple(found)

    def _interface(self, wire: int) -> Interface:
        held = self.interfaces[wire]
        if not isinstance(held, Interface):
            raise DeclarationError(
                "interfaces",
                got=f"{'nothing' if held is None else repr(held)} on wire {wire}",
                expected="one interface on every wire",
                mend="choose members with chain.at(members), or give the interface",
            )
        return held

    @property
    def model(self) -> tuple[PyTree, ...]:
        """The models of all components."""
        return tuple(component.model for component in self.components)

    @property
    def prior(self) -> Independent:
        """The joint prior: independent components, paths prefixed by their place, `[0].weight`."""
        return Independent(
            {
                f"[{i}].{pattern}": distribution
                for i, component in enumerate(self.components)
                for pattern, distribution in component.prior.by_pattern.items()
            }
        )

    def margin(self, models: Sequence[Model]) -> Float[Array, ""]:
        """The smallest margin of the contracts, each in units of its own output."""
        pairs = zip(self.contracts, models, strict=True)
        return least(jnp.stack([contract.margin(model) for contract, model in pairs]))

    def output(self, models: Sequence[Model], *inputs: Float[Array, "..."]) -> PyTree:
        """What comes out at the last component for given input values, `[dim]` each."""
        signals = [jnp.atleast_1d(x) for x in inputs]
        for model, reads in zip(models, self.wires, strict=True):
            signals.append(jnp.atleast_1d(model(jnp.concatenate([signals[w] for w in reads]))))
        return signals[-1]


@typed
class Circuit(AbstractCircuit):
    """Components joined by wires, with an interface on every wire.

    `interfaces` are those of the wires: first the inputs of the whole circuit, then the output of
    each component in turn. `wires[i]` names the wires that component `i` reads, each of them an
    input or the output of an earlier component; the component sees their values end to end, and its
    logic a tuple of logical values if there are several. Without `wires` the components are in
    series: component `i` reads wire `i` and writes wire `i + 1`.

    The components satisfy the interfaces if and only if each of them keeps its contract. Raises
    `DeclarationError` for wrong counts, wires, dimensions or logical values.

    Args:
        components: One after another, each after those that it reads.
        points: Values of the input looked at in each box; see `Interface.points`.
    """

    components: tuple[Component, ...]
    interfaces: tuple[Interface, ...]
    wires: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    points: int = eqx.field(static=True)

    def __init__(
        self,
        components: Sequence[Component],
        interfaces: Sequence[Interface],
        wires: Sequence[Sequence[Whole]] | None = None,
        *,
        points: Points = 33,
    ):
        self.components, self.interfaces = tuple(components), tuple(interfaces)
        count = len(self.components)
        if wires is None:
            wires = [(i,) for i in range(count)]
        self.wires = tuple(tuple(reads) for reads in wires)
        self.points = points
        inputs = len(self.interfaces) - count
        if count == 0 or inputs < 1 or len(self.wires) != count:
            raise DeclarationError(
                "interfaces",
                got=f"{count} components, {len(self.interfaces)} interfaces, "
                f"{len(self.wires)} wires",
                expected="an interface for each input and for the output of each component",
                mend="for n components in series give n + 1 interfaces",
            )
        for i, reads in enumerate(self.wires):
            if not reads or any(not 0 <= w < inputs + i for w in reads):
                raise DeclarationError(
                    f"wires[{i}]",
                    got=str(reads),
                    expected=f"inputs or outputs of earlier components: 0 to {inputs + i - 1}",
                    mend="put the components in an order in which each reads what exists",
                )
        _ = self.contracts
