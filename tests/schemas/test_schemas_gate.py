"""Foreign data at the gate: what could be misread silently is refused or read right."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from hypothesis import given, settings
from hypothesis import strategies as st

from atomate2_alpot.schemas import Frames, Labels, ScoreTable

CELL = np.eye(3) * 4.0
GOOD = {"numbers": [13, 28], "positions": np.zeros((2, 3)), "cell": [CELL], "n_atoms": [2]}


@pytest.mark.parametrize(
    ("update", "message"),
    [
        # as many numbers as wanted, in another order: reshape would take them
        ({"positions": np.arange(6).reshape(3, 2)}, "positions has shape (3, 2), not (n, 3)"),
        ({"positions": np.zeros((2, 2))}, "positions has shape (2, 2)"),
        ({"cell": np.ones(3)}, "cell has shape (3,), not (n, 3, 3)"),
        ({"pbc": [[True, True]]}, "pbc has shape (1, 2), not (n, 3)"),
        ({"numbers": [13.5, 28]}, "numbers holds 13.5: whole numbers are needed"),
        ({"numbers": [13, np.nan]}, "numbers holds nan"),
        ({"n_atoms": [1.5]}, "n_atoms holds 1.5"),
        ({"labels": Labels([0.0], np.zeros((3, 2)))}, "forces has shape (3, 2)"),
        ({"labels": Labels([0.0], None, np.zeros((1, 6)))}, "expand Voigt vectors to 3×3 first"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_arrays_of_another_shape_are_not_reshaped_into_something_else(update, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Frames.from_arrays(**{**GOOD, **update})


def test_one_periodicity_is_not_spread_over_three_frames():
    with pytest.raises(ValueError, match="shapes disagree"):
        Frames.from_arrays([1] * 3, np.zeros((3, 3)), [CELL] * 3, [1] * 3, pbc=[True] * 3)


def test_shapes_that_mean_the_same_are_taken():
    positions = np.arange(6.0).reshape(2, 3)
    stress = np.arange(9.0).reshape(1, 3, 3)
    plain = Frames.from_arrays([13, 28], positions, [CELL], [2], labels=Labels([1.0], None, stress))
    flat = Frames.from_arrays(
        [13, 28], positions.ravel(), CELL, [2], labels=Labels([1.0], None, stress.reshape(1, 9))
    )
    stacked = Frames.from_arrays([13, 28], positions[None], CELL.reshape(1, 9), [2])
    assert plain == flat
    assert stacked.frame_id == plain.frame_id


def test_results_of_atoms_that_moved_since_are_no_labels():
    atoms = bulk("Cu")
    atoms.calc = EMT()
    atoms.get_potential_energy()
    atoms.set_cell(atoms.cell * 1.05, scale_atoms=True)
    with pytest.raises(ValueError, match=r"calculator of Cu .*\(changed since: cell\)"):
        Frames.from_ase(atoms)
    atoms.get_potential_energy()
    assert Frames.from_ase(atoms).energy[0] == pytest.approx(atoms.get_potential_energy())


def test_a_calculator_shared_by_structures_labels_none_of_the_others():
    shared, batch = EMT(), [bulk("Cu", a=a) for a in (3.5, 3.6)]
    for atoms in batch:
        atoms.calc = shared
        atoms.get_potential_energy()
    with pytest.raises(ValueError, match="give each Atoms its own calculator"):
        Frames.from_ase(batch)


def test_a_calculator_that_has_not_run_leaves_frames_unlabelled():
    atoms = bulk("Cu")
    atoms.calc = EMT()
    assert not Frames.from_ase(atoms).is_labelled.any()


def test_molecule_without_a_cell_goes_through_ase_and_says_what_pymatgen_needs():
    frames = Frames.from_ase(molecule("H2O"))
    assert Frames.from_ase(frames.to_ase()).frame_id == frames.frame_id
    assert not frames.pbc.any()
    with pytest.raises(ValueError, match="frame 0 has a cell without volume"):
        frames.to_structures()


@given(st.lists(st.integers(0, 10**9), min_size=3, max_size=12))
@settings(max_examples=50, deadline=None)
def test_identity_survives_text_at_half_a_quantum(tmp_path_factory, steps):
    """Decimal and binary rounding differ exactly there; lattice parameters do have nine digits."""
    positions = (np.array(steps[: len(steps) // 3 * 3]).reshape(-1, 3) + 0.5) * 1e-8
    n = len(positions)
    frames = Frames.from_arrays([13] * n, positions, [np.eye(3) * 8.123456785], [n])
    path = tmp_path_factory.mktemp("half") / "frames.xyz"
    frames.to_extxyz(path)
    assert Frames.from_extxyz(path).frame_id == frames.frame_id


def test_identity_is_that_of_the_frame_alone():
    rng = np.random.default_rng(0)
    sizes = [3, 1, 4]
    batch = Frames.from_arrays(
        rng.integers(1, 90, 8), rng.normal(size=(8, 3)), rng.normal(size=(3, 3, 3)) + CELL, sizes
    )
    alone = [
        Frames.from_arrays(f.numbers, f.positions, f.cell, f.n_atoms).frame_id[0]
        for f in (batch[i] for i in range(3))
    ]
    assert alone == batch.frame_id
    labelled = batch.with_labels(Labels([1.0, 2.0, 3.0])).with_origin(iteration=4)
    assert labelled.frame_id == batch.frame_id


def test_reading_a_file_by_hand_finds_the_same_numbers(tmp_path):
    """ASE's own reader, not ours, on what we write."""
    from ase.io import read

    frames = Frames.from_arrays(
        **GOOD, labels=Labels([-3.0], [[0, 0.5, 0], [0, -0.5, 0]], [np.diag([1.0, 2, 3])])
    )
    frames.to_extxyz(tmp_path / "one.xyz")
    atoms = read(tmp_path / "one.xyz")
    assert isinstance(atoms, Atoms)
    assert atoms.info["REF_energy"] == -3.0
    np.testing.assert_allclose(atoms.arrays["REF_forces"], frames.forces)
    np.testing.assert_allclose(np.reshape(atoms.info["REF_stress"], (3, 3)), frames.stress[0])


def test_labels_that_are_there_for_some_frames_only_stay_with_them():
    nan = float("nan")
    frames = Frames.from_arrays([1, 1, 8], np.eye(3), [CELL] * 2, [2, 1]).with_labels(
        Labels([nan, 2.0], [[nan] * 3, [nan] * 3, [1, 2, 3]], [np.full((3, 3), nan), np.eye(3)])
    )
    back = frames.take([1, 0])
    assert back.is_labelled.tolist() == [True, False]
    np.testing.assert_array_equal(back.forces[0], [1, 2, 3])
    assert np.isnan(back.forces[1:]).all()
    np.testing.assert_array_equal(back.stress[0], np.eye(3))
    assert [a.calc is None for a in back.to_ase()] == [False, True]


# --- rows of any table -------------------------------------------------------------------


def table(n: int = 3) -> ScoreTable:
    return ScoreTable.from_columns(frame_id=[str(i) for i in range(n)], energy_spread=range(n))


@pytest.mark.parametrize("key", [1.5, [0.0, 1.9], "frame_id"])
def test_rows_are_never_selected_by_anything_but_integers_and_masks(key):
    with pytest.raises(IndexError, match="rows are selected by integers"):
        table()[key]


def test_the_row_that_is_not_there_is_the_one_named():
    with pytest.raises(IndexError, match="row -9 of 3"):
        table().take([-9, 0])
    assert table().take([-1]).column("frame_id")[0] == "2"


def test_columns_are_replaced_whole():
    filled = table().with_columns(candidate=np.int64(7), verdict="agreed", energy_spread=None)
    assert filled.column("candidate").tolist() == [7, 7, 7]
    assert list(filled.column("verdict")) == ["agreed"] * 3
    assert np.isnan(filled.column("energy_spread")).all()
    with pytest.raises(ValueError, match="column 'verdict' has 2 values for 3 rows"):
        table().with_columns(verdict=["a", "b"])


def test_missing_and_disordered_columns_are_put_in_the_order_of_the_schema():
    mixed = ScoreTable(pa.table({"verdict": ["agreed"], "frame_id": ["a"]}))
    assert mixed.table.schema == ScoreTable.SCHEMA
    assert mixed == ScoreTable.from_parquet(mixed.to_parquet())
    assert len(ScoreTable.concat([])) == 0
    assert ScoreTable.concat([mixed, mixed]).column("frame_id").tolist() == ["a", "a"]


def test_an_empty_batch_has_arrays_of_the_right_rank():
    none = Frames.empty()
    assert none == Frames.from_arrays([], [], [], []) == Frames.from_dict(none.as_dict())
    assert none.positions.shape == none.forces.shape == (0, 3)
    assert none.stress.shape == none.cell.shape == (0, 3, 3)
    assert none.offsets.tolist() == [0]
    assert none.to_ase() == none.to_structures() == none.elements == []
