"""Small flows, and both engines on a Mongo server; importable by workers."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from jobflow import Flow, Job, Maker, OnMissing, Response, job
from monty.json import MontyDecoder, MontyEncoder

from atomate2_alpot.flows import ActiveLearningMaker
from atomate2_alpot.label import presets

sys.path.insert(0, str(Path(__file__).parents[1] / "flows"))

from fakes import refuse, small_loop


@job
def attempt(number: int, folder: str) -> int:
    """Fail for number 0 until ``folder/mended`` exists."""
    if number == 0 and not (Path(folder) / "mended").exists():
        raise RuntimeError("SCF did not converge")
    return number


@job
def total(numbers: list) -> list:
    return [n for n in numbers if n is not None]


@job
def grow(numbers: list) -> Response:
    return Response(replace=Flow([total(numbers)]))


def labels(folder, seed: str = "a", numbers=(0, 1), strict: bool = False, grows=False) -> Flow:
    """Jobs of which the first fails, a gather that does without it unless strict, and growth."""
    made = [attempt(n, str(folder)) for n in numbers]
    gather = total([m.output for m in made])
    if not strict:
        gather.config.on_missing_references = OnMissing.NONE
    flow = Flow([*made, gather, *([grow(gather.output)] if grows else [])], name="labels")
    flow.update_metadata({"campaign_id": "c", "iteration": 1, "stage": "label"})
    return determined(flow, seed)


def determined(flow: Flow, seed: str) -> Flow:
    """Return a flow whose uuids depend on the seed only."""
    text = json.dumps(flow, cls=MontyEncoder)
    for i, (item, _) in enumerate(flow.iterflow()):
        text = text.replace(item.uuid, str(uuid5(NAMESPACE_URL, f"{seed} {i}")))
    return json.loads(text.replace(flow.uuid, str(uuid5(NAMESPACE_URL, seed))), cls=MontyDecoder)


@dataclass
class FailsAt(Maker):
    """Labels with a toy; the calculations of some numbers fail, counted in a file."""

    name: str = "failing static"
    counter: str = ""
    numbers: tuple[int, ...] = ()
    inner: Maker = field(default_factory=lambda: presets.toy_surrogate(seed=99).maker)

    def make(self, structure) -> Job | Flow:
        with Path(self.counter).open("a+") as stream:
            stream.write("x")
            stream.flush()
            fails = stream.tell() in self.numbers
        return refuse(structure.formula) if fails else self.inner.make(structure)


def short_loop(folder) -> ActiveLearningMaker:
    """Two iterations of three labels, one of which fails in each; no model is trained."""
    maker = small_loop(labels_per_iteration=3, label_crystals=False)
    proposer = replace(maker.proposer, candidates_per_iteration=24, n_test=2)
    # two calculations are of the test set
    failing = FailsAt(counter=str(Path(folder) / "calculations"), numbers=(3, 6))
    return replace(
        maker,
        proposer=proposer,
        selector=replace(maker.selector, chunk_size=24),
        labeller=replace(maker.labeller, maker=failing),
    )
