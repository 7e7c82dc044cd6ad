"""Reading what a campaign has done from its store."""

from __future__ import annotations

from jobflow import JobStore
from monty.json import MontyDecoder

from atomate2_alpot.schemas import IterationDoc

RECORD = "record iteration"


def iteration_documents(jobs: JobStore, campaign_id: str | None = None) -> list[IterationDoc]:
    """Return the iteration documents, in order.

    Parameters
    ----------
    jobs : JobStore
        Connected.
    campaign_id : str, optional
        Of one campaign only.
    """
    decode = MontyDecoder().process_decoded
    outputs = (decode(d["output"]) for d in jobs.query({"name": RECORD}, ["output"]))
    documents = [IterationDoc.model_validate(o) for o in outputs]
    wanted = [d for d in documents if campaign_id in (None, d.campaign_id)]
    return sorted(wanted, key=lambda d: (d.campaign_id, d.iteration))
