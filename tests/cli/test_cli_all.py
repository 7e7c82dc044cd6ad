"""The command: configs that explain their mistakes, every command, exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
import yaml
from toy_run import TOY_CONFIG, alpot, write

from atomate2_alpot.cli.build import build_labeller, build_maker
from atomate2_alpot.cli.config import LabelSection, RunConfig
from atomate2_alpot.cli.errors import explain
from atomate2_alpot.cli.example import example_config
from atomate2_alpot.cli.loading import ConfigError, read_config, readable_secrets
from atomate2_alpot.cli.run import demo_config_path
from atomate2_alpot.label import LabelMaker

# --- configs -----------------------------------------------------------------------------


def test_demo_and_example_are_valid():
    demo = read_config(demo_config_path())
    assert len(demo.elements) >= 6
    assert demo.propose.candidates_per_iteration >= 3000
    assert demo.loop.max_iterations >= 2
    assert demo.loop.labels_per_iteration >= 60
    maker = build_maker(demo)
    surrogate = maker.labeller.surrogate
    assert surrogate == "chgnet:r2scan"
    assert surrogate not in [m.label for m in demo.committee]
    assert RunConfig.model_validate(yaml.safe_load(example_config()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("n_test: 200", "n_tets: 200"), r"propose.n_tets: unknown key; did you mean 'n_test'"),
        (
            ("forces: 0.05", "forces: 100 meV/Å"),
            r"select.criterion.forces: '100 meV/Å' carries a unit",
        ),
        (("energy: 0.05", "energy: -0.05"), r"select.criterion.energy: .*greater than 0 .*-0.05"),
        (("seed: 7", "seed: 7\nseed: 8"), r"line \d+: key 'seed' is given twice"),
        (("Al, Mg", "Xx, Mg"), r"elements: .*\['Xx'\] are not elements"),
        (("Al, Mg", "Al, Al"), "lists an element twice"),
        (("n_members: 3", "n_members: 1"), "train.n_members: .*2 "),
        (
            ("preset: chgnet-surrogate", "preset: chgnet-surrogate\n  maker: a:B"),
            "either `preset` or `maker`",
        ),
        (("labels_per_iteration: 100", "targets: {force_mae: 1}"), r"force_mae.*forces_mae"),
        (("elements: [", "elements: {"), "not YAML"),
    ],
)
def test_mistakes_in_a_config_are_named(tmp_path, change, message):
    text = demo_config_path().read_text()
    assert change[0] in text
    path = tmp_path / "wrong.yaml"
    path.write_text(text.replace(*change, 1))
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def test_missing_config_and_missing_keys_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.yaml: No such file"):
        read_config(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="committee: required"):
        read_config(
            write(tmp_path / "c.yaml", {"elements": ["Al"], "label": {"preset": "toy-surrogate"}})
        )


def test_every_mistake_is_listed_at_once(tmp_path):
    config = {**TOY_CONFIG, "seeed": 1, "loop": {"max_iterations": 0}}
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path / "c.yaml", config))
    assert "seeed" in str(caught.value)
    assert "loop.max_iterations" in str(caught.value)


def test_labeller_by_import_path_and_its_mistakes():
    section = LabelSection(
        maker="atomate2.ase.jobs:LennardJonesStaticMaker",
        options={"name": "lj"},
        functional="LJ",
        min_label_fraction=0.9,
    )
    labeller = build_labeller(section)
    assert isinstance(labeller, LabelMaker)
    assert (labeller.functional, labeller.min_label_fraction) == ("LJ", 0.9)
    with pytest.raises(ConfigError, match="label.maker: 'atomate2.nowhere:X' cannot be made"):
        build_labeller(LabelSection(maker="atomate2.nowhere:X", functional="x"))
    with pytest.raises(ConfigError, match="choose from"):
        build_labeller(LabelSection(preset="dft"))
    with pytest.raises(ConfigError, match="label.options of preset"):
        build_labeller(LabelSection(preset="toy-surrogate", options={"sead": 1}))


def test_readable_uri_is_noticed_and_never_shown(tmp_path):
    config = {**TOY_CONFIG, "store": {"kind": "mongo", "uri": "mongodb://me:hunter2@localhost"}}
    path = write(tmp_path / "c.yaml", config)
    path.chmod(0o644)
    assert readable_secrets(path)
    path.chmod(0o600)
    assert not readable_secrets(path)
    assert "hunter2" not in repr(read_config(path).store)
    assert (
        explain(RuntimeError("cannot reach mongodb://me:hunter2@localhost:1"))[0].count("***") == 1
    )


# --- commands ----------------------------------------------------------------------------


def test_help_and_version_and_config():
    assert "doctor" in alpot("--help").stdout
    assert alpot("--version").stdout.startswith("atomate2-alpot 0.")
    assert "elements:" in alpot("config").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "nowhere.yaml"), "error: config nowhere.yaml"),
        (("status", "--run-dir", "nowhere"), "nowhere holds no run"),
        (("frobnicate",), "No such command"),
        (("query", "--iteration", "x"), "valid integer"),
    ],
)
def test_bad_input_ends_with_two_and_one_message(arguments, message):
    done = alpot(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_campaign_from_the_command_line(tmp_path):
    config, folder = write(tmp_path / "toy.yaml"), tmp_path / "run"
    done = alpot("run", config, "--run-dir", folder)
    assert done.returncode == 0, done.stderr
    assert "SURROGATE" in done.stdout
    assert "report:" in done.stdout
    report = (folder / "report.html").read_text()
    assert "Surrogate labels" in report
    assert "http://www.w3.org" in report
    assert "<script" not in report
    again = alpot("run", config, "--run-dir", folder)
    assert again.returncode == 0
    assert "0 jobs run" in again.stdout
    assert "max iterations" in alpot("status", "--run-dir", folder).stdout
    counted = int(alpot("query", '{"stage": "label"}', "--count", "--run-dir", folder).stdout)
    assert 0 < counted <= 8
    shown = alpot("query", "--elements", "Al", "--json", "--run-dir", folder).stdout.splitlines()
    assert all("Al" in yaml.safe_load(line)["elements"] for line in shown)
    bad = alpot("query", "{not json", "--run-dir", folder)
    assert (bad.returncode, "is not JSON" in bad.stderr) == (2, True)
    exported = alpot("export", tmp_path / "labels.xyz", "--run-dir", folder)
    assert exported.returncode == 0
    assert (tmp_path / "labels.xyz.card.json").exists()
    other = write(tmp_path / "other.yaml", {**TOY_CONFIG, "seed": 5})
    refused = alpot("run", other, "--run-dir", folder)
    assert refused.returncode == 2
    assert "seed: 0 → 5: the candidates and the test set are drawn with it" in refused.stderr


@pytest.mark.slow
def test_doctor_says_what_is_missing(tmp_path):
    good = alpot("doctor", write(tmp_path / "toy.yaml"), "--run-dir", tmp_path / "run")
    assert good.returncode == 0, good.stdout
    assert "VASP_CMD" in good.stdout
    vasp = {"maker": "atomate2.vasp.jobs.core:StaticMaker", "functional": "PBE"}
    committee = [*TOY_CONFIG["committee"], {"backend": "chgnet", "name": "9.9"}]
    config = write(tmp_path / "vasp.yaml", {**TOY_CONFIG, "label": vasp, "committee": committee})
    bad = alpot("doctor", config, "--run-dir", tmp_path / "run")
    assert bad.returncode == 1
    assert "PMG_VASP_PSP_DIR" in bad.stdout
    assert "9.9" in bad.stdout


@pytest.mark.slow
def test_ctrl_c_ends_with_a_word_and_the_same_command_continues(tmp_path):
    config, folder = write(tmp_path / "toy.yaml"), tmp_path / "run"
    command = [sys.executable, "-W", "ignore", "-m", "atomate2_alpot.cli.main", "run", str(config)]
    command += ["--run-dir", str(folder)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while len(list(folder.glob("journal/*.json"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again to continue" in errors
    assert "Traceback" not in errors
    again = alpot("run", config, "--run-dir", folder)
    assert again.returncode == 0, again.stderr
    assert "max iterations" in again.stdout
