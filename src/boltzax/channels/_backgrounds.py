"""Energies whose data far from a place are dropped, averaged or drawn again."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..core import DeclarationError, errors_named, got
from ..declare import (
    AbstractDataTerm,
    AbstractEnergy,
    AbstractTerm,
    CrossEntropy,
    Empirical,
    SquaredError,
)

Background: TypeAlias = Literal["drop", "average", "resample"]
MOST_CLASSES = 64
"""Values of integer labels at most: each makes another copy of the data."""


class Nodes(NamedTuple):
    """A term of an energy, its data on the host, and their distances from a place."""

    factor: Array | float
    term: AbstractTerm
    points: PyTree
    weights: Float[np.ndarray, " node"]
    distances: Float[np.ndarray, " node"]

    def over(self, points: PyTree, weights: np.ndarray) -> AbstractEnergy:
        """The term over other data."""
        measure = Empirical(jax.device_put(points), weights=jax.device_put(weights))
        return self.factor * eqx.tree_at(lambda term: term.measure, self.term, measure)


class Distance(eqx.Module):
    """`|x - centre|` of a datum `x`, or of a tuple that begins with `x`."""

    centre: Array

    def __call__(self, datum: Any) -> Array:
        x = datum[0] if isinstance(datum, tuple) else datum
        return jnp.sqrt(jnp.sum((x - self.centre) ** 2))


def nodes_of(energy: AbstractEnergy, distance: Callable) -> list[Nodes]:
    """The terms of an energy with their data; those that are no integrals have none.

    Raises:
        DeclarationError: For an energy without data, and a distance that is not one number.
    """
    found = []
    for factor, term in energy.terms():
        if not isinstance(term, AbstractDataTerm):
            found.append(Nodes(factor, term, None, np.zeros(0), np.zeros(0)))
            continue
        points, weights = term.measure.nodes()
        if isinstance(term, SquaredError | CrossEntropy) and term.target is not None:
            points = (points, jax.vmap(term.target)(points))
            pairs = Empirical(points, weights=weights)
            term = dataclasses.replace(term, target=None, measure=pairs)
        with errors_named(
            "distance",
            expected="a function of a datum that gives its distance from the centre",
            mend="pass distance=lambda datum: ..., written with jax.numpy, or a centre of the "
            "shape of x",
        ):
            distances = np.asarray(_distances(distance, points), float)
        if distances.shape != weights.shape or not np.all(distances >= 0):
            raise DeclarationError(
                "distance",
                got=f"a function that gives {got(distances[0] if len(distances) else distances)}",
                expected="one number for each datum, at least 0",
                mend="pass distance=lambda datum: ..., or a centre of the shape of x",
            )
        host = jax.tree.map(np.asarray, points)
        found.append(Nodes(factor, term, host, np.asarray(weights, float), distances))
    if not any(len(each.weights) for each in found):
        raise DeclarationError(
            "energy",
            got="an energy without data",
            expected="at least one integral over a measure",
            mend="pass the declared SquaredError, CrossEntropy or PerDatum",
        )
    return found


@eqx.filter_jit
def _distances(distance: Callable, points: PyTree) -> Array:
    return jax.vmap(distance)(points)


def with_background(
    terms: list[Nodes],
    radius: float,
    background: Background,
    rng: np.random.Generator,
    present: float = 0.0,
) -> AbstractEnergy:
    """The energy whose data beyond a radius are replaced, of shapes that do not depend on it.

    A share `present` of the far data stays: `E_0 + present (E - E_0)`, in the same rows, so that
    runs with common random numbers stay close. Not for "resample".
    """
    parts = []
    for each in terms:
        if each.points is None:
            parts.append(each.factor * each.term)
            continue
        far = each.distances > radius
        if background == "drop":
            left = np.where(far, present * each.weights, each.weights)
            if not np.any(left):
                raise DeclarationError(
                    "radii",
                    got=f"{radius:g}, within which there are no data",
                    expected="radii that keep data of each term of the energy",
                    mend=f"begin above {np.min(each.distances):g}, the distance of the nearest",
                )
            parts.append(each.over(each.points, left))
        elif background == "resample":
            chosen = np.arange(len(far))
            share = np.where(far, each.weights, 0.0)
            if np.any(share):
                chosen[far] = rng.choice(len(far), np.sum(far), p=share / np.sum(share))
            # as many data with their mean weight
            mean = np.sum(share) / max(np.sum(far), 1)
            points = jax.tree.map(lambda leaf, c=chosen: leaf[c], each.points)
            parts.append(each.over(points, np.where(far, mean, each.weights)))
        else:
            parts.append(_averaged(each, far, present))
    return sum(parts[1:], parts[0])


def _averaged(each: Nodes, far: np.ndarray, present: float) -> AbstractEnergy:
    """Far labels are independent of their inputs: real ones at their mean, classes at their shares.

    That is the product of the marginals of the far data, up to a constant, for losses that are
    quadratic or linear in the label.
    """
    if not (isinstance(each.points, tuple) and len(each.points) >= 2):
        raise DeclarationError(
            "background",
            got="'average' for data without labels",
            expected="data that are pairs (x, y)",
            mend='choose "drop" or "resample"',
        )
    x, y, *rest = each.points
    share = np.where(far, each.weights, 0.0)
    total = np.sum(share)
    share = share / total if total else share
    if np.issubdtype(y.dtype, np.floating):
        mean = (1 - present) * np.tensordot(share, y, axes=1) + present * y
        mixed = np.where(far.reshape(-1, *[1] * (y.ndim - 1)), mean, y)
        return each.over((x, mixed.astype(y.dtype), *rest), each.weights)
    classes = np.unique(y, axis=0)
    if len(classes) > MOST_CLASSES:
        raise DeclarationError(
            "background",
            got=f"'average' of labels with {len(classes)} values",
            expected=f"real labels, or at most {MOST_CLASSES} classes",
            mend='choose "drop" or "resample"',
        )
    weights = [np.where(far, present * each.weights, each.weights)]
    points, away = [each.points], np.where(far, (1 - present) * each.weights, 0.0)
    for label in classes:
        same = np.all((y == label).reshape(len(y), -1), axis=1)
        weights.append(away * np.sum(share[same]))
        points.append((x, np.broadcast_to(label, y.shape), *rest))
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *points)
    return each.over(joined, np.concatenate(weights))
