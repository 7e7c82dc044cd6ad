"""DFT engines that run without a licence: their labels against derivatives of their energies."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from atomate2_alpot.label import presets
from atomate2_alpot.label.isolated import atom_labeller, isolated_atoms, unpaired_electrons
from atomate2_alpot.label.vasp import vasp_makers
from atomate2_alpot.schemas import Frames


@pytest.fixture
def hydrogen() -> list[Structure]:
    """A stretched molecule in a small box, moved by ±0.01 Å, and in boxes of ±0.5 % edge."""
    molecule = Structure(Lattice.cubic(4.0), ["H", "H"], [[0.02, 0.01, 0], [0.24, 0.01, 0]])
    cells = [molecule]
    for move in (-0.01, 0.01):
        cells.append(molecule.copy())
        cells[-1].translate_sites([1], [move, 0, 0], frac_coords=False)
    boxes = [Lattice.cubic(4.0 * scale) for scale in (0.995, 1.005)]
    return [*cells, *(Structure(b, molecule.species, molecule.frac_coords) for b in boxes)]


def check_derivatives(frames: Frames, force: float, stress: float) -> None:
    energy, volume = frames.energy, frames.volume
    slope = -(energy[2] - energy[1]) / 0.02
    assert abs(slope) > 1
    assert frames[0].forces[1, 0] == pytest.approx(slope, rel=force)
    np.testing.assert_allclose(frames[0].forces.sum(axis=0), 0, atol=0.05)
    pressure = (energy[4] - energy[3]) / (volume[4] - volume[3])
    assert np.trace(frames[0].stress[0]) / 3 == pytest.approx(pressure, rel=stress)


@pytest.mark.slow
@pytest.mark.parametrize("functional", ["PBE", "r2SCAN"])
def test_gpaw_labels_are_derivatives_of_its_energy(functional, hydrogen, label_with):
    pytest.importorskip("gpaw", reason="GPAW is not installed; `make gpaw` installs it")
    labeller = presets.gpaw(functional, cutoff=700, kspacing=2.0)
    labeller.batch_size = 5
    batch = label_with(labeller, *hydrogen)
    assert batch.failures == []
    assert set(batch.frames.column("functional")) == {f"{functional} (GPAW)"}
    assert batch.calculations.column("engine")[0] == "gpaw"
    check_derivatives(batch.frames, force=0.03, stress=0.1)


def cp2k_data() -> Path | None:
    folder = os.environ.get("PMG_CP2K_DATA_DIR")
    return Path(folder) if folder and Path(folder).is_dir() else None


@pytest.mark.slow
def test_cp2k_labels_are_derivatives_of_its_energy(hydrogen, label_with):
    if shutil.which("cp2k.psmp") is None or cp2k_data() is None:
        pytest.skip("CP2K or its data (PMG_CP2K_DATA_DIR) is not here")
    run = {"cp2k_cmd": "cp2k.psmp", "custodian_kwargs": {"polling_time_step": 0.2}}
    labeller = presets.cp2k({"cutoff": 600}, kpoints=(1, 1, 1), run_cp2k=run)
    labeller.batch_size = 5
    batch = label_with(labeller, *hydrogen)
    assert batch.failures == []
    assert batch.calculations.column("engine")[0] == "CP2K"
    check_derivatives(batch.frames, force=0.01, stress=0.1)


def test_cp2k_documents_are_turned_into_our_units():
    """Ha/bohr, and GPa with a pressure's sign: what atomate2's document keeps."""
    from atomate2.cp2k.schemas.task import OutputSummary, TaskDocument

    from atomate2_alpot.taskdocs import read_steps

    cell = Structure(Lattice.cubic(3.0), ["H"], [[0, 0, 0]])
    output = OutputSummary.model_construct(
        structure=cell, energy=-1.0, forces=[(1.0, 0.0, 0.0)], stress=160.21766 * np.eye(3)
    )
    document = TaskDocument.model_construct(output=output, structure=cell, state=None)
    (step,) = read_steps(document)
    np.testing.assert_allclose(step.forces, [[51.42206747, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(step.stress, -np.eye(3), rtol=1e-6)


# --- isolated atoms ----------------------------------------------------------------------


def test_unpaired_electrons_fit_the_number_of_electrons():
    from ase.data import atomic_numbers, chemical_symbols

    for symbol in chemical_symbols[1:104]:
        assert (unpaired_electrons(symbol) - atomic_numbers[symbol]) % 2 == 0, symbol
    known = {"H": 1, "He": 0, "C": 2, "N": 3, "O": 2, "Fe": 4, "Cr": 6, "Mn": 5, "Gd": 8, "W": 4}
    assert {s: unpaired_electrons(s) for s in known} == known


def test_an_isolated_atom_runs_at_gamma_with_its_spin(stand_in, job_store):
    from tests_label import run_labels

    frames = isolated_atoms(["Fe", "O"])
    assert not frames.pbc.any()
    labeller = atom_labeller(presets.static("PBE", **stand_in()))
    batch = run_labels(labeller.make(frames), job_store)
    assert batch.failures == []
    assert batch.frames.frame_id == frames.frame_id
    assert not batch.frames.pbc.any()
    assert batch.calculations.column("kpoints").tolist() == ["1x1x1", "1x1x1"]
    rows = [job_store.query_one({"uuid": u}, load=True) for u in batch.frames.column("task_uuid")]
    for row, unpaired in zip(rows, (4, 2), strict=True):
        task = row["output"]["calculations"][0]["tasks"][0]["document"]
        incar = task["calcs_reversed"][0]["input"]["incar"]
        assert (incar["NUPDOWN"], incar["ISPIN"], incar["ISYM"]) == (unpaired, 2, 0)
        assert "KSPACING" not in incar


def test_atoms_of_two_stages_are_labelled_by_the_second(stand_in, job_store):
    from tests_label import run_labels

    labeller = atom_labeller(presets.mp_aloe(**stand_in()))
    assert len(list(vasp_makers(labeller.maker))) == 2
    batch = run_labels(labeller.make(isolated_atoms(["Al"])), job_store)
    assert (batch.n_labelled, len(batch.frames)) == (1, 1)


@pytest.mark.slow
def test_cp2k_gives_hydrogen_the_energy_of_its_doublet(job_store):
    """PBE: -13.60 eV with its spin, -12.5 without."""
    from tests_label import run_labels

    if shutil.which("cp2k.psmp") is None or cp2k_data() is None:
        pytest.skip("CP2K or its data (PMG_CP2K_DATA_DIR) is not here")
    run = {"cp2k_cmd": "cp2k.psmp", "custodian_kwargs": {"polling_time_step": 0.2}}
    labeller = atom_labeller(presets.cp2k({"cutoff": 300}, run_cp2k=run))
    batch = run_labels(labeller.make(isolated_atoms(["H"])), job_store)
    assert batch.frames.energy[0] == pytest.approx(-13.60, abs=0.1)


def test_cp2k_is_told_the_multiplicity_of_an_atom():
    labeller = atom_labeller(presets.cp2k())
    (job,) = [labeller.maker.make(s) for s in isolated_atoms(["O"]).to_structures()]
    generator = job.function.__self__.input_set_generator
    assert generator.user_input_settings["multiplicity"] == 3
    assert generator.user_kpoints_settings.kpts == [(1, 1, 1)]


def test_e0s_come_from_isolated_atoms_where_the_dataset_has_them(job_store):
    from tests_label import run_labels

    from atomate2_alpot.train import resolve_e0s

    labeller = presets.toy_surrogate()
    atoms = run_labels(atom_labeller(labeller).make(isolated_atoms(["Al", "Ni"])), job_store)
    e0s, source = resolve_e0s(atoms.frames, None)
    assert source == "isolated_atoms"
    assert set(e0s) == {"Al", "Ni"}


def test_a_word_that_is_no_element_is_refused():
    with pytest.raises(ValueError, match=r"\['Xx'\] are not elements"):
        isolated_atoms(["Fe", "Xx"])
