"""The config file of a run: sections are the settings classes of the stages themselves."""

from __future__ import annotations

import os
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from atomate2_alpot.campaign.engines.settings import EngineSettings
from atomate2_alpot.campaign.policy import CampaignPolicy
from atomate2_alpot.dataset.stores import GRIDFS
from atomate2_alpot.flows.routing import Routing
from atomate2_alpot.flows.stopping import LoopSettings
from atomate2_alpot.label.limits import LabelLimits
from atomate2_alpot.label.retry import Retry
from atomate2_alpot.schemas import PotentialSpec, Settings
from atomate2_alpot.select import AnyCriterion, AnySampler, DirectSampler, QueryByCommittee
from atomate2_alpot.structures.scramble import (
    FIRST_ITERATION,
    LATER_ITERATIONS,
    ScrambleSettings,
)
from atomate2_alpot.train.calibrate import CalibrationSettings
from atomate2_alpot.train.mace_settings import MaceSettings
from atomate2_alpot.train.settings import TrainerSettings

URI_VARIABLE = "ALPOT_MONGO_URI"


class ProposeSection(Settings):
    """Which candidates there are."""

    prototypes: str = Field(
        "aflow", description="aflow (bundled with pymatgen), or a folder of POSCAR / CIF files."
    )
    n_atoms: tuple[int, int] = Field((2, 8), description="Atoms of a prototype, from and to.")
    n_elements: tuple[int, int] = Field((2, 3), description="Elements of one, from and to.")
    ternary_weight: float = Field(
        1 / 3, gt=0, le=1, description="Fraction of the decorations of AFLOW ternaries to keep."
    )
    candidates_per_iteration: int = Field(10_000, gt=0, description="Candidates to screen.")
    n_test: int = Field(200, gt=0, description="Candidates held out as the fixed test set.")
    first: ScrambleSettings = Field(FIRST_ITERATION, description="Distortions of iteration 1.")
    later: ScrambleSettings = Field(LATER_ITERATIONS, description="Those of later iterations.")

    @field_validator("n_atoms", "n_elements")
    @classmethod
    def _from_to(cls, bounds: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= bounds[0] <= bounds[1]:
            raise ValueError(f"{list(bounds)}: give [smallest, largest], from 1")
        return bounds

    @field_validator("first", "later", mode="before")
    @classmethod
    def _over_the_preset(cls, given: Any, info: ValidationInfo) -> Any:
        """Let a section that names some values keep the others of its preset."""
        if not isinstance(given, dict):
            return given
        return {**cls.model_fields[str(info.field_name)].default.model_dump(), **given}


class SelectSection(Settings):
    """What is worth a label."""

    criterion: AnyCriterion = Field(
        QueryByCommittee(),
        description="Who is worth a label; kind: committee, calibrated, grade or physical.",
    )
    sampler: AnySampler = Field(
        DirectSampler(),
        description="Which of them get one; kind: direct, random, top_n, sequential, chain or "
        "split.",
    )
    chunk_size: int = Field(1000, gt=0, description="Candidates per screening job.")


class LabelSection(Settings):
    """Where labels come from: a preset, or an atomate2 Maker by import path."""

    preset: str | None = Field(None, description="Name of a preset of atomate2_alpot.label.")
    maker: str | None = Field(
        None, description="Import path of an atomate2 Maker, for example package.module:Class."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments of the preset or the Maker."
    )
    functional: str | None = Field(
        None, description="Reference method of `maker`; a preset knows its own."
    )
    which: Literal["last", "all"] | None = Field(
        None, description="Ionic steps that become frames; null = as the preset, or last."
    )
    result: str | None = Field(
        None, description="Entry of the Maker's output that is the task document, if several."
    )
    remove: list[str] | None = Field(
        None, description="Patterns of files to delete when a frame is done; null = the preset's."
    )
    limits: LabelLimits = LabelLimits()
    min_label_fraction: float = Field(
        0.5, ge=0, le=1, description="An iteration stops below this fraction of labels."
    )
    retries: list[Retry] = Field(
        default_factory=list, description="Second attempts at frames that failed, in order."
    )
    batch_size: int = Field(1, gt=0, description="Frames that one job labels in a row.")
    gather_size: int = Field(100, gt=0, description="Frames per gather.")

    @model_validator(mode="after")
    def _one_source(self) -> LabelSection:
        if (self.preset is None) == (self.maker is None):
            raise ValueError("give either `preset` or `maker`")
        if self.maker is not None and self.functional is None:
            raise ValueError("`maker` needs `functional`, the name of its reference method")
        return self


class TrainSection(Settings):
    """How the committee is trained."""

    settings: TrainerSettings = MaceSettings()
    n_members: int = Field(3, ge=2, description="Members of the committee.")
    fractions: tuple[float, float, float] = Field(
        (0.9, 0.05, 0.05),
        description="Train, valid, test of each member's random split of what is not held out.",
    )
    calibration: CalibrationSettings | None = Field(
        CalibrationSettings(),
        description="How the committee's spread is calibrated; null = not, and nothing held out.",
    )
    e0s: dict[str, float] | None = Field(
        None, description="Atomic energies in eV; null = isolated atoms in the data, or a fit."
    )
    start_from: Literal["previous"] | PotentialSpec | None = Field(
        None, description="null = from scratch; previous; or a model of this kind to fine-tune."
    )

    @field_validator("fractions")
    @classmethod
    def _shares(cls, fractions: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(fractions) - 1) > 1e-9 or min(fractions) < 0:
            raise ValueError(f"{list(fractions)}: train, valid, test must sum to 1, none below 0")
        if fractions[0] == 0 or fractions[1] == 0:
            raise ValueError(f"{list(fractions)}: training needs a share for train and for valid")
        return fractions

    @field_validator("start_from")
    @classmethod
    def _same_kind(cls, start: Any, info: ValidationInfo) -> Any:
        kind = getattr(info.data.get("settings"), "kind", None)
        if isinstance(start, PotentialSpec) and kind not in (None, start.backend):
            raise ValueError(f"backend {start.backend!r}: only a {kind} model can be fine-tuned")
        return start


class StoreSection(Settings):
    """Where results land."""

    kind: Literal["embedded", "mongo"] = Field(
        "embedded", description="embedded: files in the run folder, no server; or mongo."
    )
    uri: str | None = Field(
        None, repr=False, description=f"MongoDB URI; better in the variable {URI_VARIABLE}."
    )
    database: str = Field("alpot", description="Database of kind mongo.")
    blobs: str = Field(
        GRIDFS,
        description="Blobs of kind mongo: gridfs, s3://bucket/prefix, or an absolute path that all "
        "workers reach.",
    )

    @property
    def resolved_uri(self) -> str | None:
        """The URI of the config, or of the environment."""
        return self.uri or os.environ.get(URI_VARIABLE)


class RunConfig(Settings):
    """Everything about one campaign."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    campaign_id: str = Field("alpot", min_length=1, description="Shared by all documents.")
    elements: list[str] = Field(min_length=1, description="Elements put on the prototypes.")
    seed: int = Field(0, ge=0, description="Seed of every random choice.")
    committee: list[PotentialSpec] = Field(
        min_length=2, description="Potentials that screen in iteration 1."
    )
    propose: ProposeSection = ProposeSection()
    select: SelectSection = SelectSection()
    label: LabelSection
    train: TrainSection = TrainSection()
    loop: LoopSettings = LoopSettings()
    routing: Routing = Routing()
    engine: EngineSettings = EngineSettings()
    store: StoreSection = StoreSection()
    campaign: CampaignPolicy = Field(
        CampaignPolicy(), description="Campaign mode: sizes and patience (alpot campaign)."
    )

    def without_secrets(self) -> dict[str, Any]:
        """Return the config as plain values, without the URI of the store."""
        return self.model_dump(mode="json", exclude={"store": {"uri"}})

    @field_validator("elements")
    @classmethod
    def _real_elements(cls, elements: list[str]) -> list[str]:
        from ase.data import atomic_numbers

        unknown = [e for e in elements if e not in atomic_numbers]
        if unknown:
            raise ValueError(f"{unknown} are not elements; use symbols such as 'Fe'")
        if len(set(elements)) < len(elements):
            raise ValueError(f"{elements} lists an element twice")
        return elements

    @field_validator("committee")
    @classmethod
    def _each_once(cls, committee: list[PotentialSpec]) -> list[PotentialSpec]:
        labels = [m.label for m in committee]
        twice = sorted({name for name in labels if labels.count(name) > 1})
        if twice:
            raise ValueError(f"{twice} listed twice: a member always agrees with itself")
        return committee

    @model_validator(mode="after")
    def _elements_suffice(self) -> RunConfig:
        smallest = self.propose.n_elements[0]
        if smallest > len(self.elements):
            raise ValueError(
                f"propose.n_elements asks for prototypes of at least {smallest} elements, and "
                f"elements lists {len(self.elements)}"
            )
        missing = [e for e in self.elements if e not in (self.train.e0s or self.elements)]
        if missing:
            raise ValueError(f"train.e0s: no value for {missing}; give one for every element")
        return self
