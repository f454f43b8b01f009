"""The one error that is the user's to mend."""


class InputError(ValueError):
    """Bad input: one line that says what was got, what was expected, and where. The CLI prints it and exits with 1."""
