"""A number with its error."""

import warnings
from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float
from scipy import special

from ._errors import DeclarationError

with warnings.catch_warnings():  # in a notebook numpyro asks for widgets, for bars never shown here
    warnings.filterwarnings("ignore", "IProgress not found")
    from numpyro import diagnostics


class Estimate(eqx.Module):
    """A Monte Carlo estimate: value, standard error, effective sample size, split r_hat.

    All four have one shape, e.g. `[beta]` for a curve, `[]` for a single number. The standard
    error is that of the mean of an autocorrelated sequence, sd/sqrt(ess), with `ess` from all
    chains and lags (Geyer's initial monotone sequence; Vehtari et al. 2021, Bayesian Analysis
    16:667, eq. 4.5), so it sees slow mixing inside a chain as well as disagreement between chains.
    """

    value: Float[Array, "*shape"]
    standard_error: Float[Array, "*shape"]
    ess: Float[Array, "*shape"]
    r_hat: Float[Array, "*shape"]

    @classmethod
    def of_series(cls, draws: "Array | np.ndarray", *, exact: bool = False) -> "Estimate":
        """Mean over chains and draws, with the error of an autocorrelated mean.

        A sequence that never changes says nothing about how far its mean is from the truth: its
        standard error, ess and r_hat are NaN. So is the r_hat of fewer than 4 draws. A non-finite
        draw makes the whole estimate non-finite: no chain is ever dropped. Runs on the host
        (NumPy), not under `jit`.

        Args:
            draws: Numbers with axes `[*batch, chain, draw]`, chain and draw last.
            exact: Take a constant sequence for a number that is known exactly (such as a free
                energy at beta = 0): standard error 0, ess = chains x draws, r_hat 1.

        Returns:
            An estimate of shape `[*batch]`.

        Raises:
            DeclarationError: For complex numbers.
        """
        check_real(draws)
        host = np.asarray(draws, dtype=np.float64)
        *batch, chains, length = host.shape
        flat = host.reshape(-1, chains, length)
        rows = np.array([_mean_row(row, exact) for row in flat]).reshape(*batch, 4)
        kind = jnp.result_type(float)
        # the mean can have more digits than the process holds
        lost = np.abs(rows[..., 0].astype(kind).astype(np.float64) - rows[..., 0])
        rows[..., 1] = np.where(rows[..., 1] > 0, np.hypot(rows[..., 1], lost), rows[..., 1])
        return cls(*(jnp.asarray(rows[..., i], dtype=kind) for i in range(4)))

    def __getitem__(self, index) -> "Estimate":
        """The estimate of some entries; raises `IndexError` out of bounds (JAX would clamp)."""
        np.empty(self.shape, bool)[_on_host(index)]
        return jax.tree.map(lambda leaf: leaf[index], self)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("an Estimate of one number has no length")
        return self.shape[0]

    def __iter__(self) -> "Iterator[Estimate]":
        return (self[i] for i in range(len(self)))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def scaled(self, factor) -> "Estimate":
        """The estimate of `factor * quantity`."""
        factor = jnp.asarray(factor)
        return Estimate(
            self.value * factor, self.standard_error * jnp.abs(factor), self.ess, self.r_hat
        )

    def shifted(self, offset) -> "Estimate":
        """The estimate of `quantity + offset`, for an offset known exactly."""
        return Estimate(self.value + offset, self.standard_error, self.ess, self.r_hat)

    def z_score(self, truth) -> Float[Array, "*shape"]:
        """(value - truth) / standard_error: of order one if the error bar is honest."""
        return (self.value - jnp.asarray(truth)) / self.standard_error

    def interval(self, level: float = 0.95) -> tuple[Array, Array]:
        """Central normal interval (lower, upper) that covers the truth with probability `level`.

        Args:
            level: a probability between 0 and 1, both excluded.

        Raises:
            DeclarationError: if `level` is not such a number.
        """
        half = normal_quantile(level) * self.standard_error
        return self.value - half, self.value + half

    def __repr__(self) -> str:
        if isinstance(self.value, Tracer) or not isinstance(self.value, jax.Array):
            return f"Estimate(shape={getattr(self.value, 'shape', None)})"
        if self.value.ndim == 0:
            return (
                f"{float(self.value):.5g} ± {float(self.standard_error):.2g} "
                f"(ess {float(self.ess):.0f}, r_hat {float(self.r_hat):.3f})"
            )
        rows = [repr(self[i]) for i in range(self.value.shape[0])]
        return "Estimate[\n  " + ",\n  ".join(rows) + "\n]"


def check_unmasked(argument: str, values: object) -> None:
    """Raise `DeclarationError` for a masked array: as an array it loses its mask."""
    if isinstance(values, np.ma.MaskedArray):
        raise DeclarationError(
            argument,
            got=f"a masked array of shape {values.shape}",
            expected="numbers that all count",
            mend="leave out what is masked, values[~values.mask], or give it weight zero in "
            "bx.Empirical(data, weights=w)",
        )


def check_real(draws: "Array | np.ndarray") -> None:
    """Raise `DeclarationError` for complex numbers, whose imaginary part NumPy would drop, and for
    masked ones, whose mask it would."""
    check_unmasked("draws", draws)
    if jnp.iscomplexobj(draws) or np.asarray(draws).dtype == object:
        raise DeclarationError(
            "draws",
            got=f"an array of {np.asarray(draws).dtype}",
            expected="real numbers",
            mend="average the real and the imaginary part each on its own",
        )


def normal_quantile(level: float) -> float:
    """`z` with `P(|N(0, 1)| < z) = level`; a `DeclarationError` unless 0 < level < 1."""
    scalar = isinstance(level, jax.Array) and level.ndim == 0 and not isinstance(level, Tracer)
    number = isinstance(level, float | np.floating) or (
        scalar and jnp.issubdtype(jnp.result_type(level), jnp.floating)
    )
    if not number or not 0.0 < float(level) < 1.0:
        raise DeclarationError(
            "level",
            got=repr(level),
            expected="a probability between 0 and 1",
            mend="pass e.g. level=0.95 for 95%",
        )
    return float(special.ndtri(0.5 + float(level) / 2))


def _on_host(index):
    """An index as NumPy takes it; places that are being traced cannot be out of known bounds."""
    parts = index if isinstance(index, tuple) else (index,)
    plain = tuple(0 if isinstance(part, Tracer) else part for part in parts)
    return tuple(np.asarray(part) if isinstance(part, jax.Array) else part for part in plain)


def mean_estimate(
    draws: Array | np.ndarray, *, axes: tuple[int, int] | None = None, exact: bool = False
) -> Estimate:
    """Mean over chains and draws, with the error of an autocorrelated mean.

    The numbers of a trace are averaged by `trace.mean(fn)` or `trace.mean_of(numbers)`, which know
    the axes.

    Args:
        draws: Numbers with axes `[chain, draw]`, or with more axes and `axes` given.
        axes: Which axes are chain and draw, e.g. `(0, 1)` for vectors `[chain, draw, entry]` and
            `(-2, -1)` for a curve `[beta, chain, draw]`.
        exact: Take a constant sequence for a number that is known exactly; see
            `Estimate.of_series`.

    Returns:
        An estimate of the shape of the other axes.

    Raises:
        DeclarationError: For an array of another number of axes than two without `axes`, or axes
            that it does not have.
    """
    check_real(draws)
    host = np.asarray(draws)
    if axes is None:
        if host.ndim != 2:
            raise DeclarationError(
                "draws",
                got=f"an array of shape {host.shape} without axes",
                expected="axes [chain, draw], or which axes are chain and draw",
                mend="use trace.mean(fn) or trace.mean_of(numbers); or pass axes=(0, 1) for "
                "[chain, draw, entry], axes=(-2, -1) for [beta, chain, draw]",
            )
        axes = (0, 1)
    if not _are_axes(axes, host.ndim):
        raise DeclarationError(
            "axes",
            got=f"{axes!r} for an array of shape {host.shape}",
            expected="two different axes of the array, chain and draw",
            mend="pass e.g. axes=(0, 1)",
        )
    if 0 in host.shape:
        raise DeclarationError(
            "draws",
            got=f"an array of shape {host.shape}",
            expected="at least one chain and one draw",
            mend="look for a slice that leaves nothing",
        )
    return Estimate.of_series(np.moveaxis(host, axes, (-2, -1)), exact=exact)


def _are_axes(axes: object, count: int) -> bool:
    if not isinstance(axes, tuple) or len(axes) != 2:
        return False
    whole = all(isinstance(axis, int) and -count <= axis < count for axis in axes)
    return whole and axes[0] % count != axes[1] % count


def _mean_row(row: np.ndarray, exact: bool) -> tuple[float, float, float, float]:
    total = float(row.size)
    value = float(np.mean(row))
    if not np.all(np.isfinite(row)):
        return np.nan, np.nan, 0.0, np.inf
    spread = float(np.std(row))
    if spread <= 1e-14 * max(abs(value), 1e-300):
        return (value, 0.0, total, 1.0) if exact else (value, np.nan, np.nan, np.nan)
    if row.shape[1] < 2:  # nothing is known of how its draws depend on each other
        return value, np.nan, np.nan, np.nan
    ess = float(diagnostics.effective_sample_size(row[..., None])[0])
    ess = min(max(ess, 1.0), total) if np.isfinite(ess) else 1.0
    r_hat = (
        float(diagnostics.split_gelman_rubin(row[..., None])[0]) if row.shape[1] >= 4 else np.nan
    )
    return value, float(np.std(row, ddof=1)) / np.sqrt(ess), ess, r_hat
