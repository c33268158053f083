"""The chain of interfaces with the largest sum of entropies, by max-plus products."""

import operator
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..core import Count, DeclarationError, Estimate, Influence, Key, RunError, typed
from ..declare import Component, Interface
from ._family import Family, Points, check_places
from ._table import EntropyTable, entropy_table


@typed
class ChainTables(eqx.Module):
    """The entropy tables of components in series.

    Component `i` uses `tables[position[i]]`, and `components[position[i]]` is the component of that
    table. Equal components between the same families share a table and its draws; different tables
    have independent draws. Joint `i` is the wire between components `i` and `i + 1`.
    """

    components: tuple[Component, ...]
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

    def interfaces(self, members: Sequence[int]) -> tuple[Interface, ...]:
        """All interfaces of the chain, first and last included, for a member at each joint."""
        self.check_members(members)
        inner = [self.family(i)[m] for i, m in enumerate(members)]
        return (self.at(0).before[0], *inner, self.at(len(self) - 1).after[0])

    def pairs(self, members: Sequence[int]) -> list[tuple[int, int, int]]:
        """For each component its table, and the row and column that the members select."""
        self.check_members(members)
        path = [0, *members, 0]
        return [(u, path[i], path[i + 1]) for i, u in enumerate(self.position)]

    def check_members(self, members: Sequence[int]) -> None:
        """Refuse what is no member for each joint.

        Raises:
            DeclarationError: For another number of members than of joints, or a place beyond the
                family of a joint.
        """
        if len(members) != len(self) - 1:
            raise DeclarationError(
                "members",
                got=f"{len(members)} members",
                expected=f"one for each of the {len(self) - 1} joints",
                mend="give the places in the families of the joints, in their order",
            )
        for joint, member in enumerate(members):
            check_places("members", [member], len(self.family(joint)))


@typed
def chain_tables(
    components: Sequence[Component],
    families: Family | Sequence[Family],
    first: Interface,
    last: Interface,
    *,
    key: Key,
    draws: Count = 20_000,
    points: Points = 33,
) -> ChainTables:
    """The tables of n components in series between `first` and `last`; see `entropy_table`.

    `families` are the candidates for the n - 1 joints; one `Family` serves all of them. Components
    that are equal (the same structure, weights and prior) share a table where their families are
    the same objects.

    Raises:
        DeclarationError: Fewer than two components, or another number of families than of joints.
    """
    components = tuple(components)
    count = len(components) - 1
    if isinstance(families, Family):
        families = (families,) * count
    if count < 1 or len(families) != count:
        raise DeclarationError(
            "families",
            got=f"{len(families)} families for {len(components)} components",
            expected="at least two components, and a family for each joint between them",
            mend="pass one family a joint, or a single Family for all",
        )
    ends = (Family.of([first]), *families, Family.of([last]))
    kinds: list[tuple[Component, Family, Family]] = []
    position = []
    for i, component in enumerate(components):
        kind = (component, ends[i], ends[i + 1])
        found = [u for u, other in enumerate(kinds) if _same(kind, other)]
        position.append(found[0] if found else len(kinds))
        kinds += [] if found else [kind]
    keys = jax.random.split(key, len(kinds))
    tables = tuple(
        entropy_table(*kind, key=k, draws=draws, points=points)
        for kind, k in zip(kinds, keys, strict=True)
    )
    return ChainTables(tuple(kind[0] for kind in kinds), tables, tuple(position))


def _same(one: tuple, other: tuple) -> bool:
    if one[1] is not other[1] or one[2] is not other[2]:
        return False
    return one[0] is other[0] or bool(eqx.tree_equal(one[0], other[0]))


@typed
class MaximumEntropy(eqx.Module):
    """The interfaces with the largest `ΣH`, and how far ahead they are.

    `e^ΣH` is the probability that a system drawn from the prior satisfies all these interfaces, so
    `ΣH` is a lower bound of the evidence `log Z` of the end-to-end specification.

    Args:
        interfaces: All n + 1, first and last included.
        members: Those of the joints.
        entropy: `ΣH` there in nats, by fresh draws (if components were at hand): the draws that
            chose the maximum overrate it.
        entropies: Its terms, one a component.
        selected: `ΣH` by the draws that chose.
        runner_up: Members of the second best chain.
        lead: How much less its `ΣH` is, by the draws that chose, with the error of the difference.
    """

    interfaces: tuple[Interface, ...]
    members: tuple[int, ...] = eqx.field(static=True)
    entropy: Estimate
    entropies: Estimate
    selected: Estimate
    runner_up: tuple[int, ...] = eqx.field(static=True)
    lead: Estimate

    def __repr__(self) -> str:
        inner = "\n  ".join(repr(each) for each in self.interfaces)
        return (
            f"MaximumEntropy: ΣH = {self.entropy} nats\n  {inner}\n"
            f"  ahead of the next chain by {self.lead}"
        )


@typed
def maximum_entropy_interfaces(
    components: Sequence[Component],
    families: Family | Sequence[Family],
    first: Interface,
    last: Interface,
    *,
    key: Key,
    draws: Count = 20_000,
    points: Points = 33,
) -> MaximumEntropy:
    """The interfaces at the joints of a chain with the largest sum of entropies `Σ_i H_i`.

    Given the interfaces the components decouple, `H = Σ_i H_i(b_{i-1}, b_i)`, so that the maximum
    over all chains of members is a max-plus product of the tables, at the cost of one member
    against another a joint (Viterbi 1967, IEEE Trans. Inf. Theory 13:260). Arguments as in
    `chain_tables`.

    Raises:
        RunError: If no chain of members was satisfied by any draws.
    """
    one, two = jax.random.split(key)
    chain = chain_tables(components, families, first, last, key=one, draws=draws, points=points)
    found = max_plus(chain)
    fresh = _fresh(chain, found.members, two, draws, points)
    whole, parts = sum_of_entropies(*fresh)
    return eqx.tree_at(lambda f: (f.entropy, f.entropies), found, (whole, parts))


@typed
def max_plus(chain: ChainTables) -> MaximumEntropy:
    """`maximum_entropy_interfaces` from tables that exist; `entropy` is then by the same draws."""
    logs = _padded(chain)
    forward, backward = (np.asarray(message) for message in _messages(*logs))
    tables = [np.asarray(logs[1][u]) for u in range(len(logs[1]))]
    steps = [tables[u] for u in np.asarray(logs[2])]
    through = forward + backward  # [joint, member]
    if not np.isfinite(through[0].max()):
        raise RunError(
            "No chain of members was satisfied by any draws. Take more draws or wider families, or "
            'split the entropies (`interfaces.entropy(..., method="splitting")`).'
        )
    best = _trace(int(through[0].argmax()), 0, forward, backward, steps)
    # any other chain differs from the best at some joint
    others = through.copy()
    others[np.arange(len(best)), list(best)] = -np.inf
    joint, member = np.unravel_index(others.argmax(), others.shape)
    second: tuple[int, ...] = ()
    lead = Estimate.exact(np.inf)
    whole, parts = sum_of_entropies(chain.tables, chain.pairs(best))
    if np.isfinite(others.max()):
        second = _trace(int(member), int(joint), forward, backward, steps)
        two = (_joined(chain.tables, chain.pairs(members)) for members in (best, second))
        lead = operator.sub(*two).estimate()
    return MaximumEntropy(chain.interfaces(best), best, whole, parts, whole, second, lead)


def _padded(chain: ChainTables) -> tuple[Array, Array, Array, Array]:
    """Logarithms of the first, the middle and the last tables, at one size, -inf beyond."""
    size = max(len(chain.family(joint)) for joint in range(len(chain) - 1))
    used = sorted(set(chain.position[1:-1]))
    stack = np.zeros((max(len(used), 1), size, size))
    for place, u in enumerate(used):
        p = np.asarray(chain.tables[u].probability)
        stack[place, : p.shape[0], : p.shape[1]] = p
    ends = np.zeros((2, size))
    head, tail = (np.asarray(chain.at(i).probability) for i in (0, len(chain) - 1))
    ends[0, : head.shape[1]], ends[1, : tail.shape[0]] = head[0], tail[:, 0]
    index = np.array([used.index(u) for u in chain.position[1:-1]], int)
    with np.errstate(divide="ignore"):
        logs = [jnp.asarray(np.log(x), float) for x in (ends[0], stack, ends[1])]
    return logs[0], logs[1], jnp.asarray(index), logs[2]


@jax.jit
def _messages(
    first: Float[Array, " m"], middle: Float[Array, "u m m"], index: Array, last: Float[Array, " m"]
) -> tuple[Array, Array]:
    """The best sums up to and from each member of each joint."""

    def right(message, u):
        message = jnp.max(message[:, None] + middle[u], axis=0)
        return message, message

    def left(message, u):
        message = jnp.max(middle[u] + message, axis=1)
        return message, message

    _, forward = jax.lax.scan(right, first, index)
    _, backward = jax.lax.scan(left, last, index, reverse=True)
    return jnp.concatenate([first[None], forward]), jnp.concatenate([backward, last[None]])


def _trace(
    member: int, joint: int, forward: np.ndarray, backward: np.ndarray, steps: list[np.ndarray]
) -> tuple[int, ...]:
    """The best chain through a member of a joint; `steps[i]` leads from joint i to i + 1."""
    path = [member]
    for i in range(joint - 1, -1, -1):
        path.insert(0, int(np.argmax(forward[i] + steps[i][:, path[0]])))
    for i in range(joint, len(steps)):
        path.append(int(np.argmax(steps[i][path[-1]] + backward[i + 1])))
    return tuple(path)


def sum_of_entropies(
    tables: Sequence[EntropyTable], pairs: Sequence[tuple[int, int, int]]
) -> tuple[Estimate, Estimate]:
    """`ΣH` over (table, before, after), and its terms; tables that are shared err together."""
    hits = np.array([int(tables[u].hits[b, a]) for u, b, a in pairs])
    parts = Estimate.of_hits(hits, np.array([tables[u].draws for u, _, _ in pairs]), log=True)
    if not hits.all():  # a limit, which no draw moves
        return parts.times(np.ones(len(pairs))), parts
    return _joined(tables, pairs).estimate(), parts


def _joined(tables: Sequence[EntropyTable], pairs: Sequence[tuple[int, int, int]]) -> Influence:
    """`ΣH` with what each draw of each table adds to it."""
    each = [tables[u].influence(b, a, source=f"table {u}") for u, b, a in pairs]
    return sum(each[1:], each[0])


def _fresh(
    chain: ChainTables, members: Sequence[int], key: PRNGKeyArray, draws: int, points: int
) -> tuple[list[EntropyTable], list[tuple[int, int, int]]]:
    """Tables of the chosen members alone, by new draws."""
    pairs, tables, rows, columns = chain.pairs(members), [], [], []
    for u, (component, k) in enumerate(
        zip(chain.components, jax.random.split(key, len(chain.tables)), strict=True)
    ):
        rows.append(sorted({b for v, b, _ in pairs if v == u}))
        columns.append(sorted({a for v, _, a in pairs if v == u}))
        old = chain.tables[u]
        before, after = old.before.take(rows[-1]), old.after.take(columns[-1])
        tables.append(entropy_table(component, before, after, key=k, draws=draws, points=points))
    return tables, [(u, rows[u].index(b), columns[u].index(a)) for u, b, a in pairs]
