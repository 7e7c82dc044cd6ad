"""The documents and tables that stages hand to each other and to the store."""

from __future__ import annotations

from atomate2_alpot.schemas.base import Document, Settings
from atomate2_alpot.schemas.columns import Columns
from atomate2_alpot.schemas.documents import (
    AssessmentDoc,
    CalculationDoc,
    IterationDoc,
    LabelBatchDoc,
    LabelDoc,
    LabelFailure,
    LabelRowDoc,
    MemberTrainingDoc,
    ScreenDoc,
    SelectionDoc,
    TaskRecord,
    TrainingDoc,
)
from atomate2_alpot.schemas.frame_arrays import Labels
from atomate2_alpot.schemas.frames import Frames
from atomate2_alpot.schemas.potential import (
    Artifact,
    ArtifactError,
    CommitteeDoc,
    PotentialSpec,
)
from atomate2_alpot.schemas.prediction import CommitteePrediction, Prediction
from atomate2_alpot.schemas.source import CandidateSource, Shard
from atomate2_alpot.schemas.tables import (
    COMPARED,
    ActiveSetTable,
    CalculationTable,
    EpochTable,
    MapTable,
    ParityTable,
    ScoreTable,
    SplitTable,
)

BLOBS: list[type] = [
    ActiveSetTable,
    Frames,
    Artifact,
    ScoreTable,
    SplitTable,
    MapTable,
    ParityTable,
    EpochTable,
    CalculationTable,
]
"""What jobs put into the additional store ``data``: ``@job(data=BLOBS)``."""

__all__ = [
    "BLOBS",
    "COMPARED",
    "ActiveSetTable",
    "Artifact",
    "ArtifactError",
    "AssessmentDoc",
    "CalculationDoc",
    "CalculationTable",
    "CandidateSource",
    "Columns",
    "CommitteeDoc",
    "CommitteePrediction",
    "Document",
    "EpochTable",
    "Frames",
    "IterationDoc",
    "LabelBatchDoc",
    "LabelDoc",
    "LabelFailure",
    "LabelRowDoc",
    "Labels",
    "MapTable",
    "MemberTrainingDoc",
    "ParityTable",
    "PotentialSpec",
    "Prediction",
    "ScoreTable",
    "ScreenDoc",
    "SelectionDoc",
    "Settings",
    "Shard",
    "SplitTable",
    "TaskRecord",
    "TrainingDoc",
]
