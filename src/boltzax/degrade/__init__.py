"""Degradation: what an interpretation leaves out, and what training and tempering do to a model."""

from ..core import exported as _exported
from ._edgeworth import Edgeworth as Edgeworth
from ._edgeworth import negentropy as negentropy

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
