"""Labels that take a while and leave a line in a log, for tests that kill the process."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

from jobflow import Flow, job
from jobflow.core.maker import Maker

LOG = "computed.txt"


@dataclass
class LoggedMaker(Maker):
    """A toy's static, after a pause; the log is the count of what was computed."""

    name: str = "logged static"
    folder: str = ""
    pause: float = 0.03

    def make(self, structure):
        return logged(structure, self.folder, self.pause)


@job
def logged(structure, folder, pause):
    from atomate2.forcefields.jobs import ForceFieldStaticMaker

    from atomate2_alpot.label import presets
    from atomate2_alpot.schemas import Frames

    time.sleep(pause)
    document = ForceFieldStaticMaker.make.original(presets.toy_surrogate(99).maker, structure)
    with (Path(folder) / LOG).open("a") as stream:
        stream.write(Frames.from_structures(structure).frame_id[0] + "\n")
    return document


def make_flow(folder: str) -> Flow:
    """One iteration that labels 60 frames in rows of eight."""
    from fakes import small_loop

    from atomate2_alpot.label import LabelMaker

    loop = small_loop(labels_per_iteration=60, max_iterations=1)
    return dataclasses.replace(
        loop,
        proposer=dataclasses.replace(loop.proposer, candidates_per_iteration=120),
        labeller=LabelMaker(maker=LoggedMaker(folder=folder), functional="toy", batch_size=8),
    ).make()


def main(folder: str) -> None:
    from atomate2_alpot.campaign import run_embedded
    from atomate2_alpot.dataset import embedded_stores

    run_embedded(lambda: make_flow(folder), Path(folder), embedded_stores(Path(folder)).jobs)
