"""A trainer ends with who started it, whatever ended that."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atomate2_alpot.train.process import PID_FILE, end_left_over, end_trainer, start_trainer

linux = pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")

PARENT = """
import sys, time
from pathlib import Path
from atomate2_alpot.train.process import start_trainer
folder = Path(sys.argv[1])
with (folder / "log").open("a") as stream:
    start_trainer("sleeper", ["600"], folder, stream)
time.sleep(600)
"""

TRAINING_PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tiny_mace import TINY, run_of, toy_frames
from atomate2_alpot.train.mace import fit
long = TINY.model_copy(update={"max_num_epochs": 100_000})
fit(run_of(toy_frames(20), settings=long), Path(sys.argv[1]))
"""


def wait_for(condition, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie that nobody has reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def pid_in(folder: Path) -> int:
    try:
        return json.loads((folder / PID_FILE).read_text())["pid"]
    except (OSError, ValueError):
        return 0


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "sleeper.py").write_text("import sys, time\ntime.sleep(float(sys.argv[1]))\n")
    return tmp_path


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_trainer_dies_with_a_parent_that_is_killed(folder, number):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(folder)])
    assert wait_for(lambda: pid_in(folder))
    trainer = pid_in(folder)
    assert trainer != parent.pid
    assert alive(trainer)
    parent.send_signal(number)
    assert parent.wait() == -number
    assert wait_for(lambda: not alive(trainer), 5)


def start_sleeper(folder: Path) -> subprocess.Popen:
    with (folder / "log").open("a") as stream:
        process = start_trainer("sleeper", ["600"], folder, stream)
    assert wait_for(lambda: pid_in(folder) == process.pid)
    return process


@linux
def test_a_trainer_left_in_the_folder_is_ended_before_the_next_one_starts(folder, caplog):
    left = start_sleeper(folder)  # as if its parent had died without taking it along
    end_left_over(folder)
    assert left.wait(timeout=5) == -signal.SIGTERM
    assert not (folder / PID_FILE).exists()
    assert f"ending trainer {left.pid}, left in {folder}" in caplog.text


@linux
def test_another_process_with_the_number_of_a_trainer_is_left_alone(folder):
    innocent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        record = {"pid": innocent.pid, "host": socket.gethostname()}
        (folder / PID_FILE).write_text(json.dumps(record))
        end_left_over(folder)
        assert alive(innocent.pid)
        assert not (folder / PID_FILE).exists()
    finally:
        innocent.kill()
        innocent.wait()


@pytest.mark.parametrize("text", ["", "{", '{"pid": "x"}', "[1]"])
def test_a_half_written_record_is_no_obstacle(folder, text):
    (folder / PID_FILE).write_text(text)
    end_left_over(folder)


def test_a_trainer_on_another_machine_is_told_of(folder, caplog):
    (folder / PID_FILE).write_text(json.dumps({"pid": os.getpid(), "host": "elsewhere"}))
    end_left_over(folder)
    assert f"process {os.getpid()} on elsewhere trained here" in caplog.text


def test_an_ended_trainer_leaves_no_record(folder):
    process = start_sleeper(folder)
    end_trainer(process, folder)
    assert process.returncode == -signal.SIGTERM
    assert not (folder / PID_FILE).exists()


@linux
@pytest.mark.slow
def test_mace_does_not_outlive_a_parent_that_is_killed_and_is_taken_up(tmp_path):
    from tiny_mace import TINY, run_of, toy_frames

    from atomate2_alpot.train.mace import fit

    parent = subprocess.Popen(
        [sys.executable, "-c", TRAINING_PARENT, str(tmp_path), str(Path(__file__).parent)]
    )
    checkpoints = tmp_path / "checkpoints"
    assert wait_for(lambda: list(checkpoints.glob("*.pt")), 120)
    trainer = pid_in(tmp_path)
    assert alive(trainer)
    parent.kill()
    parent.wait()
    assert wait_for(lambda: not alive(trainer), 5)
    reached = int(max(checkpoints.glob("*.pt")).stem.split("-")[-1].split("_")[0])
    more = TINY.model_copy(update={"max_num_epochs": reached + 50})
    model, epochs = fit(run_of(toy_frames(20), settings=more), tmp_path)
    assert model.exists()
    assert epochs.column("epoch")[-1] == reached + 49
    assert not (tmp_path / PID_FILE).exists()
