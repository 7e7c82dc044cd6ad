"""Candidates: permutations, lattice guess, scramble, and the space of all of them."""

from __future__ import annotations

import json
from itertools import permutations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.analysis.elasticity import Strain
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Element, Lattice, Structure

from atomate2_alpot.structures import (
    FIRST_ITERATION,
    MP_ELEMENTS,
    CandidateSpace,
    Prototype,
    aflow_prototypes,
    distinct_permutations,
    guess_lattice,
    prototypes_from_folder,
    scramble,
)
from atomate2_alpot.structures.kinds import unrank_subsets
from atomate2_alpot.structures.makers import PrototypeProposer
from atomate2_alpot.structures.ordering import shuffled
from atomate2_alpot.structures.scramble import strain_deformations

ROCKSALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3]
)
ROCKSALT = ROCKSALT.get_primitive_structure()
FLUORITE = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.5), ["Ca", "F"], [[0, 0, 0], [0.25] * 3]
).get_primitive_structure()
PEROVSKITE = Structure(
    Lattice.cubic(3.9),
    ["Ca", "Ti", "O", "O", "O"],
    [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
)


def brute_force_count(structure: Structure) -> int:
    """Count assignments that StructureMatcher tells apart, trying all pairs."""
    elements = list(dict.fromkeys(s.specie.symbol for s in structure))
    matcher = StructureMatcher(primitive_cell=False, ltol=0.01, stol=0.01)
    kept: list[Structure] = []
    for order in permutations(elements):
        mapped = structure.copy()
        mapped.replace_species(
            {Element(a): Element(b) for a, b in zip(elements, order, strict=True)}
        )
        if not any(matcher.fit(mapped, other) for other in kept):
            kept.append(mapped)
    return len(kept)


def brute_force_scale(structure: Structure) -> float:
    """Largest (r_i + r_j) / d_min by explicit loops over images, each written out."""
    radius = {"H": 3 * 0.25, "K": 0.9 * 2.2, "He": 0.31 * 2 * 1.4, "Xe": 1.08 * 2}
    best = 0.0
    for i, j in product(range(len(structure)), repeat=2):
        d_min = np.inf
        for image in product(range(-3, 4), repeat=3):
            if i == j and image == (0, 0, 0):
                continue
            shift = structure[j].frac_coords + image - structure[i].frac_coords
            d_min = min(d_min, np.linalg.norm(shift @ structure.lattice.matrix))
        r = [
            radius.get(structure[k].specie.symbol) or float(structure[k].specie.atomic_radius)
            for k in (i, j)
        ]
        best = max(best, sum(r) / d_min)
    return best


@pytest.mark.parametrize(
    ("structure", "count"), [(ROCKSALT, 1), (FLUORITE, 2), (PEROVSKITE, 6)], ids=str
)
def test_known_permutation_counts(structure, count):
    assert len(distinct_permutations(structure)) == count == brute_force_count(structure)


@pytest.mark.parametrize("index", range(0, 129, 16))
def test_permutations_agree_with_brute_force(index):
    prototype = aflow_prototypes()[index]
    assert len(distinct_permutations(prototype)) == brute_force_count(prototype.structure)


@pytest.mark.slow
def test_permutations_agree_with_brute_force_on_every_bundled_prototype():
    for prototype in aflow_prototypes():
        found = distinct_permutations(prototype.structure)
        assert len(found) == brute_force_count(prototype.structure), prototype.name
        assert found[0].species == prototype.structure.species


@pytest.mark.parametrize(
    "use",
    [
        distinct_permutations,
        guess_lattice,
        lambda s: CandidateSpace([s], ["Al", "Ni"]),
        lambda s: CandidateSpace([ROCKSALT, Prototype(s, "mixed")], ["Al", "Ni"]),
    ],
)
def test_disordered_structures_are_refused_by_name(use):
    mixed = Structure(Lattice.cubic(3), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    with pytest.raises(ValueError, match=r"prototype .*\(Cu0.5 Au0.5\) is disordered; order it"):
        use(mixed)


def test_oxidation_states_are_no_elements_of_a_prototype(tmp_path):
    magnetite = Structure(
        Lattice.cubic(4.2), ["Fe2+", "Fe3+", "O2-"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
    )
    for name in ("a", "b"):
        magnetite.to(filename=str(tmp_path / f"{name}.cif"))
    assert "Fe3+" in (tmp_path / "a.cif").read_text()
    (read,) = prototypes_from_folder(tmp_path)
    assert [len(read.structure.composition), read.weight] == [2, 1.0]  # a binary: kept whole
    space = CandidateSpace([read], ["Al", "Ni", "O"])
    assert len(space) == comb(3, 2) * len(distinct_permutations(read))
    assert space.kinds[0].n_kinds == 2
    half = Structure(Lattice.cubic(3), [{"Fe2+": 0.5, "Fe3+": 0.5}], [[0, 0, 0]])
    assert guess_lattice(half).formula == "Fe1"
    assert str(half[0].specie if half.is_ordered else half[0].species) != "Fe1"  # not touched


@pytest.mark.parametrize("factor", [0.96, 0.92])
@pytest.mark.parametrize(
    "structure",
    [
        ROCKSALT,
        PEROVSKITE,
        Structure(
            Lattice([[3, 0.4, 0], [0.2, 3.3, 0.1], [0.5, 0, 4.1]]),
            ["H", "K"],
            [[0, 0, 0], [0.4, 0.5, 0.6]],
        ),
        Structure(Lattice.hexagonal(3.1, 5.0), ["He", "Xe"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]),
    ],
    ids=lambda s: s.formula,
)
def test_guessed_volume_is_that_of_the_definition(structure, factor):
    expected = structure.volume * (factor * brute_force_scale(structure)) ** 3
    guessed = guess_lattice(structure, factor)
    assert guessed.volume == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(guessed.frac_coords, structure.frac_coords)
    np.testing.assert_allclose(guessed.lattice.angles, structure.lattice.angles)


def test_guess_does_not_depend_on_the_prototypes_volume():
    larger = ROCKSALT.copy()
    larger.scale_lattice(ROCKSALT.volume * 40)
    assert guess_lattice(larger).volume == pytest.approx(guess_lattice(ROCKSALT).volume)


def test_element_without_radius_is_named():
    with pytest.raises(ValueError, match="Og"):
        guess_lattice(Structure(Lattice.cubic(4), ["Og"], [[0, 0, 0]]))


def test_strains_are_those_of_pymatgen_applied_in_turn(rng):
    magnitudes = rng.normal(0, 0.02, 6)
    total = np.eye(3)
    for k, m in enumerate(magnitudes):
        voigt = np.zeros(6)
        voigt[k] = m if k < 3 else 2 * m
        total = np.array(Strain.from_voigt(voigt).get_deformation_matrix(shape="upper")) @ total
    np.testing.assert_allclose(strain_deformations(magnitudes), total, atol=1e-12)


def test_scramble_stays_within_its_truncation(rng):
    moves, stretch = [], []
    for _ in range(300):
        moved = scramble(PEROVSKITE, rng)
        moves.append(moved.frac_coords - PEROVSKITE.frac_coords)
        stretch.append(moved.lattice.a / PEROVSKITE.lattice.a)
    sigma = 0.020 / len(PEROVSKITE)
    assert np.abs(moves).max() <= 3 * sigma + 1e-12
    assert np.std(moves) == pytest.approx(sigma * 0.9866, rel=0.03)  # normal cut at ±3σ
    assert 0.94 < min(stretch) < max(stretch) < 1.06


@given(st.integers(1, 5000), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_order_is_a_permutation(n, seed):
    assert sorted(shuffled(np.arange(n), n, (seed,)).tolist()) == list(range(n))


def test_orders_of_different_seeds_differ_and_look_random():
    one, two = (shuffled(np.arange(10_000), 10_000, (s,)) for s in (1, 2))
    assert (one == two).mean() < 0.01
    assert abs(np.corrcoef(np.arange(10_000), one)[0, 1]) < 0.05


@pytest.mark.parametrize(("n", "k"), [(6, 2), (7, 3), (5, 5), (4, 1)])
def test_subsets_are_enumerated_once_each(n, k):
    subsets = unrank_subsets(np.arange(comb(n, k)), n, k)
    assert len({tuple(s) for s in subsets}) == comb(n, k)
    assert (np.diff(subsets, axis=1) > 0).all()


@pytest.fixture(scope="module")
def space() -> CandidateSpace:
    return CandidateSpace([ROCKSALT, FLUORITE, PEROVSKITE], ["Al", "Ni", "O", "Mg"], seed=5)


def test_size_is_the_number_of_decorations(space):
    assert len(space) == comb(4, 2) * 1 + comb(4, 2) * 2 + comb(4, 3) * 6


def test_every_decoration_occurs_once(space):
    frames = space.frames(range(len(space)))
    decorations = {
        (name, tuple(z))
        for name, z in zip(
            frames.column("prototype"), frames.split_atoms(frames.numbers), strict=True
        )
    }
    assert len(decorations) == len(space)


def test_chunks_do_not_depend_on_how_they_are_cut(space):
    whole = space.propose(0, len(space), 2)
    parts = [space.propose(a, a + 7, 2) for a in range(0, len(space), 7)]
    assert [i for p in parts for i in p.frame_id] == whole.frame_id
    assert sorted(whole.column("candidate")) == list(range(len(space)))


def test_single_and_bulk_candidates_are_the_same(space):
    frames = space.frames([3, 17, 40])
    for position, index in enumerate((3, 17, 40)):
        np.testing.assert_allclose(space[index].lattice.matrix, frames.cell[position], atol=1e-10)
        assert [s.specie.Z for s in space[index]] == frames[position].numbers.tolist()


def test_ranges_are_clipped_at_the_end(space):
    assert len(space.propose(len(space) - 2, len(space) + 50, 1)) == 2
    assert len(space.propose(len(space) + 5, len(space) + 9, 1)) == 0
    with pytest.raises(IndexError):
        space.frames([len(space)])


def test_first_iteration_is_denser_and_less_disordered(space):
    first, later = space.frames(range(40), iteration=1), space.frames(range(40), iteration=2)
    ratio = (first.volume / later.volume).mean()
    assert ratio == pytest.approx((FIRST_ITERATION.lattice_factor / 0.96) ** 3, rel=0.02)


def test_document_round_trip_is_exact(space):
    again = MontyDecoder().decode(json.dumps(space, cls=MontyEncoder))
    assert again.propose(0, 30, 1) == space.propose(0, 30, 1)


def test_weights_keep_a_fraction_of_the_decorations():
    whole = CandidateSpace([PEROVSKITE], MP_ELEMENTS[:12])
    third = CandidateSpace([Prototype(PEROVSKITE, "perovskite", 1 / 3)], MP_ELEMENTS[:12])
    assert len(third) == round(len(whole) / 3)
    assert len(set(third.frames(range(len(third))).frame_id)) == len(third)


def test_all_elements_on_all_prototypes_are_more_than_ten_million():
    space = CandidateSpace(aflow_prototypes(), MP_ELEMENTS)
    assert len(space) > 10**7
    assert len(json.dumps(space, cls=MontyEncoder)) < 1_000_000
    assert len(space.frames([0, len(space) // 2, len(space) - 1])) == 3


@pytest.mark.parametrize(
    ("prototypes", "elements", "message"),
    [
        ([ROCKSALT], ["Al", "Xx"], r"\['Xx'\] are not elements"),
        ([ROCKSALT], ["Al", "Al"], "listed twice"),
        ([PEROVSKITE], ["Al", "O"], "fewer than the 3 kinds"),
        ([], ["Al", "O"], "empty"),
    ],
)
def test_wrong_input_is_named(prototypes, elements, message):
    with pytest.raises(ValueError, match=message):
        CandidateSpace(prototypes, elements)


def test_windows_never_meet_and_leave_the_test_set_alone():
    proposer = PrototypeProposer(elements=["Al", "Ni"], candidates_per_iteration=10, n_test=5)
    ranges = [proposer.test_shard(None), *(proposer.shards(None, i)[0] for i in (1, 2, 3))]
    covered = [k for r in ranges for k in range(r["start"], r["stop"])]
    assert covered == list(range(35))


@pytest.mark.parametrize(
    ("field", "value"), [("candidates_per_iteration", 0), ("n_test", 0), ("n_atoms", (4, 2))]
)
def test_wrong_proposer_fields_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        PrototypeProposer(**{field: value})
