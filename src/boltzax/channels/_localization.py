"""Lyapunov exponents of products of random transfer matrices, and the localisation length."""

from collections.abc import Callable
from typing import Annotated, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core import (
    Count,
    Curve,
    DeclarationError,
    Estimate,
    Influence,
    Key,
    Positive,
    Said,
    Status,
    Whole,
    raise_if_failed,
    text_of_values,
    typed,
    whole,
)
from ..sample import run
from ._transfer_products import TransferProducts

BLOCKS = 64
"""Blocks that the matrices of a chain are divided into, at most."""
RELAXED = 2.0
"""Localisation lengths that a warm-up takes at least."""
DRIFT = 4.5
"""Standard errors by which the two halves of a run may differ."""

Transfer: TypeAlias = Annotated[
    Callable,
    Said(
        expected="a function of a key that gives one transfer matrix [d, d], or a pair of the "
        "matrix and the length that it stands for",
        mend="pass e.g. bx.cases.anderson_chain(0.0, 1.0), or your own function of a key",
    ),
]


@typed
class LocalizationLength(eqx.Module):
    """Lyapunov exponents of a product of random matrices; see `localization_length`.

    Args:
        exponents: The largest ones in falling order, `[exponent]`, per unit length.
        blocks: The last exponent in each block of matrices against the length in the block's
            middle, from independent chains: flat, if the products had forgotten their starts.
        status: `not_mixed` if the two halves of the run differ, `not_converged` if the error is
            above the tolerance or the warm-up is shorter than two localisation lengths.
    """

    exponents: Estimate
    blocks: Curve
    status: Status

    @property
    def exponent(self) -> Estimate:
        """The last of the exponents: the rate at which a localised state decays."""
        return self.exponents[-1]

    @property
    def length(self) -> Estimate:
        """The localisation length `ξ = 1/γ`, negative or infinite if nothing is localised."""
        return self.exponent.map(jnp.reciprocal)

    @text_of_values
    def __repr__(self) -> str:
        return (
            f"localisation length {self.length!r}\n  exponents {self.exponents!r}\n  "
            f"{Status[self.status]}"
        )


@typed
def localization_length(
    transfer: Transfer,
    *,
    key: Key,
    exponents: Count = 1,
    chains: Annotated[int, whole(2)] = 256,
    sites: Annotated[int, whole(BLOCKS)] = 8192,
    warmup: Whole = 512,
    tolerance: Positive = 0.01,
    progress: bool = False,
    throw: bool = True,
) -> LocalizationLength:
    """Lyapunov exponents `γ_1 >= γ_2 >= ...` of a product of random matrices, and `ξ = 1/γ_k`.

    `γ_1` is the limit of `log|M_n ... M_1 v|/n`. For a chain `ψ_{n+1} + ψ_{n-1} + ε_n ψ_n = E ψ_n`
    the matrix is `[[E - ε_n, -1], [1, 0]]`, the ratio `R = ψ_{n+1}/ψ_n` obeys
    `R' = E - ε - 1/R`, and `γ = ⟨log|R|⟩` is the rate at which eigenstates decay from where they
    are localised. A strip of m chains has 2m exponents in pairs `±γ`, and the localisation length
    is that of the smallest positive one, `exponents=m`.

    The error is that of independent chains and of blocks of each. The run ends once the relative
    error of the last exponent is at most `tolerance`. Its bias is of the order of `ξ/sites` where
    the products have not forgotten their starts; `warmup` must be longer than `ξ`.

    Kramer & MacKinnon 1993, Rep. Prog. Phys. 56:1469.

    Args:
        transfer: A function of a key that draws one matrix `[d, d]`, or a pair of the matrix and
            the length that it stands for (by default 1). With numbers in it make it an
            `equinox.Module`: new numbers then compile nothing.
        key: Of the run.
        exponents: How many, from the largest on.
        chains: Independent products.
        sites: Matrices of each product at most, after the warm-up.
        warmup: Matrices of each before that.
        tolerance: Relative standard error of the last exponent.
        progress: Show a bar.
        throw: Raise if it has not converged.

    Returns:
        A `LocalizationLength`.

    Raises:
        DeclarationError: For what is no square matrix, and more exponents than it has rows.
        RunError: Unless the `status` is `successful`; its `result` holds what was found.
    """
    dynamics = TransferProducts(transfer)
    dim = dynamics.dim
    if exponents > dim:
        raise DeclarationError(
            "exponents",
            got=str(exponents),
            expected=f"at most {dim}, the rows of a matrix",
            mend=f"pass exponents={dim} for all of them",
        )
    key_start, key_run = jax.random.split(key)
    start = jax.random.normal(key_start, (chains, dim, exponents))
    made = run(
        dynamics, start, key=key_run, warmup=warmup, draws=BLOCKS, thin=-(-sites // BLOCKS), rows=4,
        stop=lambda parts: _precise(parts, tolerance), progress=progress, throw=False,
    )  # fmt: skip
    rates = _rates(made.records)
    found = rates.estimate(exact=True)
    status = made.status
    if status == Status.successful:
        length = np.mean(made.records["length"]) / -(-sites // BLOCKS)  # of a matrix
        lengths = warmup * length * abs(found[-1].value)
        status = _judged(made.records, found[-1], float(lengths), tolerance)
    result = LocalizationLength(found, _blocks(made.records), status)
    mend = "raise `sites`, `chains` or `warmup`, or loosen `tolerance`"
    return raise_if_failed(result, status, throw, mend)


def _rates(records: PyTree) -> Influence:
    """Growth by length, of records `[block, chain, ...]`."""
    growth, length = (np.asarray(records[name], float) for name in ("growth", "length"))
    grown = Influence.of(np.moveaxis(growth, 0, -1).swapaxes(0, 1))
    return grown / Influence.of(length.T)


def _precise(parts: list[PyTree], tolerance: float) -> bool:
    records = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found = _rates(records).estimate(exact=True)[-1]
    return bool(found.standard_error <= tolerance * abs(found.value))


def _judged(records: PyTree, last: Estimate, lengths: float, tolerance: float) -> Status:
    """The status of a finished run, whose warm-up took so many localisation lengths."""
    half = len(records["length"]) // 2
    early, late = (
        _rates({name: each[part] for name, each in records.items()}).estimate(exact=True)[-1]
        for part in (slice(half), slice(half, None))
    )
    rate, error = abs(float(last.value)), float(last.standard_error)
    if not np.isfinite(rate):
        return Status.non_finite
    apart = early - late
    noise = float(apart.standard_error) + 1e-3 * tolerance * rate
    if abs(float(apart.value)) > DRIFT * noise:
        return Status.not_mixed
    good = error <= tolerance * rate and lengths >= RELAXED
    return Status.successful if good else Status.not_converged


def _blocks(records: PyTree) -> Curve:
    """The last exponent of each block, over the length of all before its middle."""
    length = np.mean(np.asarray(records["length"], float), axis=1)
    values = Estimate.of_samples(np.swapaxes(records["growth"][..., -1], 0, 1) / length, exact=True)
    return Curve(np.cumsum(length) - 0.5 * length, values, axis="length")
