# %% [markdown]
# # 2. Labels from real DFT, without a licence
#
# Twelve labels of GPAW: two-atom cells of silicon at six volumes, PBE and then r2SCAN from PBE's
# density, through the same `LabelMaker` that runs VASP. The labels are then put to the test:
# the lattice constant that they give, and their stress against the derivative of their energies.
#
# GPAW builds on libxc and a BLAS; `make gpaw` in a clone installs both it and them.

# %%
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder
from pymatgen.analysis.eos import BirchMurnaghan
from pymatgen.core import Structure

from atomate2_alpot.label import LabelMaker, presets
from atomate2_alpot.schemas import Frames
from atomate2_alpot.units import EV_PER_A3_TO_GPA

if find_spec("gpaw") is None:
    print("skipped: GPAW is not installed; `make gpaw` installs it")
    sys.exit()

CUTOFF, KSPACING = 400.0, 0.4  # eV, 1/Å: enough for a trend, in seconds
EDGES = np.linspace(5.33, 5.58, 6)  # Å
EXPERIMENT, PUBLISHED_PBE = 5.431, 5.469  # Å; Csonka et al., PRB 79, 155107 (2009), PBE

# %% [markdown]
# ## Six volumes, labelled in a row
#
# `batch_size=6`: one job labels all six cells, each in its own subfolder. A cell that fails would
# cost that cell.

# %%
cells = [
    Structure.from_spacegroup("Fd-3m", a * np.eye(3), ["Si"], [[0, 0, 0]]).get_primitive_structure()
    for a in EDGES
]
frames = Frames.from_structures(cells)


def label(labeller: LabelMaker) -> Frames:
    """Run the label flow here and return what came of it."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    flow = labeller.make(frames)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run_locally(flow, store=store, create_folders=True, root_dir=folder, log=False)
    batch = MontyDecoder().process_decoded(store.get_output(flow.output.uuid, load=True))
    seconds = (time.perf_counter() - start) / len(frames)
    print(f"{labeller.functional}: {batch.n_labelled} labels, {seconds:.0f} s each")
    for failure in batch.failures:
        print(f"  failed: {failure.reason} ({failure.detail})")
    return batch.frames


labels = {}
for functional in ("PBE", "r2SCAN"):
    labeller = presets.gpaw(functional, cutoff=CUTOFF, kspacing=KSPACING)
    labeller.batch_size = 6
    labels[functional] = label(labeller)

# %% [markdown]
# ## What they are worth
#
# A Birch–Murnaghan fit gives the lattice constant, and the pressure at every volume, which the
# stress labels must have: p = -tr σ / 3, σ positive under tension.

# %%
for functional, labelled in labels.items():
    fit = BirchMurnaghan(labelled.volume, labelled.energy)
    fit.fit()
    edge = (4 * fit.v0) ** (1 / 3)
    step = 1e-3 * labelled.volume
    from_energy = -(fit.func(labelled.volume + step) - fit.func(labelled.volume - step)) / (2 * step)
    from_stress = -np.trace(labelled.stress, axis1=1, axis2=2) / 3
    print(f"\n{functional}: a0 = {edge:.3f} Å, B = {fit.b0_GPa:.0f} GPa")
    print("  a (Å)    p from E(V)   p of the stress labels (GPa)")
    for a, p, q in zip(EDGES, from_energy, from_stress, strict=True):
        print(f"  {a:.3f}  {EV_PER_A3_TO_GPA * p:10.2f}  {EV_PER_A3_TO_GPA * q:14.2f}")
    assert np.sign(from_stress[0]) > 0 > np.sign(from_stress[-1])
    labels[functional] = edge
print(f"\npublished: PBE {PUBLISHED_PBE} Å; experiment {EXPERIMENT} Å")
