"""`alpot doctor`: is everything here that a campaign needs, and if not, what to do."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from atomate2_alpot.cli.build import build_stores
from atomate2_alpot.cli.config import RunConfig
from atomate2_alpot.cli.engines import check_engines
from atomate2_alpot.cli.findings import Finding
from atomate2_alpot.cli.loading import read_config, readable_secrets
from atomate2_alpot.cli.preflight import preflight
from atomate2_alpot.cli.show import make_console
from atomate2_alpot.settings import SETTINGS

MIN_FREE_GB: float = 5.0
MARKS: dict[str, str] = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}


def diagnose(config_path: Path | None, run_dir: Path) -> int:
    """Print all findings; return 1 if something that is needed is missing, else 0."""
    findings = list(check_machine(run_dir))
    config = None
    if config_path is not None:
        try:
            config = read_config(config_path)
            findings += list(check_config(config, config_path, run_dir))
        except ValueError as error:
            findings.append(Finding("config", "fail", str(error)))
    findings += list(check_engines(config))
    table = Table("check", "", "finding", show_lines=False)
    for finding in findings:
        table.add_row(escape(finding.what), MARKS[finding.state], escape(finding.words))
    make_console().print(table)
    return int(any(f.state == "fail" for f in findings))


def check_machine(run_dir: Path) -> Iterator[Finding]:
    """Check versions, disk, device."""
    packages = ("atomate2-alpot", "atomate2", "jobflow", "torch", "mace-torch")
    versions = ", ".join(f"{p} {version(p)}" for p in packages)
    yield Finding("versions", "ok", f"Python {platform.python_version()}, {versions}")
    folder = next(p for p in (run_dir.resolve(), *run_dir.resolve().parents) if p.exists())
    free = shutil.disk_usage(folder).free / 1e9
    enough = free >= MIN_FREE_GB
    words = f"{free:.0f} GB free in {folder}" + (
        "" if enough else f"; make room ({MIN_FREE_GB} GB)"
    )
    yield Finding("disk", "ok" if enough else "warn", words)
    writable = os.access(folder, os.W_OK)
    remedy = "" if writable else "; choose another --run-dir"
    yield Finding("run folder", "ok" if writable else "fail", f"{folder}{remedy}")
    from atomate2_alpot.potentials.device import torch_device

    device = torch_device()
    slow = "; training on a CPU suits small models only" if device == "cpu" else ""
    yield Finding("device", "ok", f"{device} (ALPOT_DEVICE={SETTINGS.DEVICE}){slow}")


def check_config(config: RunConfig, path: Path, run_dir: Path) -> Iterator[Finding]:
    """Check what a config needs: Makers, store, models."""
    yield Finding("config", "ok", f"{path} is valid")
    if readable_secrets(path):
        yield Finding("secrets", "warn", f"others can read the URI in {path}: chmod 600")
    problems = preflight(config, run_dir, with_labeller=False)  # the engine has its own findings
    yield from (Finding("preflight", "fail", words) for words in problems)
    if not problems:
        yield Finding("preflight", "ok", "the flow can be made, and it has candidates")
    yield from _attempt("store", lambda: _store(config, run_dir))
    for spec in config.committee:
        yield from _attempt(f"model {spec.label}", lambda spec=spec: _model(spec, config.elements))


def _attempt(what: str, check: object) -> Iterator[Finding]:
    try:
        yield Finding(what, "ok", str(check()))  # type: ignore[operator]
    except Exception as error:
        from atomate2_alpot.cli.errors import explain

        yield Finding(what, "fail", explain(error)[0])


def _store(config: RunConfig, run_dir: Path) -> str:
    if config.store.kind == "embedded":
        return f"embedded, in {run_dir / 'store'}"
    stores = build_stores(config, run_dir)
    stores.connect()
    stores.close()
    return f"{stores.where} answers"


def _model(spec: object, elements: list[str]) -> str:
    from atomate2_alpot.potentials import Committee

    Committee([spec]).check_elements(elements)  # type: ignore[list-item]
    return f"loads, and knows {' '.join(elements)}"
