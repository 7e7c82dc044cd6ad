"""`alpot run`: plan, run or resume, sync labels, report, table."""

from __future__ import annotations

import dataclasses
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from time import perf_counter
from types import FrameType

from jobflow import Flow, Job
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from atomate2_alpot.campaign import Hooks, RunSummary, run_embedded
from atomate2_alpot.campaign.journal import Entry
from atomate2_alpot.cli.build import build_maker, build_stores
from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.cli.errors import RunFailedError
from atomate2_alpot.cli.loading import read_config, readable_secrets
from atomate2_alpot.cli.preflight import require_preflight
from atomate2_alpot.cli.resume import Resumption, renewer
from atomate2_alpot.cli.show import make_console, print_iterations, report_of
from atomate2_alpot.dataset import Stores, iteration_documents, sync_labels
from atomate2_alpot.dataset.labels import GATHER
from atomate2_alpot.flows import ActiveLearningMaker
from atomate2_alpot.label import LabelMaker
from atomate2_alpot.redact import RedactingFormatter

LABEL_STEP = 25
"""Frames between two lines of progress."""


def demo_config_path() -> Path:
    """Return the packaged config of the demo."""
    return Path(str(files("atomate2_alpot.cli") / "demo.yaml"))


def run_campaign(config_path: Path, run_dir: Path) -> None:
    """Run or continue a campaign in a folder.

    Raises
    ------
    ConfigError
        If the config is wrong, or is not the one the folder was started with.
    RunFailedError
        If the campaign could not go on; what it has is kept.
    """
    console = make_console()
    config = read_config(config_path)
    if readable_secrets(config_path):
        words = (
            f"warning: {config_path} holds a URI and others can read it: chmod 600, or put the "
            "URI into ALPOT_MONGO_URI"
        )
        console.print(words, style="yellow", markup=False)
    require_preflight(config, run_dir)
    maker = build_maker(config)
    with stopped_by_sigterm():
        stores = build_stores(config, run_dir)
        stores.connect()
        _log_to(console, run_dir)
        _print_plan(console, config, run_dir)
        summary = _run(config, maker, run_dir, stores, console)
    sync_labels(stores.jobs, stores.labels, summary.errors)
    report = report_of(config, stores, run_dir / "report.html")
    print_iterations(console, iteration_documents(stores.jobs, config.campaign_id))
    for line in (
        f"{summary.n_run} jobs run, {summary.n_reused} found done, {summary.seconds:.0f} s",
        f"report: {report}",
        f"labels: alpot query --run-dir {run_dir}",
    ):
        console.print(line, soft_wrap=True, markup=False)
    _fail_if_incomplete(summary, run_dir)


def _run(
    config: RunConfig, maker: ActiveLearningMaker, run_dir: Path, stores: Stores, console: Console
) -> RunSummary:
    """Run the flow; the config is kept, compared, replaced under the run's lock."""
    resumption = Resumption(
        config, run_dir, stores, lambda words: console.print(words, style="yellow", markup=False)
    )

    def make_flow() -> Flow:
        resumption.begin()
        return with_known_atoms(maker, stores).make()

    hooks = Hooks(
        on_job_done=_Progress(console, stores),
        on_resume=resumption.resume,
        renew=renewer(maker),
        on_forget=resumption.forget,
    )
    return run_embedded(make_flow, run_dir, stores.jobs, hooks=hooks)


def with_known_atoms(maker: ActiveLearningMaker, stores: Stores) -> ActiveLearningMaker:
    """Return a loop that takes the isolated atoms its store has, whichever campaign made them."""
    labeller = maker.labeller
    if not maker.loop.label_atoms or not isinstance(labeller, LabelMaker):
        return maker
    from atomate2_alpot.cli.atoms import known_atoms

    elements = list(maker.proposer.elements)  # type: ignore[union-attr]
    known = known_atoms(stores.labels, labeller, elements, str(maker.campaign_id))
    return dataclasses.replace(maker, known_atoms=known)


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, as queueing systems send it, end a run as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only that one may
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Progress:
    """Prints a line per job, labels in steps, and syncs labels as they are gathered."""

    def __init__(self, console: Console, stores: Stores) -> None:
        self.console, self.stores = console, stores
        self.start, self.labels = perf_counter(), 0
        self.errors: dict[str, str] = {}

    def __call__(self, job: Job, entry: Entry) -> None:
        if entry.state == "failed":
            self.errors[job.uuid] = entry.reason
            self._line(f"[red]{escape(job.name)} failed[/]: {escape(entry.reason[:300])}")
        elif "frame_ids" in job.metadata:
            before, self.labels = self.labels, self.labels + len(job.metadata["frame_ids"])
            if before // LABEL_STEP != self.labels // LABEL_STEP:
                self._line(f"{self.labels} frames through the labeller")
        elif job.name == GATHER:
            sync_labels(self.stores.jobs, self.stores.labels, self.errors)
        elif entry.seconds > 1:
            iteration = job.metadata.get("iteration")
            self._line(f"{escape(job.name)} (iteration {iteration}): {entry.seconds:.0f} s")

    def _line(self, text: str) -> None:
        minutes, seconds = divmod(int(perf_counter() - self.start), 60)
        self.console.print(f"[dim]{minutes:3d}:{seconds:02d}[/]  {text}")


def _log_to(console: Console, run_dir: Path) -> None:
    """Show our own log on the console, and keep everybody's in the run folder."""
    ours, root = logging.getLogger("atomate2_alpot"), logging.getLogger()
    ours.setLevel(logging.INFO)
    for handler in list(ours.handlers):
        ours.removeHandler(handler)
    shown = RichHandler(console=console, show_path=False, show_level=False)
    shown.setFormatter(RedactingFormatter("%(message)s"))
    ours.addHandler(shown)
    logging.captureWarnings(capture=True)
    run_dir.mkdir(parents=True, exist_ok=True)  # a store of kind mongo has made none
    kept = logging.FileHandler(run_dir / "run.log")
    kept.setFormatter(RedactingFormatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    root.addHandler(kept)


def _print_plan(console: Console, config: RunConfig, run_dir: Path) -> None:
    loop, propose = config.loop, config.propose
    source = config.label.preset or config.label.maker
    iterations = (
        f"in each of {loop.max_iterations} iterations: {propose.candidates_per_iteration} "
        f"candidates and at most {loop.labels_per_iteration} labels"
    )
    words = (
        f"campaign {config.campaign_id} in {run_dir}",
        f"elements {' '.join(config.elements)}; {propose.n_test} candidates held out",
        iterations,
        f"committee {', '.join(m.label for m in config.committee)}; labels by {source}",
    )
    for line in words:
        console.print(line, soft_wrap=True, markup=False)
    if config.label.preset and "surrogate" in config.label.preset:
        console.print("[yellow]labels are a SURROGATE's, not DFT[/]")


def _fail_if_incomplete(summary: RunSummary, run_dir: Path) -> None:
    if summary.completed:
        return
    name = summary.stopped_by or next(iter(summary.reasons), "?")
    others = [words for folder, words in summary.reasons.items() if folder != name]
    first = f" (the first of {len(others)} other failed jobs: {others[0]})" if others else ""
    raise RunFailedError(
        f"the campaign stopped at job {name}: {summary.reasons.get(name)}{first}. What it has is "
        "kept; mend the cause and run the same command again: what failed runs again. Labels that "
        f"failed: alpot query --state failed --run-dir {run_dir} (log: {run_dir / 'run.log'})"
    )
