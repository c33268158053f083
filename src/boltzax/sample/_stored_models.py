"""Models in a folder: checkpoints of a training, of equinox, numpy or orbax."""

import functools
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ..core import DeclarationError, installed, shapes_of, weights_of, with_weights

STEP_WORDS = ("step", "iter(?:ation)?", "epoch")
"""Words before the step in a name; where there are several, the first of these counts."""


def stored_models(folder: str | Path, model: PyTree) -> list[tuple[int, Callable[[], PyTree]]]:
    """The models in a folder in order of their steps: the step of each, and how to read it.

    The step is the number after "step", or else after "iter" or "epoch", in the name of a file or
    folder (`epoch=3-step=1000.npz`); in a name without these words, its only whole number
    (`model_00200.npz`). Files are `.eqx` (`eqx.tree_serialise_leaves`) or `.npz` (arrays named by
    the paths of the weights, also of bfloat16); folders are checkpoints of orbax, of the dictionary
    from path to weight or of a tree like the model's weights. Others, and names without a number,
    are left out. Weights get the dtype of those of the model.

    Args:
        folder: The folder.
        model: A model of their structure.

    Raises:
        DeclarationError: For a folder that holds none, a name whose step is not clear, and two of
            one step; by reading, for files that cannot be read, and weights of others.
    """
    found: dict[int, Path] = {}
    for path in sorted(Path(folder).iterdir()) if Path(folder).is_dir() else []:
        name = path.name if path.is_dir() else path.stem
        if _reader(path) is None or not re.search(r"\d", name):
            continue
        step = _step(path, name)
        if step in found:
            raise DeclarationError(
                "models",
                got=f"{found[step].name} and {path.name} in {folder}, both of step {step}",
                expected="one checkpoint for each step",
                mend="keep one of them, or number both after the word step: model_step200.npz",
            )
        found[step] = path
    if not found:
        raise DeclarationError(
            "models",
            got=f"{folder}, without checkpoints",
            expected="a folder of .eqx or .npz files, or checkpoints of orbax, named by their step",
            mend="store e.g. model_00200.npz by np.savez(path, **weights)",
        )
    return [(step, functools.partial(_fitting, found[step], model)) for step in sorted(found)]


def _step(path: Path, name: str) -> int:
    numbers = [text for text in re.findall(r"\d+(?:\.\d+)*", name) if "." not in text]
    for word in STEP_WORDS:
        after = re.findall(rf"{word}s?[^a-z0-9]*(\d+)(?!\.?\d)", name, re.IGNORECASE)
        if after:
            numbers = after
            break
    if len(numbers) != 1:
        raise DeclarationError(
            "models",
            got=f"{path}, whose name has {len(numbers) or 'no'} whole numbers"
            f"{' ' + ', '.join(numbers) if numbers else ''}",
            expected='one whole number, or one after the word "step", "iter" or "epoch"',
            mend="name it e.g. model_step200.npz, or pass a list of models with steps=",
        )
    return int(numbers[0])


def _reader(path: Path) -> Callable[[Path, PyTree], Any] | None:
    if path.is_dir():
        orbax = any((path / name).exists() for name in ("_METADATA", "_CHECKPOINT_METADATA"))
        return _read_orbax if orbax else None
    return {".eqx": _read_equinox, ".npz": _read_numpy}.get(path.suffix)


def _fitting(path: Path, model: PyTree) -> PyTree:
    read = _reader(path)
    assert read is not None
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
    declared = weights_of(model)
    return with_weights(
        model, {name: _cast(leaf, declared[name]) for name, leaf in weights.items()}
    )


def _cast(leaf: Any, like: Any) -> Array:
    """A stored weight in the dtype of the declared one, of which it holds the value."""
    complex_to_real = np.iscomplexobj(leaf) and not np.iscomplexobj(like)
    return jnp.asarray(leaf, None if complex_to_real else like.dtype)


def _read_numpy(path: Path, model: PyTree) -> dict[str, np.ndarray]:
    name = ""
    try:
        # np.load alone takes a file that is no archive for a pickled object
        with zipfile.ZipFile(path), np.load(path) as file:
            arrays = {}
            for name in file.files:
                arrays[name] = _numeric(file[name])
            return arrays
    except Exception as error:
        where = f"the array {name!r} of {path}" if name else f"{path}"
        raise _unreadable(
            where, error, "an .npz file of numeric arrays", "write np.savez(path, **weights)"
        ) from error


def _numeric(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.dtype("V2"):
        # numpy writes bfloat16 as bare bytes
        return array.view(jnp.bfloat16)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"its dtype is {array.dtype}")
    return array


def _unreadable(where: str, error: Exception, expected: str, mend: str) -> DeclarationError:
    return DeclarationError(
        "models", got=f"{where}, which cannot be read: {error}", expected=expected, mend=mend
    )


def _read_equinox(path: Path, model: PyTree) -> dict[str, Any]:
    try:
        return weights_of(eqx.tree_deserialise_leaves(path, model))
    except Exception as error:
        raise _unreadable(
            f"{path}",
            error,
            "a file of eqx.tree_serialise_leaves of a model like the declared one",
            "write the whole model, or its weights as .npz",
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
