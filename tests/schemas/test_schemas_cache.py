"""The cache of files by hash: bounded, shared by processes, never without a file in use."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atomate2_alpot.schemas import Artifact
from atomate2_alpot.schemas.cache import CacheError, FileCache
from atomate2_alpot.settings import SETTINGS


def content(i: int, n_bytes: int = 1000) -> bytes:
    return bytes([i]) * n_bytes


def put(cache: FileCache, i: int):
    data = content(i)
    return cache.lease(hashlib.sha256(data).hexdigest(), "m.model", data)


def kept(cache: FileCache) -> set[int]:
    return {p.read_bytes()[0] for p in cache.folder.glob("*/m.model")}


def age(cache: FileCache, order: list[int]) -> None:
    """Make files look as if they had been used in this order."""
    for seconds, i in enumerate(order):
        lock = cache.folder / f"{hashlib.sha256(content(i)).hexdigest()}.lock"
        os.utime(lock, (seconds, seconds))


def test_least_recently_used_files_go_first(tmp_path):
    cache = FileCache(tmp_path, 3000)
    for i in range(3):
        put(cache, i).release()
    age(cache, [1, 0, 2])
    put(cache, 1).release()  # used again: 0 is the oldest now
    put(cache, 3).release()
    assert kept(cache) == {1, 2, 3}
    put(cache, 4).release()
    assert kept(cache) == {1, 3, 4}
    assert cache.size() == 3000
    names = {p.name[:64] for p in tmp_path.glob("*.lock")} - {"evicting.lock"}
    assert names == {p.name for p in tmp_path.iterdir() if p.is_dir()}


def test_a_file_in_use_stays_however_full_the_cache_is(tmp_path):
    cache = FileCache(tmp_path, 1500)
    held = [put(cache, i) for i in range(4)]
    assert kept(cache) == {0, 1, 2, 3}
    for lease in held[:2]:
        lease.release()
    put(cache, 5).release()
    assert kept(cache) == {2, 3, 5}
    assert held[2].path.read_bytes() == content(2)


HOLD = """
import sys
from pathlib import Path
from atomate2_alpot.schemas import Artifact
artifact = Artifact(bytes([7]) * 1000, "m.model")
path = artifact.unpack(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
print(len(path.read_bytes()))
"""


def test_what_another_process_uses_stays_and_goes_when_it_was_killed(tmp_path):
    cache = FileCache(tmp_path, 1)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=-1, stdout=-1, text=True
    )
    assert holder.stdout.readline() == "held\n"
    put(cache, 1).release()
    assert kept(cache) == {1, 7}
    holder.kill()
    holder.wait()
    put(cache, 2).release()
    assert kept(cache) == {2}


CHURN = """
import random, sys
from pathlib import Path
from atomate2_alpot.schemas import Artifact
from atomate2_alpot.settings import SETTINGS
SETTINGS.CACHE_MAX_GB = 3e-5
draw = random.Random(int(sys.argv[2]))
for _ in range(150):
    artifact = Artifact(bytes([draw.randrange(8)]) * 10_000, "m.model")
    assert artifact.unpack(Path(sys.argv[1])).read_bytes() == artifact.data
"""


def test_processes_that_push_each_other_out_always_read_what_they_asked_for(tmp_path):
    command = [sys.executable, "-c", CHURN, str(tmp_path)]
    running = [subprocess.Popen([*command, str(s)], stderr=-1, text=True) for s in range(3)]
    assert [p.communicate(timeout=120)[1] for p in running] == [""] * 3
    assert FileCache(tmp_path, 0).size() <= 8 * 10_000
    last = Artifact(b"x", "m.model")
    last.unpack(tmp_path)
    assert not list(tmp_path.glob("*/.*"))


def test_an_artifact_holds_its_file_while_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(SETTINGS, "CACHE_MAX_GB", 1.5e-6)
    first, second = Artifact(content(1), "m.model"), Artifact(content(2), "m.model")
    first.unpack(tmp_path)
    second.unpack(tmp_path)
    assert kept(FileCache(tmp_path, 0)) == {1, 2}
    del first
    time.sleep(0.01)
    third = Artifact(content(3), "m.model")
    third.unpack(tmp_path)
    assert kept(FileCache(tmp_path, 0)) == {2, 3}


def test_a_folder_that_cannot_be_used_is_named_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CacheError, match=r"cache .*file.*ALPOT_CACHE_DIR"):
        Artifact(b"w", "m.model").unpack(Path(tmp_path / "file"))
