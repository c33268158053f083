"""Text as token ids, and windows of a long sequence of ids as sequences to predict."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import equinox as eqx
import numpy as np
from jaxtyping import Int, Integer
from numpy.lib.stride_tricks import sliding_window_view

from ..core import Constraint, Count, DeclarationError, Refused, numbers, typed


def _ids(value: Any) -> np.ndarray:
    array = numbers(value, int, host=True)
    if array.ndim != 1:
        raise Refused
    # a np.memmap stays one
    return value if isinstance(value, np.ndarray) else array


Ids: TypeAlias = Annotated[
    np.ndarray,
    Constraint(
        "token ids, one axis of integers",
        "pass tokens.encode(text), or a np.memmap of ids",
        _ids,
    ),
]
Indices: TypeAlias = Annotated[
    Any,
    Constraint(
        "an index, a slice, or an array of indices", "write windows[0], windows[:100]", lambda i: i
    ),
]


@typed
class Tokens(eqx.Module):
    """Characters or bytes as integers from 0, in order of their code.

    Args:
        symbols: The characters, each once, in order of their code.
        unknown: Whether a further id, the last, stands for all other characters.
        utf8: Whether text is first encoded as UTF-8, the symbols being its bytes.
    """

    symbols: str = eqx.field(static=True)
    unknown: bool = eqx.field(static=True)
    utf8: bool = eqx.field(static=True)

    def __init__(self, symbols: str, *, unknown: bool = False, utf8: bool = False):
        if not symbols or list(symbols) != sorted(set(symbols)):
            raise DeclarationError(
                "symbols",
                got=f"{symbols!r:.60}",
                expected="characters in order of their code, each once",
                mend="write bx.Tokens.characters(text)",
            )
        self.symbols, self.unknown, self.utf8 = symbols, unknown, utf8

    @staticmethod
    def characters(text: str, most: Count | None = None) -> "Tokens":
        """The characters of a text.

        Args:
            text: The text.
            most: Keep the most frequent ones only, and let a further id stand for the others; all
                if None.
        """
        codes, counts = np.unique(_codes(text), return_counts=True)
        if most is not None:
            codes = np.sort(codes[np.argsort(-counts, kind="stable")[:most]])
        return Tokens("".join(map(chr, codes)), unknown=most is not None)

    @staticmethod
    def bytes() -> "Tokens":
        """The 256 bytes of UTF-8."""
        return Tokens("".join(map(chr, range(256))), utf8=True)

    def __len__(self) -> int:
        """The number of ids."""
        return len(self.symbols) + self.unknown

    def encode(self, text: str) -> Int[np.ndarray, " token"]:
        """The ids of a text.

        Raises:
            DeclarationError: For a character that has no id, and for half of a surrogate pair where
                the symbols are bytes of UTF-8.
        """
        if self.utf8:
            return np.frombuffer(_utf8(text), np.uint8).astype(np.int32)
        codes, known = _codes(text), _codes(self.symbols)
        at = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        found = known[at] == codes
        if not self.unknown and not np.all(found):
            raise DeclarationError(
                "text",
                got=f"the character {chr(codes[np.argmin(found)])!r}",
                expected=f"the {len(known)} characters of these tokens",
                mend="make tokens of the whole text, or with most=..., which has an id for others",
            )
        return np.where(found, at, len(known)).astype(np.int32)

    @property
    def dtype(self) -> np.dtype:
        """The smallest unsigned dtype of these ids."""
        return np.min_scalar_type(len(self) - 1)

    def encode_to(self, path: str | Path, texts: Iterable[str]) -> Integer[np.ndarray, " token"]:
        """Write the ids of texts, end to end, to a file: for text larger than memory.

        Later, `np.memmap(path, tokens.dtype, mode="r")` opens it again. The file gets its name when
        all is written.

        Args:
            path: A new file, of bare ids.
            texts: An iterator over texts, such as an open file, of which one is held at a time.

        Returns:
            The ids, on the disk.

        Raises:
            DeclarationError: For a file that exists, no text, and a character that has no id.
        """
        path = Path(path)
        if path.exists():
            raise DeclarationError(
                "path",
                got=f"{path.name!r}, which exists",
                expected="a new file",
                mend="remove it, or read it: np.memmap(path, tokens.dtype, mode='r')",
            )
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=path.name) as folder:
            written = Path(folder) / path.name
            with written.open("wb") as file:
                for text in texts:
                    self.encode(text).astype(self.dtype).tofile(file)
            if not written.stat().st_size:
                raise DeclarationError(
                    "texts",
                    got="no characters",
                    expected="texts",
                    mend="pass an iterator that has not been read",
                )
            written.replace(path)
        return np.memmap(path, self.dtype, mode="r")

    def decode(self, ids: Ids) -> str:
        """The text of ids; `�` for the unknown character and for bytes that are no UTF-8.

        Raises:
            DeclarationError: For an id that does not exist.
        """
        if len(ids) and not 0 <= np.min(ids) <= np.max(ids) < len(self):
            raise DeclarationError(
                "ids",
                got=f"ids from {np.min(ids)} to {np.max(ids)}",
                expected=f"ids from 0 to {len(self) - 1}",
                mend="pass ids of these tokens",
            )
        if self.utf8:
            return ids.astype(np.uint8).tobytes().decode("utf-8", errors="replace")
        symbols = self.symbols + ("\N{REPLACEMENT CHARACTER}" if self.unknown else "")
        return "".join(symbols[i] for i in ids)

    def __repr__(self) -> str:
        kind = "bytes" if self.utf8 else f"characters{' and one for others' * self.unknown}"
        return f"Tokens({len(self)}: {kind})"


@typed
class Windows(eqx.Module):
    """The pairs (x, y) of pieces of a sequence of ids, y one token later than x.

    With `s` the stride `windows[i]` is `x = ids[i s : i s + length]` and `y`, the ids one later. An
    index array or a slice gives pairs with an axis in front: data for `bx.Empirical`. Only what is
    indexed is read: `ids` can be a `np.memmap` larger than memory.

    Args:
        ids: Token ids `[token]`, more than `length`. They are given as int32: larger ones are
            refused when they are read.
        length: Tokens of a window.
        stride: Tokens between the starts of neighbouring windows; `length` if None.
    """

    ids: Integer[np.ndarray, " token"]
    length: int = eqx.field(static=True)
    stride: int = eqx.field(static=True)

    def __init__(self, ids: Ids, length: Count, stride: Count | None = None):
        if len(ids) <= length:
            raise DeclarationError(
                "length",
                got=f"{length} for {len(ids)} ids",
                expected="windows shorter than the sequence, whose next token is known",
                mend="take shorter windows",
            )
        self.ids, self.length = ids, length
        self.stride = length if stride is None else stride

    def __len__(self) -> int:
        """The number of windows."""
        return (len(self.ids) - 1 - self.length) // self.stride + 1

    def __getitem__(self, index: Indices) -> tuple[np.ndarray, np.ndarray]:
        # a view of all windows, of which numpy reads what is indexed
        views = sliding_window_view(self.ids, self.length + 1)[:: self.stride]
        read = views[(*index, slice(None)) if isinstance(index, tuple) else (index, slice(None))]
        _refuse_large(read)
        both = np.array(read, np.int32)
        return both[..., :-1], both[..., 1:]

    def __repr__(self) -> str:
        return f"Windows({len(self)} of {self.length} tokens, one every {self.stride})"


def _codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DeclarationError(
            "text",
            got=f"{text[error.start]!r} at position {error.start}, half of a surrogate pair",
            expected="text that UTF-8 can encode",
            mend="read the file as UTF-8, or drop those: text.encode('utf-8', 'ignore').decode()",
        ) from error


def _refuse_large(ids: np.ndarray) -> None:
    least, most = np.iinfo(np.int32).min, np.iinfo(np.int32).max
    if np.can_cast(ids.dtype, np.int32) or not ids.size:
        return
    if not least <= ids.min() <= ids.max() <= most:
        raise DeclarationError(
            "ids",
            got=f"ids from {ids.min()} to {ids.max()}, held as {ids.dtype}",
            expected=f"ids up to {most}",
            mend="number the ids from 0, and read a file with the dtype it was written with",
        )
