"""Entropy of a component's parameters for every pair of interfaces, from one set of draws."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..core import (
    Count,
    DeclarationError,
    Estimate,
    Fraction,
    Influence,
    Key,
    text_of_values,
    typed,
    wilson,
)
from ..declare import Component, Contract, Family, Interface, Points, check_places
from ._entropy import prior_of_contract
from ._entropy_table_cells import Containment, cells


@typed
class EntropyTable(eqx.Module):
    """`H(Θ | b, a) = log P_prior[the component maps b into a]` for `b` in before, `a` in after.

    In nats, by direct Monte Carlo. All pairs share the prior draws, so that differences have small
    errors. `cell` numbers, for each `b` and draw, the set of members of `after` that contain the
    image (see `contains`). Entries are indexed `[before, after]`, also where an `Interface` was
    given for a family.

    Args:
        before: The family before the component.
        after: The family after it.
        hits: Draws that map `b` into `a`, `[before, after]`.
    """

    before: Family
    after: Family
    cell: Int[Array, "before draw"]
    contains: Bool[Array, "cell after"]
    hits: Int[Array, "before after"]

    @property
    def draws(self) -> int:
        """Number of prior draws."""
        return self.cell.shape[1]

    @property
    def probability(self) -> Float[Array, "before after"]:
        """`p = e^H`: the share of the draws that keep the contract."""
        return self.hits / self.draws

    @property
    def standard_error(self) -> Float[Array, "before after"]:
        """Standard error of the probability, `sqrt(p (1 - p) / n)`."""
        return Estimate.of_hits(self.hits, self.draws).standard_error

    @property
    def entropy(self) -> Estimate:
        """`H = log p` with the standard error `sqrt((1 - p) / (n p))`; -inf ± inf without a hit."""
        return Estimate.of_hits(self.hits, self.draws, log=True)

    def interval(self, level: Fraction = 0.95) -> tuple[Array, Array]:
        """Wilson interval of H, also without a hit (lower end -inf) or without a miss.

        Wilson (1927), J. Am. Stat. Assoc. 22:209.
        """
        low, high = wilson(self.hits, self.draws, level)
        return jnp.log(jnp.asarray(low)), jnp.log(jnp.asarray(high))

    def satisfied(self, before: int, after: int) -> Bool[Array, " draw"]:
        """Which draws keep the contract of one pair."""
        check_places("before", [before], len(self.before))
        check_places("after", [after], len(self.after))
        return jax.device_put(np.asarray(self.contains)[np.asarray(self.cell)[before], after])

    def difference(self, first: tuple[int, int], second: tuple[int, int]) -> Estimate:
        """`H(first) - H(second)` for two pairs (before, after), by the draws that they share; NaN
        if neither has a hit."""
        with np.errstate(invalid="ignore"):
            return (self.influence(*first) - self.influence(*second)).estimate()

    def influence(self, before: int, after: int, *, source: str = "draws") -> Influence:
        """`H` of one pair with what each draw adds to it; NaN without a hit.

        Entropies of one table share their draws: combine their influences, under one `source`.
        """
        return influence_of_sum(self, [(before, after)], source)

    @text_of_values
    def __repr__(self) -> str:
        best = np.unravel_index(np.argmax(np.asarray(self.hits)), self.hits.shape)
        return (
            f"EntropyTable({len(self.before)} before x {len(self.after)} after, "
            f"{self.draws} draws; largest H {float(jnp.log(self.probability[best])):.4g} "
            f"at {tuple(map(int, best))})"
        )


@typed
def entropy_table(
    component: Component,
    before: Interface | Family,
    after: Interface | Family,
    *,
    key: Key,
    draws: Count = 20_000,
    points: Points = 33,
) -> EntropyTable:
    """`H(Θ | b, a) = log P_prior[margin >= 0]` in nats, for all pairs of two families.

    Cost: each draw sees each piece once. Where members of `after` accept one box a value, each
    image is rounded to their levels once for all members.

    Args:
        before: An `Interface` or a `Family` for the input of the component.
        after: An `Interface` or a `Family` for its output.
        draws: Prior draws, shared by all pairs. Direct sampling serves probabilities above some
            `100 / draws`.
        points: Values of x looked at in each piece of the inputs. On the line a piece lies between
            neighbouring ends of boxes of `before`, so that nested members have nested images draw
            by draw and H is antitone in `before` without error; for one interface they are the
            points of `Contract`. In more dimensions the points of all boxes are pooled.

    Raises:
        DeclarationError: Interfaces that do not fit the component.
    """
    before, after = (Family.of([i]) if isinstance(i, Interface) else i for i in (before, after))
    contract = Contract(component, before[0], after[0], points=points)
    gibbs = prior_of_contract(contract)
    containment = Containment(component, before, after, points)
    cell, contains = cells(gibbs, containment, jax.random.split(key, draws))
    hits = _hits(cell, contains)
    return EntropyTable(before, after, *(jnp.asarray(x) for x in (cell, contains, hits)))


def influence_of_sum(
    table: EntropyTable, pairs: Sequence[tuple[int, int]], source: str
) -> Influence:
    """`ΣH` over pairs (before, after) of a table; each draw adds `Σ (hit/p - 1)` to it."""
    value, rows = 0.0, np.zeros(table.draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        for before, after in pairs:
            hit = np.asarray(table.satisfied(before, after), float)
            share = np.mean(hit)
            value = value + np.log(share)
            rows += hit / share - 1
    return Influence(jax.device_put(value), {source: jax.device_put(rows[:, None])})


def _hits(cell: np.ndarray, contains: np.ndarray) -> np.ndarray:
    return np.rint(histogram(cell, len(contains)).astype(float) @ contains).astype(int)


def histogram(cell: np.ndarray, kinds: int) -> np.ndarray:
    """How often each kind occurs in each row."""
    offset = np.arange(len(cell), dtype=np.int64)[:, None] * kinds
    return np.bincount((cell + offset).ravel(), minlength=len(cell) * kinds).reshape(-1, kinds)


@typed
class TightestKernel(eqx.Module):
    """`K[b, a] = P[a is the tightest member that contains the image of b]`; `[before, after + 1]`.

    The last column is for images that no member contains. With ζ the inclusion matrix of the family
    `after`, `e^H = K ζ` (without that column), draw by draw: a member is satisfied if and only if
    the tightest one lies in it. Rows are laws of disjoint events, rows of `e^H` are not.

    Args:
        table: The entropies that it was made from.
        member: The tightest member of each cell of the table.
        hits: Draws of each pair, `[before, after + 1]`.
    """

    table: EntropyTable
    member: Int[Array, " cell"]
    hits: Int[Array, "before image"]

    @property
    def matrix(self) -> Float[Array, "before image"]:
        """The Markov kernel; rows sum to 1."""
        return self.hits / self.table.draws

    def tightest(self, before: int) -> Int[Array, " draw"]:
        """The tightest member for each draw; `len(after)` if no member contains the image."""
        check_places("before", [before], len(self.table.before))
        return self.member[self.table.cell[before]]


@typed
def tightest_kernel(table: EntropyTable) -> TightestKernel:
    """The Markov kernel of tightest images, from the draws of a table.

    Needs of every image that occurs, that the members which contain it have a smallest one among
    them; so it is when the family contains the intersection of any two members that can hold one
    image, as threshold families do.

    Args:
        table: Of `entropy_table`.

    Raises:
        DeclarationError: Where two members contain an image, and no member inside both of them
            does.
    """
    contains = np.asarray(table.contains)
    above = np.asarray(table.after.order()).sum(1)
    # the smallest of an upper set has all of it above itself
    size = np.where(contains, above, -1)
    member = size.argmax(1)
    many = contains.sum(1)
    bad = np.flatnonzero((many > 0) & (size.max(1) != many))
    if bad.size:
        order = np.asarray(table.after.order())
        here = np.flatnonzero(contains[bad[0]])
        lowest = here[order[np.ix_(here, here)].sum(0) == 1]
        raise DeclarationError(
            "after",
            got=f"an image whose smallest members are {lowest.tolist()}, none inside the other",
            expected="a family with one tightest member for each image",
            mend="add the meets `a & b` of members that overlap, or use a threshold family",
        )
    member = np.where(many > 0, member, len(table.after))
    hits = histogram(member[np.asarray(table.cell)], len(table.after) + 1)
    return TightestKernel(table, jnp.asarray(member), jnp.asarray(hits))
