"""Learning coefficients of the parts of a model."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from ..compile import Gibbs, inside_of, restricted
from ..core import (
    MEMORY,
    DeclarationError,
    Estimate,
    Key,
    Memory,
    Model,
    ModelFunction,
    Said,
    check_on_host,
    model_errors,
    numpy_generator,
    shapes_of,
    typed,
    weights_of,
    with_weights,
)
from ..declare import AbstractChart, AbstractEnergy
from ._along_training import only_model, with_model
from ._fixed_settings import FixedCoefficient, FixedSettings, in_row, localised_at, measured
from ._response import response_of_values
from ._response_functions import checked_function
from ._response_matrix import Centred, ResponseMatrix, matrix_of

WHOLE = "all weights"
Null: TypeAlias = Annotated[
    Literal["shuffled"] | Model | None,
    Said('another model, or "shuffled"', 'pass null="shuffled", or a model of the same structure'),
]


@typed
class PartCoefficients(eqx.Module):
    """The local learning coefficient of each part of a model, the other weights held at w*.

    Args:
        names: Names of the parts.
        parts: The result of each part.
        whole: That of all weights together.
        null: The result of each part of another model, such as one of random weights, or with its
            own weights shuffled; None without it.
        responses: The response of each part to tokens; None without them.
        null_responses: Those of the other model.
    """

    names: tuple[str, ...]
    parts: tuple[FixedCoefficient, ...]
    whole: FixedCoefficient
    null: tuple[FixedCoefficient, ...] | None
    responses: ResponseMatrix | None = None
    null_responses: ResponseMatrix | None = None

    @property
    def coefficients(self) -> Estimate:
        """λ̂ of each part, `[part]`."""
        return Estimate.stack([part.estimate for part in self.parts])

    @property
    def sum(self) -> Estimate:
        """The sum over the parts, to compare with `whole`. The parts have chains of their own."""
        return self.coefficients.times(np.ones((1, len(self.parts))))[0]

    def __getitem__(self, name: str) -> FixedCoefficient:
        return self.parts[self.names.index(name)]

    def __repr__(self) -> str:
        width = max(map(len, (*self.names, WHOLE, "sum of parts")))
        head = f"{'':{width}}  {'weights':>8}  {'λ̂':>18}  {'λ̂/weight':>9}"
        rows = [head + ("" if self.null is None else f"  {'null':>18}")]
        nulls = self.null or (None,) * len(self.parts)
        for name, part, null in zip(self.names, self.parts, nulls, strict=True):
            rows.append(f"{name:{width}}  {_row(part, null)}")
        rows.append(f"{'sum of parts':{width}}  {'':8}  {in_row(self.sum)}")
        rows.append(f"{WHOLE:{width}}  {_row(self.whole, None)}")
        return "\n".join(rows)


def _row(part: FixedCoefficient, null: FixedCoefficient | None) -> str:
    each = float(part.estimate) / max(part.weights, 1)
    text = f"{part.weights:8d}  {in_row(part.estimate)}  {each:9.2g}"
    if null is None:
        return f"{text}  {part.short}"
    of_null = "" if null.usable else f" (null: {null.short})"
    return f"{text}  {in_row(null.estimate)}  {part.short}{of_null}"


@typed
@model_errors("in bx.part_coefficients")
def part_coefficients(
    energy: AbstractEnergy,
    parts: Mapping[str, AbstractChart],
    settings: FixedSettings,
    *,
    key: Key,
    null: Null = None,
    tokens: ModelFunction | None = None,
    memory: Memory = MEMORY,
    progress: bool = False,
) -> PartCoefficients:
    """Estimate the local learning coefficient of each part of a model, in one compiled loop.

    The energy of a part is that of the model with all other weights at w*: the weight-refined
    coefficient (Wang et al. 2024, arXiv:2410.02984). All weights together are measured in the same
    loop. The coefficients of parts need not add up to that of the whole.

    Args:
        energy: As declared, at w*.
        parts: Charts by name, such as `bx.parts(model, "blocks[*].attention", heads=4)`.
        settings: Temperature, localisation, sampler, and lengths of the runs.
        key: Key of all randomness.
        null: What parts are compared with, to see what depends on the training. Another model of
            the same structure, whose parts are measured too: one of random weights is no minimum,
            and has negative coefficients; one that was trained on shuffled labels is. Or
            `"shuffled"`: each part about the model in which the weights of that part alone, within
            each array, are in random order. That is no minimum either.
        tokens: The losses of tokens as a function of the model: one array of any shape, which is
            flattened. With it the responses of the parts to the tokens are those of
            `response_matrix`, from the same chains, whose weights are not kept: memory holds the
            losses at each draw. They need more draws than coefficients do.
        memory: Bytes of intermediate values at once; parts beyond are stepped after the others.
        progress: Show a bar.

    Raises:
        DeclarationError: For no parts, charts that tie weights or name none, and a null of another
            structure.
    """
    check_on_host("part_coefficients", {"energy": energy, "key": key})
    if not parts:
        raise DeclarationError(
            "parts",
            got="no parts",
            expected="charts by name",
            mend="write bx.parts(model, 'blocks[*].mlp')",
        )
    if tokens is not None:
        tokens = Centred(checked_function(only_model(energy), "tokens", tokens))
    model = only_model(energy)
    other = null is not None and not isinstance(null, str)
    if other and shapes_of(null) != shapes_of(model):
        raise DeclarationError(
            "null",
            got="a model with other weights",
            expected="the structure of the declared model",
            mend="make it like that one, e.g. with another key",
        )
    keys = jax.random.split(key)
    gibbs = localised_at(energy, settings)
    inside = [inside_of(chart, gibbs) for chart in parts.values()]
    every = {path: np.full(leaf.shape, True) for path, leaf in gibbs.coordinates.base.items()}

    def measure(measures: list[Gibbs], key: PRNGKeyArray):
        masks = [*inside, every]
        cut = [restricted(each, mask) for each, mask in zip(measures, masks, strict=True)]
        return _of_parts(tuple(parts), cut, masks, settings, key, tokens, memory, progress)

    (*each, whole), responses = measure([gibbs] * (len(parts) + 1), keys[0])
    others, null_responses = None, None
    if null is not None:
        if other:
            nulls = [localised_at(with_model(energy, null), settings)] * (len(parts) + 1)
        else:
            relative = float(gibbs.reference_energy) != 0
            nulls = [
                localised_at(with_model(energy, one), settings, relative=relative)
                for one in _shuffled(model, inside, keys[1])
            ]
            nulls.append(nulls[-1])
        (*others, _), null_responses = measure(nulls, keys[1])
    rest = None if others is None else tuple(others)
    return PartCoefficients(tuple(parts), tuple(each), whole, rest, responses, null_responses)


def _shuffled(model: Model, inside: list[dict], key: PRNGKeyArray) -> list[PyTree]:
    """For each part the model with its weights in random order, within each array."""
    models = []
    for number, masks in enumerate(inside):
        rng = numpy_generator(jax.random.fold_in(key, number))
        weights = {path: np.array(leaf) for path, leaf in weights_of(model).items()}
        for path in sorted(masks):
            weights[path][masks[path]] = rng.permutation(weights[path][masks[path]])
        models.append(with_weights(model, jax.device_put(weights)))
    return models


def _of_parts(
    names: tuple[str, ...],
    measures: list[Gibbs],
    inside: list[dict],
    settings: FixedSettings,
    key: PRNGKeyArray,
    tokens: ModelFunction | None,
    memory: int,
    progress: bool,
) -> tuple[list[FixedCoefficient], ResponseMatrix | None]:
    """The results of the measures; the responses of the named ones, the first, to tokens."""
    counts = [sum(int(mask.sum()) for mask in masks.values()) for masks in inside]
    results, records = measured(
        measures, [settings.kernel] * len(measures), settings, key,
        weights=counts, values=tokens, memory=memory, progress=progress,
    )  # fmt: skip
    if tokens is None:
        return results, None
    rows = []
    for i in range(len(names)):
        energies, losses = (records[name][:, i].swapaxes(0, 1) for name in ("energy", "values"))
        row, pieces = response_of_values(energies, losses, float(measures[i].beta), memory)
        rows.append((row.unknown("stuck" in results[i].wrong), pieces))
    return results, matrix_of(names, rows)
