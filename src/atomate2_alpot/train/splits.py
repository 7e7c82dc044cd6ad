"""Random splits in which a frame keeps its set for ever."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np

from atomate2_alpot.schemas import Frames, SplitTable

SETS: tuple[str, ...] = ("train", "valid", "test")
MIN_FRAMES: int = 5
"""Fewer frames than this leave nothing to validate on."""

Fractions = tuple[float, float, float]


def assign_splits(
    frames: Frames,
    n_members: int,
    fractions: Fractions = (0.9, 0.05, 0.05),
    seed: int = 0,
    previous: SplitTable | None = None,
) -> SplitTable:
    """Assign every frame to train, valid or test, anew for every member.

    Frames that come from one parent (ionic steps of a relaxation) share a set, or the test set
    would hold near-copies of what was trained on. What was assigned before stays; new frames
    are dealt so that the totals meet the fractions as closely as whole groups allow, with at
    least one validation frame.

    Parameters
    ----------
    frames : Frames
        Unique by ``frame_id``.
    n_members : int
        Members; the splits of two are independent.
    fractions : tuple of float
        Of train, valid, test; they sum to 1.
    seed : int
    previous : SplitTable, optional
        Assignments that must be kept.

    Returns
    -------
    SplitTable
        One row per frame and member, for the frames given.

    Raises
    ------
    ValueError
        If the fractions do not sum to 1, or there are fewer than ``MIN_FRAMES`` frames.
    """
    _check(frames, fractions)
    parents = frames.table["parent"].to_pylist()
    group_of = {i: parent or i for i, parent in zip(frames.frame_id, parents, strict=True)}
    tables = []
    for member in range(n_members):
        kept = _of_member(previous, member)
        sets = _deal(group_of, kept, fractions, (seed, member))
        tables.append(
            SplitTable.from_columns(
                frame_id=frames.frame_id,
                member=[member] * len(frames),
                split=[sets[i] for i in frames.frame_id],
            )
        )
    return SplitTable.concat(tables)


def split_frames(frames: Frames, splits: SplitTable, member: int) -> dict[str, Frames]:
    """Return the frames of each set of a member."""
    sets = _of_member(splits, member)
    assigned = np.array([sets[i] for i in frames.frame_id], dtype=object)
    return {name: frames[assigned == name] for name in SETS}


def _of_member(table: SplitTable | None, member: int) -> dict[str, str]:
    if table is None:
        return {}
    rows = table[table.column("member") == member]
    return dict(zip(rows.column("frame_id"), rows.column("split"), strict=True))


def _deal(
    group_of: dict[str, str], kept: dict[str, str], fractions: Fractions, key: tuple[int, int]
) -> dict[str, str]:
    """Deal new groups to the set that is furthest below its share."""
    sets = {i: kept[i] for i in group_of if i in kept}
    known_groups = {group_of[i]: s for i, s in sets.items()}
    groups: dict[str, list[str]] = defaultdict(list)
    for i, group in group_of.items():
        if i not in sets and group in known_groups:
            sets[i] = known_groups[group]
        elif i not in sets:
            groups[group].append(i)
    counts = {name: sum(s == name for s in sets.values()) for name in SETS}
    total = len(group_of)
    target = {name: f * total for name, f in zip(SETS, fractions, strict=True)}
    if fractions[1] > 0:
        target["valid"] = max(1.0, target["valid"])
    # a hash, and not the order of arrival, decides who goes where
    for group in sorted(groups, key=lambda g: _rank(g, key)):
        name = max(SETS[::-1], key=lambda s: (target[s] - counts[s]) / max(target[s], 1e-9))
        for i in groups[group]:
            sets[i] = name
        counts[name] += len(groups[group])
    return sets


def _rank(group: str, key: tuple[int, int]) -> str:
    return hashlib.sha256(f"{key[0]}:{key[1]}:{group}".encode()).hexdigest()


def _check(frames: Frames, fractions: Fractions) -> None:
    if abs(sum(fractions) - 1) > 1e-9 or min(fractions) < 0:
        raise ValueError(f"fractions={fractions}: train, valid, test must sum to 1")
    if len(frames) < MIN_FRAMES:
        raise ValueError(
            f"{len(frames)} labelled frames are too few to split and train on; label at least "
            f"{MIN_FRAMES}"
        )
    if len(set(frames.frame_id)) != len(frames):
        raise ValueError("frames hold repeated frame_ids; call Frames.unique() first")
