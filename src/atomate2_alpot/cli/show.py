"""`alpot status`, `query`, `export`, `report`: looking at a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atomate2_alpot.cli.build import build_stores
from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.cli.loading import ConfigError, read_config
from atomate2_alpot.dataset import (
    LabelStore,
    Stores,
    export_frames,
    iteration_documents,
    sync_labels,
)
from atomate2_alpot.dataset.outputs import store_report, stored_report
from atomate2_alpot.dataset.query import build_criteria
from atomate2_alpot.report import build_report, gather_report_data
from atomate2_alpot.schemas import IterationDoc
from atomate2_alpot.schemas.files import write_atomic
from atomate2_alpot.units import METRICS

SHOWN_METRICS: tuple[str, ...] = ("energy_mae", "forces_mae", "stress_mae")
LABEL_STATES: tuple[str, ...] = ("successful", "failed")
LABEL_COLUMNS: tuple[str, ...] = (
    "formula_pretty",
    "nsites",
    "stage",
    "iteration",
    "energy_per_atom",
    "max_force",
    "functional",
    "state",
    "frame_id",
)


def open_run(run_dir: Path) -> tuple[RunConfig, Stores]:
    """Return the config and the connected stores of a run.

    Raises
    ------
    ConfigError
        If the folder holds no run.
    """
    path = run_dir / "config.yaml"
    if not path.exists():
        raise ConfigError(
            f"{run_dir} holds no run (no config.yaml); give its folder with --run-dir, or start "
            "one with `alpot demo` or `alpot run CONFIG`"
        )
    config = read_config(path)
    stores = build_stores(config, run_dir)
    stores.connect()
    if config.engine.name is not None:  # nobody else tells when labels have been gathered
        sync_labels(stores.jobs, stores.labels)
    return config, stores


def make_console() -> Console:
    """Return a console that does not squeeze tables where there is no terminal to fit."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)


def show_status(run_dir: Path) -> None:
    """Print the iterations of a run."""
    console = make_console()
    config, stores = open_run(run_dir)
    documents = iteration_documents(stores.jobs, config.campaign_id)
    if not documents:
        console.print("no iteration has finished yet")
    print_iterations(console, documents)


def print_iterations(console: Console, documents: list[IterationDoc]) -> None:
    """Print one row per iteration, and why the campaign stopped."""
    if not documents:
        return
    table = Table(title=_title(documents[-1]))
    for name in ("iteration", "screened", "passed", "selected", "labelled", "failed", "dataset"):
        table.add_column(name, justify="right")
    for key in SHOWN_METRICS:
        table.add_column(f"{METRICS[key].label}\n({METRICS[key].shown_unit})", justify="right")
    for doc in documents:
        counts = [str(doc.counts[n]) for n in table_counts()]
        metrics = [
            f"{doc.metrics[k] * METRICS[k].scale:.1f}" if k in doc.metrics else "-"
            for k in SHOWN_METRICS
        ]
        table.add_row(str(doc.iteration), *counts, *metrics)
    console.print(table)
    last = documents[-1]
    words = f"{last.campaign_id}: {last.status.replace('_', ' ')}. {last.message}"
    console.print(words, markup=False)


def table_counts() -> tuple[str, ...]:
    """Return the counts that the table shows."""
    return "screened", "passed", "selected", "labelled", "failed", "dataset"


def show_labels(
    run_dir: Path, criteria: str, filters: dict[str, Any], limit: int, form: str
) -> None:
    """Print label documents as a table, as JSON lines, or their number."""
    console = make_console()
    wanted = {**build_criteria(**_checked(filters)), **_json(criteria)}
    config, stores = open_run(run_dir)
    labels, own = LabelStore(stores.labels), config.campaign_id
    if form == "count":
        console.print(labels.count(wanted, own))
        return
    if form == "json":
        for document in labels.documents(wanted, limit, own):
            document.pop("_id", None)
            print(json.dumps(document, default=str))
        return
    table = Table(*LABEL_COLUMNS)
    for document in labels.documents(wanted, limit, own):
        table.add_row(*(_cell(document.get(c)) for c in LABEL_COLUMNS))
    console.print(table)
    console.print(f"{table.row_count} of {labels.count(wanted, own)} documents")


def export_labels(
    run_dir: Path, path: Path, kind: str | None, criteria: str, with_test: bool
) -> None:
    """Export labelled frames; the held-out test set stays out unless asked for."""
    given = _json(criteria)
    if _asks_for_failed(given):
        raise ConfigError(
            f"filter {criteria!r} asks for labels that failed: they hold no energy or forces to "
            "export. Leave `state` out; `alpot query --state failed` shows them"
        )
    config, stores = open_run(run_dir)
    wanted = given if with_test else {"stage": {"$ne": "test"}, **given}
    labels = LabelStore(stores.labels)
    fields = ("surrogate", "calculation")
    frames, found = labels.query_with_fields(fields, wanted, config.campaign_id)
    export_frames(frames, path, kind, found["surrogate"], found["calculation"])
    words = f"{len(frames)} frames: {path} (and its card)"
    make_console().print(words, soft_wrap=True, markup=False)


def write_report(run_dir: Path, output: Path | None, stored: bool = False) -> Path:
    """Write the report of a run: made anew, or as it was stored last."""
    config, stores = open_run(run_dir)
    path = output or run_dir / "report.html"
    if stored:
        return _write_page(path, stored_report(stores.jobs, config.campaign_id))
    return report_of(config, stores, path)


def report_of(config: RunConfig, stores: Stores, path: Path) -> Path:
    """Make the report page of connected stores, write it there and here, and return its path."""
    labels = LabelStore(stores.labels)
    data = gather_report_data(stores.jobs, labels, config.campaign_id, config.without_secrets())
    page = build_report(data).encode()
    path = _write_page(path, page)
    store_report(stores.jobs, config.campaign_id, page)
    return path


def _write_page(path: Path, page: bytes) -> Path:
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, page)
    return path


def _title(doc: IterationDoc) -> str:
    note = f" (SURROGATE labels: {doc.surrogate})" if doc.surrogate else ""
    title = f"campaign {doc.campaign_id}, {doc.functional}{note}; errors on the fixed test set"
    return escape(title)


def _checked(filters: dict[str, Any]) -> dict[str, Any]:
    """Return the filters of a command line as `build_criteria` takes them.

    Raises
    ------
    ConfigError
        For what no label can have: an empty answer would look like an empty store.
    """
    elements = [e.strip() for e in filters["elements"].split(",") if e.strip()]
    chemsys = [e.strip() for e in filters["chemsys"].split("-") if e.strip()]
    for option, symbols in (("--elements", elements), ("--chemsys", chemsys)):
        unknown = [e for e in symbols if e not in atomic_numbers]
        if unknown:
            raise ConfigError(f"{option}: {unknown} are not elements; use symbols such as 'Fe'")
    state = filters["state"].strip()
    if state and state not in LABEL_STATES:
        raise ConfigError(f"--state: {state!r} is no state; choose from {list(LABEL_STATES)}")
    return {
        "elements": elements,
        "chemsys": "-".join(chemsys) or None,
        "functional": filters["functional"] or None,
        "max_force": filters["max_force"],
        "iteration": filters["iteration"],
        "state": state or None,
    }


def _asks_for_failed(criteria: Any) -> bool:
    """Tell whether a filter compares `state` with anything but successful."""
    if isinstance(criteria, list):
        return any(_asks_for_failed(c) for c in criteria)
    if not isinstance(criteria, dict):
        return False
    asked = criteria.get("state", "successful")
    return asked not in ("successful", {"$eq": "successful"}, {"$ne": "failed"}) or any(
        _asks_for_failed(v) for v in criteria.values()
    )


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"filter {text!r} is not JSON ({error}); put it in single quotes, as in "
            'alpot query \'{"max_force": {"$lt": 1}}\''
        ) from error
    if not isinstance(value, dict):
        raise ConfigError(f"filter {text!r} is not a JSON object")
    return value


def _cell(value: Any) -> str:
    return (
        f"{value:.3f}" if isinstance(value, float) else escape(str("" if value is None else value))
    )
