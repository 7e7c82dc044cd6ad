"""QBC + DIRECT, each of the two alone, and random selection, at equal numbers of labels.

One pool per seed. The committee is CHGNet 0.3.0 and 0.2.0; labels are CHGNet-r2SCAN's, a surrogate.
Every arm trains one MACE on what it chose. Two test sets that neither sees: one drawn like the
pool, and one of the candidates the committee disagrees on most.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.cli.loading import read_config
from atomate2_alpot.cli.run import demo_config_path
from atomate2_alpot.potentials import Committee, load_predictor
from atomate2_alpot.schemas import CommitteeDoc, Frames, Labels, PotentialSpec
from atomate2_alpot.select import DirectSampler, RandomSampler
from atomate2_alpot.select.screening import prepare
from atomate2_alpot.structures.makers import PrototypeProposer
from atomate2_alpot.train import assign_splits, fit_e0s, split_frames
from atomate2_alpot.train.mace import fit
from atomate2_alpot.train.run import TrainingRun
from atomate2_alpot.uncertainty.errors import error_metrics

RAW, POOL, TEST, HARD = 900, 300, 100, 40
"""Candidates built; of the physical ones: pool, test set, and as many of the rest that disagree."""
KEYS = ("energy_mae", "forces_mae", "stress_mae")


def label(frames: Frames) -> tuple[Frames, np.ndarray]:
    """Label with the surrogate; leave out what breaks the demo's force limit, and say which."""
    p = load_predictor(PotentialSpec(backend="chgnet", name="r2scan")).predict(frames)
    largest = np.maximum.reduceat(np.linalg.norm(p.forces, axis=1), frames.offsets[:-1])
    good = np.isfinite(p.energy) & (largest < 50)
    labels = Labels(p.energy[good], p.forces[good[frames.frame_index]], p.stress[good])
    return frames[good].with_labels(labels), good


def one_seed(
    seed: int, sizes: list[int], folder: Path, config: RunConfig, committee: CommitteeDoc
) -> list[dict]:
    space = PrototypeProposer(elements=config.elements, ternary_weight=1.0, seed=seed).space()
    raw = space.propose(0, RAW, iteration=2)
    prediction = Committee.from_doc(committee).predict(raw, allow_nonfinite=True)
    raw_scores = config.select.criterion.score(raw, prediction)
    physical = np.isin(raw_scores.column("verdict").astype(str), ["selected", "agreed"])
    candidates, good = label(raw[physical])
    scores = raw_scores[physical][good]
    pool, test = candidates[:POOL], candidates[POOL : POOL + TEST]
    rest = np.arange(POOL + TEST, len(candidates))
    worst = rest[np.argsort(-scores.column("forces_spread")[rest])[:HARD]]
    sets = {"like the pool": test, "disagreeing": candidates.take(worst)}
    passed = pool[scores.column("verdict")[:POOL] == "selected"]
    rows = []
    for size in sizes:
        arms = {
            "QBC + DIRECT": passed.take(DirectSampler().sample(passed, size, seed).indices),
            "QBC": passed.take(RandomSampler().sample(passed, size, seed).indices),
            "DIRECT": pool.take(DirectSampler().sample(pool, size, seed).indices),
            "random": pool.take(RandomSampler().sample(pool, size, seed).indices),
        }
        for arm, chosen in arms.items():
            divided = split_frames(chosen, assign_splits(chosen, 1, (0.85, 0.15, 0.0), seed), 0)
            name = f"s{seed}-{size}-{arm.replace(' ', '')}"
            run = TrainingRun(
                divided["train"],
                divided["valid"],
                config.train.settings,
                fit_e0s(chosen),
                seed,
                name,
            )
            model, _ = fit(run, folder / name)
            predictor = load_predictor(
                PotentialSpec(backend="mace", name=str(model), kwargs={"trust": True})
            )
            for where, frames in sets.items():
                metrics = error_metrics(frames, predictor.predict(frames))
                rows.append({"seed": seed, "labels": size, "arm": arm, "test": where, **metrics})
    print(f"seed {seed}: {len(passed)} of {len(pool)} passed", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels", type=int, nargs="+", default=[40, 80])
    options = parser.parse_args()
    start, rows = time.perf_counter(), []
    config = read_config(demo_config_path())
    committee = prepare(CommitteeDoc(members=config.committee), config.elements).committee
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            rows += one_seed(seed, options.labels, Path(folder), config, committee)
    print(f"median [smallest, largest] of {options.seeds} seeds, meV/atom, meV/Å, meV/Å³")
    print(f"{'test set':15}{'labels':>7}  {'arm':13}" + "".join(f"{k:>24}" for k in KEYS))
    for where in ("like the pool", "disagreeing"):
        for size in options.labels:
            for arm in dict.fromkeys(r["arm"] for r in rows):
                mine = [r for r in rows if (r["test"], r["labels"], r["arm"]) == (where, size, arm)]
                cells = ""
                for key in KEYS:
                    values = np.array([1e3 * r[key] for r in mine])
                    text = f"{np.median(values):.1f} [{values.min():.1f}, {values.max():.1f}]"
                    cells += f"{text:>24}"
                print(f"{where:15}{size:7}  {arm:13}{cells}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
