"""Reading many labels from a server: memory and time of blocks, against all documents at once.

    python benchmarks/bench_store.py [LABELS]

The server is the one of the tests (SecantusDB), or that of ALPOT_MONGO_URI; the database
``alpot_bench`` is made and dropped.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from atomate2_alpot.dataset import LabelStore, label_documents, mongo_stores
from atomate2_alpot.schemas import Frames, LabelBatchDoc, Labels

DATABASE, N_ATOMS, BLOCK = "alpot_bench", 6, 1000


@contextmanager
def server():
    """Yield a URI."""
    if uri := os.environ.get("ALPOT_MONGO_URI"):
        yield uri
        return
    from mongo_server import mongo_server

    with tempfile.TemporaryDirectory() as folder, mongo_server(Path(folder), durable=False) as own:
        yield own.uri


def labels(start: int, n: int) -> list[dict]:
    """Return label documents of noise."""
    rng = np.random.default_rng(start)
    frames = Frames.from_arrays(
        rng.choice([8, 13, 28, 29], n * N_ATOMS),
        rng.uniform(0, 5, (n * N_ATOMS, 3)),
        np.repeat(5 * np.eye(3)[None], n, axis=0),
        [N_ATOMS] * n,
        labels=Labels(
            rng.normal(size=n), rng.normal(size=(n * N_ATOMS, 3)), rng.normal(size=(n, 3, 3))
        ),
        origin={"functional": ["r2SCAN"] * n},
    )
    batch = LabelBatchDoc(
        n_requested=n,
        n_labelled=n,
        functional="r2SCAN",
        iteration=start // 20_000,
        campaign_id="bench",
        frames=frames,
        failures=[],
    )
    return [d.model_dump() for d in label_documents(batch)]


def in_blocks(store: LabelStore) -> int:
    return sum(len(frames) for frames in store.iter_frames(block=BLOCK, functional="r2SCAN"))


def as_frames(store: LabelStore) -> int:
    return len(store.query(functional="r2SCAN"))


def as_documents(store: LabelStore) -> int:
    return len(list(store.documents({"functional": "r2SCAN"})))


def measure(uri: str, read, results) -> None:
    """Put frames, seconds and the peak of this process's memory in MB beyond what it began with."""
    stores = mongo_stores(uri, DATABASE)
    stores.connect()
    store = LabelStore(stores.labels)
    next(store.iter_frames(block=1))  # imports
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (Linux)
    before = peak_kb()
    start = time.perf_counter()
    n = read(store)
    results.put((n, time.perf_counter() - start, (peak_kb() - before) / 1024))


def peak_kb() -> int:
    """Return the most memory that this process has had."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def main(n_labels: int) -> None:
    context = multiprocessing.get_context("spawn")
    with server() as uri:
        stores = mongo_stores(uri, DATABASE)
        stores.labels.connect()
        collection = stores.labels._collection
        collection.database.client.drop_database(DATABASE)
        stores.connect()
        start = time.perf_counter()
        for first in range(0, n_labels, 5000):
            collection.insert_many(labels(first, min(5000, n_labels - first)))
        print(
            f"{n_labels} labels of {N_ATOMS} atoms written in {time.perf_counter() - start:.0f} s"
        )
        for read in (in_blocks, as_frames, as_documents):
            results = context.Queue()
            process = context.Process(target=measure, args=(uri, read, results))
            process.start()
            n, seconds, peak = results.get()
            process.join()
            print(f"{read.__name__:14}{n:9} labels {seconds:7.1f} s {peak:8.0f} MB")
        collection.database.client.drop_database(DATABASE)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
