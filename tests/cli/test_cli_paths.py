"""What reading a config makes of it: absolute paths, presets, secrets left out."""

from __future__ import annotations

import pytest
from toy_run import changed, write

from atomate2_alpot.cli.loading import read_config
from atomate2_alpot.structures.scramble import FIRST_ITERATION


@pytest.fixture
def folder(tmp_path):
    """A config folder with model files, away from where the test stands."""
    home = tmp_path / "configs"
    (home / "models").mkdir(parents=True)
    for name in ("models/mine.model", "plain", "tool.yaml"):
        (home / name).touch()
    return home


def test_relative_paths_are_those_of_the_config_file(folder):
    config = changed(
        committee=[
            {"backend": "mace", "name": "models/mine.model"},
            {"backend": "mace", "name": "plain"},
            {"backend": "mace", "name": "medium"},
            {"backend": "ase", "name": "a.b:C", "kwargs": {"file": "tool.yaml", "x": "no.yaml"}},
        ],
        propose={"prototypes": "../cells"},
        select={"sampler": {"descriptor": "model", "spec": {"backend": "mace", "name": "plain"}}},
        train={"start_from": {"backend": "mace", "name": "models/mine.model"}},
    )
    read = read_config(write(folder / "c.yaml", config))
    names = [m.name for m in read.committee]
    assert names == [str(folder / "models/mine.model"), str(folder / "plain"), "medium", "a.b:C"]
    assert read.committee[3].kwargs == {"file": str(folder / "tool.yaml"), "x": "no.yaml"}
    assert read.propose.prototypes == str(folder / "../cells")
    assert read.select.sampler.spec.name == str(folder / "plain")
    assert read.train.start_from.name == str(folder / "models/mine.model")


def test_names_and_absolute_paths_stay_as_they_are(folder):
    (folder / "medium").mkdir()
    (folder / "0.3.0").touch()
    config = changed(
        committee=[{"backend": "mace", "name": "medium"}, {"backend": "chgnet", "name": "0.3.0"}],
        propose={"prototypes": "/cells"},
    )
    read = read_config(write(folder / "c.yaml", config))
    assert [m.name for m in read.committee] == ["medium", "0.3.0"]
    assert read.propose.prototypes == "/cells"
    assert read_config(write(folder / "d.yaml")).propose.prototypes == "aflow"


def test_a_section_that_names_one_value_keeps_the_others_of_its_preset(tmp_path):
    read = read_config(write(tmp_path / "c.yaml", changed(propose={"first": {"sigma": 0.004}})))
    assert read.propose.first == FIRST_ITERATION.model_copy(update={"sigma": 0.004})


def test_plain_values_of_a_config_hold_no_uri(tmp_path):
    config = changed(store={"kind": "mongo", "uri": "mongodb://me:hunter2@localhost"})
    assert "hunter2" not in str(read_config(write(tmp_path / "c.yaml", config)).without_secrets())
