"""Local learning coefficients over the checkpoints of a training."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core import (
    Constraint,
    Curve,
    DeclarationError,
    Estimate,
    Key,
    Model,
    Positive,
    Refused,
    check_on_host,
    model_errors,
    typed,
)
from ..declare import AbstractChart, AbstractEnergy, AbstractTerm, Predictor
from ..sample import AbstractCheckpoints, stored_models
from ._fixed_settings import FixedCoefficient, FixedSettings, in_row, localised_at, measured


def _models(value):
    if isinstance(value, str | Path):
        return Path(value)
    if not isinstance(value, list | tuple) or not value:
        raise Refused
    return value


Models: TypeAlias = Annotated[
    Sequence[Model] | str | Path,
    Constraint(
        "a list of models, or a folder of checkpoints",
        "pass [model_at_0, model_at_100], or the path of a folder",
        _models,
    ),
]


@typed
class AlongTraining(eqx.Module):
    """The local learning coefficient at each checkpoint of a training, and its losses.

    Args:
        coefficient: λ̂ over the step. Points come from chains of their own.
        loss: Mean loss at each checkpoint.
        loss_of_draws: Mean loss of the draws around it: `λ̂ = nβ (loss_of_draws - loss)`.
        results: The result at each checkpoint, with its verdicts.
    """

    coefficient: Curve
    loss: Curve
    loss_of_draws: Curve
    results: tuple[FixedCoefficient, ...]

    @typed
    def free_energy(self, n: Positive) -> Curve:
        """`n L(w*) + λ̂ log n`, the local free energy of each checkpoint for n data, in nats.

        The leading terms of Watanabe's asymptotic free energy, which weigh fit against complexity:
        as n grows, the posterior moves between regions where this changes its order (Chen et al.
        2023, arXiv:2310.06301). Terms of order `log log n` are left out, and λ̂ belongs to
        the settings it was measured at.

        Args:
            n: Number of data, in the units that `loss` is a mean over.
        """
        return self.coefficient.scaled(np.log(n)) + self.loss.scaled(n)

    def __repr__(self) -> str:
        rows = [f"{'step':>9}  {'λ̂':>18}  {'loss':>8}  {'of draws':>8}"]
        for step, result in zip(np.asarray(self.coefficient.x), self.results, strict=True):
            losses = f"{result.loss:8.4g}  {float(result.loss_of_draws):8.4g}"
            rows.append(f"{step:>9.6g}  {in_row(result.estimate)}  {losses}  {result.short}")
        return "\n".join(rows)


@typed
@model_errors("in bx.along_training")
def along_training(
    energy: AbstractEnergy,
    models: Models,
    settings: FixedSettings,
    *,
    key: Key,
    steps: Sequence[float] | None = None,
    chart: AbstractChart | None = None,
    progress: bool = False,
    checkpoints: AbstractCheckpoints | None = None,
) -> AlongTraining:
    """Estimate the local learning coefficient at each of several checkpoints of one training.

    Each checkpoint is the w* of `local_coefficient_at`. All use the same settings and compiled
    programs. In a deep net much of the rise of λ̂ in training can be the fall of the loss at w*
    while that of the draws stays: both are reported.

    Args:
        energy: As declared; its model gives the structure, its weights are not used.
        models: The checkpoints: models, or a folder of `.eqx` files, of `.npz` files (arrays named
            by the paths of the weights) or of checkpoints of orbax, with the step in each name:
            the number after "step" (or else "iter" or "epoch"), or its only whole number.
        settings: Temperature, localisation, sampler, and lengths of the runs.
        key: Key of all randomness. That of a checkpoint follows from it and the step.
        steps: The steps of the checkpoints, rising; their numbers 0, 1, ... if None, and those in
            the names for a folder.
        chart: Which weights move; all if None.
        progress: Show a bar.
        checkpoints: Where the runs are saved (`bx.Checkpoints`), one folder for each step: those
            that are done are not run again, also where checkpoints were added between.

    Raises:
        DeclarationError: For checkpoints of another structure, steps of another number or that do
            not rise, and a folder with two checkpoints of one step or a name whose step is unclear.
    """
    check_on_host("along_training", {"energy": energy, "key": key})
    declared = only_model(energy)
    if isinstance(models, Path):
        found = stored_models(models, declared)
        readers = [read for _, read in found]
        places = [step for step, _ in found]
    else:
        readers = [lambda model=model: model for model in models]
        places = list(range(len(models)))
    places = places if steps is None else list(steps)
    if len(places) != len(readers):
        raise DeclarationError(
            "steps",
            got=f"{len(places)} steps for {len(readers)} checkpoints",
            expected="one step for each checkpoint",
            mend="pass as many, or leave them out",
        )
    if not np.all(np.isfinite(places)) or not np.all(np.diff(places) > 0):
        raise DeclarationError(
            "steps",
            got=f"{places}",
            expected="finite steps, each larger than the one before",
            mend="sort the checkpoints by their steps, and take each once",
        )
    results = []
    for step, read in zip(map(_plain, places), readers, strict=True):
        at = with_model(energy, read())
        gibbs = localised_at(at, settings, chart)
        own = None if checkpoints is None else checkpoints.part(f"step_{step}")
        results += measured(
            [gibbs], [settings.kernel], settings, jax.random.fold_in(key, _number(step)),
            progress=progress, checkpoints=own,
        )[0]  # fmt: skip
    curves = [
        Estimate.stack([result.estimate for result in results]),
        Estimate.exact(jnp.asarray([result.loss for result in results])),
        Estimate.stack([result.loss_of_draws for result in results]),
    ]
    return AlongTraining(*(Curve(places, each, axis="step") for each in curves), tuple(results))


def _plain(step: float) -> int | float:
    """A step as a Python number, whole if it is."""
    return int(step) if float(step).is_integer() else float(step)


def _number(step: int | float) -> int:
    """A number of 32 bits for a step: the step itself where that is one."""
    whole = isinstance(step, int) and 0 <= step < 2**32
    return int(step) if whole else zlib.crc32(repr(step).encode())


def only_model(energy: AbstractEnergy) -> PyTree:
    """The model of an energy, the same in all its terms."""
    return energy.terms()[0][1].model


def with_model(energy: AbstractEnergy, model: Predictor) -> AbstractEnergy:
    """The energy declared of another model, in all its terms."""

    def is_term(node: PyTree) -> bool:
        return isinstance(node, AbstractTerm)

    def changed(node: PyTree) -> PyTree:
        return eqx.tree_at(lambda term: term.model, node, model) if is_term(node) else node

    return jax.tree.map(changed, energy, is_leaf=is_term)
