"""Running a label flow in a test."""

from __future__ import annotations

from jobflow import Flow, JobStore, run_locally
from monty.json import MontyDecoder

from atomate2_alpot.schemas import LabelBatchDoc


def run_labels(flow: Flow, store: JobStore) -> LabelBatchDoc:
    """Run a label flow and return its batch."""
    run_locally(flow, store=store, log=False, create_folders=True)
    return MontyDecoder().process_decoded(store.get_output(flow.output.uuid, load=True))
