"""Files whose loading can run code: whom they must come from before they are opened."""

from __future__ import annotations

import hashlib
import re
from fnmatch import fnmatch
from pathlib import Path

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.schemas import PotentialSpec
from atomate2_alpot.schemas.potential import TRUST
from atomate2_alpot.settings import SETTINGS

SHA256 = re.compile(r"[0-9a-f]{64}")


def require_trust(spec: PotentialSpec, path: Path) -> None:
    """Raise unless a pickled model file comes from a source that is known.

    Known are weights that travel with their document (checked against its hash when the recipe is
    made), released models in the folder for them (``SETTINGS.MODEL_DIR``), files whose recipe says
    ``trust: true``, and those that ``SETTINGS.TRUSTED_MODELS`` lists. A bare name that happens to
    be a file where the program runs is none of these.

    Parameters
    ----------
    spec : PotentialSpec
        The recipe that names the file.
    path : Path
        Where it was found. It is read, not loaded.

    Raises
    ------
    PotentialError
        Naming the file, its hash and what to do.
    """
    if spec.artifact is not None or spec.kwargs.get(TRUST) is True or _is_listed(path):
        return
    folder = SETTINGS.MODEL_DIR.expanduser().resolve()
    if Path(str(spec.name)).name == spec.name and path.parent.resolve() == folder:
        return
    raise PotentialError(
        f"model file {path}: its format is a pickle, which can run any code when it is loaded, and "
        f"nobody has said where it is from. If you trust who made it, add `{TRUST}: true` to the "
        f"`kwargs` of its recipe, or put its path or sha256 ({_sha256(path)}) into "
        "ALPOT_TRUSTED_MODELS"
    )


def _is_listed(path: Path) -> bool:
    """Tell whether the settings of this machine list a file, by sha256 or path."""
    listed = [entry.strip() for entry in SETTINGS.TRUSTED_MODELS.split(",") if entry.strip()]
    patterns = [str(Path(e).expanduser()) for e in listed if not SHA256.fullmatch(e)]
    if any(fnmatch(str(path.resolve()), pattern) for pattern in patterns):
        return True
    hashes = [e for e in listed if SHA256.fullmatch(e)]
    return bool(hashes) and _sha256(path) in hashes


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
