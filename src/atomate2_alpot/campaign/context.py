"""What the stages of a campaign share: its Makers, its stores, its state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import getitem
from typing import Any

from jobflow import Flow, Job
from jobflow.utils.find import find_key
from monty.json import MontyDecoder

from atomate2_alpot.campaign.documents import BatchDoc, CampaignDoc
from atomate2_alpot.campaign.policy import CampaignPolicy
from atomate2_alpot.campaign.state import CampaignError, CampaignState
from atomate2_alpot.dataset.stores import Stores
from atomate2_alpot.flows import ActiveLearningMaker
from atomate2_alpot.flows.contracts import Proposer, RangeSelector
from atomate2_alpot.flows.jobs import carry
from atomate2_alpot.flows.state import LoopState, Pointer
from atomate2_alpot.flows.tags import tag
from atomate2_alpot.label import LabelMaker
from atomate2_alpot.schemas.blobs import BlobError


class MissingOutputError(RuntimeError):
    """An output, or a blob of it, is not in the store."""


@dataclass
class Context:
    """What a stage works with.

    Parameters
    ----------
    maker : ActiveLearningMaker
    stores : Stores
        Connected.
    state : CampaignState
    policy : CampaignPolicy
    doc : CampaignDoc
        As it was when this pass began.
    """

    maker: ActiveLearningMaker
    stores: Stores
    state: CampaignState
    policy: CampaignPolicy
    doc: CampaignDoc

    @property
    def proposer(self) -> Proposer:
        """What proposes candidates."""
        if self.maker.proposer is None:
            raise CampaignError("the campaign has no proposer")
        return self.maker.proposer

    @property
    def selector(self) -> RangeSelector:
        """What chooses, in ranges."""
        if not isinstance(self.maker.selector, RangeSelector):
            raise CampaignError(
                f"{type(self.maker.selector).__name__} cannot screen range by range: give it the "
                "methods of flows.contracts.RangeSelector, or use CommitteeSelector"
            )
        return self.maker.selector

    @property
    def labeller(self) -> LabelMaker:
        """What labels."""
        if not isinstance(self.maker.labeller, LabelMaker):
            raise CampaignError(
                f"campaign mode needs a LabelMaker, not a {type(self.maker.labeller).__name__}"
            )
        return self.maker.labeller

    @property
    def loop(self) -> LoopState:
        """State of the loop; there is one from iteration 1."""
        if self.doc.loop is None:
            raise RuntimeError(f"campaign {self.doc.campaign_id} has not begun its loop")
        return self.doc.loop

    def read(self, pointer: Pointer) -> Any:
        """Return an output with its blobs.

        Raises
        ------
        MissingOutputError
            If it, or a blob, is not in the store.
        """
        path = ".".join(["output", *pointer.path])
        try:
            found = self.stores.jobs.query_one(
                {"uuid": pointer.uuid}, [path], {"index": -1}, load=True
            )
        except BlobError as error:  # a document is written before its blobs
            raise MissingOutputError(f"output {pointer.uuid}: {error}") from None
        value: Any = found
        for name in ["output", *pointer.path]:
            value = value.get(name) if isinstance(value, dict) else None
        if value is None:
            raise MissingOutputError(f"{path} of {pointer.uuid} is not in {self.stores.where}")
        return MontyDecoder().process_decoded(value)

    def require_blobs(self, uuid: str) -> None:
        """Raise ``MissingOutputError`` if an output lacks a blob; none is read."""
        wanted = {"uuid": uuid}
        found = self.stores.jobs.query_one(wanted, sort={"index": -1}, load=False) or {}
        names = [reduce(getitem, path, found)["blob_uuid"] for path in find_key(found, "blob_uuid")]
        blobs = self.stores.jobs.additional_stores["data"]  # type: ignore[has-type]
        there = set(blobs.distinct("blob_uuid", {"blob_uuid": {"$in": names}})) if names else set()
        if missing := sorted(set(names) - there):
            raise MissingOutputError(f"blob {missing[0]} of output {uuid} is missing")

    def read_fields(self, uuid: str, fields: Iterable[str]) -> dict[str, Any]:
        """Return fields of an output, without blobs."""
        found = self.stores.jobs.query_one(
            {"uuid": uuid}, [f"output.{name}" for name in fields], {"index": -1}, load=False
        )
        if found is None:
            raise MissingOutputError(f"output {uuid} is not in {self.stores.where}")
        return found["output"]

    def workflow(self, jobs: Sequence[Job | Flow], last: Job, batch: BatchDoc, stage: str) -> Flow:
        """Join jobs to the flow of a batch; ``stage`` is what their documents say."""
        return self.tagged(Flow([*jobs, last], output=last.output), batch, stage)

    def tagged(self, flow: Flow, batch: BatchDoc, stage: str) -> Flow:
        """Write to a flow and its jobs what they belong to."""
        flow.name = batch.key
        tag([flow], self.doc.campaign_id, self.doc.iteration, stage)
        flow.update_metadata({"batch": batch.batch}, dynamic=True)
        return flow


@dataclass
class Step:
    """Where a campaign goes from a finished stage.

    Parameters
    ----------
    stage : str
        Name of the next one.
    iteration : int
    loop : LoopState or None
    pointers : dict
        What the next stages need.
    ended : str or None
        Status of the iteration that ended with this stage.
    message : str
        How the campaign ended, where it did.
    """

    stage: str
    iteration: int
    loop: LoopState | None
    pointers: dict[str, Pointer] = field(default_factory=dict)
    ended: str | None = None
    message: str = ""


def carried(**pointers: Pointer | list[Pointer] | None) -> Job:
    """Make the job that turns pointers into references."""
    return carry(pointers)
