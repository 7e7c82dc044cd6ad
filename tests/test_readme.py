"""What README and docs show is what the package does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(), flags=re.S)


@pytest.mark.parametrize("index", [0, 1])
def test_python_of_the_readme_runs(index):
    pytest.importorskip("chgnet")
    exec(compile(blocks("README.md", "python")[index], "README.md", "exec"), {})


def test_commands_of_the_readme_exist():
    from typer.main import get_command

    from atomate2_alpot.cli.main import app

    commands = set(get_command(app).commands)
    used = {
        line.split()[1]
        for block in blocks("README.md", "bash")
        for line in block.splitlines()
        if line.startswith("alpot ")
    }
    assert used
    assert used <= commands


def test_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    used = set(re.findall(r"`?make (\w+)", (ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= used
    for target in used:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_documented_config_is_the_one_the_command_prints():
    from atomate2_alpot.cli.example import example_config

    documented = (ROOT / "docs" / "_generated" / "config.yaml").read_text().strip()
    assert documented == example_config().strip(), "run: alpot config > docs/_generated/config.yaml"
