"""Channels: how much one place of a net tells of another, what that costs, and what is screened."""

from ..core import exported as _exported

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return __all__
