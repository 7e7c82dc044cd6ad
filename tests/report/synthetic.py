"""Documents of a campaign that never ran, as large as the demo's: for tests of the page only."""

from __future__ import annotations

from typing import Any

import numpy as np

from atomate2_alpot.report import ReportData
from atomate2_alpot.schemas import (
    AssessmentDoc,
    CommitteeDoc,
    EpochTable,
    Frames,
    IterationDoc,
    MapTable,
    MemberTrainingDoc,
    ParityTable,
    PotentialSpec,
    ScoreTable,
    SelectionDoc,
    SplitTable,
    TrainingDoc,
)

QUANTITIES = ("energy", "forces", "stress")
THRESHOLDS = dict.fromkeys(QUANTITIES, 0.1)
METRICS = {f"{q}_{k}": 0.1 for q in QUANTITIES for k in ("mae", "rmse")}


def iteration(number: int, **update: Any) -> IterationDoc:
    counts = {"screened": 3000, "passed": 800, "selected": 100, "labelled": 90, "failed": 10}
    fields = {
        "campaign_id": "synthetic",
        "iteration": number,
        "status": "running",
        "functional": "r2SCAN",
        "surrogate": "toy:stand-in",
        "elements": ["Al", "Ni"],
        "counts": {**counts, "dataset": 90 * number, "test": 100},
        "verdicts": {"selected": 800, "agreed": 2200},
        "failures": {"max_force": 10},
        "thresholds": THRESHOLDS,
        "spread_quantiles": {},
        "metrics": {k: v / number for k, v in METRICS.items()},
        "member_metrics": [{k: 1.2 * v / number for k, v in METRICS.items()}] * 3,
        "spread_correlation": {"energy": float("nan"), "forces": 0.5, "stress": 0.7},
        "calibration": {"forces": {"z_std_spread": 3.21, "z_std": 1.04, "n_points": 600.0}},
        "committee": ["toy:a", "toy:b"],
        "trained": ["toy:c"],
        "seeds": {"select": 1},
        "timings": {"screen": 90.0, "train": 120.4},
        "versions": {"python": "3.11"},
    }
    return IterationDoc(**{**fields, **update})


def selection(number: int, n: int = 3000, n_chosen: int = 100) -> SelectionDoc:
    rng = np.random.default_rng(number)
    ids = [f"frame-{number}-{i}" for i in range(n)]
    scores = ScoreTable.from_columns(
        frame_id=ids,
        threshold_factor=rng.uniform(1, 3, n),
        **{f"{q}_spread": rng.lognormal(-3, 1.0, n) for q in QUANTITIES},
    )
    n_map = min(n, 800)
    mapped = MapTable.from_columns(
        frame_id=ids[:n_map],
        kind=["selected"] * n_chosen + ["pool"] * (n_map - n_chosen),
        pc1=rng.normal(size=n_map),
        pc2=rng.normal(size=n_map),
    )
    return SelectionDoc(
        iteration=number,
        n_screened=n,
        n_passed=n_map,
        n_selected=n_chosen,
        verdicts={},
        thresholds=THRESHOLDS,
        spread_quantiles={},
        sampler={},
        seed=0,
        frames=Frames.empty(),
        scores=scores,
        map=mapped,
        seconds={},
    )


def assessment(number: int, quantities: tuple[str, ...] = QUANTITIES) -> AssessmentDoc:
    rng = np.random.default_rng(number)
    tables = []
    for name, n in zip(QUANTITIES, (100, 5400, 600), strict=True):
        reference = rng.normal(size=n)
        if name in quantities:
            tables.append(
                ParityTable.from_columns(
                    quantity=[name] * n,
                    reference=reference,
                    predicted=reference + rng.normal(size=n) * 0.2,
                    spread=np.abs(rng.normal(size=n)) * 0.1,
                )
            )
    return AssessmentDoc(
        iteration=number,
        n_frames=100,
        metrics=METRICS,
        member_metrics=[],
        spread_correlation={},
        parity=ParityTable.concat(tables),
        seconds=1.0,
    )


def training(number: int, with_stress: bool = True) -> TrainingDoc:
    epochs = np.arange(30)
    curves = {
        q: 0.3 * np.exp(-epochs / 10) + 0.1 for q in QUANTITIES if with_stress or q != "stress"
    }
    members = [
        MemberTrainingDoc(
            member=m,
            seed=m,
            trainer="synthetic",
            settings={"max_num_epochs": 30},
            n_train=80,
            n_valid=15,
            n_test=5,
            e0s={"Al": -1.0},
            e0_source="fit",
            epochs=EpochTable.from_columns(
                epoch=epochs, **{f"{q}_mae": v * (1 + 0.1 * m) for q, v in curves.items()}
            ),
            metrics={},
            spec=PotentialSpec(backend="toy", kwargs={"seed": m}),
            seconds=40.0,
        )
        for m in range(3)
    ]
    committee = CommitteeDoc(members=[m.spec for m in members])
    return TrainingDoc(
        iteration=number, committee=committee, members=members, splits=SplitTable.empty()
    )


def campaign(n_iterations: int = 2, **update: Any) -> ReportData:
    numbers = range(1, n_iterations + 1)
    failure = {"frame_id": "frame-1-3", "reason": "max_force", "detail": "61 eV/Å"}
    fields = {
        "iterations": [iteration(i) for i in numbers],
        "selections": [selection(i) for i in numbers],
        "trainings": [training(i) for i in numbers],
        "assessments": [assessment(i) for i in numbers],
        "element_counts": {"Al": 120, "Ni": 80, "U": 1},
        "failures": [{**failure, "formula_pretty": "AlNi"}],
        "n_labels": {"label successful": 180, "label failed": 20},
        "labelled": {f"frame-1-{i}" for i in range(100) if i != 3},
        "baselines": {"energy_mae": 0.344, "forces_mae": 0.16},
        "config": {"campaign_id": "synthetic", "elements": ["Al", "Ni"]},
    }
    return ReportData(**{**fields, **update})
