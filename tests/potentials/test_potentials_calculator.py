"""The committee as a calculator: means, spreads, what ASE expects, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from atomate2_alpot.potentials import (
    Committee,
    CommitteeCalculator,
    PotentialError,
    load_predictor,
)
from atomate2_alpot.schemas import Frames, PotentialSpec
from atomate2_alpot.uncertainty import LinearCalibration, PowerLawCalibration

SPECS = [PotentialSpec(backend="toy", kwargs={"seed": s}) for s in range(4)]
CALIBRATIONS = {
    "energy": LinearCalibration(0.5),
    "forces": PowerLawCalibration(2.0, 0.8),
    "stress": PowerLawCalibration(1.5, 1.1),
}
VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


@pytest.fixture
def atoms() -> Atoms:
    cell = bulk("Cu", cubic=True)
    cell.rattle(0.1, seed=3)
    cell.symbols[1] = "Ni"
    return cell


@pytest.fixture
def calculator() -> CommitteeCalculator:
    return CommitteeCalculator(Committee(SPECS), CALIBRATIONS)


def test_results_are_their_definition(atoms, calculator):
    atoms.calc = calculator
    frame = Frames.from_arrays(atoms.numbers, atoms.positions, [atoms.cell.array], [4])
    members = [load_predictor(s).predict(frame) for s in SPECS]
    energies = [p.energy[0] for p in members]
    assert atoms.get_potential_energy() == pytest.approx(sum(energies) / 4)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    results = calculator.results
    assert isinstance(results["energy"], float)
    spread = np.std([e / 4 for e in energies], ddof=1)
    assert results["energy_spread"] == pytest.approx(4 * spread)
    assert results["energy_sigma"] == pytest.approx(4 * spread / 0.5)
    for i in range(4):
        total = 0.0
        for c in range(3):
            values = [p.forces[i, c] for p in members]
            assert atoms.get_forces()[i, c] == pytest.approx(sum(values) / 4)
            assert results["forces_spread"][i, c] == pytest.approx(np.std(values, ddof=1))
            sigma = 2 * np.std(values, ddof=1) ** 0.8
            assert results["forces_sigma"][i, c] == pytest.approx(sigma)
            total += sigma**2
        assert results["atoms_sigma"][i] == pytest.approx(np.sqrt(total))
    for v, (a, b) in enumerate(VOIGT):
        values = [p.stress[0, a, b] for p in members]
        assert atoms.get_stress()[v] == pytest.approx(sum(values) / 4)
        assert results["stress_spread"][v] == pytest.approx(np.std(values, ddof=1))
        assert results["stress_sigma"][v] == pytest.approx(1.5 * np.std(values, ddof=1) ** 1.1)


def test_a_committee_document_brings_its_calibrations(atoms, calculator):
    doc = Committee(SPECS).doc.model_copy(
        update={"calibrations": {k: c.as_dict() for k, c in CALIBRATIONS.items()}}
    )
    again = type(doc).model_validate(doc.model_dump())
    expected, carried = atoms.copy(), atoms.copy()
    expected.calc, carried.calc = calculator, CommitteeCalculator(again)
    for given in (expected, carried):
        given.get_potential_energy()
    for name in ("energy_sigma", "forces_sigma", "stress_sigma", "atoms_sigma"):
        np.testing.assert_allclose(carried.calc.results[name], expected.calc.results[name])
    bare = atoms.copy()
    bare.calc = CommitteeCalculator(again, {})  # none asked for: those of the document are not used
    bare.get_potential_energy()
    assert "energy_sigma" not in bare.calc.results


def test_energy_spread_is_of_formation_energies(atoms):
    """Members on other energy scales do not disagree for that."""
    same = [SPECS[0], SPECS[0].model_copy(update={"name": "again"})]
    shifted = Committee(same, [{"Cu": 0.0, "Ni": 0.0}, {"Cu": 5.0, "Ni": 7.0}])
    atoms.calc = CommitteeCalculator(shifted)
    atoms.get_potential_energy()
    assert atoms.calc.results["energy_spread"] == pytest.approx(np.sqrt(2) / 2 * (5 * 3 + 7))
    assert atoms.calc.results["forces_spread"] == pytest.approx(0)


def test_forces_and_stress_are_derivatives_of_the_energy(atoms, calculator):
    atoms.calc = calculator
    numerical = calculator.calculate_numerical_forces(atoms, d=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), numerical, atol=1e-5)
    numerical = calculator.calculate_numerical_stress(atoms, d=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), numerical, atol=1e-5)


def test_it_evaluates_once_per_structure(atoms, calculator, monkeypatch):
    calls = []
    predict = Committee.predict
    monkeypatch.setattr(Committee, "predict", lambda *a, **k: calls.append(1) or predict(*a, **k))
    atoms.calc = calculator
    atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
    atoms.calc.get_property("forces_sigma", atoms)
    assert len(calls) == 1
    atoms.positions[0, 0] += 0.1
    atoms.get_forces()
    assert len(calls) == 2


def test_relaxation_and_dynamics_run_on_it(atoms, calculator):
    atoms.calc = calculator
    before = atoms.get_potential_energy()
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=30)
    assert atoms.get_potential_energy() < before
    VelocityVerlet(atoms, units.fs).run(3)
    assert np.isfinite(atoms.calc.results["forces_sigma"]).all()


def test_without_calibration_there_are_spreads_only(atoms):
    atoms.calc = CommitteeCalculator(Committee(SPECS), {"forces": CALIBRATIONS["forces"]})
    atoms.get_potential_energy()
    assert "energy_spread" in atoms.calc.results
    assert "energy_sigma" not in atoms.calc.results
    assert "atoms_sigma" in atoms.calc.results
    with pytest.raises(PropertyNotImplementedError, match="energy_sigma needs a calibration"):
        atoms.calc.get_property("energy_sigma", atoms)


def test_molecules_have_no_stress(calculator):
    water = molecule("H2O")
    water.calc = calculator
    assert np.isfinite(water.get_potential_energy())
    assert "stress" not in calculator.results
    with pytest.raises(PropertyNotImplementedError, match="needs a cell with three vectors"):
        water.get_stress()


def test_it_takes_the_document_of_a_committee(atoms, calculator):
    atoms.calc = CommitteeCalculator(Committee(SPECS).doc)
    other = atoms.copy()
    other.calc = calculator
    assert atoms.get_potential_energy() == other.get_potential_energy()


def test_a_committee_of_one_is_refused():
    with pytest.raises(ValueError, match="a committee of 1 has no spread"):
        CommitteeCalculator(Committee(SPECS[:1]))


def test_a_calibration_of_no_property_is_refused():
    with pytest.raises(ValueError, match=r"calibrations of \['force'\]"):
        CommitteeCalculator(Committee(SPECS), {"force": LinearCalibration(1.0)})


def test_nan_of_a_member_is_an_error_that_names_it(atoms):
    broken = PotentialSpec(backend="toy", kwargs={"seed": 0, "nan_fraction": 1.0})
    atoms.calc = CommitteeCalculator(Committee([SPECS[0], broken]))
    with pytest.raises(PotentialError, match="energies of member toy:default.nan_fraction=1.0"):
        atoms.get_potential_energy()


def test_it_wants_atoms(calculator):
    with pytest.raises(ValueError, match="no atoms to calculate"):
        calculator.calculate()
