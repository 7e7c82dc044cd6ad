"""`Frames` and what travels: round trips, identity, and what is refused at the gate."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from hypothesis import given, settings
from hypothesis import strategies as st
from jobflow import job, run_locally
from monty.json import MontyDecoder, MontyEncoder

from atomate2_alpot.schemas import (
    BLOBS,
    Artifact,
    CommitteeDoc,
    EpochTable,
    Frames,
    Labels,
    MapTable,
    ParityTable,
    PotentialSpec,
    ScoreTable,
    SplitTable,
)
from atomate2_alpot.schemas.blobs import BlobError


@st.composite
def batches(draw) -> Frames:
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    n, s = sum(sizes), len(sizes)
    energy = np.where(rng.random(s) < 0.7, rng.normal(size=s) * 10, np.nan)
    forces, stress = rng.normal(size=(n, 3)), rng.normal(size=(s, 3, 3))
    stress = (stress + stress.transpose(0, 2, 1)) / 2
    owner = np.repeat(np.arange(s), sizes)
    forces[np.isnan(energy)[owner]] = np.nan
    stress[np.isnan(energy) | (rng.random(s) < 0.2)] = np.nan
    return Frames.from_arrays(
        rng.integers(1, 95, n),
        rng.normal(size=(n, 3)) * 5,
        np.eye(3) * 5 + rng.normal(size=(s, 3, 3)),
        sizes,
        labels=Labels(energy, forces, stress),
        origin={"prototype": [f"p{i}" for i in range(s)], "iteration": list(range(s))},
    )


def same(a: Frames, b: Frames, atol: float = 0.0) -> None:
    assert a.frame_id == b.frame_id
    for name in ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=atol, err_msg=name)
    assert list(a.column("prototype")) == list(b.column("prototype"))


@given(batches())
@settings(max_examples=25, deadline=None)
def test_document_and_parquet_round_trips_are_exact(frames):
    text = json.dumps(frames, cls=MontyEncoder)
    assert json.loads(text, cls=MontyDecoder) == frames
    assert Frames.from_parquet(frames.to_parquet()) == frames


@given(frames=batches())
@settings(max_examples=15, deadline=None)
def test_ase_and_extended_xyz_keep_structure_labels_and_identity(tmp_path_factory, frames):
    same(frames, Frames.from_ase(frames.to_ase()), atol=1e-12)
    path = tmp_path_factory.mktemp("xyz") / "frames.xyz"
    frames.to_extxyz(path)
    same(frames, Frames.from_extxyz(path), atol=1e-7)


@given(batches())
@settings(max_examples=15, deadline=None)
def test_pymatgen_keeps_structure_and_identity(frames):
    again = Frames.from_structures(frames.to_structures())
    np.testing.assert_allclose(again.positions, frames.positions, atol=1e-9)
    assert again.numbers.tolist() == frames.numbers.tolist()


@given(batches(), st.data())
@settings(max_examples=25, deadline=None)
def test_selecting_rows_is_selecting_from_lists(frames, data):
    n = len(frames)
    indices = data.draw(st.lists(st.integers(0, n - 1), max_size=8))
    taken = frames.take(indices)
    assert taken.frame_id == [frames.frame_id[i] for i in indices]
    expected = [frames.split_atoms(frames.positions)[i] for i in indices]
    if indices:
        np.testing.assert_array_equal(taken.positions, np.concatenate(expected))
    start = data.draw(st.integers(0, n))
    assert frames[start:].frame_id == frames.frame_id[start:]
    assert frames[::-1].frame_id == frames.frame_id[::-1]
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    assert frames[mask].frame_id == [i for i, m in zip(frames.frame_id, mask, strict=True) if m]
    joined = Frames.concat([frames[:start], frames[start:]])
    same(frames, joined)


def water(shift: float = 0.0, order=(0, 1, 2)) -> Frames:
    positions = np.array([[0, 0, 0], [0.76, 0.59, 0], [-0.76, 0.59, 0]]) + shift
    return Frames.from_arrays(
        np.array([8, 1, 1])[list(order)], positions[list(order)], [np.eye(3) * 8], [3]
    )


def test_identity_is_the_same_in_another_process():
    code = (
        "from atomate2_alpot.schemas import Frames; import numpy as np; "
        "print(Frames.from_arrays([8, 1, 1], [[0, 0, 0], [.76, .59, 0], [-.76, .59, 0]], "
        "[np.eye(3) * 8], [3]).frame_id[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == water().frame_id[0]


def test_identity_ignores_the_order_of_atoms_and_sees_everything_else():
    same_molecule = water(order=(2, 0, 1))
    assert same_molecule.frame_id == water().frame_id
    others = [water(1e-6), water().take([0])]
    assert others[0].frame_id != water().frame_id
    heavier = Frames.from_arrays([16, 1, 1], water().positions, [np.eye(3) * 8], [3])
    larger = Frames.from_arrays([8, 1, 1], water().positions, [np.eye(3) * 9], [3])
    open_box = Frames.from_arrays(
        [8, 1, 1], water().positions, [np.eye(3) * 8], [3], pbc=[[False] * 3]
    )
    ids = {f.frame_id[0] for f in (water(), heavier, larger, open_box)}
    assert len(ids) == 4
    assert len(Frames.concat([water(), same_molecule, heavier]).unique()) == 2


def test_a_hundred_thousand_frames_stay_below_a_kilobyte_each(rng):
    s, n = 100_000, 6
    frames = Frames.from_arrays(
        rng.integers(1, 90, s * n),
        rng.normal(size=(s * n, 3)) * 4,
        rng.normal(size=(s, 3, 3)) * 4,
        np.full(s, n),
        labels=Labels(rng.normal(size=s), rng.normal(size=(s * n, 3)), rng.normal(size=(s, 3, 3))),
    )
    document = frames.as_dict()
    assert len(document["parquet"]) / s < 1000
    assert Frames.from_dict(document) == frames


def test_stress_has_ases_sign_and_order():
    cell = np.eye(3) * 3.4 + np.array([[0, 0.1, 0], [0, 0, 0.2], [0, 0, 0]])
    sites = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0.03]]
    atoms = Atoms("Cu4", scaled_positions=sites, cell=cell)
    atoms.pbc = True
    atoms.calc = EMT()
    atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    frames = Frames.from_ase(atoms)
    np.testing.assert_allclose(frames.stress[0], atoms.get_stress(voigt=False), atol=1e-12)
    assert np.trace(frames.stress[0]) < 0  # compressed
    np.testing.assert_allclose(frames.to_ase()[0].get_stress(), atoms.get_stress(), atol=1e-12)


GOOD = {"numbers": [13, 28], "positions": np.zeros((2, 3)), "cell": [np.eye(3)], "n_atoms": [2]}


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"positions": np.zeros((3, 3))}, "shapes disagree"),
        ({"n_atoms": [1]}, "shapes disagree"),
        ({"numbers": [13, 0]}, "atom 1 has atomic number 0"),
        ({"numbers": [13, 200]}, "atomic number 200"),
        ({"positions": [[0, 0, 0], [np.nan, 0, 0]]}, "positions of frame 0 is not finite"),
        ({"cell": [np.full((3, 3), np.inf)]}, "cell of frame 0"),
        ({"origin": {"prototypes": ["a"]}}, "not an origin column: 'prototypes'"),
        ({"origin": {"prototype": ["a", "b"]}}, "has 2 values, not 1"),
        ({"labels": Labels([np.inf])}, "energy of frame 0 is infinite"),
        ({"labels": Labels([1.0, 2.0])}, "2 energies for 1 frames"),
        ({"labels": Labels([1.0], [[0, 0, 0], [np.nan, 0, 0]])}, "forces of frame 0"),
        ({"labels": Labels([1.0], [[0, 0, 0], [np.nan] * 3])}, "forces of frame 0"),
        ({"labels": Labels([np.nan], np.zeros((2, 3)))}, "frame 0 has forces but no energy"),
        ({"labels": Labels([1.0], np.zeros((3, 3)))}, "forces: 3 rows, expected 2"),
        ({"labels": Labels([1.0], None, [np.diag([1, np.nan, 1])])}, "stress of frame 0"),
    ],
)
def test_broken_frames_are_refused_by_name(update, message):
    with pytest.raises(ValueError, match=message):
        Frames.from_arrays(**{**GOOD, **update})


def test_frame_without_atoms_is_refused():
    with pytest.raises(ValueError, match="frame 1 has no atoms"):
        Frames.from_arrays([13], [[0, 0, 0]], [np.eye(3)] * 2, [1, 0])


def test_nan_energy_of_a_file_is_refused():
    atoms = Atoms("Cu", info={"REF_energy": float("nan")}, cell=[3, 3, 3], pbc=True)
    with pytest.raises(ValueError, match="energy of Cu is nan"):
        Frames.from_ase(atoms)


def test_unknown_columns_and_rows_are_refused():
    with pytest.raises(ValueError, match=r"unknown column.*\['colour'\]"):
        SplitTable(pa.table({"colour": ["red"]}))
    with pytest.raises(IndexError, match="row 5 of 1"):
        water().take([5])
    with pytest.raises(IndexError, match="mask of length 2"):
        water()[np.array([True, False])]


def test_composition_counts_and_names_what_is_missing():
    counts = Frames.concat([water(), water(1.0)]).composition(["H", "O", "Fe"])
    np.testing.assert_array_equal(counts, [[2, 1, 0]] * 2)
    with pytest.raises(ValueError, match=r"\['O'\]"):
        water().composition(["H"])


# --- artifacts, recipes, blobs -----------------------------------------------------------


def test_artifact_is_unpacked_once_verified_and_mended(tmp_path):
    artifact = Artifact(b"weights", "model.bin")
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: artifact.unpack(tmp_path), range(8)))
    (path,) = paths
    assert path.read_bytes() == b"weights"
    path.write_bytes(b"rotten")
    assert artifact.unpack(tmp_path).read_bytes() == b"weights"
    assert not list(path.parent.glob(".*"))


def test_artifact_with_another_hash_is_refused():
    document = Artifact(b"weights", "model.bin").as_dict()
    with pytest.raises(BlobError, match=r"Artifact model.bin: .*corrupted or was replaced"):
        Artifact.from_dict({**document, "data": "YWJj"})


def test_recipes_are_checked():
    with pytest.raises(ValueError, match="give `name` or `artifact`, not both"):
        PotentialSpec(backend="mace", name="small", artifact=Artifact(b"a", "b"))
    with pytest.raises(ValueError, match="modle"):
        PotentialSpec(backend="mace", modle="small")
    one, two = PotentialSpec(backend="toy", kwargs={"seed": 1}), PotentialSpec(backend="toy")
    assert one.label != two.label
    with pytest.raises(ValueError, match="1 references for 2 members"):
        CommitteeDoc(members=[one, two], references=[{}])


def test_recipe_round_trip_keeps_the_weights():
    spec = PotentialSpec(backend="mace", artifact=Artifact(b"weights", "m.model"), functional="PBE")
    again = json.loads(json.dumps(spec, cls=MontyEncoder), cls=MontyDecoder)
    assert again == spec
    assert again.artifact.data == b"weights"


@job(data=BLOBS)
def make_blobs():
    return {
        "frames": [water(), water(1.0)],
        "spec": PotentialSpec(backend="mace", artifact=Artifact(b"weights", "m.model")),
        "tables": [t.empty() for t in (ScoreTable, SplitTable, MapTable, ParityTable, EpochTable)],
    }


def test_bulk_data_go_to_the_additional_store_and_come_back(job_store):
    made = make_blobs()
    run_locally(made, store=job_store, log=False, raise_immediately=True)
    plain = json.dumps(job_store.query_one({"uuid": made.uuid}, load=False)["output"])
    assert "parquet" not in plain
    assert "d2VpZ2h0cw" not in plain
    assert job_store.additional_stores["data"].count() == 8
    output = MontyDecoder().process_decoded(job_store.get_output(made.uuid, load=True))
    assert output["frames"] == [water(), water(1.0)]
    assert output["spec"].artifact.data == b"weights"
