"""Random splits in which a frame keeps its set for ever."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import numpy as np

from atomate2_alpot.schemas import Frames, SplitTable

SETS: tuple[str, ...] = ("train", "valid", "test")
"""A member's own."""

CALIBRATE = "calibrate"
"""The set that no member trains or validates on: what a committee's spread is calibrated with."""

MIN_FRAMES: int = 5
"""Fewer frames than this leave nothing to validate on."""

Fractions = tuple[float, float, float]


def assign_splits(
    frames: Frames,
    n_members: int,
    fractions: Fractions = (0.9, 0.05, 0.05),
    seed: int = 0,
    previous: SplitTable | None = None,
    held_out: float = 0.0,
) -> SplitTable:
    """Assign every frame to train, valid or test, anew for every member.

    A fraction can be held out from all members before, as ``calibrate``.

    Frames that come from one parent (ionic steps of a relaxation) share a set, or the test set
    would hold near-copies of what was trained on. What was assigned before stays; new frames
    are dealt so that every total is within one group of its share, with at least one validation
    frame.

    Parameters
    ----------
    frames : Frames
        Unique by ``frame_id``.
    n_members : int
        Members; the splits of two are independent.
    fractions : tuple of float
        Of train, valid, test among what is not held out; they sum to 1.
    seed : int
    previous : SplitTable, optional
        Assignments that must be kept.
    held_out : float
        Fraction of all frames that no member sees.

    Returns
    -------
    SplitTable
        One row per frame and member, for the frames given.

    Raises
    ------
    ValueError
        If the fractions do not sum to 1, ``held_out`` is not in [0, 1), there are fewer than
        ``MIN_FRAMES`` frames, or all of them come from one parent.
    """
    _check(frames, fractions, held_out)
    parents = frames.table["parent"].to_pylist()
    group_of = {i: parent or i for i, parent in zip(frames.frame_id, parents, strict=True)}
    common = _hold_out(group_of, _of_member(previous, 0), held_out, seed)
    rest = {i: group for i, group in group_of.items() if i not in common}
    shares = dict(zip(SETS, fractions, strict=True))
    tables = []
    for member in range(n_members):
        sets = {**common, **_deal(rest, _of_member(previous, member), shares, (seed, member))}
        if "train" not in sets.values():
            raise ValueError(
                f"all {len(rest)} labelled frames to train on come from one parent, which leaves "
                "nothing beside the validation set; label frames of other parents"
            )
        tables.append(
            SplitTable.from_columns(
                frame_id=frames.frame_id,
                member=[member] * len(frames),
                split=[sets[i] for i in frames.frame_id],
            )
        )
    return SplitTable.concat(tables)


def split_frames(frames: Frames, splits: SplitTable, member: int) -> dict[str, Frames]:
    """Return the frames of each set of a member, :data:`CALIBRATE` included."""
    sets = _of_member(splits, member)
    assigned = np.array([sets[i] for i in frames.frame_id], dtype=object)
    return {name: frames[assigned == name] for name in (*SETS, CALIBRATE)}


def _of_member(table: SplitTable | None, member: int) -> dict[str, str]:
    if table is None:
        return {}
    rows = table[table.column("member") == member]
    return dict(zip(rows.column("frame_id"), rows.column("split"), strict=True))


def _hold_out(
    group_of: dict[str, str], kept: dict[str, str], fraction: float, seed: int
) -> dict[str, str]:
    """Return the frames that no member sees."""
    known = {i: CALIBRATE if name == CALIBRATE else "rest" for i, name in kept.items()}
    sets = _deal(group_of, known, {"rest": 1 - fraction, CALIBRATE: fraction}, (seed, -1))
    return {i: name for i, name in sets.items() if name == CALIBRATE}


def _deal(
    group_of: dict[str, str], kept: dict[str, str], shares: dict[str, float], key: tuple[int, int]
) -> dict[str, str]:
    """Deal each new group to the set that lacks most frames.

    The lacks sum to the frames still to be dealt, so none is exceeded by more than a part of a
    group, nor missed by more than one.
    """
    sets = {i: kept[i] for i in group_of if i in kept}
    known_groups = {group_of[i]: s for i, s in sets.items()}
    groups: dict[str, list[str]] = defaultdict(list)
    for i, group in group_of.items():
        if i not in sets and group in known_groups:
            sets[i] = known_groups[group]
        elif i not in sets:
            groups[group].append(i)
    lack = {name: share * len(group_of) for name, share in shares.items()}
    for name in sets.values():
        lack[name] -= 1
    # training cannot do without: the first group validates where its share is less than one
    unmet = ["valid"] if shares.get("valid", 0) > 0 and "valid" not in sets.values() else []
    # a hash, and not the order of arrival, decides who goes where
    for group in sorted(groups, key=lambda g: _rank(g, key)):
        name = unmet.pop() if unmet else max(shares, key=lambda s: lack[s])
        for i in groups[group]:
            sets[i] = name
        lack[name] -= len(groups[group])
    return sets


def _rank(group: str, key: tuple[int, int]) -> str:
    return hashlib.sha256(f"{key[0]}:{key[1]}:{group}".encode()).hexdigest()


def _check(frames: Frames, fractions: Fractions, held_out: float) -> None:
    if not (abs(sum(fractions) - 1) <= 1e-9 and min(fractions) >= 0):
        raise ValueError(f"fractions={fractions}: train, valid, test must sum to 1")
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out={held_out}: give a fraction from 0 to below 1")
    if len(frames) < MIN_FRAMES:
        raise ValueError(
            f"{len(frames)} labelled frames are too few to split and train on; label at least "
            f"{MIN_FRAMES}"
        )
    if len(set(frames.frame_id)) != len(frames):
        raise ValueError("frames hold repeated frame_ids; call Frames.unique() first")
