"""MTP in the committee flow, and on tungsten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from jobflow import run_locally
from monty.json import MontyDecoder

pytest.importorskip("motep", reason="motep is not installed")

from tiny_mtp import E0S, TINY, labelled, structures

from atomate2_alpot.potentials import Committee, load_predictor
from atomate2_alpot.schemas import Frames, PotentialSpec, TrainingDoc
from atomate2_alpot.train import CommitteeTrainer, MtpSettings, fit_e0s
from atomate2_alpot.train.mtp import fit
from atomate2_alpot.train.run import TrainingRun
from atomate2_alpot.uncertainty.errors import error_metrics

TUNGSTEN = Path(__file__).parents[2].parent / "shared" / "data" / "tungsten"


def outcome(flow, store) -> TrainingDoc:
    run_locally(flow, store=store, ensure_success=True)
    return MontyDecoder().process_decoded(store.get_output(flow.output.uuid, load=True))


@pytest.mark.slow
def test_a_committee_trains_and_goes_on_from_the_iteration_before(job_store):
    frames = labelled(structures(40))
    settings = TINY.model_copy(update={"max_steps": 4, "tolerance": 0.0})
    maker = CommitteeTrainer(
        settings=settings,
        n_members=2,
        fractions=(0.7, 0.2, 0.1),
        calibration=None,
        e0s=E0S,
        start_from="previous",
    )
    first = outcome(maker.make([frames], 1), job_store)
    assert [m.trainer for m in first.members] == ["mtp", "mtp"]
    assert [m.backend for m in first.committee.members] == ["mtp", "mtp"]
    assert first.members[0].spec.artifact != first.members[1].spec.artifact
    energy = Committee.from_doc(first.committee).predict(frames).energies
    assert np.isfinite(energy).all()
    assert (energy[0] != energy[1]).any()
    more = Frames.concat([frames, labelled(structures(10, seed=8))])
    second = outcome(maker.make([more], 2, first), job_store)
    for before, after in zip(first.members, second.members, strict=True):
        assert after.started_from == before.spec.label
        assert after.epochs.column("loss")[0] < before.epochs.column("loss")[0]


@pytest.mark.slow
@pytest.mark.skipif(not TUNGSTEN.exists(), reason="the tungsten data are not beside the project")
def test_elastic_tungsten_is_learned_to_a_meV_per_atom(tmp_path):
    frames = Frames.from_extxyz(TUNGSTEN / "A_elastic.xyz.gz")
    order = np.random.default_rng(0).permutation(len(frames))
    train, valid, test = (frames[part] for part in (order[:80], order[80:100], order[100:]))
    settings = MtpSettings(level=8, forces_weight=0.0, max_steps=15)
    run = TrainingRun(train, valid, settings, fit_e0s(frames), seed=1, name="w")
    model, _ = fit(run, tmp_path)
    prediction = load_predictor(PotentialSpec(backend="mtp", name=str(model))).predict(test)
    spread = 1e3 * np.std(test.energy / test.n_atoms)
    error = 1e3 * error_metrics(test, prediction)["energy_rmse"]
    assert spread > 20
    assert error < 1
