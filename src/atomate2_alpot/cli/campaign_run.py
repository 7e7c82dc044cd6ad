"""What the commands of `alpot campaign` do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atomate2_alpot.campaign.advance import Campaign
from atomate2_alpot.campaign.collect import Progress
from atomate2_alpot.campaign.documents import FAILED, FINISHED, RUNNING
from atomate2_alpot.campaign.engines.registry import make_engine
from atomate2_alpot.campaign.engines.stores import check_same_place
from atomate2_alpot.campaign.overview import Overview, describe
from atomate2_alpot.campaign.state import CampaignState
from atomate2_alpot.cli.build import build_maker, build_stores, mongo_uri
from atomate2_alpot.cli.campaign_config import accept_config
from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.cli.errors import RunFailedError
from atomate2_alpot.cli.loading import ConfigError, read_config, readable_secrets
from atomate2_alpot.cli.preflight import require_preflight
from atomate2_alpot.cli.resume import CONFIG_COPY, Resumption
from atomate2_alpot.cli.run import with_known_atoms
from atomate2_alpot.cli.show import make_console, print_iterations
from atomate2_alpot.dataset import iteration_documents
from atomate2_alpot.dataset.stores import TIMEOUT_MS, StoreError

Result = TypeVar("Result")


def start_campaign(path: Path, engine: str, run_dir: Path) -> None:
    """Check config, stores and engine, and write the campaign.

    Parameters
    ----------
    path : Path
        Of the config.
    engine : str
        Name; empty takes the config's.
    run_dir : Path
        Gets a copy of the config, by which `query`, `export` and `report` find the results.
    """
    console = make_console()
    config = _read(path, console)
    _check_folder(run_dir, config)
    require_preflight(config, path.parent, with_labeller=False)
    campaign = _open(config, engine or config.engine.name or config.routing.told_engine())
    campaign.engine.check()
    campaign.engine.check_routing(config.routing)
    where = f"engine {campaign.engine.name}"
    check_same_place(campaign.engine.job_store(), campaign.stores.jobs, where)
    doc = campaign.init(config.without_secrets())
    Resumption(config, run_dir, campaign.stores, console.print).begin()
    for words in (
        f"campaign {doc.campaign_id} on {doc.engine}: `alpot campaign advance {path}` starts it",
        f"results: alpot query --run-dir {run_dir} (export, report)",
    ):
        console.print(words, soft_wrap=True, markup=False)


def advance_campaign(path: Path, watch: float | None) -> None:
    """Advance once, or again and again until the campaign ends, fails or is paused."""
    console = make_console()
    campaign = _accepted(path, console)
    while True:
        _patiently(console, watch, lambda: _pass(campaign, console))
        overview = _patiently(console, watch, lambda: describe(campaign.state))
        if watch is None or (overview and overview.status != RUNNING):
            break
        time.sleep(watch)
    _end(campaign, describe(campaign.state), console)


def collect_campaign(path: Path) -> None:
    """Collect what is finished."""
    console = make_console()
    campaign = _accepted(path, console)
    console.print(f"{_patiently(console, None, campaign.collect)}", markup=False)


def show_campaign(path: Path, as_json: bool) -> None:
    """Print where a campaign stands."""
    overview = describe(_state(read_config(path)))
    if as_json:
        print(overview.model_dump_json(indent=2))
    else:
        _show(overview, make_console())


def pause_campaign(path: Path) -> None:
    """Let nothing more be submitted."""
    state = _state(read_config(path))
    state.pause()
    print(f"campaign {state.campaign_id} is paused; `alpot campaign resume {path}` goes on")


def resume_campaign(path: Path) -> None:
    """Let a paused campaign go on."""
    state = _state(read_config(path))
    state.resume()
    print(f"campaign {state.campaign_id} goes on with the next `alpot campaign advance {path}`")


def retry_campaign(path: Path, failed_labels: bool) -> None:
    """Let failed workflows run again."""
    console = make_console()
    keys = _accepted(path, console).retry(failed_labels)
    console.print(f"{len(keys)} workflows run again; `alpot campaign advance {path}` goes on")


def _read(path: Path, console: Console) -> RunConfig:
    config = read_config(path)
    if config.store.kind == "mongo" and readable_secrets(path):
        words = f"warning: {path} holds a URI and others can read it: chmod 600"
        console.print(words, style="yellow", markup=False)
    return config


def _check_folder(run_dir: Path, config: RunConfig) -> None:
    copy = run_dir / CONFIG_COPY
    if copy.exists() and read_config(copy).campaign_id != config.campaign_id:
        raise ConfigError(f"{run_dir} is the folder of another campaign; give a new --run-dir")


def _accepted(path: Path, console: Console) -> Campaign:
    """Open a campaign that has begun, with the config of today."""
    config = _read(path, console)
    state = _state(config)
    doc = state.load()
    for words in accept_config(state, doc, config):
        console.print(words, style="yellow", markup=False, soft_wrap=True)
    return _open(config, doc.engine)


def _open(config: RunConfig, engine: str | None) -> Campaign:
    state = _state(config)
    if engine is None:
        raise ConfigError("engine.name is not set: give it, or --engine fireworks|jobflow-remote")
    stores = build_stores(config, Path())
    stores.connect()
    return Campaign(
        with_known_atoms(build_maker(config), stores),
        stores,
        make_engine(config.engine.model_copy(update={"name": engine})),
        state,
        config.campaign,
    )


def _state(config: RunConfig) -> CampaignState:
    if config.store.kind != "mongo":
        raise ConfigError(
            f"store.kind: {config.store.kind}, but a campaign keeps its state in MongoDB, where "
            "workers and `advance` meet; give store: {kind: mongo, database: …} and the URI in "
            "ALPOT_MONGO_URI. Without a server use `alpot run`"
        )
    return CampaignState(_database(config), config.campaign_id)


def _database(config: RunConfig) -> Database:
    try:
        client: MongoClient = MongoClient(mongo_uri(config), serverSelectionTimeoutMS=TIMEOUT_MS)
        client.admin.command("ping")
    except PyMongoError as error:
        raise StoreError(
            f"store MongoDB:{config.store.database} does not answer ({type(error).__name__}). Is "
            "the server running, and are host, port, user and password right?"
        ) from None
    return client[config.store.database]


def _pass(campaign: Campaign, console: Console) -> None:
    """Advance once, telling of it as it happens."""
    told = 0
    with console.status("looking at the store") as line:

        def note(progress: Progress) -> None:
            nonlocal told
            for stage in progress.stages[told:]:
                console.print(f"{stage} is done", markup=False)
            told = len(progress.stages)
            line.update(escape(str(progress)))

        progress = campaign.advance(note)
    console.print(f"{time.strftime('%H:%M:%S')} {progress}", markup=False)


def _patiently(
    console: Console, watch: float | None, action: Callable[[], Result]
) -> Result | None:
    """Do something; while watching, a server that is away for a while is waited for."""
    try:
        return action()
    except PyMongoError as error:
        if watch is None:
            raise StoreError(
                f"the database went away ({type(error).__name__}); nothing is lost: run the same "
                "command again when it is back"
            ) from None
        words = f"the database is away ({type(error).__name__}); trying again"
        console.print(words, style="yellow", markup=False)
        return None


def _end(campaign: Campaign, overview: Overview, console: Console) -> None:
    """Say how things stand after `advance`."""
    if overview.status == FINISHED:
        documents = iteration_documents(campaign.stores.jobs, overview.campaign_id)
        print_iterations(console, documents)
        return
    _show(overview, console)
    if overview.status == FAILED:
        raise RunFailedError(f"campaign {overview.campaign_id} stopped: {overview.message}")


def _show(overview: Overview, console: Console) -> None:
    title = f"campaign {overview.campaign_id} on {overview.engine}: {overview.status}"
    table = Table("iteration", "stage", *overview.workflows, "labels", "left", title=escape(title))
    labels = overview.labels
    done = f"{labels['labelled']} of {labels['requested']}" if labels["requested"] else "-"
    counts = map(str, overview.workflows.values())
    left = _time_left(overview.seconds_left)
    table.add_row(str(overview.iteration), overview.stage, *counts, done, left)
    console.print(table)
    for words in filter(None, (overview.message, *overview.failures)):
        console.print(words, markup=False, soft_wrap=True)


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
