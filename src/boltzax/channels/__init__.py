"""Channels: how much one place of a net tells of another, what that costs, and what is screened."""

from ..core import exported as _exported
from ._localization import LocalizationLength as LocalizationLength
from ._localization import localization_length as localization_length

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return __all__
