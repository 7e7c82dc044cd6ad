"""Selection in a config file, and what its documentation shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from atomate2_alpot.cli.build import build_maker
from atomate2_alpot.cli.config import RunConfig, SelectSection
from atomate2_alpot.cli.example import REQUIRED
from atomate2_alpot.cli.loading import ConfigError, read_config
from atomate2_alpot.cli.preflight import preflight
from atomate2_alpot.select import CRITERIA, SAMPLERS, CalibratedQuery, ChainSampler

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "selection.md").read_text()
SNIPPETS = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.S)
TOYS = {
    **REQUIRED,
    "committee": [{"backend": "toy", "kwargs": {"seed": seed}} for seed in (1, 2)],
    "label": {"preset": "toy-surrogate"},
}


def write(folder: Path, **select) -> Path:
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump({**TOYS, "select": select}))
    return path


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_what_the_page_shows_makes_a_loop(snippet):
    maker = build_maker(RunConfig.model_validate({**TOYS, **yaml.safe_load(snippet)}))
    section = SelectSection.model_validate(yaml.safe_load(snippet)["select"])
    assert maker.selector.criterion == section.criterion
    assert maker.selector.sampler == section.sampler
    assert maker.make().name == maker.name


def test_the_page_names_every_kind():
    rows = {row.split("|")[1].strip(" `") for row in PAGE.splitlines() if row.startswith("| `")}
    assert set(CRITERIA) | set(SAMPLERS) <= rows


def test_documented_settings_are_the_defaults():
    from atomate2_alpot.cli.example import example_selectors

    documented = (DOCS / "_generated" / "selectors.yaml").read_text().strip()
    assert documented == example_selectors()
    for block in documented.split("\n\n"):
        ((name, given),) = yaml.safe_load(block).items()
        made = getattr(SelectSection.model_validate({name: given}), name)
        assert made == type(made)()


def test_python_of_the_page_runs():
    names: dict = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)[0], names)
    assert isinstance(names["selector"].sampler, ChainSampler)


def test_a_section_without_a_kind_has_the_default_one():
    section = SelectSection.model_validate({"criterion": {"energy": 0.2}, "sampler": {}})
    assert (section.criterion.kind, section.sampler.kind) == ("committee", "direct")
    assert section.criterion.energy == 0.2


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ({"criterion": {"kind": "calibrate"}}, r"select.criterion: .*did you mean 'calibrated'"),
        ({"sampler": {"kind": "sequental"}}, r"select.sampler: .*did you mean 'sequential'"),
        (
            {"criterion": {"enrgy": 1}},
            r"select.criterion.enrgy: unknown key; did you mean 'energy'",
        ),
        (
            {"criterion": {"kind": "grade", "max_grad": 3}},
            r"select.criterion.max_grad: unknown key; did you mean 'max_grade'",
        ),
        (
            {"criterion": {"kind": "calibrated", "fallback": {"enrgy": 1}}},
            r"select.criterion.fallback.enrgy: unknown key; did you mean 'energy'",
        ),
        (
            {"criterion": {"kind": "calibrated", "forces": "100 meV/Å"}},
            r"select.criterion.forces: '100 meV/Å' carries a unit",
        ),
        (
            {"sampler": {"kind": "chain", "samplers": [{}, {"descriptr": 1}]}},
            r"select.sampler.samplers.1.descriptr: unknown key; did you mean 'descriptor'",
        ),
        (
            {"sampler": {"kind": "sequential", "thresholds": [1, 10]}},
            r"select.sampler.thresholds: .*give falling numbers",
        ),
    ],
)
def test_mistakes_are_named_by_their_keys(tmp_path, select, message):
    with pytest.raises(ConfigError, match=message):
        read_config(write(tmp_path, **select))


def test_files_of_nested_potentials_are_relative_to_the_config(tmp_path):
    (tmp_path / "mine.model").touch()
    spec = {"backend": "mace", "name": "mine.model"}
    inner = {"kind": "sequential", "descriptor": "model", "spec": spec}
    config = read_config(
        write(
            tmp_path,
            criterion={"kind": "grade", "descriptor": "model", "spec": spec},
            sampler={"kind": "chain", "samplers": [{}, inner]},
        )
    )
    assert config.select.criterion.spec.name == str(tmp_path / "mine.model")
    assert config.select.sampler.samplers[1].spec.name == str(tmp_path / "mine.model")


def test_preflight_says_what_a_selector_would_lack(tmp_path):
    wrong = {"backend": "mcae", "name": "x"}
    inner = {"kind": "sequential", "descriptor": "model", "spec": wrong}
    config = read_config(write(tmp_path, sampler={"kind": "chain", "samplers": [{}, inner]}))
    (problem,) = preflight(config, tmp_path / "run", with_labeller=False)
    assert problem.startswith("select.sampler.samplers.1.spec: unknown backend 'mcae'")
    config = read_config(write(tmp_path, criterion={"kind": "calibrated"}))
    (problem,) = preflight(config, tmp_path / "run", with_labeller=False)
    assert "no calibration of ['energy', 'forces', 'stress']" in problem
    assert isinstance(config.select.criterion, CalibratedQuery)
