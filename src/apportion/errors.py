"""The one exception that a user is meant to read."""


class UserError(ValueError):
    """Bad input or configuration: one line that says what failed, where, and what to change.

    The command line prints it without a traceback and exits with status 2.
    """


def nearest(word: str, known: list[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest known word, or an empty string."""
    import difflib

    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""
