"""Splits that last, atomic energies, settings and logs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atomate2_alpot.schemas import Frames, Labels
from atomate2_alpot.train import (
    CommitteeTrainer,
    MaceSettings,
    assign_splits,
    fit_e0s,
    resolve_e0s,
    split_frames,
)
from atomate2_alpot.train.mace_log import epoch_table, last_error, read_results


def make_frames(n: int, seed: int = 0, parents: list[str] | None = None) -> Frames:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 4, (n, 2))
    sizes = counts.sum(axis=1)
    numbers = np.concatenate([[13] * a + [28] * b for a, b in counts])
    energies = counts @ np.array([-3.0, -5.0])
    return Frames.from_arrays(
        numbers,
        rng.normal(size=(sizes.sum(), 3)) * 3,
        np.repeat(np.eye(3)[None] * 6, n, axis=0),
        sizes,
        labels=Labels(energies, np.zeros((sizes.sum(), 3))),
        origin={"parent": parents} if parents else None,
    )


def sets_of(table, member: int) -> dict[str, str]:
    rows = table[table.column("member") == member]
    return dict(zip(rows.column("frame_id"), rows.column("split"), strict=True))


@given(st.lists(st.integers(5, 40), min_size=2, max_size=4), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_a_frame_keeps_its_set_for_ever(rounds, seed):
    frames = make_frames(sum(rounds), seed)
    previous, known = None, {}
    for n in np.cumsum(rounds):
        previous = assign_splits(frames[:n], 2, seed=seed, previous=previous)
        for member in range(2):
            now = sets_of(previous, member)
            before = known.get(member, {})
            assert {i: now[i] for i in before} == before
            known[member] = now


@given(st.integers(20, 300), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_fractions_are_met_to_one_frame(n, seed):
    frames = make_frames(n, seed)
    table = assign_splits(frames, 1, (0.8, 0.1, 0.1), seed)
    counts = {s: len(f) for s, f in split_frames(frames, table, 0).items()}
    for name, fraction in zip(("train", "valid", "test"), (0.8, 0.1, 0.1), strict=True):
        assert abs(counts[name] - fraction * n) <= 2, counts
    assert counts["valid"] >= 1
    assert sum(counts.values()) == n


def test_frames_of_one_parent_share_a_set_also_when_they_come_later():
    parents = [f"parent-{i // 4}" for i in range(80)]
    frames = make_frames(80, parents=parents)
    first = assign_splits(frames[::2], 3, (0.6, 0.2, 0.2))
    table = assign_splits(frames, 3, (0.6, 0.2, 0.2), previous=first)
    for member in range(3):
        sets = sets_of(table, member)
        for k in range(20):
            assert len({sets[i] for i in frames.frame_id[4 * k : 4 * k + 4]}) == 1


def test_split_does_not_depend_on_the_order_of_frames(rng):
    frames = make_frames(50)
    shuffled = frames.take(rng.permutation(50))
    assert sets_of(assign_splits(frames, 2), 1) == sets_of(assign_splits(shuffled, 2), 1)


def test_members_and_seeds_split_differently():
    frames = make_frames(100)
    table = assign_splits(frames, 2, seed=0)
    assert sets_of(table, 0) != sets_of(table, 1)
    assert sets_of(table, 0) != sets_of(assign_splits(frames, 2, seed=1), 0)


@pytest.mark.parametrize(
    ("frames", "fractions", "message"),
    [
        (make_frames(3), (0.9, 0.05, 0.05), "3 labelled frames are too few"),
        (make_frames(9), (0.9, 0.2, 0.1), "must sum to 1"),
        (Frames.concat([make_frames(9)] * 2), (0.9, 0.05, 0.05), "repeated"),
    ],
)
def test_wrong_splits_are_named(frames, fractions, message):
    with pytest.raises(ValueError, match=message):
        assign_splits(frames, 1, fractions)


def test_fitted_e0s_recover_exact_ones():
    assert fit_e0s(make_frames(30)) == pytest.approx({"Al": -3.0, "Ni": -5.0})


def test_given_e0s_win_and_must_be_complete():
    frames = make_frames(10)
    e0s, source = resolve_e0s(frames, {"Al": 1.0, "Ni": 2.0, "Fe": 9.0})
    assert (e0s, source) == ({"Al": 1.0, "Ni": 2.0}, "given")
    with pytest.raises(ValueError, match=r"e0s: no value for \['Ni'\]"):
        resolve_e0s(frames, {"Al": 1.0})


def test_isolated_atoms_are_used_only_if_there_is_one_of_each():
    box = {"cell": [np.eye(3) * 15], "n_atoms": [1], "pbc": [[False] * 3]}
    atoms = [
        Frames.from_arrays([z], [[0, 0, 0]], labels=Labels([e]), **box)
        for z, e in ((13, -0.2), (28, -0.9))
    ]
    both = Frames.concat([make_frames(10), *atoms])
    assert resolve_e0s(both, None) == ({"Al": -0.2, "Ni": -0.9}, "isolated_atoms")
    assert resolve_e0s(both[:-1], None)[1] == "least_squares"


def test_settings_are_arguments_that_mace_accepts():
    from mace.tools import build_default_arg_parser

    for settings_ in (
        MaceSettings(),
        MaceSettings.mp_aloe(),
        MaceSettings(extra={"huber_delta": 0.02}),
    ):
        arguments = ["--name=x", "--train_file=t.xyz", *settings_.arguments()]
        parsed = build_default_arg_parser().parse_args(arguments)
        assert parsed.num_channels == settings_.num_channels
        assert parsed.max_num_epochs == settings_.max_num_epochs


def test_mp_aloe_settings_are_the_large_model():
    large = MaceSettings.mp_aloe()
    assert (large.num_channels, large.max_L, large.r_max, large.max_num_epochs) == (
        128,
        2,
        6.0,
        100,
    )


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match=r"no option 'huber_dleta'; did you mean 'huber_delta'"):
        MaceSettings(extra={"huber_dleta": 1.0}).arguments()
    with pytest.raises(ValueError, match="'seed' is set elsewhere"):
        MaceSettings(extra={"seed": 1})
    with pytest.raises(ValueError, match="num_chanels"):
        MaceSettings(num_chanels=3)
    with pytest.raises(ValueError, match="lr"):
        MaceSettings(lr=-1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"n_members": 1}, "n_members=1"), ({"fractions": (0.5, 0.1, 0.1)}, "must sum to 1")],
)
def test_wrong_trainer_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        CommitteeTrainer(**fields)


def record(epoch, energy, mode="eval") -> str:
    return json.dumps(
        {
            "mode": mode,
            "epoch": epoch,
            "loss": 0.5,
            "mae_e_per_atom": energy,
            "rmse_e_per_atom": energy,
            "mae_f": 0.2,
            "rmse_f": 0.3,
            "mae_stress": None,
        }
    )


def test_results_are_read_whatever_the_seed_and_survive_a_restart(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    lines = [
        record(None, 3.0),
        record(0, 1.0),
        record(2, 0.8, "opt"),
        record(2, 0.7),
        record(2, 0.6),
        record(4, 0.5),
    ]
    (folder / "member-0_run-17_train.txt").write_text("\n".join(lines) + '\n{"mode": "eval", "ep')
    table = epoch_table(read_results(tmp_path))
    assert table.column("epoch").tolist() == [0, 2, 4]
    assert table.column("energy_mae").tolist() == [1.0, 0.6, 0.5]
    assert np.isnan(table.column("stress_mae")).all()
    assert len(epoch_table(read_results(tmp_path / "nowhere"))) == 0


def test_last_error_is_the_one_that_says_what_went_wrong(tmp_path):
    log = tmp_path / "log"
    log.write_text("INFO: start\nTraceback (most recent call last):\n  File x\nKeyError: 'Fe'\n\n")
    assert last_error(log) == "KeyError: 'Fe'"
    log.write_text("run_train: error: unrecognized arguments: --foo\n")
    assert "unrecognized" in last_error(log)
