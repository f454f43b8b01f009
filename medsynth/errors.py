"""The one error that is the user's to mend, and the one that is the machine's."""


class InputError(ValueError):
    """Bad input: one line that says what was got, what was expected, and where. The CLI prints it and exits with 1.

    What it quotes of a file cannot break the line or steer a terminal: whatever is not printable is shown escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch says so in a RuntimeError, of its own class on a GPU alone."""
    phrases = (
        "out of memory",
        "can't allocate memory",
        "not enough memory",
        "bad_alloc",
        "could not create a primitive",
    )
    return isinstance(error, MemoryError) or any(phrase in str(error) for phrase in phrases)
