"""Typed settings of MACE training."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Literal, Self

from pydantic import Field, field_validator

from atomate2_alpot.schemas import Settings

OURS: frozenset[str] = frozenset(
    {
        *("name", "seed", "train_file", "valid_file", "test_file", "E0s", "device", "work_dir"),
        *("energy_key", "forces_key", "stress_key", "compute_stress", "error_table", "config"),
        *("foundation_model", "multiheads_finetuning", "foundation_model_elements"),
        *("restart_latest", "save_cpu"),
    }
)
"""Options of mace_run_train that we set ourselves."""


class MaceSettings(Settings):
    """Settings of ``mace_run_train``, by its own names; defaults suit a laptop and small cells.

    ``MaceSettings.mp_aloe()`` are the paper's.
    """

    kind: Literal["mace"] = "mace"
    num_channels: int = Field(24, gt=0, description="Channels of the hidden features.")
    max_L: int = Field(0, ge=0, le=3, description="Order of the messages: 0 invariant.")  # noqa: N815
    r_max: float = Field(5.0, gt=0, description="Cutoff in Å.")
    num_interactions: int = Field(2, gt=0, description="Message-passing layers.")
    correlation: int = Field(3, gt=0, description="Correlation order of each layer.")
    max_ell: int = Field(3, ge=0, description="Order of the spherical harmonics.")
    num_radial_basis: int = Field(8, gt=0, description="Radial functions.")
    max_num_epochs: int = Field(60, gt=0, description="Epochs.")
    batch_size: int = Field(8, gt=0, description="Frames per step.")
    valid_batch_size: int = Field(32, gt=0, description="Frames per step of validation.")
    lr: float = Field(0.01, gt=0, description="Learning rate.")
    loss: Literal["weighted", "huber", "universal", "stress"] = Field(
        "universal", description="Universal: Huber, less strict on large forces."
    )
    energy_weight: float = Field(1.0, ge=0, description="Weight of the energy per atom.")
    forces_weight: float = Field(10.0, ge=0, description="Weight of the forces.")
    stress_weight: float = Field(10.0, ge=0, description="Weight of the stress.")
    scheduler: Literal["ReduceLROnPlateau", "ExponentialLR"] = Field(
        "ExponentialLR", description="Learning-rate schedule."
    )
    lr_scheduler_gamma: float = Field(0.96, gt=0, le=1, description="Of ExponentialLR, per epoch.")
    scheduler_patience: int = Field(5, gt=0, description="Of ReduceLROnPlateau, in evaluations.")
    patience: int = Field(2048, gt=0, description="Evaluations without progress before stopping.")
    ema: bool = Field(True, description="Exponential moving average of the weights.")
    ema_decay: float = Field(0.99, gt=0, lt=1, description="Its decay.")
    clip_grad: float = Field(10.0, gt=0, description="Gradient clipping.")
    weight_decay: float = Field(5e-7, ge=0, description="Weight decay.")
    eval_interval: int = Field(2, gt=0, description="Epochs between validations.")
    default_dtype: Literal["float32", "float64"] = Field("float32", description="Precision.")
    num_workers: int = Field(0, ge=0, description="Data-loading processes.")
    extra: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="Further options of mace_run_train, by its own names."
    )

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        for key in extra:
            if key in OURS or key in cls.model_fields:
                raise ValueError(f"extra: {key!r} is set elsewhere; take it out of `extra`")
        return extra

    @classmethod
    def mp_aloe(cls) -> Self:
        """MP-ALOE's: those of MACE-MP-0a "large", but for 100 epochs (METHODS.md §1).

        128 channels, L = 2, 6 Å: 5 725 072 parameters for 89 elements, as the paper counts. It
        trains all of the epochs: patience is not used.
        """
        return cls(
            num_channels=128,
            max_L=2,
            r_max=6.0,
            num_radial_basis=10,
            max_num_epochs=100,
            batch_size=16,
            lr=0.005,
            stress_weight=100.0,
            scheduler="ReduceLROnPlateau",
            ema_decay=0.995,
            clip_grad=100.0,
            weight_decay=1e-8,
            eval_interval=1,
            num_workers=4,
        )

    def arguments(self) -> list[str]:
        """Return command-line arguments of mace_run_train.

        Raises
        ------
        ValueError
            If ``extra`` holds an option that the installed MACE does not have.
        """
        values = self.model_dump(exclude={"kind", "extra"})
        known = _mace_options()
        for key in self.extra:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"train.settings.extra: mace has no option {key!r}{hint}")
        arguments = []
        for key, value in {**values, **self.extra}.items():
            if key == "ema":  # a switch
                arguments += ["--ema"] if value else []
            else:
                arguments.append(f"--{key}={value}")
        return arguments


def _mace_options() -> set[str]:
    from mace.tools import build_default_arg_parser

    actions = build_default_arg_parser()._actions
    return {s.lstrip("-") for action in actions for s in action.option_strings}
