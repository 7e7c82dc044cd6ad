"""LabelMaker against ASE itself, and what happens when labels fail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from atomate2.ase.jobs import EmtRelaxMaker, LennardJonesStaticMaker
from jobflow import Flow, job, run_locally
from jobflow.core.maker import Maker

from atomate2_alpot.label import (
    LabelFractionError,
    LabelLimits,
    LabelMaker,
    check_label_fraction,
    presets,
)
from atomate2_alpot.schemas import Frames, PotentialSpec
from atomate2_alpot.taskdocs import LabelParseError, read_steps

LJ = {"sigma": 2.4, "epsilon": 0.3, "rc": 7.0, "smooth": True}


def argon_like(n: int, rng: np.random.Generator, spacing: float = 3.0) -> Frames:
    cells, positions = [], []
    for _ in range(n):
        cell = np.eye(3) * spacing * (1 + 0.1 * rng.random())
        cells.append(cell)
        positions += [np.zeros(3), cell.sum(0) / 2 + rng.normal(0, 0.1, 3)]
    return Frames.from_arrays(
        np.tile([18, 36], n), positions, cells, [2] * n, origin={"prototype": ["B2"] * n}
    )


def lj_labeller(**settings) -> LabelMaker:
    maker = LennardJonesStaticMaker(name="lj static", calculator_kwargs=LJ)
    return LabelMaker(maker=maker, functional="LJ", **settings)


def run(flow: Flow, store):
    run_locally(flow, store=store, log=False)
    return store.get_output(flow.output.uuid, load=True)


def as_batch(document):
    from monty.json import MontyDecoder

    return MontyDecoder().process_decoded(document)


@dataclass
class FailsForSome(Maker):
    """A Maker whose job dies for cells whose volume is above a bound."""

    name: str = "sometimes"
    volume: float = 0.0

    def make(self, structure):
        return _maybe(structure, self.volume)


@job
def _maybe(structure, volume):
    if structure.volume > volume:
        raise RuntimeError("SCF did not converge")
    return LennardJonesStaticMaker.make.original(
        LennardJonesStaticMaker(calculator_kwargs=LJ), structure
    )


def test_labels_are_those_of_the_calculator(job_store, rng):
    frames = argon_like(3, rng)
    batch = as_batch(run(lj_labeller().make(frames, iteration=2), job_store))
    assert batch.n_labelled == batch.n_requested == 3
    for atoms, labelled in zip(frames.to_ase(), batch.frames.to_ase(), strict=True):
        atoms.calc = LennardJones(**LJ)
        assert labelled.get_potential_energy() == pytest.approx(atoms.get_potential_energy())
        np.testing.assert_allclose(labelled.get_forces(), atoms.get_forces(), atol=1e-8)
        np.testing.assert_allclose(labelled.get_stress(), atoms.get_stress(voigt=True), atol=1e-10)


def test_stress_label_is_the_strain_derivative_of_the_energy(job_store, rng):
    frames = argon_like(1, rng, spacing=2.6)
    labelled = as_batch(run(lj_labeller().make(frames), job_store)).frames
    atoms, h = frames.to_ase()[0], 1e-5
    energies = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell * (1 + sign * h), scale_atoms=True)
        strained.calc = LennardJones(**LJ)
        energies.append(strained.get_potential_energy())
    trace = (energies[0] - energies[1]) / (2 * h) / frames.volume[0]
    assert np.trace(labelled.stress[0]) == pytest.approx(trace, rel=1e-5)
    assert trace < 0  # compressed: ASE's sign is negative


def test_origin_and_provenance_reach_the_labelled_frames(job_store, rng):
    frames = argon_like(2, rng)
    batch = as_batch(run(lj_labeller().make(frames, iteration=4), job_store))
    assert batch.frames.frame_id == frames.frame_id
    assert list(batch.frames.column("prototype")) == ["B2", "B2"]
    assert list(batch.frames.column("iteration")) == [4, 4]
    assert set(batch.frames.column("functional")) == {"LJ"}
    for uuid in batch.frames.column("task_uuid"):
        assert job_store.query_one({"uuid": uuid}) is not None


def test_reference_to_frames_expands_the_flow(job_store, rng):
    @job(data=[Frames])
    def propose():
        return argon_like(5, np.random.default_rng(0))

    source = propose()
    label = lj_labeller(batch_size=2, gather_size=2).make(source.output)
    run_locally(Flow([source, label]), store=job_store, log=False)
    batch = as_batch(job_store.get_output(label.output.uuid, load=True))
    assert batch.n_labelled == 5
    assert batch.frames.frame_id == argon_like(5, np.random.default_rng(0)).frame_id


@pytest.mark.parametrize(("batch_size", "gather_size"), [(1, 1), (1, 100), (3, 3), (4, 100)])
def test_a_failing_label_costs_only_that_label(job_store, rng, batch_size, gather_size):
    frames = argon_like(6, rng)
    bound = float(np.sort(frames.volume)[3])
    maker = LabelMaker(
        maker=FailsForSome(volume=bound),
        functional="LJ",
        batch_size=batch_size,
        gather_size=gather_size,
    )
    batch = as_batch(run(maker.make(frames), job_store))
    assert batch.n_labelled == 4
    survivors = {i for i, v in zip(frames.frame_id, frames.volume, strict=True) if v <= bound}
    assert set(batch.frames.frame_id) == survivors
    assert {f.frame_id for f in batch.failures} == set(frames.frame_id) - survivors
    assert batch.failure_counts == {"not converged": 2}
    assert {f.detail for f in batch.failures} == {"_maybe: RuntimeError: SCF did not converge"}


def test_all_labels_failing_is_recorded_and_refused_by_the_policy(job_store, rng):
    maker = LabelMaker(maker=FailsForSome(volume=0.0), functional="LJ")
    batch = as_batch(run(maker.make(argon_like(3, rng)), job_store))
    assert (batch.n_labelled, len(batch.failures)) == (0, 3)
    with pytest.raises(LabelFractionError, match=r"0 of 3 .*min_label_fraction.*not converged"):
        check_label_fraction(0, 3, maker.min_label_fraction, batch.failure_counts)


@pytest.mark.parametrize(("labelled", "ok"), [(5, True), (4, False)])
def test_label_policy_holds_at_its_bound(labelled, ok):
    if ok:
        check_label_fraction(labelled, 10, 0.5, {})
    else:
        with pytest.raises(LabelFractionError, match="40%"):
            check_label_fraction(labelled, 10, 0.5, {"not converged": 6})


@pytest.mark.parametrize("limit", ["max_force", "max_stress", "max_energy"])
def test_each_limit_turns_a_label_into_a_recorded_failure(job_store, rng, limit):
    limits = LabelLimits(**{limit: 1e-9})
    batch = as_batch(run(lj_labeller(limits=limits).make(argon_like(1, rng)), job_store))
    assert batch.n_labelled == 0
    assert batch.failures[0].reason == f"beyond limit {limit}"
    assert "1e-09" in batch.failures[0].detail


def test_relaxed_frames_are_new_frames_with_a_parent(job_store):
    frames = Frames.from_arrays(
        [29] * 4,
        np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0.02]]) * 3.8,
        [np.eye(3) * 3.8],
        [4],
    )
    maker = LabelMaker(maker=EmtRelaxMaker(steps=50), functional="EMT")
    batch = as_batch(run(maker.make(frames), job_store))
    assert batch.n_labelled == 1
    assert batch.frames.frame_id != frames.frame_id
    assert list(batch.frames.column("parent")) == frames.frame_id


def test_documents_of_another_kind_are_named():
    with pytest.raises(LabelParseError, match="unknown task document"):
        read_steps({"energy": 1.0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"maker": None}, "maker is not set"),
        ({"min_label_fraction": 1.5}, "min_label_fraction=1.5"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_wrong_settings_are_named_before_anything_runs(settings, message):
    kwargs = {"maker": EmtRelaxMaker(), **settings}
    with pytest.raises(ValueError, match=message):
        LabelMaker(**kwargs)


@dataclass
class Odd(Maker):
    """A Maker whose third job goes wrong in an odd way."""

    name: str = "odd"
    way: str = ""

    def make(self, structure):
        return odd(structure, self.way)


@job
def odd(structure, way):
    document = LennardJonesStaticMaker.make.original(
        LennardJonesStaticMaker(calculator_kwargs=LJ), structure
    )
    if structure.volume > 27.5:
        if way == "exit":
            raise SystemExit(3)
        if way == "text":
            raise RuntimeError("engine said \udcff [/x] " + 5_000_000 * "x")
        if way == "note":
            error = RuntimeError("SCF did not converge")
            error.add_note("in file x")
            raise error
        document.output.forces = [[0.0, 0.0]] if way == "shape" else document.output.forces
    return document


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("exit", "calculation failed"),
        ("text", "calculation failed"),
        ("note", "not converged"),
        ("shape", "calculation failed"),  # its own class refuses the document
    ],
)
def test_whatever_goes_wrong_with_one_frame_costs_that_frame(job_store, way, reason):
    cells = [np.eye(3) * a for a in (2.9, 3.0, 3.1)]
    frames = Frames.concat(
        [Frames.from_arrays([18, 36], [[0] * 3, c.sum(0) / 2], [c], [2]) for c in cells]
    )
    labeller = LabelMaker(maker=Odd(way=way), functional="LJ", batch_size=3)
    batch = as_batch(run(labeller.make(frames), job_store))
    assert batch.n_labelled == 2
    assert batch.failure_counts == {reason: 1}
    assert len(batch.failures[0].detail) <= 2000
    batch.failures[0].detail.encode()


def test_all_ionic_steps_are_vasps_only_and_that_is_said(job_store, rng):
    from atomate2.ase.jobs import LennardJonesRelaxMaker

    relaxing = LennardJonesRelaxMaker(calculator_kwargs=LJ, steps=300)
    labeller = LabelMaker(maker=relaxing, functional="LJ", which="all")
    batch = as_batch(run(labeller.make(argon_like(1, rng)), job_store))
    assert 'set which="last"' in batch.failures[0].detail


def test_a_relaxation_that_did_not_get_there_says_so(job_store, rng):
    from atomate2.ase.jobs import LennardJonesRelaxMaker

    relaxing = LennardJonesRelaxMaker(calculator_kwargs=LJ, steps=2)
    labeller = LabelMaker(maker=relaxing, functional="LJ")
    batch = as_batch(run(labeller.make(argon_like(1, rng)), job_store))
    assert batch.failures[0].reason == "not converged"
    assert "state is 'failed'" in batch.failures[0].detail


def test_a_maker_that_the_worker_cannot_import_is_named():
    lost = LabelMaker(maker={"@module": "my.own", "@class": "EngineMaker"})
    with pytest.raises(ValueError, match=r"my.own.EngineMaker, which this worker cannot import"):
        lost.plan(1)


def test_negative_limit_is_refused():
    with pytest.raises(ValueError, match="max_force"):
        LabelLimits(max_force=-1.0)


def test_chgnet_surrogate_labels_with_the_model_it_names(job_store):
    chgnet = pytest.importorskip("chgnet.model.model")
    frames = Frames.from_arrays([13, 28], [[0, 0, 0], [1.45, 1.45, 1.5]], [np.eye(3) * 2.9], [2])
    labeller = presets.chgnet_surrogate("r2scan")
    batch = as_batch(run(labeller.make(frames), job_store))
    model = chgnet.CHGNet.load(model_name="r2scan", verbose=False, use_device="cpu")
    expected = model.predict_structure(frames.to_structures()[0])
    assert batch.frames.energy[0] == pytest.approx(2 * float(expected["e"]), abs=1e-4)
    assert batch.functional == "r2SCAN"
    assert batch.surrogate == "chgnet:r2scan"


def test_unknown_surrogate_names_the_choices():
    with pytest.raises(ValueError, match=r"'pbe'.*r2scan"):
        presets.chgnet_surrogate("pbe")


def test_surrogate_takes_any_registered_potential(job_store, rng):
    labeller = presets.surrogate(
        PotentialSpec(backend="ase", name="ase.calculators.lj:LennardJones", kwargs=LJ)
    )
    batch = as_batch(run(labeller.make(argon_like(1, rng)), job_store))
    assert batch.n_labelled == 1
    assert batch.surrogate.startswith("ase:ase.calculators.lj:LennardJones[")
