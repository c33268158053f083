"""What a test says: it agrees, it disagrees, or it had too little to tell."""

import equinox as eqx

POWER = 0.95
"""Probability with which a difference called detectable would have been seen."""
POWER_QUANTILE = 1.6448536269514722
"""Standard errors between the critical value and a difference seen with that probability."""


class Outcome(eqx.Enumeration):
    """Outcome of a test; that nothing was seen counts only if something could have been."""

    agree = "No difference was seen, and one that matters would have been."
    disagree = "A difference was seen."
    too_few = "Too few to tell: a difference that matters would not have been seen."


def outcome_of(seen: bool, powerful: bool) -> Outcome:
    """Of a test that saw a difference or not, and could have seen one that matters or not."""
    if seen:
        return Outcome.disagree
    return Outcome.agree if powerful else Outcome.too_few
