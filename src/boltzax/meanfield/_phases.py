"""Phases: coexisting fixed points of a loop."""

from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..core import Status, text_of_values, typed
from ._solve import Uniqueness


@typed
class FieldPhases(eqx.Module):
    """The fixed points of a `Loop`, in rising order (of the first number, then the next).

    - `roots` `[root, dim]`, `residuals` `[root]`: `max |m - update(m)|`.
    - `radius` `[root]`: spectral radius of the update's Jacobian; `stable` where it is below 1: the
      plain loop comes back to the root.
    - `free_energies` `[root]` if the loop has a free energy: `dominant` is the index of the least
      among the stable roots, the phase that holds in equilibrium.
    - `hits` `[root]`: how many loops and starts ended there. `rejected`: how many ended on roots
      outside the domain. `lost`: how many ended nowhere.
    - `unique`: a `Uniqueness`; `status`.
    """

    roots: Float[Array, "root dim"]
    residuals: Float[Array, " root"]
    radius: Float[Array, " root"]
    free_energies: Float[Array, " root"] | None
    hits: Int[Array, " root"]
    rejected: int
    lost: int
    unique: Uniqueness
    status: Status

    @property
    def stable(self) -> Bool[Array, " root"]:
        """Whether the plain loop returns to the root after a small change."""
        return jax.device_put(np.asarray(self.radius) < 1)

    @property
    def dominant(self) -> int | None:
        """Index of the stable root of least free energy; None without free energies."""
        stable = np.asarray(self.radius) < 1
        if self.free_energies is None or not stable.any():
            return None
        return int(np.argmin(np.where(stable, self.free_energies, np.inf)))

    @text_of_values
    def __repr__(self) -> str:
        here = jax.tree.map(np.asarray, self)
        lines = [f"{len(here.roots)} fixed points, {(here.radius < 1).sum()} of them stable"]
        for i, root in enumerate(here.roots):
            text = ", ".join(f"{x:.6g}" for x in root[:6]) + (", ..." if len(root) > 6 else "")
            energy = "" if here.free_energies is None else f", F {here.free_energies[i]:.6g}"
            lines.append(
                f"({text}): spectral radius {here.radius[i]:.3g}{energy}, residual "
                f"{here.residuals[i]:.1e}, {here.hits[i]} ended here"
                + (" (dominant)" if i == self.dominant else "")
            )
        lines.append(f"{self.rejected} ended outside the domain, {self.lost} nowhere")
        return "\n  ".join([*lines, Uniqueness[self.unique], Status[self.status]])


def distinct(
    places: np.ndarray, residuals: np.ndarray, same: Callable[[np.ndarray, np.ndarray], bool]
) -> tuple[np.ndarray, np.ndarray]:
    """The row of one place of each root (that of least residual), in rising order of the places,
    and how many fell on it."""
    kept, hits = [], []
    for row in np.argsort(residuals, kind="stable"):
        near = [i for i, other in enumerate(kept) if same(places[other], places[row])]
        if near:
            hits[near[0]] += 1
        else:
            kept.append(row)
            hits.append(1)
    rows = np.array(kept, int)
    order = np.lexsort(places[rows].T[::-1]) if len(rows) else rows
    return rows[order], np.array(hits, int)[order]


def radii(jacobians: np.ndarray) -> np.ndarray:
    """Spectral radius of each matrix, `[root]`; on the host (no general eigenvalues on GPUs)."""
    return np.array([np.max(np.abs(np.linalg.eigvals(each))) for each in jacobians])
