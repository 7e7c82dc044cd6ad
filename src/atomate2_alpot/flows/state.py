"""What an iteration must know of the ones before it, small enough to be a job argument."""

from __future__ import annotations

from typing import Any, Self

from jobflow import OutputReference
from pydantic import Field

from atomate2_alpot.schemas import Document


class Pointer(Document):
    """Where an output is: the uuid of its job and the way to it inside the output.

    The loop's state holds pointers and not ``OutputReference``s, for two reasons: references
    among a job's arguments are resolved (every blob of the campaign would be loaded to decide
    whether to go on), and FireWorks refuses a replacing flow that refers to jobs outside it. A
    `carry` job turns pointers back into references that live in its own output, where both
    engines follow them.
    """

    uuid: str
    path: list[str] = Field(default_factory=list, description="Attributes, outermost first.")

    @classmethod
    def of(cls, reference: OutputReference) -> Self:
        """Point at what an output reference refers to."""
        return cls(uuid=reference.uuid, path=[str(name) for _, name in reference.attributes])

    def reference(self) -> OutputReference:
        """Return the reference."""
        return OutputReference(self.uuid, tuple(("a", name) for name in self.path))


class LoopState(Document):
    """State of a campaign between two iterations."""

    campaign_id: str
    iteration: int = Field(description="The iteration that runs now, from 1.")
    n_labels: int = Field(0, description="Labels asked for so far, test set not counted.")
    pool: Pointer
    committee: Pointer = Field(description="CommitteeDoc that screens.")
    committee_names: list[str] = Field(description="Its members, for the iteration document.")
    test: Pointer = Field(description="Labelled Frames of the fixed test set.")
    dataset: list[Pointer] = Field(default_factory=list, description="Labelled Frames, in order.")
    training: Pointer | None = Field(None, description="Last TrainingDoc.")

    def advanced(self, **update: Any) -> LoopState:
        """Return a copy with these fields replaced."""
        return self.model_copy(update=update)
