"""A small loop whose labels fail until a file appears, and which counts them."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from jobflow import Flow, Job, JobStore, Maker, job

sys.path.insert(0, str(Path(__file__).parents[1] / "flows"))

from fakes import refuse, small_loop

from atomate2_alpot.flows import ActiveLearningMaker
from atomate2_alpot.label import presets


@dataclass
class Mendable(Maker):
    """Labels with a toy; structures of a fraction fail until ``folder/mended`` exists.

    With ``only`` > 0 that holds for structures of at least so many elements; the first ``spare``
    calculations never fail.
    """

    name: str = "mendable static"
    folder: str = ""
    fraction: float = 0.2
    only: int = 0
    spare: int = 0
    inner: Maker = field(default_factory=lambda: presets.toy_surrogate(seed=99).maker)

    def make(self, structure) -> Job | Flow:
        digits = int(structure.volume * 1e6) % 1000
        if len(structure.composition) < self.only or self._n_tried() < self.spare:
            digits = 1000
        label = f"{structure.formula} {structure.volume:.6f}"
        with (Path(self.folder) / "tried.txt").open("a") as stream:
            stream.write(label + "\n")
        if digits < 1000 * self.fraction and not (Path(self.folder) / "mended").exists():
            return refuse(structure.formula)
        with (Path(self.folder) / "labelled.txt").open("a") as stream:
            stream.write(label + "\n")
        return self.inner.make(structure)

    def _n_tried(self) -> int:
        return sum(counted(self.folder, "tried").values())


BEFORE_THE_LOOP = 3 + 8
"""Calculations of crystals and the test set."""


@dataclass
class Diverges(Maker):
    """A training that fails."""

    name: str = "train"

    def make(self, dataset, iteration, previous=None) -> Flow:
        before = passes(dataset)
        before.name = "split"
        train = refuse(before.output)
        train.name = "train member"
        return Flow([before, train], output=train.output, name=self.name)


@job
def passes(dataset):
    return len(dataset)


def mendable_loop(folder, fraction, only=0, minimum=0.5, spare=0, **loop) -> ActiveLearningMaker:
    maker = small_loop(**{"max_iterations": 1, **loop})
    static = Mendable(folder=str(folder), fraction=fraction, only=only, spare=spare)
    labeller = dataclasses.replace(
        maker.labeller, maker=static, min_label_fraction=minimum, batch_size=3
    )
    return dataclasses.replace(maker, labeller=labeller)


def counted(folder, name: str) -> Counter[str]:
    path = Path(folder) / f"{name}.txt"
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


def trained(store: JobStore) -> int:
    """Frames the last committee saw."""
    return store.query_one({"name": "collect committee"}, load=True)["output"]["members"][0][
        "n_train"
    ]
