"""A trainer as a process of its own, which never outlives who started it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

PID_FILE = "trainer.json"
"""Written by a trainer into its folder: ``pid`` and ``host``; removed when it has ended."""

GRACE_SECONDS: float = 10.0
"""From SIGTERM to SIGKILL."""

# finally blocks do not run under SIGTERM and SIGKILL, so the kernel is told to end the trainer when
# its parent dies (prctl PR_SET_PDEATHSIG = 1, Linux); a parent that has died before that is another
_CODE = """
import ctypes, json, os, runpy, signal, socket, sys
parent, pid_file, module = int(sys.argv[1]), sys.argv[2], sys.argv[3]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
with open(pid_file, "w") as stream:
    json.dump({"pid": os.getpid(), "host": socket.gethostname()}, stream)
del sys.argv[1:4]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def start_trainer(
    module: str, arguments: list[str], folder: Path, stream: IO[str]
) -> subprocess.Popen[bytes]:
    """Run a module in a folder, in a session of its own; it is killed when this process dies.

    Where the kernel cannot do that (macOS), :func:`end_left_over` ends it at the next start.

    Parameters
    ----------
    module : str
        As for ``python -m``.
    arguments : list of str
        Its command-line arguments.
    folder : Path
        Absolute. Working folder, where the trainer writes :data:`PID_FILE`.
    stream : file
        Takes what the trainer prints.
    """
    own = [str(os.getpid()), str(folder / PID_FILE), module]
    return subprocess.Popen(
        [sys.executable, "-c", _CODE, *own, *arguments],
        cwd=folder,
        stdout=stream,
        stderr=subprocess.STDOUT,
        env=_environment(),
        start_new_session=True,
    )


def end_trainer(process: subprocess.Popen[bytes], folder: Path) -> None:
    """End a trainer and its data loaders, if it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (folder / PID_FILE).unlink(missing_ok=True)


def end_left_over(folder: Path) -> None:
    """End the trainer that an earlier, killed run left in a folder, before two write there.

    A process that only has the number of that trainer, but not its command line, is left alone.
    Of a trainer on another machine only the log can tell.
    """
    path = folder / PID_FILE
    try:
        found = json.loads(path.read_text())
        pid, host = int(found["pid"]), str(found["host"])
    except (OSError, ValueError, KeyError, TypeError):  # none, or half written
        return
    if host != socket.gethostname():
        logger.warning(
            "%s: process %d on %s trained here and did not say that it ended; if it still runs, "
            "end it: two trainers in one folder mix their checkpoints",
            folder,
            pid,
            host,
        )
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _trains_in(pid, folder):
            break
        logger.warning("ending trainer %d, left in %s by a run that was killed", pid, folder)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
        deadline = time.monotonic() + GRACE_SECONDS
        while _trains_in(pid, folder) and time.monotonic() < deadline:
            time.sleep(0.1)
    path.unlink(missing_ok=True)


def _trains_in(pid: int, folder: Path) -> bool:
    return str(folder / PID_FILE) in _command_line(pid)


def _command_line(pid: int) -> str:
    """Return the command line of a process; empty if there is none, or it is a zombie."""
    proc = Path("/proc")
    if (proc / "self").exists():
        try:
            return (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return ""
    done = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return done.stdout


def _environment() -> dict[str, str]:
    # e3nn 0.4 loads its own constants with pickle, which torch ≥ 2.6 refuses unless told
    return {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "PYTHONUNBUFFERED": "1"}
