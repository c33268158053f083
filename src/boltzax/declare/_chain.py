"""Components in series: what is said of their ends, and of the wires between them."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..core import DeclarationError, Whole, described, typed
from ._circuit import AbstractCircuit, Circuit
from ._contract import Component, Contract, Points, output_shape, outputs
from ._family import Family, check_places
from ._interface import Interface


@typed
@described("a bx.Chain", "write e.g. bx.Chain(components, [first, family, last])")
class Chain(AbstractCircuit):
    """Components in series between two interfaces: component `i` reads wire `i` and writes
    wire `i + 1`.

    The joints, the wires between components, hold an `Interface` each, or what is not settled yet:
    a `Family` of candidates, or `None` (open: nothing is said of that signal). ::

        bx.Chain([buffer, buffer], [first, middle, last])        # two contracts, as in a `Circuit`
        bx.Chain([buffer, buffer], [first, family, last])        # which member will it be?
        bx.Chain([buffer, buffer], [first, None, last])          # the ends alone

    Where every joint has its interface, the chain is a circuit: `boltzax.interfaces.entropy`,
    `condition` and `certify` take it. `boltzax.interfaces.interface_law`, `maximum_entropy` and
    `expected_satisfaction` weigh the candidates; `at` chooses among them.

    Args:
        components: At least one.
        interfaces: One more than components; the first and the last are an `Interface`.
        points: Values of x that contracts look at in each box (see `Contract`).

    Raises:
        DeclarationError: Wrong counts, ends that are open, dimensions that do not fit the models,
            and logical values that the next interface or truth table does not have.
    """

    components: tuple[Component, ...]
    interfaces: tuple[Interface | Family | None, ...]
    points: int = eqx.field(static=True)

    def __init__(
        self,
        components: Sequence[Component],
        interfaces: Sequence[Interface | Family | None],
        *,
        points: Points = 33,
    ):
        self.components, self.interfaces = tuple(components), tuple(interfaces)
        self.points = points
        count = len(self.components)
        if len(self.interfaces) != count + 1 or count == 0:
            raise DeclarationError(
                "interfaces",
                got=f"{len(self.interfaces)} for {count} components",
                expected=f"{count + 1}: one at each end and one at each joint",
                mend="add or drop an interface; for other wiring use bx.Circuit",
            )
        for end, place in ((self.first, 0), (self.last, count)):
            if not isinstance(end, Interface):
                raise DeclarationError(
                    f"interfaces[{place}]",
                    got=repr(end),
                    expected="an Interface at each end",
                    mend="candidates, or None, belong to the joints between components",
                )
        examples = self._examples()
        for component, before, after in zip(self.components, examples, examples[1:], strict=False):
            Contract(component, before, after, points=points)

    @property
    def wires(self) -> tuple[tuple[int, ...], ...]:
        """What each component reads."""
        return tuple((i,) for i in range(len(self.components)))

    @property
    def first(self) -> Interface:
        """The interface before the first component."""
        return self.interfaces[0]  # pyright: ignore

    @property
    def last(self) -> Interface:
        """The interface after the last component."""
        return self.interfaces[-1]  # pyright: ignore

    @property
    def joints(self) -> int:
        """How many wires lie between components; joint `i` between components `i` and `i + 1`."""
        return len(self.components) - 1

    @property
    def dims(self) -> tuple[int, ...]:
        """The dimension of the signal on each wire."""
        return tuple(example.dim for example in self._examples())

    @property
    def families(self) -> tuple[Family, ...]:
        """The candidates for each wire; an interface is a family of one."""
        for place, held in enumerate(self.interfaces):
            if held is None:
                raise DeclarationError(
                    f"interfaces[{place}]",
                    got="None",
                    expected="a Family of candidates, or an Interface",
                    mend="pass e.g. bx.Family.thresholds(levels), or ask "
                    "bx.interfaces.maximise_interfaces for thresholds anywhere",
                )
        held = [Family.of([each]) if isinstance(each, Interface) else each
                for each in self.interfaces]  # fmt: skip
        return tuple(each for each in held if each is not None)

    def at(self, members: Sequence[Whole]) -> "Chain":
        """The chain of chosen interfaces: a member for each joint (0 where there is but one).

        Raises:
            DeclarationError: As `chosen`.
        """
        return self.between(self.chosen(members)[1:-1])

    def chosen(self, members: Sequence[Whole]) -> tuple[Interface, ...]:
        """The interfaces of all wires, for a member at each joint.

        Raises:
            DeclarationError: For another number of members than of joints, or a place beyond the
                candidates of a joint.
        """
        check_members(self, members)
        inner = zip(self.families[1:-1], members, strict=True)
        return self.first, *(family[member] for family, member in inner), self.last

    def between(self, joints: Sequence[Interface | Family | None]) -> "Chain":
        """The same components and ends with something else at the joints."""
        return Chain(self.components, (self.first, *joints, self.last), points=self.points)

    def _examples(self) -> list[Interface]:
        """One interface a wire, of its dimension and logical values: what shapes are checked by."""
        found: list[Interface] = []
        for held, component in zip(self.interfaces, (None, *self.components), strict=True):
            if isinstance(held, Family):
                held = held[0]
            elif held is None and component is not None:
                values = dict.fromkeys(outputs(component, found[-1].values))
                dim = max(1, math.prod(output_shape(component.model, (found[-1].dim,))))
                ends = np.full((len(values), 1, dim), np.inf)
                held = Interface(tuple(values), jnp.asarray(-ends), jnp.asarray(ends))
            assert held is not None
            found.append(held)
        return found

    def __repr__(self) -> str:
        wires = "\n  ".join("open" if each is None else repr(each) for each in self.interfaces)
        return f"Chain of {len(self.components)} components, {self.points} points a box\n  {wires}"


def check_members(chain: Chain, members: Sequence[Whole]) -> None:
    """Refuse members that do not choose one of the candidates at each joint."""
    if len(members) != chain.joints:
        raise DeclarationError(
            "members",
            got=f"{len(members)} members",
            expected=f"one for each of the {chain.joints} joints",
            mend="give the places in the families of the joints, in their order",
        )
    for family, member in zip(chain.families[1:-1], members, strict=True):
        check_places("members", [member], len(family))


Specified: TypeAlias = Contract | Circuit | Chain
"""What can be kept or broken: a contract, or several of components that are joined."""
