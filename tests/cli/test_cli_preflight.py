"""What is wrong is said before the first job, naming the key and the remedy."""

from __future__ import annotations

import re
import signal

import pytest
from toy_run import TOY_CONFIG, changed, write

from atomate2_alpot.cli.loading import ConfigError, read_config
from atomate2_alpot.cli.preflight import preflight, require_preflight
from atomate2_alpot.cli.run import run_campaign, stopped_by_sigterm
from atomate2_alpot.potentials import load_predictor
from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.schemas import PotentialSpec

TOYS = TOY_CONFIG["committee"]


def read(tmp_path, **sections):
    return read_config(write(tmp_path / "c.yaml", changed(**sections)))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"committee": [TOYS[0], TOYS[0]]}, r"committee: .*toy:default\[seed=1\].* listed twice"),
        ({"train": {"e0s": {"Al": -1.0}}}, r"train.e0s: no value for \['Ni'\]"),
        ({"train": {"fractions": [0.9, 0.2, 0.0]}}, "train.fractions: .*must sum to 1"),
        ({"train": {"fractions": [1.0, 0.0, 0.0]}}, "train.fractions: .*share for train and"),
        ({"train": {"start_from": TOYS[0]}}, "only a mace model can be fine-tuned"),
        ({"propose": {"n_elements": [3, 3]}}, "propose.n_elements asks for .* at least 3"),
        ({"propose": {"n_atoms": [4, 2]}}, r"propose.n_atoms: .*give \[smallest, largest\]"),
        ({"select": {"sampler": {"kind": "direct", "descriptor": "model"}}}, "needs `spec`"),
    ],
)
def test_sections_that_contradict_each_other_are_refused(tmp_path, sections, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, **sections)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"committee": [*TOYS, {"backend": "chgnt"}]}, "committee.2: .*did you mean 'chgnet'"),
        ({"committee": [*TOYS, {"backend": "toy", "kwargs": {"sed": 1}}]}, "unknown option 'sed'"),
        ({"committee": [*TOYS, {"backend": "chgnet", "name": "9.9"}]}, "9.9.*the wheel ships"),
        ({"committee": [*TOYS, {"backend": "mace", "name": "no/such.model"}]}, "no such file"),
        ({"committee": [*TOYS, {"backend": "mtp", "name": "no/such.mtp"}]}, "no such file"),
        ({"committee": [*TOYS, {"backend": "ace", "name": "no/such.npz"}]}, "no such file"),
        (
            {"train": {"settings": {"kind": "ace"}, "start_from": "previous"}},
            "start_from.*'ace' is solved in one step",
        ),
        ({"train": {"settings": {"kind": "ace", "cutoff": 2.0}}}, "cutoff=2.0: below the dist"),
        ({"train": {"settings": {"kind": "ace", "degree": 30}}}, r"degree=30 give \d+ coeff"),
        ({"committee": [*TOYS, {"backend": "ase", "name": "ase:No"}]}, "committee.2: ase calc"),
        ({"committee": [*TOYS, {"backend": "matgl", "name": "/no/folder"}]}, "lacks .'model.json'"),
        ({"train": {"start_from": {"backend": "mace", "name": "x.model"}}}, "train.start_from: "),
        ({"propose": {"prototypes": "nowhere"}}, "nowhere: no such folder"),
        ({"propose": {"n_elements": [2, 3]}}, "fewer than the 3 kinds"),
        ({"propose": {"n_test": 10**6}}, "n_test=1000000 are held out"),
        ({"store": {"kind": "mongo"}}, "store.uri is not set"),
        (
            {"label": {"preset": None, "options": {}, "functional": "x", "maker": "json:dumps"}},
            "label.maker: 'json:dumps' is no Maker class",
        ),
        ({"label": {"preset": "chgnet-surrogate", "options": {"model": "x"}}}, "label.options of"),
    ],
)
def test_what_this_machine_lacks_is_said_before_the_first_job(
    tmp_path, monkeypatch, sections, message
):
    monkeypatch.delenv("ALPOT_MONGO_URI", raising=False)
    problems = preflight(read(tmp_path, **sections), tmp_path / "run")
    assert len(problems) == 1
    assert re.search(message, problems[0])
    with pytest.raises(ConfigError, match="cannot be run here"):
        run_campaign(tmp_path / "c.yaml", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_elements_that_a_backend_does_not_know_are_named(tmp_path):
    committee = [*TOYS, {"backend": "chgnet"}]
    config = read(tmp_path, elements=["Al", "Am"], committee=committee)
    assert "does not know ['Am']" in preflight(config, tmp_path)[0]


def test_all_problems_are_listed_at_once(tmp_path):
    committee = [{"backend": "toi"}, {"backend": "toy", "kwargs": {"x": 1}}]
    with pytest.raises(ConfigError) as caught:
        require_preflight(read(tmp_path, committee=committee), tmp_path)
    assert "committee.0" in str(caught.value)
    assert "committee.1" in str(caught.value)


def test_a_good_config_has_no_problem(tmp_path):
    assert preflight(read(tmp_path), tmp_path / "run") == []


def test_a_trainer_or_backend_whose_package_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("atomate2_alpot.cli.preflight.find_spec", lambda name: None)
    train = {"settings": {"kind": "ace"}}
    committee = [*TOYS, {"backend": "mtp", "name": "x.mtp"}]
    problems = preflight(read(tmp_path, train=train, committee=committee), tmp_path / "run")
    assert problems == [
        "train.settings.kind: 'ace' is not installed: pip install 'atomate2-alpot[ace]'",
        "committee.2: backend 'mtp' is not installed: pip install 'atomate2-alpot[mtp]'",
    ]


def test_a_misspelt_key_of_a_trainer_is_corrected_by_its_own_keys(tmp_path):
    with pytest.raises(ConfigError, match="unknown key; did you mean 'cutoff'"):
        read(tmp_path, train={"settings": {"kind": "mtp", "cutof": 5.0}})


@pytest.mark.parametrize("backend", ["ace", "chgnet", "mace", "matgl", "mtp", "toy"])
def test_an_unknown_option_is_refused_before_and_at_loading(tmp_path, backend):
    spec = PotentialSpec(backend=backend, name="/no/file", kwargs={"no_such": 1})
    with pytest.raises(PotentialError, match=r"unknown option 'no_such' \(options: .*\)") as caught:
        load_predictor(spec)
    committee = [*TOYS, spec.model_dump(mode="json")]
    assert str(caught.value) in "".join(preflight(read(tmp_path, committee=committee), tmp_path))


def test_sigterm_is_an_interrupt_while_a_campaign_runs():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stopped_by_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
