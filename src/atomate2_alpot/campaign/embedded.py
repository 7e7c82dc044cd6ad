"""Run a dynamic flow in this process, so that a killed run continues with the same command.

``jobflow.run_locally`` keeps what a job asks for (its ``Response``) in memory only. Here every
finished job leaves a journal entry with it; on the next start finished jobs are skipped and the
flows they asked for are picked up where they stopped.
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from jobflow import Flow, Job, JobStore

from atomate2_alpot.campaign.history import History, retry_failed, tolerates_missing
from atomate2_alpot.campaign.journal import Entry, Journal, job_folder_name

logger = logging.getLogger(__name__)

JobCallback = Callable[[Job, Entry], None]


class RunInProgressError(RuntimeError):
    """Another process is working in the run folder."""


@dataclass
class RunSummary:
    """What a call of :func:`run_embedded` did.

    Parameters
    ----------
    n_run, n_reused : int
        Jobs run now, and jobs found finished.
    failed : dict
        Folder of each failed job -> its traceback.
    errors : dict
        Uuid of each failed job -> what it raised, in one line.
    reasons : dict
        Folder of each failed job -> the same.
    stopped_by : str or None
        Folder of the first failed job that nothing in the flow tolerates.
    completed : bool
        Whether every job ran that could; False when a failure kept others from running.
    seconds : float
        Wall time.
    """

    n_run: int = 0
    n_reused: int = 0
    failed: dict[str, str] = field(default_factory=dict, repr=False)
    errors: dict[str, str] = field(default_factory=dict, repr=False)
    reasons: dict[str, str] = field(default_factory=dict, repr=False)
    stopped_by: str | None = None
    completed: bool = True
    seconds: float = 0.0


@dataclass(frozen=True)
class Hooks:
    """What a caller adds to a run.

    Parameters
    ----------
    on_job_done : callable, optional
        Called with each job that ran now and its entry.
    on_resume : callable
        Called with the run's history before a run continues; what it forgets runs again. Default:
        :func:`retry_failed`.
    renew : callable, optional
        Called with each job before it runs, to change its arguments: jobs read from the journal
        hold what was known when they were made.
    on_forget : callable, optional
        Called with the uuids of jobs whose outputs are void, before those are removed.
    """

    on_job_done: JobCallback | None = None
    on_resume: Callable[[History], object] = retry_failed
    renew: Callable[[Job], None] | None = None
    on_forget: Callable[[list[str]], None] | None = None


def run_embedded(
    make_flow: Callable[[], Flow],
    run_dir: Path,
    store: JobStore,
    on_job_done: JobCallback | None = None,
    hooks: Hooks | None = None,
) -> RunSummary:
    """Run a flow to its end, or from where an earlier call stopped.

    What failed is run again when the flow stopped because of it; a failure that the flow went on
    without is not (see :func:`retry_failed`).

    Parameters
    ----------
    make_flow : callable
        Makes the flow; called at the first start only, later ones read it from the journal.
    run_dir : Path
        Folder of the run: ``journal/`` (state), ``jobs/`` (one working folder per job, the same
        in every attempt), ``lock``.
    store : JobStore
        Where outputs go. It must outlive the process.
    on_job_done : callable, optional
        Shorthand for that of ``hooks``.
    hooks : Hooks, optional

    Returns
    -------
    RunSummary

    Raises
    ------
    RunInProgressError
        If another process holds the run folder.
    KeyboardInterrupt
        On Ctrl-C, after which the same call continues.
    """
    start = perf_counter()
    hooks = hooks or Hooks(on_job_done)
    run_dir = Path(run_dir).resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    with _locked(run_dir / "lock"):
        journal = Journal(run_dir / "journal")
        store.connect()
        if journal.flow_file.exists():
            hooks.on_resume(History(journal, store, run_dir / "jobs", hooks.on_forget))
        flow = journal.load_flow()
        if flow is None:
            flow = make_flow()
            journal.save_flow(flow)
        runner = _Runner(journal, run_dir / "jobs", store, hooks)
        runner.summary.completed = runner.run_flow(flow)
    runner.summary.seconds = perf_counter() - start
    return runner.summary


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunInProgressError(
                f"another process is running in {path.parent}; wait for it, or use another run dir"
            ) from error
        yield


class _Runner:
    """State of one pass over a flow and the flows it grows into."""

    def __init__(self, journal: Journal, jobs_dir: Path, store: JobStore, hooks: Hooks) -> None:
        self.journal = journal
        self.jobs_dir = jobs_dir
        self.store = store
        self.hooks = hooks
        self.summary = RunSummary()
        self.failed: set[str] = set()
        self.stopped: set[str] = set()
        self.stop_all = False

    def run_flow(self, flow: Flow) -> bool:
        """Run what a flow holds, parents first; tell whether nothing was kept from running."""
        order = list(flow.iterflow())
        ok = True
        for job, parents in order:
            if self.stop_all:
                return False
            if self.stopped.intersection(parents):
                self.stopped.add(job.uuid)
                continue
            if self.failed.intersection(parents) and not tolerates_missing(job):
                self.failed.add(job.uuid)
                ok = False
                continue
            entry = self._entry(job, order)
            ok = self._follow(job, entry, order) and ok
        return ok

    def _entry(self, job: Job, order: list[tuple[Job, list[str]]]) -> Entry:
        """Return what a job did earlier, or run it now."""
        entry = self.journal.read(job)
        if entry is not None and (entry.state == "done" or self._is_settled(job, order)):
            self.summary.n_reused += 1
            return entry
        return self._run_job(job)

    def _is_settled(self, job: Job, order: list[tuple[Job, list[str]]]) -> bool:
        """Tell whether the flow went on without a failed job: then it is not tried again."""
        children = [child for child, parents in order if job.uuid in parents]
        return any(tolerates_missing(c) and self.journal.has(c) for c in children)

    def _run_job(self, job: Job) -> Entry:
        folder = self.jobs_dir / job_folder_name(job)
        folder.mkdir(parents=True, exist_ok=True)
        start = perf_counter()
        if self.hooks.renew is not None:
            self.hooks.renew(job)
        try:
            with chdir(folder):
                response = job.run(store=self.store)
            entry = Entry.of_response(job, response, perf_counter() - start)
        except Exception as error:
            logger.debug("%s failed in %s", job.name, folder, exc_info=True)
            entry = Entry.of_error(job, error, perf_counter() - start)
        self.journal.write(job, entry)
        self.summary.n_run += 1
        if self.hooks.on_job_done is not None:
            self.hooks.on_job_done(job, entry)
        return entry

    def _follow(self, job: Job, entry: Entry, order: list[tuple[Job, list[str]]]) -> bool:
        """Act on what a job returned; tell whether the flow can go on without loss."""
        if entry.state == "failed":
            self.failed.add(job.uuid)
            self.summary.failed[job_folder_name(job)] = entry.error
            self.summary.errors[job.uuid] = entry.reason
            self.summary.reasons[job_folder_name(job)] = entry.reason
            children = [child for child, parents in order if job.uuid in parents]
            tolerated = bool(children) and all(tolerates_missing(c) for c in children)
            if not tolerated and self.summary.stopped_by is None:
                self.summary.stopped_by = job_folder_name(job)
            return tolerated
        if entry.stop_children:
            self.stopped.add(job.uuid)
        if entry.stop_jobflow:
            self.stop_all = True
        finished = [self.run_flow(flow) for flow in entry.new_flows]  # all of them run
        ok = all(finished)
        if not ok:  # the flow that was to make this job's output did not get there
            self.failed.add(job.uuid)
        return ok
