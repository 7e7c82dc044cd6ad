"""How errors end: one message, one exit code."""

from __future__ import annotations

from atomate2_alpot.redact import redact

OK, FAILED, BAD_INPUT = 0, 1, 2


class RunFailedError(RuntimeError):
    """A campaign that could not go on."""


def explain(error: Exception) -> tuple[str, int]:
    """Return the message of an error, without credentials, and the exit code."""
    usage = getattr(error, "format_message", None)  # typer may bring a click of its own
    if usage is not None:
        return usage(), BAD_INPUT
    text = redact(str(error)) or type(error).__name__
    known = isinstance(error, ValueError | FileNotFoundError)
    if isinstance(error, RunFailedError) or not known:
        hint = (
            ""
            if isinstance(error, RuntimeError)
            else f" ({type(error).__name__}; add --debug to see where)"
        )
        return text + hint, FAILED
    return text, BAD_INPUT
