"""`alpot init-store`: make the collections' indexes, and say what there is."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from atomate2_alpot.cli.build import build_stores
from atomate2_alpot.cli.loading import read_config, readable_secrets
from atomate2_alpot.cli.show import make_console

MARKS: dict[str, str] = {"made": "[green]made[/]", "there": "there", "failed": "[red]failed[/]"}


def init_store(config_path: Path, run_dir: Path) -> int:
    """Make what is missing in the store of a config; return 1 if an index could not be made."""
    console = make_console()
    if readable_secrets(config_path):
        words = f"warning: {config_path} holds a URI and others can read it: chmod 600"
        console.print(words, style="yellow", markup=False)
    stores = build_stores(read_config(config_path), run_dir)
    results = stores.connect()
    stores.close()
    if not results:
        words = f"store {stores.where}: files, found by their names; there is nothing to index"
        console.print(words, soft_wrap=True, markup=False)
        return 0
    table = Table("collection", "index", "", "answers", title=escape(stores.where))
    for result in results:
        fields = ", ".join(result.index.fields) + (" (unique)" if result.index.unique else "")
        words = result.words or result.index.answers
        table.add_row(result.index.collection, fields, MARKS[result.state], escape(words))
    console.print(table)
    return int(any(result.state == "failed" for result in results))
