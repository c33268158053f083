"""Information between places of a net whose weights are unknown, and given the weights."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core import (
    MEMORY,
    Arrays,
    Count,
    DeclarationError,
    Estimate,
    Fraction,
    Key,
    Memory,
    NonNegative,
    as_argument,
    function_errors,
    given_numbers,
    map_within,
    numpy_generator,
    text_of_values,
    typed,
    weights_of,
    with_weights,
)
from ..sample import Ensemble
from ._gaussian_information import GaussianInformation, gaussian_information
from ._read_taps import data_arrays
from ._sample_matrices import check_pair, floor_of


class Readings(eqx.Module):
    """Two readings of a model, over data.

    Args:
        functions: `(model, datum)` to numbers.
        data: A pytree of arrays `[datum, ...]`.
        memory: Bytes of intermediate values at once.
    """

    functions: tuple[Callable, Callable]
    data: PyTree
    memory: int = eqx.field(static=True)

    def __call__(self, model: PyTree) -> tuple:
        return map_within(lambda z: _read(self.functions, model, z), self.data, self.memory)


@typed
class EnsembleInformation(eqx.Module):
    """What `ensemble_information` returns; in nats.

    Args:
        marginal: With the weights unknown: every sample has weights of its own.
        given: With the weights known: the mean over nets. The error is that of their spread, and
            that of the data, which they share.
        each: Of each net, `[model]`.
        floor: Noise that was added, relative to the spread of each side.
    """

    marginal: GaussianInformation
    given: Estimate
    each: Estimate
    floor: float = eqx.field(static=True)

    @text_of_values
    def __repr__(self) -> str:
        return "\n".join([
            f"EnsembleInformation, nats (floor {self.floor:g})",
            f"  weights unknown  {self.marginal.estimate:.3g} ({self.marginal.samples} samples)",
            f"  weights known    {self.given:.3g} ({self.each.shape[0]} nets)",
        ])  # fmt: skip


@typed
def ensemble_information(
    ensemble: Ensemble,
    read_x: Callable,
    read_y: Callable,
    data: Arrays,
    *,
    key: Key,
    models: Count = 16,
    floor: NonNegative = 0.0,
    level: Fraction = 0.05,
    memory: Memory = MEMORY,
) -> EnsembleInformation:
    """Gaussian information between two readings of a net, with weights unknown and with them known.

    Two places of one net can depend on each other given its weights, and yet tell nothing of each
    other to one who does not know the weights: the map between them differs from net to net. With
    the weights unknown, `I(X; Y)` is that of pairs `(read_x(w_i, z_i), read_y(w_i, z_i))` with
    weights of their own for every datum. With the weights known, `I(X; Y | w)` is the mean of that
    of single nets over all data. Both are corrected for finite samples.

    Args:
        ensemble: Independent weights, on the axis `sample`: `bx.Ensemble.prior(gibbs, count)`.
        read_x: `(model, datum)` to numbers, such as `lambda model, z: z`.
        read_y: `(model, datum)` to numbers, e.g. `lambda m, z: bx.activations(m, z, "out")["out"]`.
        data: Independent data, `[datum, ...]`.
        key: For the noise.
        models: Nets of which the information given the weights is measured.
        floor: Standard deviation of noise added to both readings, relative to the root mean square
            spread of each side (over nets and data): a fixed resolution for all nets.
        level: As in `gaussian_information`.
        memory: Bytes of intermediate values at once.

    Raises:
        DeclarationError: For other axes than `sample`, models that are changed beside their
            weights, data that are no arrays of one length, functions that raise an error or return
            no arrays, a floor below the rounding of the readings, and as
            `gaussian_information`.
    """
    if ensemble.axes != ("sample",):
        raise DeclarationError(
            "ensemble",
            got=f"an ensemble with axes {ensemble.axes}",
            expected='independent weights, on the axis "sample" alone: pairs of a chain depend on '
            "each other",
            mend="pass bx.Ensemble.prior(gibbs, count, key=key), or independent draws by "
            "Ensemble.of(gibbs, w)",
        )
    if ensemble.change is not None:
        raise DeclarationError(
            "ensemble",
            got="models that are changed beside their weights",
            expected="models that differ in their weights alone",
            mend="put the change into read_x and read_y",
        )
    readings, data = (as_argument(read_x), as_argument(read_y)), data_arrays(data)
    count = min(ensemble.shape[0], len(jax.tree.leaves(data)[0]))
    own = jax.tree.map(lambda leaf: leaf[:count], (ensemble.map(weights_of), data))
    pairs = [np.asarray(x) for x in _of_pairs(ensemble.gibbs.declared, readings, *own, memory)]
    known = ensemble[:models].map(Readings(readings, data, memory), memory=memory)
    rng = numpy_generator(key)
    check_pair(*pairs)
    scales = [floor_of(each, float(floor)) for each in pairs]

    def noised(sides):
        pairs = zip(sides, scales, strict=True)
        return [np.asarray(x, float) + s * rng.normal(size=x.shape) for x, s in pairs]

    marginal = gaussian_information(*noised(pairs), level=level)
    rows = zip(*(np.asarray(each) for each in known), strict=True)
    each = Estimate.stack([gaussian_information(*noised(row)).estimate for row in rows])
    # the nets share their data
    shared = np.sqrt(np.mean(np.asarray(each.standard_error) ** 2))
    given = Estimate.of_replicates(np.asarray(each.value)).widened(shared)
    return EnsembleInformation(marginal, given, each, float(floor))


def _read(functions: tuple, model: PyTree, datum: PyTree) -> tuple:
    """Both readings of one datum, as vectors."""
    found = []
    for name, fn in zip(("read_x", "read_y"), functions, strict=True):
        with function_errors(name):
            found.append(jnp.ravel(jnp.asarray(given_numbers(name, fn(model, datum)))))
    return tuple(found)


@eqx.filter_jit
def _of_pairs(
    declared: PyTree, functions: tuple, weights: PyTree, data: PyTree, memory: int
) -> tuple:
    """Both readings of each datum by weights of its own, `[datum, coordinate]`."""

    def one(pair):
        return _read(functions, with_weights(declared, pair[0]), pair[1])

    return map_within(one, (weights, data), memory)
