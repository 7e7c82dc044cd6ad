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
    criteria = {"name": RECORD}
    if campaign_id is not None:
        criteria["metadata.campaign_id"] = campaign_id
    decode = MontyDecoder().process_decoded
    outputs = (decode(d["output"]) for d in jobs.query(criteria, ["output"]))
    documents = [IterationDoc.model_validate(o) for o in outputs]
    return sorted(documents, key=lambda d: (d.campaign_id, d.iteration))
