"""What travels arrives: labels that are partly missing, orders and signs, every kind of blob."""

from __future__ import annotations

import base64
import hashlib
import json

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
    Frames,
    Labels,
    PotentialSpec,
)
from atomate2_alpot.schemas.blobs import BlobError
from atomate2_alpot.schemas.columns import Columns

NAN = float("nan")


@st.composite
def partly_labelled(draw) -> Frames:
    """Frames that have each of energy, forces and stress or not (never orphans)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    kinds = draw(st.lists(st.sampled_from(["", "e", "ef", "es", "efs"]), min_size=1, max_size=6))
    sizes = draw(st.lists(st.integers(1, 5), min_size=len(kinds), max_size=len(kinds)))
    n, s, owner = sum(sizes), len(sizes), np.repeat(np.arange(len(sizes)), sizes)
    has = {k: np.array([k in kind for kind in kinds]) for k in "efs"}
    stress = rng.normal(size=(s, 3, 3))
    labels = Labels(
        np.where(has["e"], rng.normal(size=s), NAN),
        np.where(has["f"][owner, None], rng.normal(size=(n, 3)), NAN),
        np.where(has["s"][:, None, None], stress + stress.transpose(0, 2, 1), NAN),
    )
    cell = 6 * np.eye(3) + rng.normal(size=(s, 3, 3))
    return Frames.from_arrays(
        rng.integers(1, 95, n), 4 * rng.random((n, 3)), cell, sizes, labels=labels
    )


@given(frames=partly_labelled())
@settings(max_examples=30, deadline=None)
def test_labels_partly_missing_survive_every_format(tmp_path_factory, frames):
    path = tmp_path_factory.mktemp("xyz") / "frames.xyz"
    frames.to_extxyz(path)
    ways = {
        "document": (json.loads(json.dumps(frames, cls=MontyEncoder), cls=MontyDecoder), 0.0),
        "parquet": (Frames.from_parquet(frames.to_parquet()), 0.0),
        "ase": (Frames.from_ase(frames.to_ase()), 1e-14),
        "extxyz": (Frames.from_extxyz(path), 1e-7),
    }
    for way, (again, atol) in ways.items():
        assert again.frame_id == frames.frame_id, way
        assert again.is_labelled.tolist() == frames.is_labelled.tolist(), way
        for name in ("energy", "forces", "stress"):  # NaN must be where it was
            np.testing.assert_allclose(
                getattr(again, name), getattr(frames, name), rtol=0, atol=atol, err_msg=way
            )


@given(frames=partly_labelled())
@settings(max_examples=20, deadline=None)
def test_pymatgen_keeps_identity(frames):
    assert Frames.from_structures(frames.to_structures()).frame_id == frames.frame_id


@given(partly_labelled(), st.data())
@settings(max_examples=30, deadline=None)
def test_a_slice_is_a_document_of_its_own(frames, data):
    """Arrow slices share buffers: what is sent must be the rows alone, with their labels."""
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(frames))] * 2)))
    part = frames[start:stop]
    sent = Frames.from_dict(part.as_dict())
    atoms = slice(frames.offsets[start], frames.offsets[stop])
    for one in (part, sent):
        np.testing.assert_array_equal(one.forces, frames.forces[atoms])
        np.testing.assert_array_equal(one.stress, frames.stress[start:stop])
        np.testing.assert_array_equal(one.energy, frames.energy[start:stop])
        np.testing.assert_array_equal(one.offsets, frames.offsets[start : stop + 1] - atoms.start)


@given(partly_labelled(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_identity_under_every_permutation_of_atoms(frames, random):
    for frame in (frames[i] for i in range(len(frames))):
        order = list(range(int(frame.n_atoms[0])))
        random.shuffle(order)
        mixed = Frames.from_arrays(
            frame.numbers[order], frame.positions[order], frame.cell, frame.n_atoms
        )
        assert mixed.frame_id == frame.frame_id


def test_each_component_of_stress_has_its_place_in_voigts_vector():
    tensor = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])  # xx yy zz yz xz xy = 1 … 6
    frames = Frames.from_arrays(
        [13], [[0, 0, 0]], [np.eye(3) * 4], [1], labels=Labels([0.0], None, [tensor])
    )
    np.testing.assert_array_equal(frames.to_ase()[0].get_stress(), [1, 2, 3, 4, 5, 6])
    atoms = Atoms("Al", cell=[4, 4, 4], pbc=True, info={"REF_energy": 0.0})
    atoms.info["REF_stress"] = np.array([1.0, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(Frames.from_ase(atoms).stress[0], tensor)


@pytest.mark.parametrize(("stretch", "sign"), [(0.97, -1), (1.03, 1)])
def test_stress_is_the_derivative_of_energy_by_strain(stretch, sign):
    def strained(strain):
        atoms = Atoms("Cu", cell=1.8 * stretch * (1 - np.eye(3)), pbc=True)
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
        atoms.calc = EMT()
        atoms.get_potential_energy(), atoms.get_stress()
        return atoms

    frames, h = Frames.from_ase(strained(np.zeros((3, 3)))), 1e-4
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        strain = np.zeros((3, 3))
        strain[a, b] += h / 2
        strain[b, a] += h / 2
        up, down = (strained(s).get_potential_energy() for s in (strain, -strain))
        expected = (up - down) / (2 * h) / frames.volume[0]
        assert frames.stress[0, a, b] == pytest.approx(expected, abs=1e-5)
    assert np.sign(np.trace(frames.stress[0])) == sign


# --- artifacts ---------------------------------------------------------------------------


def test_what_is_unpacked_and_whole_is_not_written_again(tmp_path):
    artifact = Artifact(b"weights", "m.model")
    first = artifact.unpack(tmp_path)
    before = first.stat()
    after = artifact.unpack(tmp_path).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert first == tmp_path / hashlib.sha256(b"weights").hexdigest() / "m.model"


@pytest.mark.parametrize("rotten", [b"", b"weight", b"weights and more", b"WEIGHTS"])
def test_a_rotten_cache_is_mended(tmp_path, rotten):
    artifact = Artifact(b"weights", "m.model")
    artifact.unpack(tmp_path).write_bytes(rotten)
    assert artifact.unpack(tmp_path).read_bytes() == b"weights"


def test_versions_of_one_name_do_not_meet(tmp_path):
    paths = [Artifact(data, "m.model").unpack(tmp_path) for data in (b"one", b"two")]
    assert [p.read_bytes() for p in paths] == [b"one", b"two"]


@pytest.mark.parametrize("kind", BLOBS, ids=[b.__name__ for b in BLOBS])
@pytest.mark.parametrize("what", ["bytes", "sha256", "text"])
def test_a_blob_that_was_changed_is_named_and_refused(kind, what):
    document = filled(kind).as_dict()
    field = "data" if kind is Artifact else "parquet"
    raw = bytearray(base64.b64decode(document[field]))
    raw[len(raw) // 2] ^= 1
    changed = {
        "bytes": {field: base64.b64encode(raw).decode()},
        "sha256": {"sha256": hashlib.sha256(b"").hexdigest()},
        "text": {field: "no base64!"},
    }[what]
    with pytest.raises(BlobError, match=rf"{kind.__name__}.*: .*corrupted.*run the job"):
        MontyDecoder().process_decoded({**document, **changed})


@pytest.mark.parametrize("kind", BLOBS, ids=[b.__name__ for b in BLOBS])
def test_a_reference_that_nobody_resolved_is_named(kind):
    document = filled(kind).as_dict()
    reference = {k: v for k, v in document.items() if k[0] == "@"} | {"blob_uuid": "b-1"}
    with pytest.raises(BlobError, match=rf"{kind.__name__} b-1: .*load=True"):
        MontyDecoder().process_decoded(reference)


def test_unknown_keys_of_recipes_and_committees_are_refused():
    with pytest.raises(ValueError, match=r"bakend[\s\S]*Extra inputs"):
        PotentialSpec(backend="toy", bakend="toy")
    with pytest.raises(ValueError, match=r"offsets[\s\S]*Extra inputs"):
        CommitteeDoc(members=[PotentialSpec(backend="toy")], offsets=[1])
    with pytest.raises(ValueError, match="backend"):
        PotentialSpec()


# --- every kind of blob ------------------------------------------------------------------


def value_of(type_: pa.DataType):
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return [value_of(type_.value_type)] * 2
    return "x" if pa.types.is_string(type_) else 1


def filled(kind: type):
    if kind is Artifact:
        return Artifact(b"weights", "m.model")
    if kind is Frames:
        return Frames.from_arrays([13], [[0, 0, 0]], [np.eye(3)], [1], labels=Labels([1.0]))
    return kind.from_columns(**{f.name: [value_of(f.type)] * 3 for f in kind.SCHEMA})


@job(data=BLOBS)
def make(kind: str):
    return {"deep": [{"blob": filled({b.__name__: b for b in BLOBS}[kind])}]}


@pytest.mark.parametrize("kind", BLOBS, ids=[b.__name__ for b in BLOBS])
def test_every_blob_goes_to_the_additional_store_wherever_it_stands(job_store, kind):
    made = make(kind.__name__)
    run_locally(made, store=job_store, log=False, raise_immediately=True)
    reference = job_store.query_one({"uuid": made.uuid}, load=False)["output"]["deep"][0]["blob"]
    assert set(reference) & {"parquet", "data"} == set()
    (blob,) = job_store.additional_stores["data"].query({})
    assert reference["blob_uuid"] == blob["blob_uuid"]
    assert blob["data"]["@class"] == kind.__name__
    output = MontyDecoder().process_decoded(job_store.get_output(made.uuid, load=True))
    assert output["deep"][0]["blob"] == filled(kind)


@pytest.mark.parametrize("kind", [b for b in BLOBS if issubclass(b, Columns)])
def test_every_table_names_a_column_it_does_not_know(kind):
    with pytest.raises(ValueError, match=rf"{kind.__name__}: unknown column.*\['colour'\]"):
        kind(pa.table({"colour": ["red"]}))
    with pytest.raises(KeyError, match="colour"):
        kind.empty().column("colour")
