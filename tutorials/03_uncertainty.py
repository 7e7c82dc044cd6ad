# %% [markdown]
# # 3. How far to trust a committee
#
# A committee of linear ACE models is trained on mild distortions of Al-Ni cells, calibrated on frames
# that no member has seen, and then shown what it does not know: hot, squeezed and stretched cells.
# The labels are EMT's, a *surrogate*: an analytic potential of ASE that stands in for DFT, so that
# all of this takes a minute. Pictures are written next to each other in one folder.

# %%
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase import units
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder

from atomate2_alpot.potentials import Committee, CommitteeCalculator, load_predictor
from atomate2_alpot.schemas import Frames, Labels
from atomate2_alpot.train import AceSettings, CalibrationSettings, CommitteeTrainer
from atomate2_alpot.uncertainty import (
    ActiveSet,
    ElementActiveSets,
    atom_disagreement,
    calibration_from_dict,
    component_points,
    component_spread,
    iqr_threshold,
    max_disagreement,
    mean_errors,
    reliability,
    sparsification,
    spearman,
    z_statistics,
)
from atomate2_alpot.uncertainty.figures import (
    draw_correlation,
    draw_reliability,
    draw_sparsification,
    draw_z,
)

pictures = Path(tempfile.mkdtemp(prefix="alpot-uncertainty-"))


def labelled_cells(n: int, rattle: float, strain: float, seed: int) -> Frames:
    """Distort cells of four atoms and label them with EMT (the surrogate)."""
    rng = np.random.default_rng(seed)
    cells = []
    for _ in range(n):
        atoms = bulk("Al", cubic=True, a=3.85)
        atoms.symbols[:] = rng.choice(["Al", "Ni"], 4)
        stretch = np.eye(3) + rng.normal(0, strain, (3, 3)) / 2
        atoms.set_cell(atoms.cell @ (stretch + stretch.T) / 2, scale_atoms=True)
        atoms.positions += rng.normal(0, rattle, (4, 3))
        cells.append(atoms)
    energy, forces, stress = [], [], []
    for atoms in cells:
        atoms.calc = EMT()
        energy.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        stress.append(atoms.get_stress(voigt=False))
    labels = Labels(energy, np.concatenate(forces), stress)
    return Frames.from_ase([a.copy() for a in cells]).with_labels(labels)


known = labelled_cells(160, rattle=0.08, strain=0.02, seed=1)
alike = labelled_cells(100, rattle=0.08, strain=0.02, seed=2)
foreign = labelled_cells(100, rattle=0.25, strain=0.08, seed=3)

# %% [markdown]
# ## Train and calibrate
#
# `calibration` holds a fifth of the frames out from every member; the trained committee's document
# carries what was fitted to them: σ = a·σ̂^b for each property.

# %%
trainer = CommitteeTrainer(
    settings=AceSettings(order=2, degree=8, committee="bootstrap"),
    n_members=6,
    calibration=CalibrationSettings(fraction=0.2),
    functional="EMT (surrogate)",
)
flow = trainer.make([known], iteration=1)
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
with tempfile.TemporaryDirectory() as folder:
    run_locally(flow, store=store, create_folders=True, root_dir=folder, log=False)
training = MontyDecoder().process_decoded(store.get_output(flow.output.uuid, load=True))
committee = training.committee
for name, document in committee.calibrations.items():
    print(name, {k: round(v, 3) if isinstance(v, float) else v for k, v in document.items()})

# %% [markdown]
# ## A spread ranks errors; calibrated, it is their size
#
# z = error/σ has a standard deviation of 1 where σ is right. It is, on frames like those of the
# calibration. It is not on foreign ones: a law fitted to small errors does not hold for large ones,
# which is why every iteration of a campaign calibrates anew, and why the next part looks for frames
# that are foreign rather than for a number.

# %%
model = Committee.from_doc(committee)
predictions = {"alike": model.predict(alike), "foreign": model.predict(foreign)}
law = calibration_from_dict(committee.calibrations["forces"])
for kind, frames in {"alike": alike, "foreign": foreign}.items():
    points = component_points(frames, predictions[kind])["forces"]
    sigma = law.apply(points.spread)
    before, after = z_statistics(points.spread, points.error), z_statistics(sigma, points.error)
    rho = spearman(points.spread, np.abs(points.error))
    print(f"{kind}: forces, ρ {rho:.2f}, std of z {before.std:.2f} -> {after.std:.2f}")
    draw_correlation(points.spread, points.error, law, "eV/Å").savefig(
        pictures / f"{kind}-correlation.png"
    )
    draw_z(after, kind).savefig(pictures / f"{kind}-z.png")
    draw_reliability(reliability(sigma, points.error), "eV/Å").savefig(
        pictures / f"{kind}-reliability.png"
    )
    draw_sparsification(sparsification(sigma, points.error), kind).savefig(
        pictures / f"{kind}-sparsification.png"
    )

# %% [markdown]
# ## What is new to the committee
#
# Thresholds that nobody has to guess: Q3 + 1.5·IQR of the errors on the training set. CBE and CBF are
# the largest deviation of a member in energy and in the force on any atom; γ > 1 is extrapolation
# from the environments of the training set, and needs no committee at all.

# %%
trained = mean_errors(known, model.predict(known))
thresholds = {"CBE": iqr_threshold(trained.energy), "CBF": iqr_threshold(trained.forces)}
features = load_predictor(committee.members[0])
# fewer environments than functions: short rows fill the directions that they do not span
active = ElementActiveSets.fit(
    known, features.atom_features(known), make=partial(ActiveSet.fit, complete=1e-6)
)
for kind, frames in {"alike": alike, "foreign": foreign}.items():
    spread = max_disagreement(predictions[kind])
    grades = active.grade(frames, features.atom_features(frames)).frames
    shares = {
        "CBE": (spread.energy > thresholds["CBE"]).mean(),
        "CBF": (spread.forces > thresholds["CBF"]).mean(),
        "γ > 1": (grades > 1).mean(),
    }
    print(f"{kind}: flagged", {name: f"{share:.0%}" for name, share in shares.items()})
    worst = int(np.argmax(atom_disagreement(predictions[kind], "max")))
    print(f"  most uncertain atom: number {worst}, in frame {frames.frame_index[worst]}")
assert (active.grade(known, features.atom_features(known)).frames < 1.5).mean() > 0.9

# %% [markdown]
# ## In production: stop when it no longer knows
#
# The committee as an ASE calculator. Heat a cell, and stop when the estimated error of the force on
# some atom exceeds that of 99 % of the atoms in frames like those it was trained on.

# %%
usual = np.linalg.norm(law.apply(component_spread(predictions["alike"]).forces), axis=1)
limit = np.quantile(usual, 0.99)
atoms = bulk("Al", cubic=True, a=3.85)
atoms.symbols[0] = "Ni"
atoms.calc = CommitteeCalculator(committee)
MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
dynamics = Langevin(
    atoms, 2 * units.fs, temperature_K=300, friction=0.05 / units.fs, rng=np.random.default_rng(0)
)
for step in range(150):
    dynamics.set_temperature(temperature_K=300 + 30 * step)
    dynamics.run(1)
    worst = atoms.calc.results["atoms_sigma"].max()
    if worst > limit:
        break
print(f"step {step}, bath at {300 + 30 * step} K: σ of the worst force is {worst:.3f} eV/Å ({limit:.3f})")
print(f"pictures: {pictures}")
assert len(list(pictures.glob("*.png"))) == 8
