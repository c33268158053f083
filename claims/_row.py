"""A row of the ledger, and who claims what."""

from dataclasses import dataclass
from typing import Literal

from boltzax.testing import Claim


@dataclass(frozen=True)
class Row:
    """A claim, what is expected of it, and the page that explains the outcome.

    Args:
        id: The claim's place in the list, such as "C5"; further parts of it are "C5b", "C5c".
        claim: The statement with its measurement.
        page: The page of the documentation that explains the outcome, without ".md".
        expected: The outcome. A claim that is false as stated is expected to be refuted.
        missing: What the measurement leaves out.
        cases: How many cases a quick run draws; a full run draws four times as many.
        full: Efforts of a full run; those of a quick run are 1 and 4.
    """

    id: str
    claim: Claim
    page: str
    expected: Literal["supported", "refuted", "undecided"] = "supported"
    missing: str = ""
    cases: int = 3
    full: tuple[int, ...] = (4, 16)


INTERFACES = (
    "J. Wentworth and D. Lorell, Toward Statistical Mechanics of Interfaces Under Selection "
    "Pressure, https://www.lesswrong.com/posts/r3PMS8wXGviHEvz5Z (2025)"
)
LOCALIZATION = (
    "D. Vaintrob, Statistical localization in disordered systems, and dreaming of more realistic"
    " interpretability endpoints, LessWrong (2025)"
)
DEGRADING = (
    "D. Vaintrob, Why you should try degrading NN behavior in experiments, "
    "https://www.greaterwrong.com/posts/M2bs6xCbmc79nwr8j/dmitry-vaintrob-s-shortform/comment/WYwWaEghth4ozdfQK"
    " (2025)"
)
KOAN = (
    "D. Vaintrob, Dmitry's Koan, "
    "https://www.lesswrong.com/posts/3eo4SSZLfpHHCqoEQ/dmitry-s-koan (2025)"
)
SCARCE = (
    "J. Wentworth, Scarce Channels and Abstraction Coupling, "
    "https://www.greaterwrong.com/posts/CvibiLyHj3n3Aigez/scarce-channels-and-abstraction-coupling"
)
LEARNING_ZERO = "D. Vaintrob, Learning zero, and what SLT gets wrong about it, LessWrong"
MEAN_FIELD = "D. Vaintrob and L. Greenspan, Mean field sequence: an introduction, LessWrong"
