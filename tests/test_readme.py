"""What README and docs show is what the package does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(), flags=re.S)


def run(name: str, index: int) -> dict[str, Any]:
    """Run a block of Python and return its names."""
    names: dict[str, Any] = {}
    exec(compile(blocks(name, "python")[index], name, "exec"), names)
    return names


def test_the_maker_of_the_readme_needs_no_download():
    """CHGNet's models are in its wheel; DIRECT describes frames without one."""
    pytest.importorskip("chgnet")
    maker = run("README.md", 0)["maker"]
    assert {spec.backend for spec in maker.committee} == {"chgnet"}
    assert maker.selector.sampler.descriptor == "composition_rdf"
    assert maker.trainer.start_from is None


def test_the_paper_s_maker_downloads_what_the_readme_says():
    """Two M3GNets and MACE-MP-0, CHGNet excepted, for 89 elements."""
    from atomate2_alpot import MPAloeMaker
    from atomate2_alpot.label import presets

    maker = MPAloeMaker(labeller=presets.mp_aloe())
    used = [*maker.committee, maker.selector.sampler.spec]
    assert sorted(spec.backend for spec in used) == ["chgnet", "mace", "matgl", "matgl"]
    assert len(maker.proposer.elements) == 89


def test_pieces_of_the_readme_run(capsys):
    assert len(run("README.md", 1)["frames"]) == 3
    assert "candidates; the eighth: " in capsys.readouterr().out


def commands_of(name: str) -> list[list[str]]:
    """Return the words of every `alpot …` line."""
    lines = [line for block in blocks(name, "bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("alpot ")]


@pytest.mark.parametrize("name", PAGES)
def test_commands_that_are_shown_exist_with_their_options(name):
    from typer.main import get_command

    from atomate2_alpot.cli.main import app

    commands = get_command(app).commands
    used = commands_of(name)
    assert used or name != "README.md"
    for name_, *words in used:
        assert name_ in commands
        command = commands[name_]
        if hasattr(command, "commands"):  # a group: alpot campaign advance
            assert words[0] in command.commands
            command = command.commands[words[0]]
        options = {o for p in command.params for o in p.opts + p.secondary_opts}
        assert {w for w in words if w.startswith("--")} <= options, (name_, words)


@pytest.mark.parametrize("name", PAGES)
def test_make_targets_that_are_named_exist(name):
    makefile = (ROOT / "Makefile").read_text()
    used = set(re.findall(r"(?:`|^)make (\w+)", (ROOT / name).read_text(), flags=re.M))
    assert {"demo", "test"} <= used or name != "README.md"
    for target in used:
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


@pytest.mark.parametrize("name", PAGES)
def test_files_that_are_linked_exist(name):
    page = ROOT / name
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("index", range(2))
def test_labellers_of_getting_started_can_be_made(index):
    import yaml

    from atomate2_alpot.cli.build import build_labeller
    from atomate2_alpot.cli.config import LabelSection

    section = yaml.safe_load(blocks("docs/getting_started.md", "yaml")[index])["label"]
    labeller = build_labeller(LabelSection(**section))
    assert labeller.functional == "r2SCAN"
    assert labeller.surrogate is None


def test_every_preset_that_is_no_surrogate_is_named():
    from atomate2_alpot.label.presets import PRESETS

    page = (ROOT / "docs" / "getting_started.md").read_text()
    assert [n for n in PRESETS if "surrogate" not in n and f"`{n}`" not in page] == ["mp-aloe"]
    assert "preset: mp-aloe" in page


def test_python_of_the_store_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("docs/store.md", 0)
    assert len(names["frames"]) == 0
    assert list(names["failed"]) == []


def test_every_setting_that_may_change_on_resume_is_in_the_design():
    from atomate2_alpot.cli.resume import CHANGEABLE, FIXED, GROWING

    page = (ROOT / "docs" / "design.md").read_text()
    table = page[page.index("| may change |") : page.index("Before the first label everything")]
    columns = [row.split("|")[1:3] for row in table.splitlines() if row.startswith("|")]
    for keys, column in (((*CHANGEABLE, GROWING), 0), (FIXED, 1)):
        named = set(re.findall(r"`([\w.]+)`", " ".join(row[column] for row in columns)))
        assert [k for k in keys if not {k, k.split(".")[-1]} & named] == []


def test_documented_config_is_the_one_the_command_prints():
    from atomate2_alpot.cli.example import example_config

    documented = (ROOT / "docs" / "_generated" / "config.yaml").read_text().strip()
    assert documented == example_config().strip(), "run: alpot config > docs/_generated/config.yaml"
