"""The one exception for a wrong declaration."""


class DeclarationError(ValueError):
    """A declaration that cannot mean what it says; raised before anything is traced or sampled.

    The message names the argument, what it got, what was expected and how to mend it; the four
    parts are kept as attributes.
    """

    def __init__(self, argument: str, *, got: object, expected: str, mend: str):
        self.argument = argument
        self.got = str(got)
        self.expected = expected
        self.mend = mend
        super().__init__(
            f"`{argument}`: got {self.got}.\n  Expected: {expected}.\n  To mend it: {mend}."
        )
