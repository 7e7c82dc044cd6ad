# %% [markdown]
# # 1. A small campaign, step by step
#
# The pieces of the loop one by one, then the loop itself, on a laptop in a minute or two. The labels
# come from CHGNet-r2SCAN, a *surrogate* that stands in for DFT, and the committee that is trained
# is tiny: what it learns here is not the point.

# %%
import tempfile
from pathlib import Path

from atomate2_alpot import CandidateSpace, Committee, LabelMaker, MPAloeMaker, PotentialSpec
from atomate2_alpot.campaign import run_embedded
from atomate2_alpot.dataset import LabelStore, embedded_stores, iteration_documents, sync_labels
from atomate2_alpot.flows import LoopSettings
from atomate2_alpot.label import presets
from atomate2_alpot.select import DirectSampler, QueryByCommittee
from atomate2_alpot.select.makers import CommitteeSelector
from atomate2_alpot.structures import aflow_prototypes
from atomate2_alpot.structures.makers import PrototypeProposer
from atomate2_alpot.train import MaceSettings, CommitteeTrainer

run_dir = Path(tempfile.mkdtemp(prefix="alpot-quickstart-"))
elements = ["Al", "Ni", "Cu"]

# %% [markdown]
# ## Candidates are a space
#
# Every symmetry-distinct decoration of every prototype, built when it is looked at.

# %%
space = CandidateSpace(aflow_prototypes(n_atoms=(2, 4)), elements, seed=0)
print(len(space), "candidates; number 7 is", space[7].composition.reduced_formula)
frames = space.propose(0, 40, iteration=1)
print(frames, "volume per atom", (frames.volume / frames.n_atoms).round(1)[:5], "Å³")

# %% [markdown]
# ## A committee disagrees
#
# Two pretrained CHGNet models. Without elemental references their energies compare only because
# both are PBE; the loop computes references by itself.

# %%
specs = [PotentialSpec(backend="chgnet", name=name) for name in ("0.3.0", "0.2.0")]
prediction = Committee(specs).predict(frames)
scores = QueryByCommittee(energy=0.05, formation_energy=None).score(frames, prediction)
verdicts = scores.column("verdict")
print({v: int((verdicts == v).sum()) for v in sorted(set(verdicts))})
assert len(scores) == len(frames)

# %% [markdown]
# ## A diverse subset

# %%
sample = DirectSampler().sample(frames, budget=8, seed=0)
print("chosen", sample.indices, "from", sample.info["n_clusters"], "clusters")
assert len(sample.indices) == 8

# %% [markdown]
# ## The loop
#
# Every step is a Maker in a field. `run_embedded` runs the flow in this process and keeps a
# journal: calling it again continues, or finds that all is done.

# %%
labeller: LabelMaker = presets.chgnet_surrogate("r2scan")
maker = MPAloeMaker(
    elements=elements,
    proposer=PrototypeProposer(
        elements=elements, n_atoms=(2, 4), candidates_per_iteration=60, n_test=15
    ),
    selector=CommitteeSelector(
        criterion=QueryByCommittee(energy=0.02, forces=0.02, stress=0.02, formation_energy=None)
    ),
    committee=specs,
    labeller=labeller,
    trainer=CommitteeTrainer(
        settings=MaceSettings(num_channels=8, correlation=2, max_ell=2, max_num_epochs=4),
        n_members=2,
    ),
    loop=LoopSettings(labels_per_iteration=15, max_iterations=1),
    campaign_id="quickstart",
)
stores = embedded_stores(run_dir)
stores.connect()
summary = run_embedded(maker.make, run_dir, stores.jobs)
print(summary)
assert summary.completed

# %% [markdown]
# ## What came out

# %%
for doc in iteration_documents(stores.jobs):
    print(doc.iteration, doc.status, doc.counts)
    print({k: round(v, 4) for k, v in doc.metrics.items()})
    assert doc.surrogate == "chgnet:r2scan"

sync_labels(stores.jobs, stores.labels)
labels = LabelStore(stores.labels)
copper = labels.query(elements=["Cu"], stage="label")
print(len(copper), "labelled frames with copper, chosen by the loop")

# %%
again = run_embedded(maker.make, run_dir, stores.jobs)
assert again.n_run == 0
print("run again:", again)
