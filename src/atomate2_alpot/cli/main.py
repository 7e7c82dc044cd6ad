"""The `alpot` command."""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from atomate2_alpot.cli import campaign

app = typer.Typer(
    help="Build datasets for interatomic potentials, and train them, by active learning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.add_typer(campaign.app, name="campaign")

RunDir = Annotated[Path, typer.Option("--run-dir", "-d", help="Folder of the run.")]
DEFAULT_RUN = Path("alpot-run")
DEBUG = "--debug"
INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM."""


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
    _: Annotated[
        bool, typer.Option(DEBUG, help="Show tracebacks of errors; works behind any command too.")
    ] = False,
) -> None:
    if show_version:
        typer.echo(f"atomate2-alpot {version('atomate2-alpot')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def demo(run_dir: RunDir = Path("demo-run")) -> None:
    """Run the demo: a whole campaign on a laptop, labelled by a surrogate (about 10 minutes)."""
    from atomate2_alpot.cli.run import demo_config_path, run_campaign

    run_campaign(demo_config_path(), run_dir)


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML file; `alpot config` prints one.")],
    run_dir: RunDir = DEFAULT_RUN,
) -> None:
    """Run a campaign here, or continue one: the same command again picks up where it stopped."""
    from atomate2_alpot.cli.run import run_campaign

    run_campaign(config, run_dir)


@app.command()
def submit(
    config: Annotated[Path, typer.Argument(help="YAML file; `alpot config` prints one.")],
    run_dir: RunDir = DEFAULT_RUN,
    engine: Annotated[
        str, typer.Option("--engine", "-e", help="fireworks or jobflow-remote; else the config's.")
    ] = "",
    worker: Annotated[
        str, typer.Option(help="jobflow-remote: worker of jobs without a route.")
    ] = "",
) -> None:
    """Submit a campaign to a workflow engine as one workflow, once; its workers run it."""
    from atomate2_alpot.cli.submit import submit_campaign

    submit_campaign(config, run_dir, engine, worker)


@app.command()
def status(run_dir: RunDir = DEFAULT_RUN) -> None:
    """Show the iterations of a campaign."""
    from atomate2_alpot.cli.show import show_status

    show_status(run_dir)


@app.command()
def query(
    criteria: Annotated[str, typer.Argument(help="Mongo-style filter as JSON.")] = "{}",
    run_dir: RunDir = DEFAULT_RUN,
    elements: Annotated[str, typer.Option(help="Frames with all of these, as Al,Ni.")] = "",
    chemsys: Annotated[str, typer.Option(help="Exactly these, as Al-Ni.")] = "",
    functional: Annotated[str, typer.Option(help="Of one method, as r2SCAN.")] = "",
    max_force: Annotated[float | None, typer.Option(help="Forces up to this, eV/Å.")] = None,
    iteration: Annotated[int | None, typer.Option(help="Of one iteration.")] = None,
    state: Annotated[str, typer.Option(help="successful or failed.")] = "",
    limit: Annotated[int, typer.Option(help="Rows to show; 0 = all.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Whole documents, one a line.")] = False,
    count: Annotated[bool, typer.Option("--count", help="Only how many.")] = False,
) -> None:
    """Query the label documents of a campaign."""
    from atomate2_alpot.cli.show import show_labels

    filters: dict[str, Any] = {"elements": elements, "chemsys": chemsys, "state": state}
    filters |= {"functional": functional, "max_force": max_force, "iteration": iteration}
    form = "count" if count else "json" if as_json else "table"
    show_labels(run_dir, criteria, filters, limit, form)


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="File: .xyz, .parquet, .json or .json.gz.")],
    run_dir: RunDir = DEFAULT_RUN,
    kind: Annotated[str, typer.Option("--format", help="extxyz, parquet or matpes.")] = "",
    criteria: Annotated[str, typer.Option(help="Mongo-style filter as JSON.")] = "{}",
    with_test: Annotated[bool, typer.Option(help="Include the held-out test set.")] = False,
) -> None:
    """Export labelled frames, with a dataset card beside them."""
    from atomate2_alpot.cli.show import export_labels

    export_labels(run_dir, path, kind or None, criteria, with_test)


@app.command()
def report(
    run_dir: RunDir = DEFAULT_RUN,
    output: Annotated[Path | None, typer.Option(help="Default: report.html in the folder.")] = None,
    stored: Annotated[bool, typer.Option("--stored", help="As it was made last.")] = False,
) -> None:
    """Write the report page, and put it into the store."""
    from atomate2_alpot.cli.show import write_report

    typer.echo(f"report: {write_report(run_dir, output, stored)}")


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Argument(help="Config file to check.")] = None,
    run_dir: RunDir = DEFAULT_RUN,
) -> None:
    """Check config, store, models, VASP, and say what to do."""
    from atomate2_alpot.cli.doctor import diagnose

    raise typer.Exit(diagnose(config, run_dir))


@app.command("init-store")
def init_store_of(
    config: Annotated[Path, typer.Argument(help="Config file that names the store.")],
    run_dir: RunDir = DEFAULT_RUN,
) -> None:
    """Make the indexes of a store, and say which there are; it may be run at any time."""
    from atomate2_alpot.cli.init_store import init_store

    raise typer.Exit(init_store(config, run_dir))


@app.command("config")
def show_config() -> None:
    """Print an example config with every default, its unit and meaning."""
    from atomate2_alpot.cli.example import example_config

    typer.echo(example_config())


def main() -> None:
    """Run the command; errors end as one message and an exit code."""
    from atomate2_alpot.cli.errors import explain
    from atomate2_alpot.redact import redact

    arguments = [a for a in sys.argv[1:] if a != DEBUG]  # click knows it before a command only
    try:
        code = app(
            arguments, standalone_mode=False
        )  # what a command raised as Exit comes back as its code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        message, code = explain(error)
        if DEBUG in sys.argv:
            typer.echo(redact(traceback.format_exc()), err=True)
        typer.echo(f"error: {message}", err=True)
    if code == INTERRUPTED:
        typer.echo("\ninterrupted; run the same command again to continue", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
