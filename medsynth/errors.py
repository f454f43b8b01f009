"""The one error that is the user's to mend."""


class InputError(ValueError):
    """Bad input: one line that says what was got, what was expected, and where. The CLI prints it and exits with 1.

    What it quotes of a file cannot break the line or steer a terminal: whatever is not printable is shown escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message))
