"""The documents that stages hand to each other and to the store.

Everything that grows with the number of frames is a :class:`Columns` blob; the rest of each
document has a size that does not depend on it (DESIGN.md: no document over 16 MB).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from monty.json import MontyDecoder
from pydantic import Field

from atomate2_alpot.schemas.base import Document, Number
from atomate2_alpot.schemas.frames import Frames
from atomate2_alpot.schemas.potential import CommitteeDoc, PotentialSpec
from atomate2_alpot.schemas.tables import (
    CalculationTable,
    EpochTable,
    MapTable,
    ParityTable,
    ScoreTable,
    SplitTable,
)


def now() -> datetime:
    """Return the time in UTC, as every document stores it."""
    return datetime.now(tz=UTC)


class ScreenDoc(Document):
    """One screened range of candidates."""

    n_screened: int = Field(description="Candidates looked at.")
    scores: ScoreTable = Field(description="One row per candidate.")
    passed: Frames = Field(description="Candidates the committee disagrees on.")
    seconds: float = Field(description="Wall time.")


class SelectionDoc(Document):
    """What one iteration chose to label."""

    iteration: int
    n_screened: int
    n_passed: int = Field(description="Candidates above a threshold and not rejected.")
    n_selected: int
    verdicts: dict[str, int] = Field(description="Candidates per verdict (see ScoreTable).")
    thresholds: dict[str, Number] = Field(
        description="Base thresholds, our units, of what was compared: energy, forces, stress "
        "(disagreement); energy_sigma, … (estimated error); grade."
    )
    spread_quantiles: dict[str, dict[str, Number]] = Field(
        description="Quantiles q05 … q99, max of each over the screened candidates."
    )
    criterion: dict[str, Any] = Field(
        default_factory=dict, description="Settings of the criterion that was used, and counts."
    )
    sampler: dict[str, Any] = Field(description="Settings and cluster counts of the sampler.")
    seed: int
    frames: Frames = Field(description="The selected candidates, without labels.")
    scores: ScoreTable = Field(description="Scores of all screened candidates.")
    map: MapTable = Field(description="Principal components of passed and selected candidates.")
    seconds: dict[str, Number]


class LabelFailure(Document):
    """Why one frame has no label."""

    frame_id: str
    reason: str
    detail: str = ""
    task_uuid: str | None = None
    formula: str | None = None


class TaskRecord(Document):
    """One task document of a calculation (PBE static, r2SCAN, …).

    It is kept as plain data: who reads labels need not build it, and one that its own class
    refuses must not stand in the way of the others.
    """

    name: str = Field(description="Name of the atomate2 job that made it.")
    kind: str | None = Field(None, description="module:Class of the document.")
    document: Any = Field(description="emmet's or atomate2's task document, as the engine gave it.")

    @classmethod
    def of(cls, name: str, output: Any) -> TaskRecord:
        """Make a record of what a job stored."""
        if not (isinstance(output, dict) and "@class" in output):
            return cls(name=name, document=output)
        plain = {k: v for k, v in output.items() if k not in ("@module", "@class", "@version")}
        return cls(name=name, kind=f"{output['@module']}:{output['@class']}", document=plain)

    def decode(self) -> Any:
        """Return the task document as an object of its class."""
        if self.kind is None:
            return MontyDecoder().process_decoded(self.document)
        module, _, name = self.kind.partition(":")
        return MontyDecoder().process_decoded({"@module": module, "@class": name, **self.document})


class CalculationDoc(Document):
    """What came of one frame: its task documents, or why there is no label."""

    frame_id: str
    formula: str
    state: str = Field(description="successful or failed.")
    reason: str | None = None
    detail: str = ""
    attempt: str = Field("first", description="Name of the retry that gave this, or first.")
    folder: str | None = Field(None, description="host:path of the calculation.")
    seconds: float = 0.0
    tasks: list[TaskRecord] = Field(default_factory=list)


class LabelRowDoc(Document):
    """Output of one label job: frames labelled one after the other."""

    frames: Frames = Field(description="Labelled frames, several of one calculation possible.")
    calculations: list[CalculationDoc] = Field(description="One per frame asked for, in order.")
    table: CalculationTable


class LabelBatchDoc(Document):
    """Labels of one batch (or of a gather of batches)."""

    n_requested: int
    n_labelled: int = Field(description="Frames asked for that have a label.")
    functional: str
    surrogate: str | None = Field(
        None, description="Name of the model that stands in for DFT, if one does."
    )
    iteration: int
    campaign_id: str | None = None
    frames: Frames = Field(description="Labelled frames.")
    failures: list[LabelFailure] = Field(description="One record per failed frame.")
    calculations: CalculationTable = Field(
        default_factory=CalculationTable.empty, description="How each label was computed."
    )
    seconds: float = Field(0.0, description="Compute time of all labels, summed.")

    @property
    def failure_counts(self) -> dict[str, int]:
        """Failures by reason."""
        counts: dict[str, int] = {}
        for failure in self.failures:
            counts[failure.reason] = counts.get(failure.reason, 0) + 1
        return counts


class LabelDoc(Document):
    """One labelled (or failed) frame, as people query it: one document each.

    ``energy`` is the total in eV, ``forces`` in eV/Å, ``stress`` 3×3 in eV/Å³ (tension
    positive). Field names follow emmet where emmet has them.
    """

    frame_id: str = Field(description="Hash of species, cell and positions.")
    functional: str = Field(description="Reference method, for example r2SCAN.")
    state: str = Field("successful", description="successful or failed.")
    surrogate: str | None = Field(None, description="Model that stood in for DFT, if one did.")
    structure: dict[str, Any] | None = Field(None, description="pymatgen Structure as dict.")
    energy: float | None = Field(None, description="Total, eV.")
    energy_per_atom: float | None = Field(None, description="eV/atom.")
    forces: list[list[float]] | None = Field(None, description="eV/Å, one row an atom.")
    stress: list[list[float]] | None = Field(None, description="3×3, eV/Å³, tension positive.")
    max_force: float | None = Field(None, description="Largest force on an atom, eV/Å.")
    pressure: float | None = Field(None, description="-trace(stress)/3 in eV/Å³.")
    elements: list[str] = Field(default_factory=list)
    nelements: int | None = None
    nsites: int | None = None
    chemsys: str | None = Field(None, description="Elements by name, as Al-Ni.")
    formula_pretty: str | None = None
    volume: float | None = Field(None, description="Å³.")
    campaign_id: str | None = None
    stage: str | None = Field(
        None, description="label: chosen by the loop; test: held out; prepare: crystals."
    )
    iteration: int | None = Field(None, description="That asked for it; 0 is before the loop.")
    prototype: str | None = Field(None, description="Of the candidate.")
    parent: str | None = Field(None, description="frame_id of the frame it was relaxed from.")
    step: int | None = Field(None, description="Ionic step.")
    task_uuid: str | None = Field(None, description="Job that computed it.")
    calculation: dict[str, Any] | None = Field(
        None, description="How it was computed (a row of CalculationTable)."
    )
    reason: str | None = Field(None, description="Why it failed.")
    detail: str | None = Field(None, description="The engine's own words.")
    last_updated: datetime = Field(default_factory=now)


class MemberTrainingDoc(Document):
    """One trained member."""

    member: int
    seed: int
    trainer: str = Field(description="Name of the trainer, for example mace.")
    settings: dict[str, Any]
    n_train: int
    n_valid: int
    n_test: int
    e0s: dict[str, Number] = Field(description="Isolated-atom or fitted energies, eV, by symbol.")
    e0_source: str
    epochs: EpochTable
    metrics: dict[str, Number] = Field(
        description="On the member's own test split (units.METRICS)."
    )
    spec: PotentialSpec = Field(description="The trained potential, weights as artifact.")
    seconds: float
    started_from: str | None = Field(None, description="Weights fine-tuned from, if any.")


class TrainingDoc(Document):
    """The committee of one iteration."""

    iteration: int
    committee: CommitteeDoc
    members: list[MemberTrainingDoc]
    splits: SplitTable


class AssessmentDoc(Document):
    """Errors of a committee on the fixed test set."""

    iteration: int
    n_frames: int
    metrics: dict[str, Number] = Field(description="Of the committee mean (units.METRICS).")
    member_metrics: list[dict[str, Number]]
    spread_correlation: dict[str, Number] = Field(
        description="Spearman correlation of spread and error, by quantity."
    )
    calibration: dict[str, dict[str, Number]] = Field(
        default_factory=dict,
        description="Of each calibrated property: standard deviation of error / spread "
        "(z_std_spread) and of error / calibrated σ (z_std), 1 where σ is right; n_points.",
    )
    parity: ParityTable
    seconds: float


class IterationDoc(Document):
    """The state of a campaign after one iteration: small, readable, one per iteration."""

    campaign_id: str
    iteration: int
    status: str = Field(description="running, or why the campaign stopped.")
    message: str = ""
    functional: str
    surrogate: str | None = None
    elements: list[str]
    counts: dict[str, int] = Field(
        description="screened, passed, selected, labelled, failed, dataset, test."
    )
    verdicts: dict[str, int]
    failures: dict[str, int] = Field(description="Failed labels by reason.")
    thresholds: dict[str, Number]
    spread_quantiles: dict[str, dict[str, Number]]
    metrics: dict[str, Number] = Field(description="On the fixed test set (units.METRICS).")
    member_metrics: list[dict[str, Number]]
    spread_correlation: dict[str, Number]
    calibration: dict[str, dict[str, Number]] = Field(
        default_factory=dict, description="As in AssessmentDoc."
    )
    committee: list[str] = Field(description="Labels of the committee that screened.")
    trained: list[str] = Field(description="Labels of the committee that was trained.")
    seeds: dict[str, int]
    timings: dict[str, Number] = Field(description="Seconds by stage.")
    versions: dict[str, str]
    last_updated: datetime = Field(default_factory=now)
