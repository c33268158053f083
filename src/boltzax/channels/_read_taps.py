"""From models, places and data to matrices of activations."""

from typing import Annotated

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from ..core import MEMORY, Arrays, Count, DeclarationError, Memory, Said, map_within, typed
from ..declare import Predictor, activations
from ..sample import Ensemble
from ._sample_matrices import Samples
from ._sample_rounding import ROUNDINGS, computed, stored

Models = Annotated[
    Predictor | Ensemble,
    Said("a model that can be called, or an Ensemble", "pass a module, or what bx.sample gives"),
]
Data = Annotated[
    Arrays, Said("a pytree of arrays, data along the first axes", "pass x of shape [n, dim]")
]


class Reader(eqx.Module):
    """Places of one model, over data.

    Args:
        data: A pytree of arrays `[datum, ...]`.
        patterns: Names of places, or globs.
        memory: Bytes of intermediate values at once.
    """

    data: PyTree[Array]
    patterns: tuple[str, ...] = eqx.field(static=True)
    memory: int = eqx.field(static=True)

    def __call__(self, model: PyTree) -> dict[str, Array]:
        return map_within(lambda z: activations(model, z, *self.patterns), self.data, self.memory)


@typed
def read_taps(
    models: Models, data: Data, *patterns: str, memory: Memory = MEMORY
) -> dict[str, Array]:
    """What places of a model, or of every model of an ensemble, hold for many data.

    `bx.activations` under `jax.vmap`, as many data at once as `memory` allows. Of a value with
    positions or heads pick one, or flatten: `read_taps(model, x, "blocks[*]")["blocks[0]"][:, -1]`
    is a matrix `[datum, unit]` of the last position, as `gaussian_information` takes it.

    Args:
        models: A model, or an `Ensemble`.
        data: A pytree of arrays, `[datum, ...]`.
        patterns: Names of places, or globs, as for `bx.activations`. All places if none is given.
        memory: Bytes of intermediate values at once (the results come on top).

    Returns:
        From place to values `[*axes of the ensemble, datum, *shape]`.

    Raises:
        DeclarationError: As `bx.activations`; for leaves of `data` of different lengths; and for a
            model without places.
    """
    reader = Reader(data_arrays(data), patterns, memory)
    if isinstance(models, Ensemble):
        found = models.map(reader, memory=memory)
    else:
        found = _read(reader, models)
    if not found:
        raise DeclarationError(
            "models",
            got="a model without places that can be read",
            expected="a model with submodules (their outputs are places), or with bx.tap",
            mend='put bx.tap(value, "name") into the call of the model; of a plain function '
            "jax.vmap(model)(data) is the output",
        )
    return found


def data_arrays(data: PyTree) -> PyTree:
    """Data as arrays of jax, `[datum, ...]`.

    Raises:
        DeclarationError: For leaves of different lengths, and numbers that are in no array.
    """
    leaves = jax.tree.leaves(data)
    lengths = {np.shape(leaf)[:1] for leaf in leaves}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        lists = any(np.ndim(leaf) == 0 for leaf in leaves)
        words = ", ".join("none" if not size else str(size[0]) for size in sorted(lengths))
        raise DeclarationError(
            "data",
            got=f"leaves with leading axes of sizes {words}",
            expected="arrays with one and the same number of data along the first axis",
            mend="pass np.asarray(x) for a list of numbers, x[None] for a single datum"
            if lists
            else "pass as many data in each array",
        )
    return jax.tree.map(jax.numpy.asarray, data)


@eqx.filter_jit
def _read(reader: Reader, model: PyTree) -> dict[str, Array]:
    return reader(model)


@typed
def leading_components(x: Samples, count: Count | None = None) -> np.ndarray:
    """Coordinates of samples along their leading principal components, `[sample, component]`.

    Components above rounding lose nothing: information is invariant under invertible linear maps,
    and coordinates that others determine add nothing. Fewer components are another, smaller side.
    They are chosen without the other side, so that independent Gaussian sides keep the null law of
    `gaussian_information`.

    Args:
        x: `[sample, coordinate]`.
        count: Number of components; all above rounding if None.

    Raises:
        DeclarationError: For more components than there are above rounding, no samples, and samples
            that do not vary or are not finite.
    """
    wide = np.asarray(x, np.float64)
    if not len(wide) or not np.all(np.isfinite(wide)) or not np.ptp(wide, axis=0).any():
        raise DeclarationError(
            "x",
            got="numbers that are not finite, or all equal" if len(wide) else "no samples",
            expected="finite numbers that vary",
            mend="leave out the samples at which the model overflows, and constants",
        )
    exponent = int(np.frexp(np.abs(wide).max())[1])
    unit = np.ldexp(wide, -exponent)
    left, sizes, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    rounding = float(np.max(stored(x, np.full(x.shape[1], exponent))))
    coarse = max(computed(x) * np.abs(unit).max() * np.sqrt(unit.size), ROUNDINGS * rounding)
    kept = int(np.sum(sizes > coarse))
    if count is not None and count > kept:
        raise DeclarationError(
            "count",
            got=str(count),
            expected=f"at most {kept}, the components above rounding",
            mend="lower it, or leave it out",
        )
    return np.ldexp(left * sizes, exponent)[:, : kept if count is None else count]
