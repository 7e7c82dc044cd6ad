"""MaxVol against motep's: CPU time and volume of 50 features; and 500 features from a file.

Run on one thread (``OMP_NUM_THREADS=1``). teneva is left out: its LU wants n × n numbers.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from motep.grade.maxvol import MaxVol

from atomate2_alpot.uncertainty import ActiveSet


def timed(call):
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def compare(n: int, m: int, rng: np.random.Generator) -> None:
    features = rng.normal(size=(n, m)) @ rng.normal(size=(m, m))
    ours, active = timed(lambda: ActiveSet.fit(features))
    theirs, found = timed(lambda: MaxVol(threshold=1e-7).run(features))
    ratio = np.exp(active.log_volume - np.linalg.slogdet(features[found.indices])[1])
    print(f"{n:>9} x {m}: {ours:.2f} s, motep {theirs:.2f} s; volume over motep's {ratio:.4f}")


def from_file(n: int, m: int, rng: np.random.Generator) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, step = Path(folder) / "features.npy", 10_000
        written = np.lib.format.open_memmap(path, "w+", np.float64, (n, m))
        for start in range(0, n, step):
            written[start : start + step] = rng.normal(size=(step, m)) * np.geomspace(1, 1e-3, m)
        del written
        mapped = np.load(path, mmap_mode="r")
        seconds, active = timed(lambda: ActiveSet.fit(mapped))
        grading, grades = timed(lambda: active.grade(mapped))
    print(f"{n:>9} x {m} from a file: {seconds:.0f} s, graded in {grading:.1f} s", end="")
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    # pages of the file that are cached count too
    print(f"; largest grade {grades.max():.6f}; {gigabytes:.2f} GB at most")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="*", type=int, default=[10_000, 100_000, 300_000])
    parser.add_argument("--file-rows", type=int, default=100_000)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    for n in arguments.rows:
        compare(n, 50, rng)
    from_file(arguments.file_rows, 500, rng)
