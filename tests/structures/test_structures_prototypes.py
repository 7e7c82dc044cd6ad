"""Reading prototypes: what is kept, merged, skipped and counted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pymatgen.core import Lattice, Structure

from atomate2_alpot.structures import (
    aflow_prototypes,
    frequency_weight,
    prototypes_from_folder,
    prototypes_from_mp,
)

CSCL = Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
B2 = Structure(Lattice.cubic(2.9), ["Ni", "Al"], [[0, 0, 0], [0.5, 0.5, 0.5]])
DISORDERED = Structure(Lattice.cubic(3.7), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
PEROVSKITE = Structure(
    Lattice.cubic(3.9),
    ["Ca", "Ti", "O", "O", "O"],
    [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
)


def test_bundled_prototypes_are_within_bounds_and_ordered():
    found = aflow_prototypes()
    assert len(found) == 129
    for prototype in found:
        assert 2 <= len(prototype.structure) <= 8
        assert 2 <= len(prototype.structure.composition) <= 3
        assert prototype.structure.is_ordered
    assert len({p.name for p in aflow_prototypes((2, 4), (2, 2))}) < 129


def test_folder_is_read_merged_skipped_and_counted(tmp_path):
    CSCL.to(str(tmp_path / "POSCAR_CsCl"), fmt="poscar")
    B2.to(str(tmp_path / "b2.cif"))
    PEROVSKITE.to(str(tmp_path / "perovskite.cif"))
    DISORDERED.to(str(tmp_path / "alloy.cif"))
    (CSCL * [3, 3, 1]).to(str(tmp_path / "POSCAR_big"), fmt="poscar")
    (tmp_path / "POSCAR_broken").write_text("no structure here\n1.0\n")
    (tmp_path / "notes.txt").write_text("not a structure")
    found = prototypes_from_folder(tmp_path)
    assert {p.name for p in found} == {"POSCAR_CsCl", "perovskite.cif"}
    skipped = found.report.skipped
    assert skipped["duplicate"] == ["b2.cif"]
    assert skipped["disordered"] == ["alloy.cif"]
    assert skipped["outside 1-8 atoms"] == ["POSCAR_big"]
    assert sorted(s.split(":")[0] for s in skipped["unreadable"]) == ["POSCAR_broken", "notes.txt"]
    assert "2 prototypes kept" in str(found.report)


def test_ternaries_are_weighted_by_how_often_they_occur(tmp_path):
    for i in range(4):
        strained = PEROVSKITE.copy()
        strained.scale_lattice(PEROVSKITE.volume * (1 + 0.05 * i))
        strained.to(str(tmp_path / f"p{i}.cif"))
    (prototype,) = prototypes_from_folder(tmp_path)
    assert prototype.weight == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("frequency", "n_elements", "weight"),
    [(1, 2, 1.0), (1, 3, 1 / 3), (4, 3, 2 / 3), (100, 3, 1.0)],
)
def test_frequency_weight(frequency, n_elements, weight):
    assert frequency_weight(frequency, n_elements) == pytest.approx(weight)


def test_empty_and_missing_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match=rf"{tmp_path}: no files in it.*aflow"):
        prototypes_from_folder(tmp_path)
    with pytest.raises(ValueError, match="no such folder"):
        prototypes_from_folder(tmp_path / "nowhere")


def test_folder_without_a_usable_prototype_says_why(tmp_path):
    DISORDERED.to(str(tmp_path / "alloy.cif"))
    with pytest.raises(ValueError, match=r"no usable prototype .*1 disordered \(alloy.cif\)"):
        prototypes_from_folder(tmp_path)


class RecordedRester:
    """Answers as mp-api's client did, and keeps what it was asked."""

    asked: dict = {}  # noqa: RUF012

    def __init__(self, api_key):
        entries = [("mp-22865", CSCL), ("mp-1487", B2), ("mp-4019", PEROVSKITE)]
        documents = [SimpleNamespace(material_id=i, structure=s) for i, s in entries]

        def search(**query):
            RecordedRester.asked = query
            return documents

        self.materials = SimpleNamespace(summary=SimpleNamespace(search=search))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


def test_materials_project_is_asked_for_small_structures_and_merged():
    found = prototypes_from_mp(api_key="key", limit=10, rester=RecordedRester)
    assert [p.name for p in found] == ["mp-22865", "mp-4019"]
    assert RecordedRester.asked["num_sites"] == (2, 8)
    assert RecordedRester.asked["chunk_size"] == 10


def test_missing_client_says_how_to_install_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mp_api.client", None)
    with pytest.raises(ImportError, match=r"atomate2-alpot\[mp\]"):
        prototypes_from_mp()
