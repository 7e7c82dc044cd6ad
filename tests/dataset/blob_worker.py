"""A job in a process of its own, as an engine's worker runs it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from jobflow import Job, JobStore, OutputReference, job
from monty.json import MontyDecoder

from atomate2_alpot.schemas import BLOBS, Artifact, PotentialSpec
from atomate2_alpot.settings import SETTINGS


@job(data=BLOBS)
def train() -> dict:
    """Write weights into the folder of the job, and return them as a trainer does."""
    path = Path("member.model")
    path.write_bytes(b"weights" * 1000)
    return {"spec": PotentialSpec(backend="mace", artifact=Artifact.from_file(path))}


@job
def use(spec: PotentialSpec) -> dict:
    """Unpack weights and tell where, and what they are."""
    path = spec.artifact.unpack(SETTINGS.CACHE_DIR)
    return {"path": str(path), "weights": path.read_bytes().decode(), "in": str(Path.cwd())}


def main(kind: str, uuid: str, stores: JobStore) -> None:
    """Run the job of a kind under a uuid; "use" takes the output of the job "made"."""
    stores.connect()
    reference = OutputReference("made", (("i", "spec"),))
    made: Job = train() if kind == "train" else use(reference)
    made.uuid = uuid
    made.run(stores)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(os.environ["STORES"], cls=MontyDecoder))
