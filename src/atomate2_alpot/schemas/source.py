"""What a proposer hands to a selector: a space of candidates, never a list of them."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from typing_extensions import TypedDict

from atomate2_alpot.schemas.frames import Frames


@runtime_checkable
class CandidateSource(Protocol):
    """A space of candidates in a fixed, seeded, random-access order; MSONable.

    ``propose`` must return the same frames for the same arguments in every process, however
    the range is cut, and clip ranges that reach past the end.
    """

    def __len__(self) -> int:
        """Return the number of candidates."""
        ...

    def propose(self, start: int, stop: int, iteration: int) -> Frames:
        """Build candidates ``start`` to ``stop`` of the order, with their origin columns."""
        ...


class Shard(TypedDict):
    """A range of a :class:`CandidateSource`; ``source`` is one, or a reference to one."""

    source: Any
    start: int
    stop: int
