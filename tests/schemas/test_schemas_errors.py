"""Which frame of a batch is broken: the error names that one, wherever it stands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atomate2_alpot.schemas import Frames, Labels

SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=5)


def arrays(sizes: list[int]) -> dict:
    n, s = sum(sizes), len(sizes)
    return {
        "numbers": np.full(n, 13),
        "positions": np.arange(3.0 * n).reshape(n, 3),
        "cell": np.repeat(4 * np.eye(3)[None], s, axis=0),
        "n_atoms": np.array(sizes),
        "labels": Labels(np.zeros(s), np.zeros((n, 3)), np.zeros((s, 3, 3))),
    }


def pick(data, sizes: list[int]) -> tuple[int, int]:
    """Draw a frame and one of its atoms, counted over the batch."""
    frame = data.draw(st.integers(0, len(sizes) - 1))
    return frame, sum(sizes[:frame]) + data.draw(st.integers(0, sizes[frame] - 1))


@given(SIZES, st.data(), st.sampled_from([np.nan, np.inf, -np.inf]))
@settings(max_examples=40, deadline=None)
def test_a_position_that_is_not_finite_names_its_frame(sizes, data, value):
    frame, atom = pick(data, sizes)
    broken = arrays(sizes)
    broken["positions"][atom, 1] = value
    with pytest.raises(ValueError, match=rf"positions of frame {frame} is not finite"):
        Frames.from_arrays(**broken)


@given(SIZES, st.data(), st.sampled_from([np.nan, np.inf]))
@settings(max_examples=40, deadline=None)
def test_a_force_that_is_not_finite_names_its_frame(sizes, data, value):
    frame, atom = pick(data, sizes)
    broken = arrays(sizes)
    broken["labels"].forces[atom, 2] = value
    with pytest.raises(ValueError, match=rf"forces of frame {frame} is not finite"):
        Frames.from_arrays(**broken)


@given(SIZES, st.data(), st.integers(0, 8))
@settings(max_examples=30, deadline=None)
def test_a_stress_or_cell_that_is_not_finite_names_its_frame(sizes, data, entry):
    frame, _ = pick(data, sizes)
    stress = arrays(sizes)
    stress["labels"].stress[frame].flat[entry] = np.nan
    with pytest.raises(ValueError, match=rf"stress of frame {frame} is not finite"):
        Frames.from_arrays(**stress)
    cell = arrays(sizes)
    cell["cell"][frame].flat[entry] = np.inf
    with pytest.raises(ValueError, match=rf"cell of frame {frame} is not finite"):
        Frames.from_arrays(**cell)


@pytest.mark.parametrize("orphan", ["forces", "stress"])
@given(sizes=SIZES, data=st.data())
@settings(max_examples=20, deadline=None)
def test_forces_or_stress_without_energy_name_their_frame(orphan, sizes, data):
    frame, _ = pick(data, sizes)
    broken = arrays(sizes)
    labels = broken["labels"]
    labels.energy[frame] = np.nan
    kept = {orphan: getattr(labels, orphan)}
    broken["labels"] = Labels(labels.energy, **kept)
    with pytest.raises(ValueError, match=rf"frame {frame} has {orphan} but no energy"):
        Frames.from_arrays(**broken)


@given(SIZES, st.data(), st.sampled_from([0, -1, 119, 255, 256]))
@settings(max_examples=30, deadline=None)
def test_a_species_that_is_no_element_is_named_with_its_atom(sizes, data, number):
    """256 would be 0, and -1 would be 255, in the eight bits that are stored."""
    _, atom = pick(data, sizes)
    broken = arrays(sizes)
    broken["numbers"][atom] = number
    with pytest.raises(ValueError, match=rf"atom {atom} has atomic number {number}\b"):
        Frames.from_arrays(**broken)


def test_a_species_that_is_no_element_names_its_frame():
    broken = arrays([2, 3])
    broken["numbers"][3] = 0
    with pytest.raises(ValueError, match="frame 1"):
        Frames.from_arrays(**broken)


@given(SIZES, st.data())
@settings(max_examples=20, deadline=None)
def test_a_frame_without_atoms_is_named(sizes, data):
    frame = data.draw(st.integers(0, len(sizes)))
    broken = arrays(sizes)
    broken["n_atoms"] = np.insert(broken["n_atoms"], frame, 0)
    broken["cell"] = np.repeat(4 * np.eye(3)[None], len(sizes) + 1, axis=0)
    broken["labels"] = None
    with pytest.raises(ValueError, match=f"frame {frame} has no atoms"):
        Frames.from_arrays(**broken)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (Labels([1.0]), "1 energies for 2 frames"),
        (Labels([1.0, 2.0], np.zeros((2, 3))), "forces: 2 rows, expected 3"),
        (Labels([1.0, 2.0], None, np.zeros((3, 3, 3))), "stress: 3 rows, expected 2"),
        (Labels([1.0, -np.inf]), "energy of frame 1 is infinite"),
        (Labels([1.0, np.nan], np.zeros((3, 3))), "frame 1 has forces but no energy"),
    ],
)
def test_labels_added_later_pass_the_same_gate(labels, message):
    bare = arrays([2, 1]) | {"labels": None}
    with pytest.raises(ValueError, match=message):
        Frames.from_arrays(**bare).with_labels(labels)


def test_refusal_leaves_the_batch_as_it_was():
    frames = Frames.from_arrays(**arrays([2, 1]))
    before = frames.to_parquet()
    with pytest.raises(ValueError, match="infinite"):
        frames.with_labels(Labels([np.inf, 0.0]))
    with pytest.raises(ValueError, match="not an origin column"):
        frames.with_origin(colour="red")
    assert frames.to_parquet() == before
