"""Why a label failed, in words that can be counted."""

from __future__ import annotations

REASONS: tuple[tuple[str, str], ...] = (
    ("Walltime", "walltime"),
    ("UnconvergedErrorHandler", "not converged"),
    ("NonConvergingErrorHandler", "not converged"),
    ("Job was not successful", "not converged"),
    ("did not converge", "not converged"),
    ("not converge", "not converged"),
    ("VasprunXMLValidator", "broken output"),
    ("VaspFilesValidator", "no output"),
    ("No space left", "disk full"),
    ("Could not find WAVECAR", "no WAVECAR"),
    ("No POTCAR for", "no POTCAR"),
    ("PMG_VASP_PSP_DIR", "no POTCAR"),
    ("MemoryError", "out of memory"),
    ("TimeoutExpired", "walltime"),
)
"""What an error's text holds -> the reason; the first that fits. The names are custodian's."""

OTHER: str = "calculation failed"


def reason_of(words: str) -> str:
    """Return the reason for an error's text."""
    return next((reason for mark, reason in REASONS if mark in words), OTHER)
