"""The tables stages hand on beside frames: scores, splits, maps, parity, loss curves."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa

from atomate2_alpot.schemas.columns import Columns


class ScoreTable(Columns):
    """What screening found for each candidate (one row each).

    ``verdict`` is ``selected`` (the criterion is met), ``agreed`` or ``interpolates`` (it is not),
    ``not_described`` (the descriptor of a grade gave NaN), or the name of the limit that rejected
    the candidate: ``formation_energy``, ``max_force``, ``mean_stress``, ``max_grade``,
    ``not_finite``. Energies eV/atom, forces eV/Å, stress eV/Å³; ``threshold_factor`` multiplies
    the thresholds for this candidate. ``score`` is the largest ratio of what the criterion
    compares to its threshold: selected above 1. Only a calibrated criterion fills ``*_sigma``
    (estimated errors), and only one of extrapolation ``grade`` (infinite for an unseen element).
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("frame_id", pa.string()),
            pa.field("candidate", pa.int64()),
            pa.field("n_atoms", pa.int32()),
            pa.field("energy_spread", pa.float32()),
            pa.field("forces_spread", pa.float32()),
            pa.field("stress_spread", pa.float32()),
            pa.field("energy_sigma", pa.float32()),
            pa.field("forces_sigma", pa.float32()),
            pa.field("stress_sigma", pa.float32()),
            pa.field("grade", pa.float32()),
            pa.field("score", pa.float32()),
            pa.field("formation_energy", pa.float32()),
            pa.field("max_force", pa.float32()),
            pa.field("mean_stress", pa.float32()),
            pa.field("threshold_factor", pa.float32()),
            pa.field("verdict", pa.string()),
        ]
    )


COMPARED: dict[str, str] = {
    **{name: f"{name}_spread" for name in ("energy", "forces", "stress")},
    **{name: name for name in ("energy_sigma", "forces_sigma", "stress_sigma", "grade")},
}
"""Name of a threshold -> column of :class:`ScoreTable` that is compared with it."""


class ActiveSetTable(Columns):
    """Members of active sets: one row of features each, by element (or ``frame``) and cluster."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("group", pa.string()),
            pa.field("cluster", pa.int32()),
            pa.field("features", pa.list_(pa.float64())),
        ]
    )


class SplitTable(Columns):
    """The set of every frame for every member: ``train``, ``valid`` or ``test``."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("frame_id", pa.string()),
            pa.field("member", pa.int16()),
            pa.field("split", pa.string()),
        ]
    )


class MapTable(Columns):
    """Coordinates in the first two principal components; ``kind`` is pool or selected."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("frame_id", pa.string()),
            pa.field("kind", pa.string()),
            pa.field("pc1", pa.float32()),
            pa.field("pc2", pa.float32()),
            pa.field("cluster", pa.int32()),
        ]
    )


class ParityTable(Columns):
    """Reference against prediction; ``quantity`` is energy, forces or stress.

    One row per frame (energy, eV/atom), per force component (eV/Å) or stress component
    (eV/Å³). ``predicted`` is the committee's mean, ``spread`` its standard deviation.
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("quantity", pa.string()),
            pa.field("frame_id", pa.string()),
            pa.field("reference", pa.float32()),
            pa.field("predicted", pa.float32()),
            pa.field("spread", pa.float32()),
        ]
    )


class EpochTable(Columns):
    """Validation metrics of one training run, one row per evaluated epoch (units.METRICS)."""

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("epoch", pa.int32()),
            pa.field("loss", pa.float64()),
            pa.field("energy_rmse", pa.float64()),
            pa.field("energy_mae", pa.float64()),
            pa.field("forces_rmse", pa.float64()),
            pa.field("forces_mae", pa.float64()),
            pa.field("stress_rmse", pa.float64()),
            pa.field("stress_mae", pa.float64()),
        ]
    )


class CalculationTable(Columns):
    """How each label was computed: one row per frame asked for, failed ones included.

    ``task_uuid`` and ``task_index`` find the task documents of the calculation: item
    ``task_index`` of ``output.calculations`` of that job. ``encut`` is in eV, ``kpoints`` the mesh
    ("4x4x3"), ``attempt`` the name of the retry that gave the result, ``n_steps`` the ionic steps
    computed and ``n_kept`` those that became frames.
    """

    SCHEMA: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("frame_id", pa.string()),
            pa.field("task_uuid", pa.string()),
            pa.field("task_index", pa.int32()),
            pa.field("attempt", pa.string()),
            pa.field("folder", pa.string()),
            pa.field("engine", pa.string()),
            pa.field("version", pa.string()),
            pa.field("encut", pa.float64()),
            pa.field("kpoints", pa.string()),
            pa.field("pseudopotentials", pa.string()),
            pa.field("n_steps", pa.int32()),
            pa.field("n_kept", pa.int32()),
            pa.field("seconds", pa.float32()),
        ]
    )
