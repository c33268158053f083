"""The law of the interfaces that emerge in a chain of which only the ends are specified."""

import math
import warnings
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ..core import (
    Count,
    DeclarationError,
    Estimate,
    Key,
    RunError,
    Status,
    Whole,
    raise_if_failed,
    typed,
)
from ..declare import Chain, check_places
from . import _interface_law_sums as sums
from ._components_in_series import in_series
from ._entropy_table import EntropyTable, entropy_table, tightest_kernel
from ._interface_law_sums import Images
from ._maximum_entropy import (
    ChainTables,
    MaximumEntropy,
    chain_tables,
    failed,
    max_plus,
    status_of_hits,
)
from ._old_forms import of_chain

COMPARISONS = 1 << 27
"""How many pairs (member, draw) are looked at when the existence of widest inputs is checked."""


@typed
class InterfaceLaw(eqx.Module):
    """The law of emergent interfaces: components from the prior, given the specification.

    Let `T_i` be the tightest member of the family at joint i that contains what the components to
    the left make of `first` (taking the members before it as their inputs), `W_i` the widest member
    from which the components to the right keep `last`. A member B is satisfied if and only if
    `T_i <= B <= W_i`, and the specification holds through the families if and only if `T_i <= W_i`:
    some chain of members is then satisfied, which implies the end-to-end specification, and is
    implied by it in the limit of fine families (see `resolution`). Conditioned on it:

    - `satisfaction(joint)`: `P[B satisfied | spec] = e^{H(B)}/Z`. The events overlap, since a
      system satisfies many members. Its mode (two components) is the interface of largest entropy.
    - `image(joint)`: `p(T = τ | spec)`, products of the kernels K of `tightest_kernel`. It sums to
      1, and its mode is another one.
    - `expected_interfaces()`: `E[chains of members satisfied | spec] = Σ e^{ΣH} / Z`. Products of
      `e^H` count a system once for each chain that it satisfies.

    Errors are those of the prior draws to first order, and include that components may share a
    table. Each number costs a pass over the draws of all tables: name the `members` of a large
    family.

    Args:
        images: Of the prior draws, at the joints.
        end_to_end: The entropy of the specification, from the same draws or others.
    """

    images: Images
    end_to_end: EntropyTable

    @property
    def tables(self) -> ChainTables:
        """The tables of the components."""
        return self.images.tables

    @property
    def chain(self) -> ChainTables:
        """Deprecated: `tables`."""
        told = "InterfaceLaw.chain is now .tables; the old name will go with the next release"
        warnings.warn(told, DeprecationWarning, stacklevel=3)  # past equinox
        return self.tables

    @property
    def joints(self) -> int:
        return len(self.tables) - 1

    def log_evidence(self) -> Estimate:
        """`log Z`: how probable it is that the specification holds through the families."""
        return self.images.estimate(sums.log_evidence)

    @property
    def status(self) -> Status:
        """`no_hits` or `few_hits` where fewer than 10 draws carry the evidence Z.

        They count as `(Z/σ)²`, σ its standard error: for a small Z that is estimated by hits, their
        number.
        """
        try:
            error = float(self.log_evidence().standard_error)
        except RunError:
            return Status.no_hits
        return status_of_hits(math.inf if error == 0 else error**-2)

    @property
    def successful(self) -> bool:
        """Whether the status is `successful`."""
        return bool(self.status == Status.successful)

    def resolution(self) -> Estimate:
        """`log Z` less the log-probability of the end-to-end specification itself, in nats.

        Below 0 by what the families are too coarse to see; the latter is from draws of its own.
        """
        return self.log_evidence() - self.end_to_end.entropy[0, 0]

    def image(self, joint: Whole = 0, members: Sequence[int] | None = None) -> Estimate:
        """`p(T = τ | spec)` for the members of a joint (or some of them); sums to 1."""
        return self.images.estimate(sums.image, joint, self._rows(joint, members))

    def satisfaction(self, joint: Whole = 0, members: Sequence[int] | None = None) -> Estimate:
        """`P[B satisfied at this joint | spec]` for the members B of a joint (or some of them)."""
        return self.images.estimate(sums.satisfaction, joint, self._rows(joint, members))

    def log_coverage(self, best: MaximumEntropy | None = None) -> Estimate:
        """`max ΣH - log Z <= 0`: log of the share of the systems that satisfy the best chain.

        With the chain that these draws choose (or `best.members`), by these draws.
        """
        members = max_plus(self.tables).members if best is None else best.members
        return self.images.estimate(sums.log_share, np.asarray(members, int))

    def satisfaction_of(self, members: Sequence[int]) -> Estimate:
        """`e^{ΣH}/Z`: the share of the systems that satisfy a whole chain of members."""
        self.tables.pairs(members)
        log = self.images.estimate(sums.log_share, np.asarray(members, int))
        return log.map(jnp.exp)

    def expected_interfaces(self) -> Estimate:
        """`Σ e^{ΣH} / Z`: mean number of chains of members that a system satisfies."""
        return self.images.estimate(sums.expected_count)

    def mutual_information(self, joint: Whole = 0) -> Estimate:
        """`I(left; right | spec) = log Z - E[H_right(T)] - E[H_left(W)]`, in nats.

        The mutual information, given the specification, between the components to the left and to
        the right of a joint: 0 for a perfectly modular system, larger for a less modular one. It is
        0 once an interface at the joint is given. `H_right(T)` is the entropy
        of the right given that it must accept T, `H_left(W)` that of the left given that it must
        stay inside W.

        Raises:
            DeclarationError: Where a draw has no widest acceptable input.
        """
        check_places("joint", [joint], self.joints)
        self._check_widest(joint)
        return self.images.estimate(sums.mutual_information, joint)

    @property
    def modularity(self) -> Callable[..., Estimate]:
        """Deprecated: `mutual_information`."""
        told = "InterfaceLaw.modularity is now .mutual_information; the old name will go with the"
        warnings.warn(f"{told} next release", DeprecationWarning, stacklevel=3)  # past equinox
        return self.mutual_information

    def swap_rate(self, component: Whole) -> Estimate:
        """How often one component may be exchanged for another system's, and the spec still holds.

        Two systems are drawn independently given the specification (through the families), and
        `component` of the first is replaced by that of the second: the probability that the first
        still keeps the specification. With the prior of a component π and systems θ, ::

            ∫ p(θ | spec) p(θ'_i | spec) 1[spec(θ_1, …, θ'_i, …, θ_n)].

        It is 1 once interfaces at both sides of the component are given, because any component
        that keeps its contract does.

        Raises:
            DeclarationError: As `mutual_information` does.
        """
        check_places("component", [component], len(self.tables))
        if component < self.joints:
            self._check_widest(component)
        return self.images.estimate(sums.swap_rate, component)

    def __repr__(self) -> str:
        status = self.status
        log = "-inf" if bool(status == Status.no_hits) else self.log_evidence()
        return (
            f"InterfaceLaw({len(self.tables)} components; log Z {log}, "
            f"end to end {self.end_to_end.entropy[0, 0]}){failed(status)}"
        )

    def _rows(self, joint: int, members: Sequence[int] | None) -> Array:
        count = len(self.tables.family(joint))
        if members is None:
            return jnp.arange(count)
        check_places("members", members, count)
        return jnp.asarray(members, int)

    def _check_widest(self, joint: int) -> None:
        for i in range(joint + 1, len(self.tables)):
            below = jnp.sum(self.images.orders[i - 1], axis=0)
            if not bool(_has_widest(self.tables.at(i), below)):
                raise DeclarationError(
                    "families",
                    got=f"a draw of component {i} with several widest acceptable inputs",
                    expected="one widest member for each draw and output",
                    mend="add joins of members, or use threshold families; see `Family.thresholds`",
                )


@of_chain("components", "families", "first", "last")
@typed
def interface_law(
    chain: Chain, *, key: Key, draws: Count = 20_000, throw: bool = True
) -> InterfaceLaw:
    """The law of the interfaces at the joints, given that the chain takes `first` into `last`.

    Exact for the draws of the prior, by products of kernels of tightest images. The end-to-end
    specification itself is estimated by as many draws of whole chains.

    Args:
        chain: With candidates at its joints.
        key: Of all draws.
        draws: Of the prior of each component, and of whole chains.
        throw: Raise `RunError` for a status that is not `successful`; else look at `status`.

    Raises:
        DeclarationError: A joint that is open, and families in which images have no tightest
            member.
        RunError: With `throw`, if fewer than 10 draws carry the evidence.
    """
    one, two = jax.random.split(key)
    tables = chain_tables(chain, key=one, draws=draws)
    kernels = [tightest_kernel(table) for table in tables.tables]
    images = tuple(kernel.member[kernel.table.cell] for kernel in kernels)
    orders = tuple(tables.at(i).after.order() for i in range(len(tables)))
    ends = (chain.first, chain.last)
    whole = entropy_table(in_series(chain), *ends, key=two, draws=draws, points=chain.points)
    law = InterfaceLaw(Images(tables, images, orders), whole)
    status = law.status if throw else Status.successful
    return raise_if_failed(law, status, throw, "draw more, or take wider interfaces")


@eqx.filter_jit
def _has_widest(table: EntropyTable, below: Array) -> Bool[Array, ""]:
    """Whether the inputs that each draw accepts have a widest one, for every output.

    A lower set has a widest member if and only if some member has as many below it as the set has.
    All draws are looked at, or as many as `COMPARISONS` allows.
    """
    pairs = table.contains.shape[1] * table.cell.shape[0]
    looked = int(np.clip(COMPARISONS // pairs, 1, table.draws))

    def one(cell):
        accepts = table.contains[cell]  # [before, after]
        most = jnp.max(jnp.where(accepts, below[:, None], 0), axis=0)
        return jnp.all(most == jnp.sum(accepts, axis=0))

    return jnp.all(jax.lax.map(one, table.cell[:, :looked].T))
