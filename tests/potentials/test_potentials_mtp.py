"""Moment tensor potentials: basis, derivatives, features and grades, beside motep's own."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

pytest.importorskip("motep", reason="motep is not installed")

from motep.calculator import make_calculator
from motep.grade.grader import Grader
from motep.grade.maxvol import MaxVolResult
from motep.grade.setting import GradeMode
from motep.io.mlip.mtp import read_mtp
from motep.potentials.mtp.data import BasisData
from motep.potentials.mtp.jax.moment import MomentBasis

from atomate2_alpot.potentials import PotentialError, load_predictor
from atomate2_alpot.potentials.mtp_basis import LEVELS, moment_tables
from atomate2_alpot.potentials.mtp_engine import surroundings
from atomate2_alpot.potentials.mtp_file import MtpModel, untrained, write_model
from atomate2_alpot.schemas import Artifact, Frames, PotentialSpec
from atomate2_alpot.testing import check_predictor
from atomate2_alpot.uncertainty import ActiveSet

E0S = {"Al": -3.0, "Ni": -5.0}
CUTOFF = 4.2
PUBLISHED = {2: 1, 4: 2, 6: 5, 8: 9, 10: 16, 12: 29, 14: 52, 16: 92}
"""Basis functions of the untrained potentials that MLIP-2 ships (from level 6 on)."""


@pytest.fixture
def file(rng, tmp_path):
    return write_random(tmp_path / "tiny.mtp", rng, level=8)


def write_random(path, rng, level):
    data = untrained(level, BasisData("RBChebyshev", 1.4, CUTOFF, 5), list(E0S))
    data.radial_coeffs = rng.uniform(-0.4, 0.4, (2, 2, data.radial_funcs_count, 5))
    data.moment_coeffs = rng.uniform(-0.1, 0.1, data.alpha_scalar_moments)
    data.species_coeffs = np.array(list(E0S.values()))
    write_model(path, MtpModel(data, E0S))
    return path


def spec_of(file, **options):
    return PotentialSpec(backend="mtp", name=str(file), kwargs=options)


def motep_data(file):
    """Read a file as motep does; it knows types, not elements."""
    data = read_mtp(file)
    data.species = np.array([13, 28], dtype=np.int32)
    return data


def contract(node, moments):
    """Evaluate a contraction by tensordot."""
    if not isinstance(node[0], tuple):
        return moments[node[:2]]
    return np.tensordot(contract(node[0], moments), contract(node[1], moments), axes=node[3])


@pytest.mark.parametrize("level", [level for level in LEVELS if level <= 16])
def test_the_basis_is_motep_s_contractions_of_tensors(level, rng):
    tables = moment_tables(level)
    vectors, radial = rng.normal(size=(6, 3)), rng.normal(size=(tables.n_radial, 6))
    moments = np.zeros(tables.n_moments)
    for m, (mu, *powers) in enumerate(tables.basic):
        moments[m] = radial[mu] @ (vectors**powers).prod(axis=1)
    for i, j, times, k in tables.times:
        moments[k] += times * moments[i] * moments[j]
    tensors = {}
    for mu in range(tables.n_radial):
        tensor = np.ones((6,))
        for nu in range(level // 2):
            tensors[mu, nu] = np.tensordot(radial[mu], tensor, axes=1)
            tensor = np.einsum("j...,ja->j...a", tensor, vectors)
    expected = [contract(c, tensors) for c in MomentBasis(level).read_moments()]
    np.testing.assert_allclose(moments[tables.mapping], expected, rtol=1e-10)
    assert len(set(tables.mapping.tolist())) == PUBLISHED[level]


@pytest.mark.parametrize(("level", "n_functions"), [(18, 163), (20, 288)])
def test_high_levels_have_as_many_functions_as_mlip_s(level, n_functions):
    assert len(moment_tables(level).mapping) == n_functions


@pytest.mark.parametrize("level", [0, 7, 26])
def test_a_level_that_motep_does_not_ship_is_refused(level):
    with pytest.raises(ValueError, match=f"level={level}; give an even number from 2 to 24"):
        moment_tables(level)


def test_what_a_predictor_promises(file, alloy_frames):
    refused = Frames.from_arrays([95], np.zeros((1, 3)), [np.eye(3) * 3], [1])
    frames = Frames.from_arrays(
        np.where(alloy_frames.numbers == 8, 13, alloy_frames.numbers),
        alloy_frames.positions,
        alloy_frames.cell,
        alloy_frames.n_atoms,
    )
    check_predictor(load_predictor(spec_of(file)), frames, refused=refused)


def odd_atoms():
    """A molecule, a slab without and with a third vector, a wire, a lone atom, a tiny cell."""
    cluster = Atoms("AlNi2", [[0, 0, 0], [9.0, 0.3, 0], [11.0, 0.5, 0.4]])
    slab = Atoms("AlNi", [[0, 0, 0], [1.5, 1.4, 9.0]], cell=[3, 3.1, 0], pbc=[True, True, False])
    thick = Atoms("AlNi", [[0, 0, 0], [1.5, 1.4, 1.9]], cell=[3, 3.1, 1], pbc=[True, True, False])
    wire = Atoms("Ni2", [[0, 0, -7], [2.0, 0, -6]], cell=[0, 0, 4], pbc=[False, False, True])
    pair = molecule("N2")
    pair.set_atomic_numbers([13, 28])
    pair.positions *= 2
    tiny = Atoms("Ni", cell=[[0, 1.7, 1.7], [1.7, 0, 1.7], [1.7, 1.7, 0]], pbc=True)
    return [cluster, slab, thick, wire, pair, Atoms("Al"), tiny]


@pytest.mark.parametrize("index", range(7))
def test_any_boundary_is_motep_s_calculator(file, index):
    atoms = odd_atoms()[index]
    frames = Frames.from_ase([atoms])
    prediction = load_predictor(spec_of(file)).predict(frames)
    if len(atoms) == 1 and not atoms.pbc.any():  # no neighbour: motep's arrays would be empty
        assert prediction.energy[0] == pytest.approx(E0S["Al"], abs=1e-12)
        np.testing.assert_array_equal(prediction.forces, 0)
        return
    atoms.calc = make_calculator(motep_data(file))
    assert prediction.energy[0] == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(prediction.forces, atoms.get_forces(), atol=1e-10)
    if atoms.cell.rank == 3:
        np.testing.assert_allclose(prediction.stress[0], atoms.get_stress(voigt=False), atol=1e-12)
    else:
        assert np.isnan(prediction.stress).all()


def test_places_without_a_neighbour_are_beyond_the_cutoff_and_inside_the_arrays():
    for near in surroundings(Frames.from_ase(odd_atoms()), CUTOFF):
        assert near.neighbours.min() >= 0
        assert near.neighbours.max() < len(near.atoms)
        distances = np.linalg.norm(near.vectors, axis=-1)
        assert near.nearest > 1
        filled = (near.neighbours == np.arange(len(near.atoms))[:, None]) & (distances > CUTOFF)
        np.testing.assert_array_equal(filled, distances > CUTOFF)


def test_file_and_artifact_are_the_same_model_and_keep_elements_and_e0s(file, alloy_frames):
    by_file = load_predictor(spec_of(file))
    by_artifact = load_predictor(PotentialSpec(backend="mtp", artifact=Artifact.from_file(file)))
    assert by_artifact.model.elements == ["Al", "Ni"]
    assert by_artifact.model.e0s == E0S
    for name in ("energy", "forces", "stress"):
        expected = getattr(by_file.predict(alloy_frames), name)
        np.testing.assert_array_equal(getattr(by_artifact.predict(alloy_frames), name), expected)


def test_atoms_sum_to_their_frame_and_both_are_motep_s_jacobian(file, alloy_frames):
    predictor, data = load_predictor(spec_of(file)), motep_data(file)
    frames = alloy_frames[[0, 2]]
    rows, atoms = predictor.features(frames), predictor.atom_features(frames)
    for s, image in enumerate(frames.to_ase()):
        image.calc = make_calculator(data, mode="train")
        image.get_potential_energy()
        expected = image.calc.engine.jac_energy(image).parameters
        np.testing.assert_allclose(rows[s], expected, rtol=1e-9, atol=1e-9)
        own = slice(frames.offsets[s], frames.offsets[s + 1])
        np.testing.assert_allclose(atoms[own].sum(axis=0), rows[s], rtol=1e-10, atol=1e-9)


def test_features_are_derivatives_of_the_energy(file, alloy_frames):
    predictor = load_predictor(spec_of(file))
    data, frames = predictor.model.data, alloy_frames[[1]]
    rows, theta, h = predictor.features(frames), data.parameters.copy(), 1e-5
    for k in range(0, len(theta), 7):
        energies = []
        for sign in (1, -1):
            moved = theta.copy()
            moved[k] += sign * h
            data.parameters = moved
            energies.append(predictor.predict(frames).energy[0])
        assert rows[0, k] == pytest.approx(
            (energies[0] - energies[1]) / (2 * h), rel=1e-5, abs=1e-6
        )


def test_a_frame_of_an_unknown_element_has_no_features(file, alloy_frames):
    strange = Frames.from_arrays([95], np.zeros((1, 3)), [np.eye(3) * 3], [1])
    predictor = load_predictor(spec_of(file))
    mixed = Frames.concat([alloy_frames[0], strange])
    assert np.isnan(predictor.features(mixed)).any(axis=1).tolist() == [False, True]
    assert np.isnan(predictor.atom_features(mixed)).any(axis=1).tolist() == [False, False, True]


def many_frames(rng, n):
    cells = 2.9 * np.eye(3) + rng.normal(0, 0.12, (n, 3, 3))
    positions = np.concatenate([np.array([[0, 0, 0], [0.5] * 3]) @ cell for cell in cells])
    positions += rng.normal(0, 0.1, positions.shape)
    return Frames.from_arrays(rng.choice([13, 28], 2 * n), positions, cells, [2] * n)


@pytest.mark.parametrize("mode", [GradeMode.CONFIGURATION, GradeMode.NEIGHBORHOOD])
def test_grades_are_motep_s_on_the_same_active_set(rng, tmp_path, mode):
    file = write_random(tmp_path / "low.mtp", rng, level=4)
    predictor = load_predictor(spec_of(file))
    train, others = many_frames(rng, 120), many_frames(rng, 15)
    describe = predictor.features
    if mode == GradeMode.NEIGHBORHOOD:
        describe = predictor.atom_features
    rows = describe(train)
    active = ActiveSet.fit(rows, complete=1e-9)  # below what the frames span, above rounding
    members = active.indices[active.indices >= 0]
    assert len(members) < rows.shape[1]  # scale of the radial function against the moments
    grader = Grader(motep_data(file), seed=1, mode=mode)
    grader.maxvol_result = MaxVolResult(indices=members, submatrix=rows[members])
    graded = grader.grade(others.to_ase())
    grades = active.grade(describe(others))
    if mode == GradeMode.NEIGHBORHOOD:
        grades = np.maximum.reduceat(grades, others.offsets[:-1])
    expected = [image.calc.results["MV_grade"] for image in graded]
    np.testing.assert_allclose(grades, expected, rtol=1e-5)


def test_the_volume_is_at_least_that_of_motep_s_own_maxvol(rng, tmp_path):
    file = write_random(tmp_path / "low.mtp", rng, level=8)
    data, predictor = motep_data(file), load_predictor(spec_of(file))
    data.optimized = ["moment_coeffs", "species_coeffs"]  # with radial ones its set is singular
    train = many_frames(rng, 80)
    columns = slice(0, data.number_of_parameters_optimized)
    active = ActiveSet.fit(predictor.features(train)[:, columns])
    grader = Grader(data, seed=1)
    grader.update(train.to_ase())
    theirs = np.linalg.slogdet(grader.maxvol_result.submatrix)[1]
    assert active.log_volume > theirs - np.log(1.01)


def test_a_file_of_another_program_needs_its_elements_named(file, alloy_frames):
    lines = [line for line in file.read_text().splitlines() if "potential_tag" not in line]
    expected = load_predictor(spec_of(file)).predict(alloy_frames).energy
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(PotentialError, match="does not say its elements; name them"):
        load_predictor(spec_of(file))
    named = load_predictor(spec_of(file, elements=["Al", "Ni"]))
    np.testing.assert_array_equal(named.predict(alloy_frames).energy, expected)
    assert named.model.e0s == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("radial_basis_type = RBChebyshev", "radial_basis_type = RBShapeev", "RBShapeev"),
        ("min_dist = 1.4", "min_dist = 7.4", r"min \(7\.4\) must be < max"),
        ('["Al", "Ni"]', '["Al", "Xx"]', "'Xx'.* are no elements"),
        ('["Al", "Ni"]', '["Al"]', "for 2 types"),
        ("alpha_moment_mapping = {0, ", "alpha_moment_mapping = {9999, ", "moments that are not"),
        ("alpha_index_times = {{0, 0,", "alpha_index_times = {{-5, 0,", "moments that are not"),
        ("alpha_index_basic = {{0, 0,", "alpha_index_basic = {{7, 0,", "functions that are not"),
        ("moment_coeffs = {", "moment_coeffs = {nan, ", "moment_coeffs has shape"),
        ("species_coeffs = ", "potential_name = ", "species_coeffs is missing"),
        ("species_count = 2", "species_count = two", "no .mtp file that can be read"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(file, old, new, message):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(PotentialError, match=message):
        load_predictor(spec_of(file))


def test_binary_content_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "bad.mtp"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(PotentialError, match=r"bad\.mtp is no \.mtp file that can be read"):
        load_predictor(spec_of(path))
    with pytest.raises(PotentialError, match=r"no such file \(looked for .*gone\.mtp"):
        load_predictor(spec_of(tmp_path / "gone.mtp"))
    with pytest.raises(PotentialError, match="no released models"):
        load_predictor(PotentialSpec(backend="mtp", kwargs={"elements": ["W"]}))
    with pytest.raises(PotentialError, match="unknown option 'element'.*did you mean 'elements'"):
        load_predictor(spec_of(path, element="W"))


def test_elements_that_contradict_the_file_are_refused(file):
    with pytest.raises(PotentialError, match=r"elements=\['Ni', 'Al'\], but the file is of"):
        load_predictor(spec_of(file, elements=["Ni", "Al"]))
