"""Typed settings of MTP training."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from atomate2_alpot.potentials.mtp_basis import LEVELS
from atomate2_alpot.schemas import Settings


class MtpSettings(Settings):
    """A moment tensor potential and how it is fitted; defaults suit a laptop.

    The loss of S frames of N atoms is motep's, that of MLIP per configuration:
    1/S Σ_s [w_E (ΔE/N)² + w_F Σ|ΔF|²/N + w_S |V Δσ|²/N²].
    """

    kind: Literal["mtp"] = "mtp"
    level: int = Field(
        12, description="Even, 2 to 24; 8, 12 and 16 have 9, 29 and 92 basis functions."
    )
    cutoff: float = Field(5.0, gt=0, description="Cutoff in Å.")
    min_dist: float | None = Field(
        None,
        gt=0,
        description="Inner end of the radial functions in Å; no two atoms may be nearer. null = "
        "a little less than the nearest two of the training and validation frames.",
    )
    n_radial_basis: int = Field(
        8, ge=2, le=30, description="Chebyshev polynomials of a radial function."
    )
    fit_species: bool = Field(
        True,
        description="Let constants of the elements move from the E0s; false: an atom alone "
        "has its E0 exactly.",
    )
    energy_weight: float = Field(1.0, ge=0, description="w_E, for eV per atom.")
    forces_weight: float = Field(0.01, ge=0, description="w_F, for eV/Å.")
    stress_weight: float = Field(0.001, ge=0, description="w_S, for stress times volume per atom.")
    max_steps: int = Field(
        30, gt=0, description="Most Levenberg-Marquardt steps on all training frames."
    )
    warm_up_steps: int = Field(
        30, ge=0, description="Most steps before those, on a random part of the training frames."
    )
    warm_up_atoms: int = Field(
        4000, gt=0, description="Atoms in that part, at least; no warm-up where there are less."
    )
    tolerance: float = Field(
        3e-3, ge=0, lt=1, description="Stop when two steps lower the loss by less than this part."
    )
    damping: float = Field(1e-3, gt=0, description="Of the first step; it adapts from there.")
    init_scale: float = Field(
        0.3, gt=0, description="Untrained radial coefficients are drawn from ± this."
    )

    @field_validator("level")
    @classmethod
    def _is_shipped(cls, level: int) -> int:
        if level not in LEVELS:
            raise ValueError(f"level={level}: give an even number, {LEVELS[0]} to {LEVELS[-1]}")
        return level

    @model_validator(mode="after")
    def _weights_and_distances(self) -> Self:
        if self.min_dist is not None and self.min_dist >= self.cutoff:
            raise ValueError(f"min_dist={self.min_dist}: must be below cutoff={self.cutoff}")
        if self.energy_weight + self.forces_weight + self.stress_weight == 0:
            raise ValueError("energy_weight, forces_weight and stress_weight are all 0")
        return self
