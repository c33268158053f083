"""Crash-safe files: written aside, synced and renamed, with their sha256, under a lock."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core import DeclarationError

ASIDE = "unfinished-"
"""Begins the names of files and folders that are being written, or removed."""


def sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def aside(path: Path) -> Path:
    """Where a file or folder is written before it gets its name."""
    return path.with_name(ASIDE + path.name)


def publish(path: Path) -> None:
    """Rename a file or folder that was written aside, after all of it is on the disk."""
    written = aside(path)
    inside = sorted(written.rglob("*"), reverse=True) if written.is_dir() else []
    for each in (*inside, written):
        sync(each)
    written.replace(path)
    sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file or folder. It is renamed first, so that it is never there in part."""
    if path.is_dir():
        path = path.rename(aside(path)) if not path.name.startswith(ASIDE) else path
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> list[Path]:
    """Remove unfinished files of a folder, and return their paths."""
    found = list(folder.glob(f"{ASIDE}*"))
    for path in found:
        remove(path)
    return found


def disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, says that the disk is full."""
    codes = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
    words = ("no space left", "file too large", "quota exceeded")
    while error is not None:
        coded = isinstance(error, OSError) and error.errno in codes
        if coded or any(word in str(error).lower() for word in words):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder. The system releases the lock when the process ends, however it ends.

    Raises `DeclarationError` if a living process holds it. Where the system has no `flock`
    (Windows), nothing is locked.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    path = folder / "lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise DeclarationError(
                "checkpoints",
                got=f"{folder}, where {file.read().strip() or 'a process'} is running",
                expected="a folder that no other run is writing to",
                mend="wait for it, end it, or give another folder",
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def write_tree(path: Path, tree: PyTree) -> None:
    """Write a tree of arrays (dictionaries, tuples, lists, None) to one file."""
    arrays: list[np.ndarray] = []
    text = json.dumps(_encode(tree, arrays))
    with path.open("wb") as file:
        # as raw bytes: NumPy would forget what it does not know, such as bfloat16
        raw = {f"a{i}": x.reshape(-1).view(np.uint8) for i, x in enumerate(arrays)}
        np.savez(file, tree=np.frombuffer(text.encode(), np.uint8), **raw)


def read_tree(path: Path) -> PyTree:
    """Read what `write_tree` has written."""
    with np.load(path) as file:
        return _decode(json.loads(file["tree"].tobytes()), file)


def _encode(tree: PyTree, arrays: list) -> Any:
    if isinstance(tree, dict):
        assert all(isinstance(key, str) for key in tree)
        return {"dict": {key: _encode(each, arrays) for key, each in tree.items()}}
    if isinstance(tree, tuple | list):
        kind = "list" if isinstance(tree, list) else "tuple"
        return {kind: [_encode(each, arrays) for each in tree]}
    if tree is None:
        return None
    arrays.append(np.asarray(tree, order="C"))
    return {"array": len(arrays) - 1, "dtype": arrays[-1].dtype.name, "shape": arrays[-1].shape}


def _decode(code: Any, file: Any) -> PyTree:
    if code is None:
        return None
    if "dict" in code:
        return {key: _decode(each, file) for key, each in code["dict"].items()}
    if "list" in code:
        return [_decode(each, file) for each in code["list"]]
    if "tuple" in code:
        return tuple(_decode(each, file) for each in code["tuple"])
    raw = file[f"a{code['array']}"]
    return raw.view(jnp.dtype(code["dtype"])).reshape(code["shape"])
