"""Named temperatures: `boltzax.temperature.watanabe(n)` and its kin."""

from .core import exported as _exported
from .declare import Temperature as Temperature
from .declare import bayes as bayes
from .declare import log_count as log_count
from .declare import loss_gap as loss_gap
from .declare import watanabe as watanabe

__all__ = _exported(globals())


def __dir__() -> list[str]:
    return list(__all__)
