"""An outcome of a test in words."""

from ..core import Outcome


def words(outcome: Outcome, agree: str, disagree: str, too_few: str) -> str:
    """The words for an outcome."""
    if outcome == Outcome.agree:
        return agree
    return disagree if outcome == Outcome.disagree else too_few
