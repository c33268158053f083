"""Names of variables in stores and trees, from any name that a weight may have.

A name must be one part of a path and no other's: no `/` or `\\`, not `.` or `..`, not that of a
dimension or of a file of the store. What cannot stand is written as `%` and two hexadecimal digits,
as in an address of the web; `%` itself always is, so that no two names become one. All other names
stay as they are. Names of more than 200 bytes end in a digest. Every variable has the name that it
was given in its attribute `name`.

Formats of numbers that only machine learning has (bfloat16) are stored as float32.
"""

import hashlib
import re

import jax.numpy as jnp
import numpy as np

LONGEST = 200
"""Bytes of a name, at most: file systems have 255."""

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\%\ud800-\udfff]")
_TAKEN = re.compile(r"(chain|draw|written|level|pair|beta(_\d+)?|zarr\.json|\.zattrs|__.*|\.+)")
_DIMENSION = re.compile(r"_(?=dim_\d+$)")


def stored_name(name: str) -> str:
    """The name under which a variable is stored; different for different names."""
    found = _FORBIDDEN.sub(lambda match: _hex(match[0]), name)
    found = _DIMENSION.sub(_hex("_"), found)
    if not found:
        return "%"
    if _TAKEN.fullmatch(found):
        found = _hex(found[0]) + found[1:]
    if len(found.encode()) <= LONGEST:
        return found
    head = found.encode()[: LONGEST // 2].decode(errors="ignore")
    return f"{head}%{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def _hex(character: str) -> str:
    return "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


def stored_values(leaf: np.ndarray) -> np.ndarray:
    """The values in a format that every reader knows."""
    if leaf.dtype.kind != "V":
        return leaf
    return leaf.astype(np.int8 if jnp.issubdtype(leaf.dtype, jnp.integer) else np.float32)
