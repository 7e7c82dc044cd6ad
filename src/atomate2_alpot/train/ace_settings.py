"""Typed settings of the linear ACE trainer."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from atomate2_alpot.schemas import Settings


class AceSettings(Settings):
    """Settings of a linear ACE on ace-jax's basis; one solve, no epochs.

    The defaults of the basis, weights and prior are those of ACEpotentials (Witt et al., J. Chem.
    Phys. 159, 164101, 2023), with a small basis.
    """

    kind: Literal["ace"] = "ace"
    order: int = Field(3, ge=1, le=5, description="Correlation order: 1 pairs, 2 angles, …")
    degree: int = Field(
        8, ge=2, le=40, description="Largest total degree, Σ (n/elements + angular_cost·l)."
    )
    angular_cost: float = Field(
        1.5, gt=0, le=10, description="What one l costs of the degree, against one n."
    )
    cutoff: float = Field(5.5, gt=0, le=20, description="Å.")
    energy_weight: float = Field(
        30.0, ge=0, description="Of an energy, over √N atoms; with forces in eV/Å."
    )
    forces_weight: float = Field(1.0, ge=0, description="Of a force component.")
    stress_weight: float = Field(
        1.0, ge=0, description="Of a stress component times the volume, in eV over √N atoms."
    )
    smoothness: int = Field(
        4, ge=0, le=8, description="p of the prior Σ (1.5·l)^p + n^p on coefficients; 0: all alike."
    )
    solver: Literal["evidence", "ridge"] = Field(
        "evidence",
        description="How strongly to regularise. evidence: as is most probable given the training "
        "set (Bayesian linear regression); ridge: as is best on the validation set.",
    )
    regularisation: tuple[float, ...] = Field(
        (1e-22, 1e-20, 1e-18, 1e-16, 1e-14, 1e-12, 1e-10, 1e-8),
        min_length=1,
        max_length=100,
        description="Of ridge: what to try, in units of the largest eigenvalue of the normal "
        "equations; (0,) does not regularise.",
    )
    committee: Literal["split", "bootstrap", "posterior"] = Field(
        "split",
        description="How members differ, since a linear fit has no random start. split: by their "
        "training sets only; bootstrap: also by frames drawn with replacement; posterior: "
        "coefficients are drawn from the posterior of solver evidence (van der Oord et al., "
        "npj Comput. Mater. 9, 168, 2023).",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.energy_weight == self.forces_weight == self.stress_weight == 0:
            raise ValueError("energy_weight, forces_weight and stress_weight are 0; set one above")
        if min(self.regularisation) < 0:
            raise ValueError(f"regularisation={self.regularisation}: values cannot be negative")
        if self.committee == "posterior" and self.solver != "evidence":
            raise ValueError(
                f"committee='posterior' with solver={self.solver!r}: only solver 'evidence' knows "
                "the noise of the labels; choose it, or committee 'bootstrap'"
            )
        return self
