"""VASP's path for real, but for VASP: inputs, custodian, an executable, emmet, documents."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from monty.json import MontyDecoder
from pymatgen.core import Structure
from pymatgen.io.vasp import Incar, Vasprun

from atomate2_alpot.dataset.labels import label_documents
from atomate2_alpot.label import LabelLimits, LabelMaker, Retry, presets
from atomate2_alpot.label.engine import run_calculation
from atomate2_alpot.schemas import Frames, PotentialSpec
from atomate2_alpot.taskdocs import LabelParseError, check_vasp, read_steps
from atomate2_alpot.testing import FAULTS, ToyPotential, vasp_stand_in

pytestmark = pytest.mark.slow

R2SCAN = ToyPotential(2)
"""What the stand-in computes when INCAR asks for r2SCAN."""


def test_every_ionic_step_becomes_a_frame_with_the_labels_of_its_geometry(
    stand_in, alni, label_with
):
    batch = label_with(presets.mp_aloe(**stand_in()), alni)
    asked = Frames.from_structures(alni)
    assert (batch.n_requested, batch.n_labelled, len(batch.frames)) == (1, 1, 3)
    assert list(batch.frames.column("step")) == [0, 1, 2]
    assert batch.frames.frame_id[0] == asked.frame_id[0]
    np.testing.assert_array_equal(batch.frames[0].positions, asked.positions)
    assert list(batch.frames.column("parent")) == [None, *asked.frame_id * 2]
    assert len(set(batch.frames.frame_id)) == 3
    expected = R2SCAN.predict(batch.frames)
    np.testing.assert_allclose(batch.frames.energy, expected.energy, atol=1e-6)
    np.testing.assert_allclose(batch.frames.forces, expected.forces, atol=1e-5)
    np.testing.assert_allclose(batch.frames.stress, expected.stress, atol=1e-6)


def test_stress_of_a_compressed_cell_is_minus_the_pressure(stand_in, alni, label_with):
    """tr σ / 3 = dE/dV, negative under compression, from E(V) of the stand-in's own labels."""
    labeller = presets.static("PBE", **stand_in())
    cells = []
    for scale in (0.999, 1.0, 1.001):
        cell = alni.copy()
        cell.scale_lattice(alni.volume * 0.75 * scale)
        cells.append(cell)
    frames = label_with(labeller, *cells).frames
    slope = (frames.energy[2] - frames.energy[0]) / (frames.volume[2] - frames.volume[0])
    assert slope < 0
    assert np.trace(frames.stress[1]) / 3 == pytest.approx(slope, rel=1e-4)


def test_stress_has_the_sign_and_unit_that_ase_reads_from_a_real_vasprun():
    ase = pytest.importorskip("ase")
    path = Path(ase.__file__).parent / "test" / "testdata" / "vasp" / "vasprun_pstress.xml"
    if not path.exists():
        pytest.skip("this ASE ships no vasprun.xml of VASP")
    from ase.io import read

    from atomate2_alpot.units import vasp_stress_to_ase

    theirs = read(path, index=-1).get_stress(voigt=False)
    last = Vasprun(path, parse_dos=False, parse_eigen=False).ionic_steps[-1]
    np.testing.assert_allclose(vasp_stress_to_ase(np.array(last["stress"])), theirs, atol=1e-8)


def test_a_label_document_leads_to_the_task_documents_and_back(stand_in, alni, job_store):
    from tests_label import run_labels

    frames = Frames.from_structures(alni)
    batch = run_labels(presets.mp_aloe(**stand_in()).make(frames, iteration=3), job_store)
    document = next(label_documents(batch))
    computed = document.calculation
    assert (computed["encut"], computed["kpoints"]) == (680.0, "13x12x12")
    assert computed["engine"] == "VASP"
    assert "Ni_pv" in computed["pseudopotentials"]
    row = MontyDecoder().process_decoded(job_store.get_output(computed["task_uuid"], load=True))
    calculation = row.calculations[computed["task_index"]]
    assert calculation.frame_id == document.frame_id
    assert [t.name for t in calculation.tasks] == ["PBE static", "r2SCAN three steps"]
    energies = [s.energy for s in read_steps(calculation.tasks[1].decode())]
    np.testing.assert_allclose(energies, batch.frames.energy)
    back = job_store.query_one({"output.calculations.frame_id": document.frame_id}, ["uuid"])
    assert back["uuid"] == computed["task_uuid"]


def test_stage_two_starts_from_stage_ones_wavecar_which_is_then_removed(stand_in, alni, tmp_path):
    labeller = presets.mp_aloe(**stand_in())
    calculation = run_calculation(labeller.maker, alni, tmp_path / "kept")
    one, two = sorted((tmp_path / "kept").glob("job_*"))
    assert any(one.glob("WAVECAR*"))
    with gzip.open(two / "INCAR.orig.gz", "rt") as stream:
        written = Incar.from_str(stream.read())
    assert (written["ISTART"], written["NSW"], written["EDIFFG"]) == (1, 3, 0)
    assert calculation.result.calcs_reversed[0].input.parameters["ISTART"] == 1
    os.chdir(tmp_path)
    from atomate2_alpot.label.row import label_row

    label_row(labeller.plan(1), Frames.from_structures(alni), "0123456789", tmp_path / "row")
    assert any((tmp_path / "row").rglob("vasprun.xml*"))
    assert not any((tmp_path / "row").rglob("WAVECAR*"))


REASONS = {
    "not_converging": "not converged",
    "dies": "no output",
    "truncated": "broken output",
    "no_wavecar": "no WAVECAR",
    "wrong_kpoints": "wrong k-points",
    "explodes": "beyond limit max_force",
}


@pytest.mark.parametrize("fault", REASONS)
def test_every_kind_of_failure_has_its_reason(stand_in, alni, label_with, fault):
    batch = label_with(presets.mp_aloe(**stand_in({fault: 1.0})), alni)
    assert (batch.n_labelled, len(batch.frames)) == (0, 0)
    assert batch.failure_counts == {REASONS[fault]: 1}
    assert batch.failures[0].detail


def test_the_walltime_is_a_reason(stand_in, alni, label_with):
    assert set(FAULTS) == {*REASONS, "slow"}
    batch = label_with(presets.static("PBE", **stand_in({"slow": 1.0}, wall_time=301)), alni)
    assert batch.failure_counts == {"walltime": 1}


def test_a_failing_first_stage_keeps_the_second_from_running(stand_in, alni, tmp_path):
    maker = presets.mp_aloe(**stand_in({"dies": 1.0})).maker
    calculation = run_calculation(maker, alni, tmp_path / "run")
    assert calculation.failed == "PBE static"
    assert calculation.tasks == []


def test_a_retry_with_a_name_rescues_what_it_is_for(stand_in, alni, label_with):
    """NELM is what the stand-in stops at, and what decides on convergence."""
    other = Retry(name="other", reasons=["walltime"], incar={"ALGO": "All"})
    rescue = Retry(name="plain", reasons=["no output"], options={"name": "again"})
    labeller = presets.static("PBE", **stand_in({"dies": 1.0}))
    labeller.retries = [other]
    assert label_with(labeller, alni).calculations.column("attempt").tolist() == ["first"]
    labeller.retries = [other, rescue]
    failed = label_with(labeller, alni)
    assert failed.calculations.column("attempt").tolist() == ["plain"]
    assert failed.failures[0].detail.startswith("again:")


def test_a_frame_with_atoms_on_top_of_each_other_costs_no_calculation(stand_in, label_with):
    close = Structure([[3, 0, 0], [0, 3, 0], [0, 0, 3]], ["Ni", "Al"], [[0, 0, 0], [0, 0, 0.1]])
    batch = label_with(presets.static("PBE", **stand_in()), close)
    assert batch.failure_counts == {"beyond limit min_distance": 1}
    assert batch.failures[0].detail == "min_distance: 0.3 < 0.5 Å"
    assert batch.seconds == 0


def test_an_energy_that_stands_out_is_left_out_and_counted(job_store, rng):
    from tests_label import run_labels

    toy = PotentialSpec(backend="toy", kwargs={"seed": 1})
    batch = []
    for scale in (1.0, 1.01, 1.02, 1.03, 1.6):
        cell = np.eye(3) * 2.9 * scale
        batch.append(Frames.from_arrays([13, 28], [[0] * 3, cell.sum(0) / 2], [cell], [2]))
    frames = Frames.concat(batch)
    labeller = presets.surrogate(toy)
    labeller.limits = LabelLimits(max_energy_deviation=0.3)
    found = run_labels(labeller.make(frames), job_store)
    assert found.failure_counts == {"beyond limit max_energy_deviation": 1}
    assert found.failures[0].frame_id == frames.frame_id[-1]
    assert found.frames.frame_id == frames.frame_id[:-1]


def test_a_mesh_at_the_edge_of_rounding_is_not_called_wrong():
    class Inputs:
        parameters = {"ISTART": 0}  # noqa: RUF012
        structure = Structure(np.eye(3) * (np.pi * 2 / 0.2 / 10), ["Al"], [[0, 0, 0]])

        def __init__(self, mesh):
            self.kpoints = type("K", (), {"kpts": [mesh]})

    for mesh in ((10, 10, 10), (11, 10, 10)):
        check_vasp({"KSPACING": 0.2}, Inputs(mesh))
    with pytest.raises(LabelParseError, match="wrong k-points"):
        check_vasp({"KSPACING": 0.2}, Inputs((12, 10, 10)))


def test_vasp_is_the_command_of_atomate2s_settings(tmp_path, alni):
    """In a process of its own: atomate2 reads VASP_CMD when it is imported."""
    (tmp_path / "bin").mkdir()
    with vasp_stand_in(tmp_path / "bin"):
        command = str(tmp_path / "bin" / "vasp_std")
    alni.to(filename=str(tmp_path / "cell.json"))
    script = (
        "from pathlib import Path\n"
        "from pymatgen.core import Structure\n"
        "from atomate2_alpot.label import presets\n"
        "from atomate2_alpot.label.engine import run_calculation\n"
        "run = {'custodian_kwargs': {'polling_time_step': 0.05, 'monitor_freq': 1}}\n"
        "maker = presets.static('PBE', run_vasp=run, potcar_spec=True).maker\n"
        "done = run_calculation(maker, Structure.from_file('cell.json'), Path('run'))\n"
        "print('energy', done.result.output.energy, done.words)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "ATOMATE2_VASP_CMD": command},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = ToyPotential(1).predict(Frames.from_structures(alni)).energy[0]
    words = found.stdout.split()
    assert "energy" in words, found.stderr[-2000:]
    assert float(words[words.index("energy") + 1]) == pytest.approx(expected, abs=1e-5)


def test_every_file_of_the_stand_in_says_that_it_is_one(stand_in, alni, tmp_path):
    maker = presets.mp_aloe(**stand_in()).maker
    run_calculation(maker, alni, tmp_path / "run")
    first = sorted((tmp_path / "run").glob("job_*"))[0]
    for name in ("vasprun.xml", "OUTCAR", "CONTCAR", "WAVECAR", "vasp.out", "OSZICAR"):
        with gzip.open(next(first.glob(f"{name}*")), "rt", errors="ignore") as stream:
            assert "STAND-IN" in stream.read(), name


def test_atomate2s_own_fake_of_vasp_accepts_our_inputs(alni, stand_in, tmp_path, monkeypatch):
    """Reference inputs by pymatgen's sets, outputs of the stand-in, checked by atomate2."""
    from atomate2.utils.testing.vasp import monkeypatch_vasp
    from pymatgen.io.vasp.sets import MP24RelaxSet, MP24StaticSet

    labeller = presets.mp_aloe(**stand_in())
    run_calculation(labeller.maker, alni, tmp_path / "real")
    one, two = sorted((tmp_path / "real").glob("job_*"))
    lean = {"LCHARG": False, "LAECHG": False, "LVTOT": False, "KSPACING": 0.2}
    steps = {**lean, "NSW": 3, "EDIFFG": 0, "ISTART": 1, "LWAVE": False}
    sets = {
        one: MP24StaticSet(xc_functional="PBE", user_incar_settings={**lean, "LWAVE": True}),
        two: MP24RelaxSet(user_incar_settings=steps),
    }
    paths = {}
    for name, (folder, theirs) in zip(
        ("PBE static", "r2SCAN three steps"), sets.items(), strict=True
    ):
        reference = tmp_path / "reference" / name
        theirs.auto_kspacing = False
        inputs = theirs.get_input_set(alni, potcar_spec=True)
        inputs.write_input(reference / "inputs")
        (reference / "outputs").mkdir()
        for path in folder.iterdir():
            (reference / "outputs" / path.name).write_bytes(path.read_bytes())
        paths[name] = name
    fake = monkeypatch_vasp(monkeypatch, tmp_path / "reference")
    next(fake)(paths)
    calculation = run_calculation(labeller.maker, alni, tmp_path / "faked")
    fake.close()
    assert calculation.error is None, calculation.words
    assert len(read_steps(calculation.result)) == 3


def test_retries_that_cannot_work_are_refused():
    maker = presets.toy_surrogate().maker
    with pytest.raises(ValueError, match="repeats a name"):
        LabelMaker(maker=maker, retries=[Retry(name="a b"), Retry(name="a-b")])
    with pytest.raises(ValueError, match=r"'a' changes \['stepps'\].*steps"):
        LabelMaker(maker=maker, retries=[Retry(name="a", options={"stepps": 1})])
    for name in ("first", "../x", ""):
        with pytest.raises(ValueError, match="name"):
            Retry(name=name)


def test_steps_that_hardly_move_keep_their_own_ids_and_the_asked_one_its_label(
    tmp_path, label_with
):
    """Near equilibrium all three ionic steps lie within the tolerance of the asked geometry."""
    copper = Structure.from_prototype("fcc", ["Cu"], a=3.59)
    emt = PotentialSpec(backend="ase", name="ase.calculators.emt:EMT")
    with vasp_stand_in(tmp_path, models={"PBE": emt, "r2SCAN": emt}) as run_vasp:
        batch = label_with(presets.mp_aloe(run_vasp=run_vasp, potcar_spec=True), copper)
    asked = Frames.from_structures(copper)
    assert batch.frames.frame_id[0] == asked.frame_id[0]
    assert len(set(batch.frames.frame_id)) == len(batch.frames)
    from atomate2_alpot.potentials import load_predictor

    expected = load_predictor(emt).predict(batch.frames)
    np.testing.assert_allclose(batch.frames.energy, expected.energy, atol=1e-6)
    np.testing.assert_allclose(batch.frames.stress, expected.stress, atol=1e-6)


def test_a_left_handed_cell_keeps_its_id_and_gets_its_own_forces(stand_in, alni, label_with):
    """pymatgen writes POSCAR with a positive determinant, that is, the inversion image."""
    matrix = alni.lattice.matrix.copy()
    matrix[2] *= -1
    places = [[0.02, 0, 0], [0.5, 0.4, 0.45]]
    left = Structure(matrix, ["Ni", "Al"], places)
    batch = label_with(presets.static("PBE", **stand_in()), left)
    asked = Frames.from_structures(left)
    assert batch.frames.frame_id == asked.frame_id
    np.testing.assert_allclose(
        batch.frames.forces, ToyPotential(1).predict(asked).forces, atol=1e-5
    )


def test_what_moves_stays_as_periodic_as_it_was(stand_in, alni, job_store):
    from tests_label import run_labels

    slab = Frames.from_structures(alni)
    slab = Frames.from_arrays(
        slab.numbers, slab.positions, slab.cell, slab.n_atoms, pbc=[[True, True, False]]
    )
    batch = run_labels(presets.mp_aloe(**stand_in()).make(slab), job_store)
    assert len(batch.frames) == 3
    assert batch.frames.pbc.tolist() == [[True, True, False]] * 3


def test_an_empty_wavecar_is_found_with_matpes_too(stand_in, alni, label_with, tmp_path):
    options = stand_in()
    program = Path(options["run_vasp"]["vasp_cmd"])
    text = program.read_text().replace("exec ", "")
    program.write_text(text + "\n[ -f WAVECAR ] && : > WAVECAR\nexit 0\n")
    batch = label_with(presets.matpes(**options), alni)
    assert batch.failure_counts == {"no WAVECAR": 1}


def test_walltime_counts_from_the_label_job(stand_in, alni, label_with, monkeypatch):
    """custodian keeps the start of the process's first run in the environment."""
    monkeypatch.setenv("CUSTODIAN_WALLTIME_START", "Sat Jan 01 00:00:00 UTC 2000")
    batch = label_with(presets.static("PBE", **stand_in(wall_time=3600)), alni)
    assert batch.failures == []


def test_labels_of_the_stand_in_are_called_surrogates(stand_in):
    for make in (presets.mp_aloe, presets.matpes, presets.static):
        assert make(**stand_in()).surrogate == "VASP stand-in"
        assert make().surrogate is None
