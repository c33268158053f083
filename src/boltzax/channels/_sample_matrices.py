"""Samples of two sides as matrices: checks, rounding, canonical correlations."""

from typing import Annotated, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from ..core import DeclarationError, Said
from ._sample_rounding import (
    ROUNDINGS,
    computed,
    kind_of,
    relative_rounding,
    scaled,
    spread_of_side,
    stored,
)

WORDS = Said(
    "a matrix [sample, coordinate] of real numbers",
    "pass one row for each sample, values[:, None] for one coordinate",
)
Samples: TypeAlias = Annotated[Float[np.ndarray, "sample x"] | Bool[np.ndarray, "sample x"], WORDS]
"""One side: `[sample, coordinate]`, on the host and in the dtype in which it is given."""
Paired: TypeAlias = Annotated[Float[np.ndarray, "pair y"] | Bool[np.ndarray, "pair y"], WORDS]
"""The other side, of the same samples."""


class Side(NamedTuple):
    """One side of a channel, centred and in units of its spread.

    Args:
        name: In errors.
        values: `[sample, coordinate]`, every coordinate of mean 0 and norm 1, in float64.
        computed: Largest norm of the rounding of a coordinate by arithmetic.
        stored: Largest norm of its rounding to the kind of numbers given, which differs from
            sample to sample.
    """

    name: str
    values: np.ndarray
    computed: float
    stored: float

    def rounding_of(self, triangle: np.ndarray) -> float:
        """Size of the rounding of an orthonormal basis of the coordinates.

        Args:
            triangle: `R` of the QR factors of the values.

        Raises:
            DeclarationError: For coordinates that are linear functions of others, to rounding.
        """
        samples, size = self.values.shape
        least = float(np.linalg.svd(triangle, compute_uv=False)[-1])
        # independent errors of the samples have a norm near that of one coordinate
        rounding = self.computed * np.sqrt(size) + self.stored * (1 + np.sqrt(size / samples))
        if least <= rounding:
            raise DeclarationError(
                self.name,
                got=f"{size} coordinates that are linear functions of each other, to rounding",
                expected="coordinates of full rank (no duplicates, no fixed sum)",
                mend="leave out the coordinates that others determine, take components as "
                "channels.leading_components(x) does, or add noise of a stated size: "
                "channels.information_ladder(x, y, floors=(1e-2,), key=key)",
            )
        return rounding / least


class Canonical(NamedTuple):
    """Canonical correlations of a sample.

    Args:
        correlations: `[min(dx, dy)]`, the largest first.
        sines: `(1 - r²)^½`, without the cancellation near `r = 1`.
    """

    correlations: np.ndarray
    sines: np.ndarray

    @property
    def information(self) -> float:
        """`-½ Σ log(1 - r²)`, nats."""
        small = np.log1p(-(np.minimum(self.correlations, 0.9) ** 2))
        return -0.5 * float(np.sum(np.where(self.correlations < 0.9, small, self._log_sines)))

    @property
    def _log_sines(self) -> np.ndarray:
        return 2 * np.log(self.sines)


def check_pair(x: np.ndarray, y: np.ndarray) -> None:
    """That both sides hold finite numbers of the same samples.

    Raises:
        DeclarationError: For other numbers of rows, none, no coordinate, and numbers that are not
            finite.
    """
    if len(x) != len(y):
        raise DeclarationError(
            "y",
            got=f"{len(y)} samples for {len(x)} of x",
            expected="the same samples on both sides, row by row",
            mend="pass x and y of the same data, in one order",
        )
    for name, values in (("x", x), ("y", y)):
        if not values.size:
            raise DeclarationError(
                name,
                got="samples without coordinates" if len(values) else "no samples",
                expected="at least one sample and one coordinate",
                mend="pass a matrix [sample, coordinate]",
            )
        wrong = int(np.sum(~np.isfinite(values).all(axis=1)))
        if wrong:
            raise DeclarationError(
                name,
                got=f"{wrong} of {len(values)} samples with numbers that are not finite",
                expected="finite numbers",
                mend=f"leave these samples out of both sides, {name}[np.isfinite({name}).all(1)]; "
                "a model that overflows in float32 may not in float64",
            )


def check_count(samples: int, x_size: int, y_size: int) -> None:
    """That samples are enough for the covariance of both sides together.

    Raises:
        DeclarationError: For fewer than `dx + dy + 1`.
    """
    if samples - 1 < x_size + y_size:
        raise DeclarationError(
            "x",
            got=f"{samples} samples of {x_size} + {y_size} coordinates",
            expected=f"at least {x_size + y_size + 1} samples, better several times as many: with "
            "fewer every two sides are linear functions of each other",
            mend="take more samples, or fewer coordinates: components of each side that are chosen "
            "without the other, as channels.leading_components(x, k) gives",
        )


def side(name: str, values: np.ndarray, roundings: np.ndarray | None = None) -> Side:
    """One side, centred and scaled.

    Args:
        name: In errors.
        values: `[sample, coordinate]`.
        roundings: Norm of the rounding of each coordinate, where it is not that of the values.

    Raises:
        DeclarationError: For coordinates that are constant, to rounding.
    """
    unit, exponents = scaled(values)
    centred = unit - unit.mean(axis=0)
    norms = np.linalg.norm(centred, axis=0)
    arithmetic = computed(values) * np.max(np.abs(unit), axis=0) * np.sqrt(len(unit))
    given = stored(values, exponents) if roundings is None else np.ldexp(roundings, -exponents)
    constant = np.flatnonzero(norms <= ROUNDINGS * np.maximum(arithmetic, given))
    if len(constant):
        raise DeclarationError(
            name,
            got=f"{len(constant)} constant coordinates of {len(norms)}: {_listed(constant)}",
            expected="coordinates that vary, by more than the rounding of the numbers given",
            mend=f"leave them out: {name}[:, np.ptp({name}, axis=0) > 0]",
        )
    sizes = [ROUNDINGS * float(np.max(each / norms)) for each in (arithmetic, given)]
    return Side(name, centred / norms, *sizes)


def canonical(x: Side, y: Side) -> Canonical:
    """Canonical correlations by QR and SVD, and their sines from the residual.

    (Björck & Golub 1973, Math. Comp. 27:579.)

    Raises:
        DeclarationError: Where a direction is a linear function of others, of either side.
    """
    if x.values.shape[1] < y.values.shape[1]:
        x, y = y, x
    size = x.values.shape[1]
    triangle = np.linalg.qr(np.concatenate([x.values, y.values], axis=1), mode="r")
    # the smaller side in the basis of the larger one and of what it leaves
    basis, own = np.linalg.qr(triangle[:, size:])
    rounding = x.rounding_of(triangle[:size, :size]) + y.rounding_of(own)
    sines = np.linalg.svd(basis[size:], compute_uv=False)[::-1]
    fixed = int(np.sum(sines <= rounding))
    if fixed:
        raise DeclarationError(
            y.name,
            got=f"{fixed} directions that are linear functions of {x.name}, to rounding: the "
            "information is infinite",
            expected="sides without an exact linear relation",
            mend="add noise of a stated size, the resolution at which you read the activations: "
            "channels.information_ladder(x, y, floors=(1e-3, 1e-2, 1e-1), key=key); or leave out "
            "what both sides share",
        )
    return Canonical(np.linalg.svd(basis[:size], compute_uv=False), sines)


def noisy(values: np.ndarray, floor: float, noise: np.ndarray) -> np.ndarray:
    """Values with noise, relative to the root mean square spread of the coordinates.

    Raises:
        DeclarationError: For noise below the rounding of the values.
    """
    if not floor:
        return values
    return np.asarray(values, np.float64) + floor_of(values, floor) * noise


def floor_of(values: np.ndarray, floor: float) -> float:
    """Standard deviation of the noise of a floor.

    Raises:
        DeclarationError: As `noisy`.
    """
    least = relative_rounding(values)
    if 0 < floor < least:
        raise DeclarationError(
            "floor",
            got=f"{floor:g}, where numbers are those of {kind_of(values)}",
            expected=f"noise above their rounding, of at least {least:.2g} of the spread (or 0)",
            mend="pass a larger floor, or take the activations in a finer kind of numbers",
        )
    return floor * spread_of_side(values)


def _listed(places: np.ndarray) -> str:
    return ", ".join(map(str, places[:5])) + (", ..." if len(places) > 5 else "")
