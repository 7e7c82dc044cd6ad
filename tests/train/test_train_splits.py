"""Splits over rounds and groups, E0s against numpy, settings in the words of MACE's parser."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atomate2_alpot.schemas import Frames, Labels
from atomate2_alpot.train import MaceSettings, assign_splits, fit_e0s, resolve_e0s, split_frames
from atomate2_alpot.train.mace_log import epoch_table, last_error, read_results
from atomate2_alpot.train.mace_settings import OURS

SETS = ("train", "valid", "test")


def frames_of(parents: list[str | None], seed: int = 0) -> Frames:
    n = len(parents)
    rng = np.random.default_rng(seed)
    return Frames.from_arrays(
        rng.choice([13, 28], n),
        rng.normal(size=(n, 3)),
        np.repeat(4 * np.eye(3)[None], n, axis=0),
        np.ones(n, int),
        labels=Labels(rng.normal(size=n)),
        origin={"parent": parents},
    )


def sets_of(table) -> dict[tuple[int, str], str]:
    rows = table.table.to_pylist()
    assert len({(r["member"], r["frame_id"]) for r in rows}) == len(rows)
    return {(r["member"], r["frame_id"]): r["split"] for r in rows}


groups = st.lists(st.integers(1, 6), min_size=6, max_size=30)
"""Sizes of groups."""

shares = st.tuples(st.integers(50, 90), st.integers(0, 100)).map(
    lambda x: (
        x[0] / 100,
        (valid := (100 - x[0]) * (10 + 0.8 * x[1]) / 1e4),
        1 - x[0] / 100 - valid,
    )
)


def spread(sizes: list[int]) -> list[str]:
    return [f"p{g}" for g, size in enumerate(sizes) for _ in range(size)]


@given(groups, shares, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_shares_are_met_within_one_group_and_groups_are_whole(sizes, fractions, seed):
    parents = spread(sizes)
    frames = frames_of(parents)
    table = sets_of(assign_splits(frames, 2, fractions, seed))
    for member in range(2):
        sets = [table[member, i] for i in frames.frame_id]
        assert len(set(zip(parents, sets, strict=True))) == len(sizes)
        assert "valid" in sets
        _, valid, test = (f * len(frames) for f in fractions)
        assert abs(sets.count("valid") - max(valid, 1)) <= max(sizes)
        assert abs(sets.count("test") - test) <= max(sizes)


def test_the_training_share_too_is_met_within_one_group():
    sizes = [6, 6, 6, 1, 3, 6, 6, 6, 2, 3, 2, 2, 4, 2, 1]
    frames = frames_of(spread(sizes))
    sets = split_frames(frames, assign_splits(frames, 1, (0.84, 0.08, 0.08)), 0)
    assert abs(len(sets["train"]) - 0.84 * len(frames)) <= max(sizes)


@given(groups, st.integers(5, 60), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_what_is_held_out_is_so_for_all_members_and_for_ever(sizes, percent, seed):
    held_out, parents = percent / 100, spread(sizes)
    frames = frames_of(parents + [f"new{i}" for i in range(40)])
    first = assign_splits(frames[: len(parents)], 3, seed=seed, held_out=held_out)
    table = sets_of(first)
    held = [i for i in frames.frame_id[: len(parents)] if table[0, i] == "calibrate"]
    assert abs(len(held) - held_out * len(parents)) <= max(sizes)
    for member in range(3):
        assert [
            i for i in frames.frame_id[: len(parents)] if table[member, i] == "calibrate"
        ] == held
    pairs = {
        (p, table[0, i] == "calibrate") for p, i in zip(parents, frames.frame_id, strict=False)
    }
    assert len(pairs) == len(sizes)  # no relaxation is torn apart
    for fraction in (held_out, 0.0):
        later = sets_of(assign_splits(frames, 3, seed=seed, previous=first, held_out=fraction))
        assert {key: later[key] for key in table} == table
    unseen = split_frames(frames, assign_splits(frames, 3, seed=seed, held_out=held_out), 1)
    assert set(unseen) == {"train", "valid", "test", "calibrate"}
    assert sum(map(len, unseen.values())) == len(frames)


@pytest.mark.parametrize("held_out", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(held_out):
    with pytest.raises(ValueError, match=f"held_out={held_out}"):
        assign_splits(frames_of(["a"] * 9), 2, held_out=held_out)


@pytest.mark.parametrize("n_groups", [1, 2])
def test_few_groups_leave_something_to_train_on(n_groups):
    """One or two relaxations of ten steps."""
    frames = frames_of([f"p{i % n_groups}" for i in range(20)])
    if n_groups == 1:
        with pytest.raises(ValueError, match="come from one parent"):
            assign_splits(frames, 1)
        return
    sets = split_frames(frames, assign_splits(frames, 1), 0)
    assert (len(sets["train"]), len(sets["valid"])) == (10, 10)


@given(st.lists(groups, min_size=2, max_size=4), st.integers(0, 99), st.data())
@settings(max_examples=30, deadline=None)
def test_rounds_keep_sets_and_groups_in_any_order(rounds, seed, data):
    """Groups grow over the rounds; each round sees all frames so far, shuffled."""
    parents = [p for sizes in rounds for p in spread(sizes)]
    frames, ends = frames_of(parents), np.cumsum([sum(sizes) for sizes in rounds])
    previous, known = None, {}
    for end in ends:
        order = data.draw(st.permutations(range(int(end))))
        plain = assign_splits(frames[:end], 2, seed=seed, previous=previous)
        previous = assign_splits(frames.take(order), 2, seed=seed, previous=previous)
        now = sets_of(previous)
        assert now == sets_of(plain)
        assert {key: now[key] for key in known} == known
        for member in range(2):
            pairs = {
                (p, now[member, i]) for p, i in zip(parents, frames.frame_id[:end], strict=False)
            }
            assert len(pairs) == len({p for p, _ in pairs})
        known = now


def test_a_parent_and_what_came_from_it_share_a_set():
    start = frames_of([None] * 20)
    steps = frames_of([i for i in start.frame_id for _ in range(3)], seed=1)
    table = sets_of(assign_splits(Frames.concat([start, steps]), 2, (0.6, 0.2, 0.2)))
    for member in range(2):
        for child, parent in zip(steps.frame_id, steps.column("parent"), strict=True):
            assert table[member, child] == table[member, parent]


@given(
    st.integers(5, 60), st.sampled_from([(0.9, 0.05, 0.05), (0.9, 0.1, 0.0), (0.5, 0.001, 0.499)])
)
@settings(max_examples=30, deadline=None)
def test_there_is_always_a_frame_to_train_and_one_to_validate_on(n, fractions):
    frames = frames_of([None] * n)
    sets = split_frames(frames, assign_splits(frames, 1, fractions), 0)
    assert len(sets["train"]) > 0 < len(sets["valid"])
    assert sum(map(len, sets.values())) == n
    assert len(sets["test"]) == 0 or fractions[2] > 0


def test_a_member_that_is_added_leaves_the_others_alone():
    frames = frames_of([None] * 40)
    two, three = (sets_of(assign_splits(frames, m)) for m in (2, 3))
    assert {key: three[key] for key in two} == two
    previous = assign_splits(frames, 2)
    assert sets_of(assign_splits(frames, 3, previous=previous)) == three


@pytest.mark.parametrize("fractions", [(1.1, -0.05, -0.05), (0.5, 0.5, 0.5), (0, 0, 0)])
def test_fractions_that_are_none_are_refused(fractions):
    with pytest.raises(ValueError, match="must sum to 1"):
        assign_splits(frames_of([None] * 9), 1, fractions)


def test_fractions_that_are_nan_are_refused():
    with pytest.raises(ValueError, match="must sum to 1"):
        assign_splits(frames_of([None] * 9), 1, (float("nan"), 0.5, 0.5))


# --- atomic energies ---------------------------------------------------------------------


@given(st.integers(1, 25), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_fitted_e0s_are_numpys_least_squares_per_atom(n, seed):
    """Also where fewer frames than elements leave it open: the shortest answer."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, n)
    numbers = rng.choice([8, 13, 28], sizes.sum())
    energy = rng.normal(size=n) * 10
    frames = Frames.from_arrays(
        numbers,
        rng.normal(size=(len(numbers), 3)),
        [4 * np.eye(3)] * n,
        sizes,
        labels=Labels(energy),
    )
    kinds = sorted(set(numbers.tolist()))
    counts = np.array(
        [[np.sum(z == k) for k in kinds] for z in np.split(numbers, np.cumsum(sizes)[:-1])]
    )
    expected = np.linalg.lstsq(counts / sizes[:, None], energy / sizes, rcond=None)[0]
    names = {8: "O", 13: "Al", 28: "Ni"}
    fitted = fit_e0s(frames)
    assert list(fitted) == [names[k] for k in kinds]
    np.testing.assert_allclose(list(fitted.values()), expected, atol=1e-8)


def test_a_periodic_frame_of_one_atom_is_no_isolated_atom():
    frames = frames_of([None] * 10)
    assert frames.pbc.all()
    assert resolve_e0s(frames, None) == (fit_e0s(frames), "least_squares")


def test_given_values_win_over_isolated_atoms():
    atom = Frames.from_arrays(
        [13], [[0, 0, 0]], [9 * np.eye(3)], [1], pbc=[[False] * 3], labels=Labels([-0.2])
    )
    assert resolve_e0s(atom, None) == ({"Al": -0.2}, "isolated_atoms")
    assert resolve_e0s(atom, {"Al": -7.0}) == ({"Al": -7.0}, "given")


# --- settings ----------------------------------------------------------------------------


@pytest.mark.parametrize("option", sorted(OURS))
def test_every_option_that_is_ours_is_refused(option):
    with pytest.raises(ValueError, match=f"'{option}' is set elsewhere"):
        MaceSettings(extra={option: "1"})


@pytest.mark.parametrize("field", sorted(set(MaceSettings.model_fields) - {"extra"}))
def test_extra_does_not_say_twice_what_a_field_says(field):
    with pytest.raises(ValueError, match=f"'{field}' is set elsewhere"):
        MaceSettings(extra={field: "1"})


def test_mace_reads_back_every_value_it_is_given():
    from mace.tools import build_default_arg_parser

    odd = MaceSettings(lr=0.003, ema=False, loss="huber", batch_size=3, default_dtype="float64")
    for ours in (MaceSettings.mp_aloe(), odd):
        arguments = ["--name=x", "--train_file=t.xyz", *ours.arguments()]
        parsed = vars(build_default_arg_parser().parse_args(arguments))
        for name, value in ours.model_dump(exclude={"kind", "extra"}).items():
            assert parsed[name] == value, name


# --- what MACE writes --------------------------------------------------------------------


def line(epoch: int, mae: float) -> str:
    return json.dumps({"mode": "eval", "epoch": epoch, "loss": mae, "mae_e_per_atom": mae})


@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 9)), max_size=12), st.integers(0, 80))
@settings(max_examples=40, deadline=None)
def test_the_last_word_on_each_epoch_counts_wherever_the_file_is_cut(tmp_path_factory, rows, cut):
    folder = tmp_path_factory.mktemp("run")
    (folder / "results").mkdir()
    text = "".join(line(*row) + "\n" for row in rows)
    half = line(99, 1.0)[: min(cut, len(line(99, 1.0)) - 1)]
    (folder / "results" / "x_run-1_train.txt").write_text(text + half)
    table = epoch_table(read_results(folder))
    expected = dict(sorted(dict(rows).items()))
    assert table.column("epoch").tolist() == list(expected)
    np.testing.assert_allclose(table.column("energy_mae"), list(expected.values()))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it wrote nothing"),
        ("INFO: epoch 1\n\nkilled\n", "killed"),
        ("ValueError: one\nDuring handling:\nRuntimeError: two\nINFO: bye\n", "RuntimeError: two"),
        ("torch.OutOfMemoryError: CUDA\nINFO: x\n", "torch.OutOfMemoryError: CUDA"),
        ("KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("INFO: the Error is small\n", "INFO: the Error is small"),
    ],
)
def test_the_line_of_the_log_that_says_it(tmp_path, text, said):
    (tmp_path / "log").write_text(text)
    assert last_error(tmp_path / "log") == said


def test_a_log_that_is_no_text_is_read_all_the_same(tmp_path):
    (tmp_path / "log").write_bytes(b"\xff\xfe\nValueError: \xff bad\n")
    assert last_error(tmp_path / "log").startswith("ValueError")
