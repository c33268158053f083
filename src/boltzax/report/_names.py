"""Names of variables in stores and trees, from any name that a weight may have.

A name must be one part of a path, and unique: no `/` or `\\`, not `.` or `..`, not the name of a
dimension or of a file of the store. Forbidden characters are written as `%` and two hexadecimal
digits, as in an address of the web; so is `%` itself, so that no two names become one. All other
names are unchanged. Names of more than 200 bytes end in a digest. The attribute `name` of every
variable holds its original name.

Number formats that only machine learning has (bfloat16) are stored as float32.
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
    escaped = _FORBIDDEN.sub(lambda match: _hex(match[0]), name)
    escaped = _DIMENSION.sub(_hex("_"), escaped) or "%"
    if _TAKEN.fullmatch(escaped):
        escaped = _hex(escaped[0]) + escaped[1:]
    if len(escaped.encode()) <= LONGEST:
        return escaped
    head = escaped.encode()[: LONGEST // 2].decode(errors="ignore")
    return f"{head}%{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def _hex(character: str) -> str:
    return "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


def stored_values(leaf: np.ndarray) -> np.ndarray:
    """The values in a number format that every reader knows."""
    if leaf.dtype.kind != "V":
        return leaf
    return leaf.astype(np.int8 if jnp.issubdtype(leaf.dtype, jnp.integer) else np.float32)
