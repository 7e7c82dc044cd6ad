"""Recipes of potentials, and the weights that travel with them."""

from __future__ import annotations

import hashlib
import weakref
from pathlib import Path
from typing import Any, Self

from monty.json import MSONable
from pydantic import ConfigDict, Field, model_validator

from atomate2_alpot.schemas.base import Document
from atomate2_alpot.schemas.blobs import decode_blob, encode_blob
from atomate2_alpot.schemas.cache import FileCache
from atomate2_alpot.settings import SETTINGS

TRUST: str = "trust"
"""Option of a recipe: who wrote it vouches for the file that it names, whatever the backend."""


class ArtifactError(RuntimeError):
    """An artifact that would be written outside the cache."""


class Artifact(MSONable):
    """A file that travels through the additional store: bytes and their sha256.

    Parameters
    ----------
    data : bytes
        The content.
    filename : str
        Name the file gets when it is unpacked.

    Raises
    ------
    ArtifactError
        If ``filename`` is a path: documents come from stores that others write to.
    """

    def __init__(self, data: bytes, filename: str) -> None:
        if Path(filename).name != filename or filename in ("", ".."):
            raise ArtifactError(f"artifact {filename!r}: the name must be a bare file name")
        self.data = data
        self.filename = filename
        self.sha256 = hashlib.sha256(data).hexdigest()

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a file."""
        path = Path(path)
        return cls(path.read_bytes(), path.name)

    def unpack(self, cache_dir: Path) -> Path:
        """Write the file to ``cache_dir/<sha256>/<filename>`` unless it is there, verified.

        Safe when several processes do so at once. Above ``SETTINGS.CACHE_MAX_GB`` the least
        recently used files go; this one stays for as long as this object lives.

        Raises
        ------
        CacheError
            If the folder cannot be written or locked.
        """
        cache = FileCache(cache_dir, int(SETTINGS.CACHE_MAX_GB * 1e9))
        lease = cache.lease(self.sha256, self.filename, self.data)
        weakref.finalize(self, lease.release)
        return lease.path

    def as_dict(self) -> dict[str, Any]:
        """Return the MSONable document."""
        return {
            "@module": type(self).__module__,
            "@class": type(self).__name__,
            "filename": self.filename,
            "n_bytes": len(self.data),
            **encode_blob("data", self.data),
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Self:
        """Rebuild; ``BlobError`` if the bytes are not those of the hash in the document."""
        return cls(decode_blob("data", d, cls.__name__), d["filename"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Artifact) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"Artifact({self.filename!r}, {len(self.data)} bytes, sha256={self.sha256[:12]}…)"


class PotentialSpec(Document):
    """A serialisable recipe that loads a potential.

    Give either ``name`` or ``artifact``.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, frozen=True)

    backend: str = Field(description="A registered backend: chgnet, mace, matgl, ase, toy.")
    name: str | None = Field(
        None, description="A released model's name, or the path of a model file on this machine."
    )
    artifact: Artifact | None = Field(None, description="Weights that travel with the document.")
    sha256: str | None = Field(
        None, description="Of the artifact, which lies elsewhere: these weights and no others."
    )
    kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Options of the backend; unknown ones are errors."
    )
    functional: str | None = Field(
        None, description="Reference method the potential was trained on, for example 'r2SCAN'."
    )

    @model_validator(mode="before")
    @classmethod
    def _weights_are_those_named(cls, given: Any) -> Any:
        """Note the hash of new weights; refuse weights that are not those of the document."""
        artifact = given.get("artifact") if isinstance(given, dict) else None
        if not isinstance(artifact, Artifact):
            return given
        named = given.get("sha256")
        if named not in (None, artifact.sha256):
            raise ValueError(
                f"artifact {artifact.filename!r}: sha256 is {artifact.sha256}, the document names "
                f"{named}; the weights were replaced. Restore them or train again"
            )
        return {**given, "sha256": artifact.sha256}

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.name is not None and self.artifact is not None:
            raise ValueError(
                f"backend {self.backend!r}: give `name` or `artifact`, not both "
                f"(name={self.name!r}, artifact={self.artifact!r})"
            )
        return self

    @property
    def label(self) -> str:
        """Short name for tables and messages; differs between potentials that differ."""
        source = self.artifact.sha256[:8] if self.artifact else (self.name or "default")
        telling = sorted((k, v) for k, v in self.kwargs.items() if k != TRUST)
        options = ",".join(f"{key}={value}" for key, value in telling)
        return f"{self.backend}:{source}" + (f"[{options}]" if options else "")


class CommitteeDoc(Document):
    """An ordered committee as it travels: recipes and elemental references."""

    members: list[PotentialSpec] = Field(description="The recipes, in order.", min_length=1)
    references: list[dict[str, float]] | None = Field(
        None,
        description="Per member: energy in eV/atom of each element's reference state, by symbol.",
    )
    reference_source: str | None = Field(
        None, description="How the references were made: crystals, least_squares, labels, given."
    )
    calibrations: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="By property (energy per atom, forces, stress): from the spread of a component "
        "to its estimated error (uncertainty.calibration_from_dict), fitted on held-out labels.",
    )

    @model_validator(mode="after")
    def _one_reference_each(self) -> Self:
        if self.references is not None and len(self.references) != len(self.members):
            raise ValueError(f"{len(self.references)} references for {len(self.members)} members")
        return self
