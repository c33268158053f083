"""Models in a folder: checkpoints of a training, of equinox, numpy or orbax."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core import DeclarationError, installed, shapes_of, weights_of, with_weights


def stored_models(folder: str | Path, model: PyTree) -> list[tuple[int, Callable[[], PyTree]]]:
    """The models in a folder in order of their steps: the step of each, and how to read it.

    The step is the last whole number in the name of a file or folder. Files are `.eqx`
    (`eqx.tree_serialise_leaves`) or `.npz` (arrays named by the paths of the weights); folders are
    checkpoints of orbax, of the dictionary from path to weight or of a tree like the model's
    weights. Others are left out.

    Args:
        folder: The folder.
        model: A model of their structure.

    Raises:
        DeclarationError: For a folder that holds none, and by reading, for weights of others.
    """
    found = []
    for path in sorted(Path(folder).iterdir()) if Path(folder).is_dir() else []:
        step = re.findall(r"\d+", path.stem)
        read = _reader(path)
        if step and read is not None:
            found.append((int(step[-1]), lambda path=path, read=read: _fitting(path, read, model)))
    if not found:
        raise DeclarationError(
            "models",
            got=f"{folder}, without checkpoints",
            expected="a folder of .eqx or .npz files, or checkpoints of orbax, named by their step",
            mend="store e.g. model_00200.npz by np.savez(path, **weights)",
        )
    return sorted(found, key=lambda pair: pair[0])


def _reader(path: Path) -> Callable[[Path, PyTree], Any] | None:
    if path.is_dir():
        orbax = any((path / name).exists() for name in ("_METADATA", "_CHECKPOINT_METADATA"))
        return _read_orbax if orbax else None
    return {".eqx": _read_equinox, ".npz": _read_numpy}.get(path.suffix)


def _fitting(path: Path, read: Callable, model: PyTree) -> PyTree:
    weights = read(path, model)
    expected, got = shapes_of(model), {name: np.shape(leaf) for name, leaf in weights.items()}
    if got != expected:
        wrong = sorted(set(got.items()) ^ set(expected.items()))
        raise DeclarationError(
            "models",
            got=f"{path}, whose weights differ in {wrong[:4]}",
            expected="the paths and shapes of the weights of the declared model",
            mend="store the weights of this model, each under its path",
        )
    return with_weights(model, {name: jnp.asarray(leaf) for name, leaf in weights.items()})


def _read_numpy(path: Path, model: PyTree) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def _read_equinox(path: Path, model: PyTree) -> dict[str, Any]:
    try:
        return weights_of(eqx.tree_deserialise_leaves(path, model))
    except Exception as error:
        raise DeclarationError(
            "models",
            got=f"{path}, which cannot be read: {error}",
            expected="a file of eqx.tree_serialise_leaves of a model like the declared one",
            mend="write the whole model, or its weights as .npz",
        ) from error


def _read_orbax(path: Path, model: PyTree) -> dict[str, Any]:
    with installed("orbax-checkpoint", "models", "storage"):
        import orbax.checkpoint as orbax
    with orbax.Checkpointer(orbax.StandardCheckpointHandler()) as reader:
        tree = reader.restore(path.absolute())
    names = weights_of(model)
    if isinstance(tree, dict) and set(tree) == set(names):
        return tree
    leaves = jax.tree.leaves(tree)
    # a tree like that of the weights: its leaves come in the same order
    return dict(zip(names, leaves, strict=True)) if len(leaves) == len(names) else weights_of(tree)
