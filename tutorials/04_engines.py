# %% [markdown]
# # 4. From laptop to cluster
#
# The same campaign on FireWorks, and a labelling on jobflow-remote, with the commands and files that a
# cluster needs, in two minutes on a laptop. Labels and committee are *toy potentials*: surrogates that
# stand in for DFT and for trained models, so that only the machinery takes time.
#
# Both engines keep their queues, and the store keeps its results, in MongoDB. Install a real one. Here a
# small server that speaks its protocol, SecantusDB (`pip install 'atomate2-alpot[test]'`), stands in: it
# is for tests only.

# %%
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pymongo
import yaml

if find_spec("secantus") is None or find_spec("jobflow_remote") is None:
    print("skipped: pip install 'atomate2-alpot[test]' brings the server and jobflow-remote")
    sys.exit()

folder = Path(tempfile.mkdtemp(prefix="alpot-engines-"))
os.chdir(folder)
os.environ["OMP_NUM_THREADS"] = "1"
programs = Path(sys.executable).parent

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
server = subprocess.Popen(
    [programs / "secantusd-py", "--port", str(port), "--storage-path", folder / "mongo", "--standalone"],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
client = pymongo.MongoClient(uri, serverSelectionTimeoutMS=60_000)
client.admin.command("ping")


def run(*command: object) -> str:
    """Run a command as a shell would, and show what it says."""
    print("$", *command)
    program, *arguments = map(str, command)
    done = subprocess.run(
        [programs / program, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    print(done.stdout)
    return done.stdout


# %% [markdown]
# ## The config of the campaign
#
# What differs from `alpot run` is `store` and `engine`. The URI of the store is in the environment, not
# in the config.

# %%
config = {
    "campaign_id": "toy",
    "elements": ["Al", "Ni"],
    "committee": [{"backend": "toy", "kwargs": {"seed": seed}} for seed in (1, 2)],
    "propose": {
        "n_atoms": [2, 3],
        "n_elements": [2, 2],
        "candidates_per_iteration": 20,
        "n_test": 4,
    },
    "select": {
        "criterion": {
            "energy": 0.01,
            "formation_energy": None,
            "max_force": None,
            "mean_stress": None,
        }
    },
    "label": {"preset": "toy-surrogate", "options": {"seed": 9}, "batch_size": 4},
    "train": {
        "n_members": 2,
        "settings": {
            "num_channels": 4,
            "correlation": 1,
            "max_ell": 1,
            "num_interactions": 1,
            "r_max": 4.0,
            "max_num_epochs": 2,
        },
    },
    "loop": {"labels_per_iteration": 8, "max_iterations": 1},
    "store": {"kind": "mongo", "database": "alpot"},
    "engine": {"name": "fireworks", "launchpad": "my_launchpad.yaml"},
}
Path("config.yaml").write_text(yaml.safe_dump(config))
os.environ["ALPOT_MONGO_URI"] = uri

# %% [markdown]
# ## FireWorks
#
# Two files: the LaunchPad, which is the queue, and jobflow's config, which says to every worker where jobs
# write. On a cluster a third one asks the batch system for nodes; see the page "From laptop to cluster".

# %%
pad = {"host": uri, "name": "fireworks", "uri_mode": True}
Path("my_launchpad.yaml").write_text(yaml.safe_dump(pad))
place = {"uri": uri, "database": "alpot"}
job_store = {
    "docs_store": {"type": "MongoStore", "collection_name": "outputs", **place},
    "additional_stores": {
        "data": {"type": "GridFSStore", "collection_name": "blobs", "key": "blob_uuid", **place}
    },
}
Path("jobflow.yaml").write_text(yaml.safe_dump({"JOB_STORE": job_store}))
os.environ["JOBFLOW_CONFIG_FILE"] = str(folder / "jobflow.yaml")
for file in ("my_launchpad.yaml", "jobflow.yaml"):
    Path(file).chmod(0o600)

today = time.strftime("%Y-%m-%d")
run("lpad", "-l", "my_launchpad.yaml", "reset", "--password", today)
run("alpot", "submit", "config.yaml", "--run-dir", "campaign")

# %% [markdown]
# Submitting again adds nothing: the workflow is known by its key.

# %%
assert "there already" in run("alpot", "submit", "config.yaml", "--run-dir", "campaign")

# %% [markdown]
# A worker runs it. On a cluster `qlaunch rapidfire` starts workers in the batch system.

# %%
Path("worker").mkdir()
start = time.perf_counter()
subprocess.run(
    [programs / "rlaunch", "-l", "../my_launchpad.yaml", "-s", "rapidfire"],
    cwd="worker",
    stdout=subprocess.DEVNULL,
    check=True,
)
print(f"{client.fireworks.fireworks.count_documents({})} jobs in {time.perf_counter() - start:.0f} s")
run("lpad", "-l", "my_launchpad.yaml", "get_wflows", "-q", '{"metadata.campaign_id": "toy"}', "-d", "less")
run("alpot", "status", "--run-dir", "campaign")

# %% [markdown]
# The labels are documents, one per frame, for any client of MongoDB; structures, labels and models in
# bulk are in GridFS.

# %%
for label in client.alpot.labels.find({"stage": "label"}, sort=[("max_force", -1)], limit=3):
    print(label["formula_pretty"], f"{label['max_force']:.2f} eV/Å", label["functional"])
print(client.alpot["blobs.files"].count_documents({}), "blobs in GridFS")

# %% [markdown]
# ## jobflow-remote
#
# One file for a project: workers, queue, store. This worker is a shell on this machine; on a cluster it
# has `type: remote`, a host and `scheduler_type: slurm`.

# %%
project = {
    "name": "tutorial",
    "workers": {
        "here": {"type": "local", "scheduler_type": "shell", "work_dir": str(folder / "work")}
    },
    "queue": {
        "store": {"type": "MongoStore", "collection_name": "jobs", "uri": uri, "database": "jobflow_remote"}
    },
    "jobstore": job_store,
    "log_level": "error",
    "runner": {f"delay_{what}": 0.2 for what in ("checkout", "check_run_status", "advance_status")},
}
Path("projects").mkdir()
Path("projects/tutorial.yaml").write_text(yaml.safe_dump(project))
Path("projects/tutorial.yaml").chmod(0o600)
os.environ["JFREMOTE_PROJECTS_FOLDER"] = str(folder / "projects")

from jobflow_remote.config.manager import ConfigManager
from jobflow_remote.jobs.runner import Runner

from atomate2_alpot.campaign.engines import EngineSettings, make_engine
from atomate2_alpot.label import presets
from atomate2_alpot.structures import CandidateSpace, aflow_prototypes

ConfigManager().get_project("tutorial").get_job_controller().reset()  # `jf admin reset`

# %% [markdown]
# Any flow can be submitted, here the labelling of two candidates. The key names its workflow.

# %%
engine = make_engine(EngineSettings(name="jobflow-remote", project="tutorial"))
engine.check()
space = CandidateSpace(aflow_prototypes(n_atoms=(2, 2)), ["Al", "Ni"], seed=0)
labeller = replace(presets.toy_surrogate(seed=9), batch_size=2)
flow = labeller.make(space.propose(0, 2, iteration=1), iteration=1)
flow.metadata = {"campaign_id": "two", "iteration": 1, "stage": "label"}
engine.submit(flow, key="two/1/label/0")
print(engine.states(["two/1/label/0"]))

# %% [markdown]
# `jf runner start` runs in the background; here the runner works until nothing is left.

# %%
Runner(project_name="tutorial").run_all_jobs(max_seconds=300)
run("jf", "-p", "tutorial", "flow", "list", "-meta", "campaign_id=two")
print(engine.states(["two/1/label/0"]))
gather = client.alpot.outputs.find_one({"name": "gather labels", "metadata.campaign_id": "toy"})
print("a gather of", gather["output"]["n_labelled"], "labels")

# %%
client.close()
server.terminate()
server.wait()
