"""The chain of interfaces with the largest sum of entropies, by max-plus products."""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import numpy as np

from ..core import (
    Count,
    Estimate,
    Influence,
    Key,
    RunError,
    Status,
    Whole,
    raise_if_failed,
    typed,
)
from ..declare import Chain, Family, Interface, check_members, check_places
from ._entropy_table import EntropyTable, entropy_table, influence_of_sum
from ._old_forms import of_chain

FEW = 10
"""Fewer draws than these that keep a contract do not carry its entropy."""


@typed
class ChainTables(eqx.Module):
    """The entropy tables of the components of a chain, between the candidates of its wires.

    Component `i` uses `tables[position[i]]`. Equal components between equal families share a table
    and its draws; different tables have independent draws. Joint `i` is the wire between components
    `i` and `i + 1`.
    """

    chain: Chain
    tables: tuple[EntropyTable, ...]
    position: tuple[int, ...] = eqx.field(static=True)

    def __len__(self) -> int:
        return len(self.position)

    def at(self, i: int) -> EntropyTable:
        """The table of component `i`."""
        check_places("i", [i], len(self))
        return self.tables[self.position[i]]

    def family(self, joint: int) -> Family:
        """The candidates for one joint."""
        check_places("joint", [joint], len(self) - 1)
        return self.at(joint).after

    def interfaces(self, members: Sequence[Whole]) -> tuple[Interface, ...]:
        """All interfaces of the chain, first and last included, for a member at each joint."""
        return self.chain.chosen(members)

    def pairs(self, members: Sequence[Whole]) -> list[tuple[int, int, int]]:
        """For each component its table, and the row and column that the members select."""
        check_members(self.chain, members)
        path = [0, *members, 0]
        return [(u, path[i], path[i + 1]) for i, u in enumerate(self.position)]

    def influence(self, members: Sequence[Whole]) -> Influence:
        """`ΣH` of a chain of members with what each draw adds to it; NaN without a hit."""
        pairs = self.pairs(members)
        each = [
            influence_of_sum(table, [(b, a) for v, b, a in pairs if v == u], f"table {u}")
            for u, table in enumerate(self.tables)
        ]
        return sum(each[1:], each[0])

    def hits(self, members: Sequence[Whole]) -> np.ndarray:
        """How many draws of each component keep its contract under a chain of members."""
        return np.array([np.asarray(self.tables[u].hits)[b, a] for u, b, a in self.pairs(members)])

    def entropies(self, members: Sequence[Whole]) -> Estimate:
        """The entropy of each component under a chain of members."""
        pairs, hits = self.pairs(members), self.hits(members)
        return Estimate.of_hits(hits, [self.tables[u].draws for u, _, _ in pairs], log=True)


@of_chain("components", "families", "first", "last")
@typed
def chain_tables(chain: Chain, *, key: Key, draws: Count = 20_000) -> ChainTables:
    """The tables of all components of a chain; see `entropy_table`.

    Raises:
        DeclarationError: A joint that is open.
    """
    wires = chain.families
    kinds: list[tuple] = []
    position = []
    for i, component in enumerate(chain.components):
        kind = (component, wires[i], wires[i + 1])
        found = [u for u, other in enumerate(kinds) if all(map(_same, kind, other))]
        position.append(found[0] if found else len(kinds))
        kinds += [] if found else [kind]
    keys = jax.random.split(key, len(kinds))
    tables = tuple(
        entropy_table(*kind, key=k, draws=draws, points=chain.points)
        for kind, k in zip(kinds, keys, strict=True)
    )
    return ChainTables(chain, tables, tuple(position))


def _same(one: eqx.Module, other: eqx.Module) -> bool:
    return one is other or bool(eqx.tree_equal(one, other))


def status_of_hits(hits: np.ndarray | float) -> Status:
    """What becomes of a result that the rarest of some events, of so many draws each, carries."""
    least = np.min(hits)
    if least < FEW:
        return Status.few_hits if least > 0 else Status.no_hits
    return Status.successful


def failed(status: Status) -> str:
    """A line that tells a status which is not `successful`, for the text of a result."""
    return "" if bool(status == Status.successful) else f"\n  {Status[status]}"


@typed
class MaximumEntropy(eqx.Module):
    """The interfaces with the largest `ΣH`, and how far ahead they are.

    `e^ΣH` is the probability that a system drawn from the prior satisfies all these interfaces, so
    `ΣH` is a lower bound of the evidence `log Z` of the end-to-end specification.

    Args:
        interfaces: All n + 1, first and last included.
        members: Those of the joints.
        entropy: `ΣH` there in nats: `maximum_entropy` takes fresh draws, because the draws that
            chose the maximum are biased upwards; `max_plus` takes the same draws.
        entropies: Its terms, one a component.
        selected: `ΣH` by the draws that chose.
        runner_up: Members of the second best chain.
        lead: How much less its `ΣH` is, by the draws that chose, with the error of the difference.
        status: `no_hits` or `few_hits` where `entropy` rests on fewer than 10 draws that keep the
            contract of some component.
    """

    interfaces: tuple[Interface, ...]
    members: tuple[int, ...] = eqx.field(static=True)
    entropy: Estimate
    entropies: Estimate
    selected: Estimate
    runner_up: tuple[int, ...] = eqx.field(static=True)
    lead: Estimate
    status: Status

    @property
    def successful(self) -> bool:
        """Whether the status is `successful`."""
        return bool(self.status == Status.successful)

    def __repr__(self) -> str:
        inner = "\n  ".join(repr(each) for each in self.interfaces)
        return (
            f"MaximumEntropy: ΣH = {self.entropy} nats\n  {inner}\n"
            f"  ahead of the next chain by {self.lead}{failed(self.status)}"
        )


@of_chain("components", "families", "first", "last")
@typed
def maximum_entropy(
    chain: Chain, *, key: Key, draws: Count = 20_000, throw: bool = True
) -> MaximumEntropy:
    """The members at the joints of a chain with the largest sum of entropies `Σ_i H_i`.

    Given the interfaces the components decouple, `H = Σ_i H_i(b_{i-1}, b_i)`, so that the maximum
    over all chains of members is a max-plus product of the tables, at the cost of one member
    against another a joint (Viterbi 1967, IEEE Trans. Inf. Theory 13:260).

    Args:
        chain: With candidates at its joints.
        key: Of all draws.
        draws: Of the prior of each component, to choose the members, and as many afresh.
        throw: Raise `RunError` for a status that is not `successful`; else look at `status`.

    Raises:
        DeclarationError: A joint that is open.
        RunError: If no chain of members was satisfied by any draws; with `throw`, if fewer than 10
            fresh draws of a component keep the chosen contract.
    """
    one, two = jax.random.split(key)
    found = max_plus(chain_tables(chain, key=one, draws=draws))
    fresh = chain_tables(chain.at(found.members), key=two, draws=draws)
    whole, parts = _sum(fresh, [0] * chain.joints)
    status = status_of_hits(fresh.hits([0] * chain.joints))
    found = dataclasses.replace(found, entropy=whole, entropies=parts, status=status)
    return raise_if_failed(found, status, throw, "draw more, or take wider candidates")


maximum_entropy_interfaces = of_chain(
    "components", "families", "first", "last", formerly="maximum_entropy_interfaces"
)(maximum_entropy.__wrapped__)
"""The verb by its old name, which warns once."""


@typed
def max_plus(tables: ChainTables) -> MaximumEntropy:
    """`maximum_entropy` from tables that exist; `entropy` is then by the same draws.

    Args:
        tables: Of `chain_tables`.

    Raises:
        RunError: If no chain of members was satisfied by any draws; its `result` is the tables.
    """
    with np.errstate(divide="ignore"):
        logs = [np.log(np.asarray(table.probability)) for table in tables.tables]
    steps = [logs[u] for u in tables.position]
    # the best sums up to each member of each joint, and from there
    forward, backward = [steps[0][0]], [steps[-1][:, 0]]
    for step in steps[1:-1]:
        forward.append(np.max(forward[-1][:, None] + step, axis=0))
    for step in steps[-2:0:-1]:
        backward.insert(0, np.max(step + backward[0], axis=1))
    through = [a + b for a, b in zip(forward, backward, strict=True)]
    if len(steps) == 1:  # no joint, and nothing to choose
        through = []
    if not np.isfinite(through[0].max() if through else steps[0][0, 0]):
        raise RunError(
            "No chain of members was satisfied by any draws. Take more draws or wider families, or "
            'estimate the entropies by rising levels (`interfaces.entropy(..., by="levels")`).',
            tables,
        )

    def path(joint: int) -> tuple[int, ...]:
        """The best chain through the best member of a joint."""
        members = [int(through[joint].argmax())]
        for i in range(joint, 0, -1):
            members.insert(0, int(np.argmax(forward[i - 1] + steps[i][:, members[0]])))
        for i in range(joint + 1, len(forward)):
            members.append(int(np.argmax(steps[i][members[-1]] + backward[i])))
        return tuple(members)

    best = path(0) if through else ()
    for joint, member in enumerate(best):  # any other chain differs from the best at some joint
        through[joint][member] = -np.inf
    next_best = [float(np.max(each)) for each in through]
    second: tuple[int, ...] = ()
    lead = Estimate.exact(np.inf)
    whole, parts = _sum(tables, best)
    if np.isfinite(max(next_best, default=-np.inf)):
        second = path(int(np.argmax(next_best)))
        lead = (tables.influence(best) - tables.influence(second)).estimate()
    status = status_of_hits(tables.hits(best))
    return MaximumEntropy(tables.interfaces(best), best, whole, parts, whole, second, lead, status)


def _sum(tables: ChainTables, members: Sequence[int]) -> tuple[Estimate, Estimate]:
    """`ΣH` of a chain of members and its terms; tables that are shared err together."""
    parts = tables.entropies(members)
    if not np.all(np.isfinite(parts.value)):  # a limit, which no draw moves
        return parts.times(np.ones(len(parts))), parts
    return tables.influence(members).estimate(), parts
