"""`alpot campaign`: many small workflows on an engine, one state document in MongoDB."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Campaigns too large for one workflow: `init` once, then `advance` from cron.",
    no_args_is_help=True,
)

Config = Annotated[Path, typer.Argument(help="YAML file of the campaign.")]


@app.command()
def init(
    config: Config,
    engine: Annotated[str, typer.Option(help="fireworks or jobflow-remote.")] = "",
    run_dir: Annotated[
        Path, typer.Option("--run-dir", "-d", help="Folder for query, export and report.")
    ] = Path("alpot-run"),
) -> None:
    """Check config, stores and engine, and write the campaign; nothing is submitted yet."""
    from atomate2_alpot.cli.campaign_run import start_campaign

    start_campaign(config, engine, run_dir)


@app.command()
def advance(
    config: Config,
    watch: Annotated[
        float | None, typer.Option(min=0, help="Again every so many seconds, until it ends.")
    ] = None,
) -> None:
    """Collect what is finished, submit what is missing, go on where the policy allows.

    It computes nothing itself, and may be killed at any point or run twice at once: for cron.
    """
    from atomate2_alpot.cli.campaign_run import advance_campaign

    advance_campaign(config, watch)


@app.command()
def collect(config: Config) -> None:
    """Collect what is finished, and nothing else: no workflow is submitted."""
    from atomate2_alpot.cli.campaign_run import collect_campaign

    collect_campaign(config)


@app.command()
def status(
    config: Config,
    as_json: Annotated[bool, typer.Option("--json", help="For other programs.")] = False,
) -> None:
    """Show where a campaign stands: stage, workflows by state, labels, time left."""
    from atomate2_alpot.cli.campaign_run import show_campaign

    show_campaign(config, as_json)


@app.command()
def pause(config: Config) -> None:
    """Submit nothing more; what the engine has, it runs, and `advance` collects it."""
    from atomate2_alpot.cli.campaign_run import pause_campaign

    pause_campaign(config)


@app.command()
def resume(config: Config) -> None:
    """Let a paused campaign go on with the next `advance`."""
    from atomate2_alpot.cli.campaign_run import resume_campaign

    resume_campaign(config)


@app.command()
def retry(
    config: Config,
    failed_labels: Annotated[
        bool, typer.Option("--failed-labels", help="Also batches in which frames failed.")
    ] = False,
) -> None:
    """Let failed workflows of this stage run again, and a failed campaign go on."""
    from atomate2_alpot.cli.campaign_run import retry_campaign

    retry_campaign(config, failed_labels)
