"""Jobs of the propose stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobflow import job

from atomate2_alpot.schemas import BLOBS
from atomate2_alpot.structures.space import CandidateSpace

if TYPE_CHECKING:
    from atomate2_alpot.structures.makers import PrototypeProposer


@job(data=BLOBS)
def build_space(proposer: PrototypeProposer) -> CandidateSpace:
    """Build the candidate space of a proposer; the prototypes in it travel as a blob."""
    return proposer.space()
