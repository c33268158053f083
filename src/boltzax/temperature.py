"""Named temperatures: `boltzax.temperature.watanabe(n)` and its kin."""

from .declare import Temperature as Temperature
from .declare import bayes as bayes
from .declare import log_count as log_count
from .declare import loss_gap as loss_gap
from .declare import watanabe as watanabe
