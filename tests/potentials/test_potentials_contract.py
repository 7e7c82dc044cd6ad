"""Every backend: forces and stress are derivatives, batches do not matter, and so on."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.emt import EMT

from atomate2_alpot.potentials import BACKENDS, Committee, PotentialError, load_predictor
from atomate2_alpot.schemas import Artifact, Frames, PotentialSpec
from atomate2_alpot.schemas.blobs import BlobError
from atomate2_alpot.testing import ToyPotential, check_predictor, numerical_stress


@pytest.fixture(params=["toy", "emt", "chgnet", "mace", "matgl"])
def spec(request, mace_file, tmp_path_factory):
    if request.param == "toy":
        return PotentialSpec(backend="toy", kwargs={"seed": 4})
    if request.param == "emt":
        return PotentialSpec(backend="ase", name="ase.calculators.emt:EMT")
    if request.param == "chgnet":
        pytest.importorskip("chgnet")
        return PotentialSpec(backend="chgnet", name="0.3.0")
    if request.param == "mace":
        return PotentialSpec(backend="mace", name=str(mace_file), kwargs={"dtype": "float64"})
    return PotentialSpec(backend="matgl", name=str(request.getfixturevalue("matgl_folder")))


@pytest.fixture(scope="session")
def matgl_folder(tmp_path_factory):
    """A small M3GNet with random weights, saved as matgl saves."""
    import torch
    from matgl.apps.pes import Potential
    from matgl.models import M3GNet

    torch.manual_seed(1)
    model = M3GNet(
        element_types=("Al", "Ni"),
        units=16,
        nblocks=2,
        dim_node_embedding=16,
        dim_edge_embedding=16,
        is_intensive=False,
    )
    folder = tmp_path_factory.mktemp("matgl") / "tiny"
    folder.mkdir()
    Potential(model, calc_stresses=True, calc_hessian=False).save(str(folder))
    return folder


def test_what_a_predictor_promises(spec, alloy_frames):
    """Derivatives, batches, order, symmetries; a frame of an unknown element costs itself only."""
    refused = Frames.from_arrays([95], np.zeros((1, 3)), [np.eye(3) * 3], [1])
    knows_all = spec.backend == "toy"
    check_predictor(load_predictor(spec), alloy_frames, refused=None if knows_all else refused)


def test_compression_gives_negative_stress(spec, alloy_frames):
    if spec.backend in ("mace", "matgl"):
        pytest.skip("random weights do not repel")
    frame = alloy_frames[0]
    squeezed = Frames.from_arrays(
        frame.numbers, frame.positions * 0.7, frame.cell * 0.7, frame.n_atoms
    )
    predictor = load_predictor(spec)
    trace = np.trace(predictor.predict(squeezed).stress[0])
    assert trace < 0
    assert trace == pytest.approx(np.trace(numerical_stress(predictor, squeezed)), rel=2e-2)


def test_registry_loads_only_what_is_asked_for():
    assert set(BACKENDS) == {"ace", "ase", "chgnet", "mace", "matgl", "mtp", "toy"}


def test_unknown_backend_names_the_registered_ones():
    with pytest.raises(PotentialError, match=r"unknown backend 'nequip'.*chgnet"):
        load_predictor(PotentialSpec(backend="nequip"))


def test_ase_backend_is_the_calculator(alloy_frames):
    predictor = load_predictor(PotentialSpec(backend="ase", name="ase.calculators.emt:EMT"))
    prediction = predictor.predict(alloy_frames)
    for s, atoms in enumerate(alloy_frames.to_ase()):
        atoms.calc = EMT()
        assert prediction.energy[s] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)


def test_frame_that_a_backend_refuses_costs_only_that_frame(alloy_frames):
    pytest.importorskip("chgnet")
    alone = Frames.from_arrays([13], np.zeros((1, 3)), [np.eye(3) * 20], [1])
    frames = Frames.concat([alloy_frames[0], alone, alloy_frames[1]])
    prediction = load_predictor(PotentialSpec(backend="chgnet")).predict(frames)
    assert np.isfinite(prediction.energy).tolist() == [True, False, True]
    assert np.isnan(prediction.forces[2:3]).all()


def test_chgnet_is_chgnet(alloy_frames):
    chgnet = pytest.importorskip("chgnet.model.model")
    model = chgnet.CHGNet.load(model_name="0.2.0", verbose=False, use_device="cpu")
    prediction = load_predictor(PotentialSpec(backend="chgnet", name="0.2.0")).predict(alloy_frames)
    for s, structure in enumerate(alloy_frames.to_structures()):
        expected = model.predict_structure(structure)
        own = slice(alloy_frames.offsets[s], alloy_frames.offsets[s + 1])
        assert prediction.energy[s] == pytest.approx(
            float(expected["e"]) * len(structure), abs=1e-4
        )
        np.testing.assert_allclose(prediction.forces[own], expected["f"], atol=1e-4)


def test_mace_is_mace(mace_file, alloy_frames):
    from mace.calculators import MACECalculator

    calculator = MACECalculator(model_paths=str(mace_file), device="cpu", default_dtype="float64")
    spec = PotentialSpec(backend="mace", name=str(mace_file), kwargs={"dtype": "float64"})
    prediction = load_predictor(spec).predict(alloy_frames)
    for s, atoms in enumerate(alloy_frames.to_ase()):
        atoms.calc = calculator
        own = slice(alloy_frames.offsets[s], alloy_frames.offsets[s + 1])
        assert prediction.energy[s] == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        np.testing.assert_allclose(prediction.forces[own], atoms.get_forces(), atol=1e-8)
        np.testing.assert_allclose(prediction.stress[s], atoms.get_stress(voigt=False), atol=1e-9)


@pytest.mark.parametrize("batch_atoms", [1, 4, 7, 1000])
def test_mace_batches_of_any_size_agree(mace_file, alloy_frames, batch_atoms):
    def spec(**options):
        return PotentialSpec(
            backend="mace", name=str(mace_file), kwargs={"dtype": "float64", **options}
        )

    expected = load_predictor(spec()).predict(alloy_frames)
    actual = load_predictor(spec(batch_atoms=batch_atoms)).predict(alloy_frames)
    np.testing.assert_allclose(actual.forces, expected.forces, atol=1e-9)
    np.testing.assert_allclose(actual.energy, expected.energy, atol=1e-9)


@pytest.mark.parametrize("backend", ["chgnet", "mace", "matgl", "toy"])
def test_features_are_invariant_to_rotation_and_order(request, backend, mace_file, alloy_frames):
    if backend == "chgnet":
        pytest.importorskip("chgnet")
    names = {
        "mace": lambda: str(mace_file),
        "matgl": lambda: str(request.getfixturevalue("matgl_folder")),
    }
    name = names[backend]() if backend in names else None
    predictor = load_predictor(PotentialSpec(backend=backend, name=name))
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    rotated = Frames.from_arrays(
        alloy_frames.numbers,
        alloy_frames.positions @ rotation,
        alloy_frames.cell @ rotation,
        alloy_frames.n_atoms,
    )
    features = predictor.features(alloy_frames)
    assert features.shape[0] == len(alloy_frames)
    assert np.ptp(features, axis=0).max() > 1e-3
    np.testing.assert_allclose(predictor.features(rotated), features, atol=2e-3)
    np.testing.assert_allclose(predictor.features(alloy_frames[::-1]), features[::-1], atol=1e-4)


def test_artifact_of_a_model_predicts_as_its_file(mace_file, alloy_frames, monkeypatch, tmp_path):
    from atomate2_alpot.potentials import mace as backend

    monkeypatch.setattr(backend.SETTINGS, "CACHE_DIR", tmp_path / "cache")
    by_file = PotentialSpec(backend="mace", name=str(mace_file))
    by_artifact = PotentialSpec(backend="mace", artifact=Artifact.from_file(mace_file))
    np.testing.assert_array_equal(
        load_predictor(by_file).predict(alloy_frames).energy,
        load_predictor(by_artifact).predict(alloy_frames).energy,
    )


def test_artifact_with_another_hash_is_refused(mace_file):
    document = Artifact.from_file(mace_file).as_dict()
    document["sha256"] = "0" * 64
    with pytest.raises(BlobError, match=r"tiny.model.*corrupted"):
        Artifact.from_dict(document)


@pytest.mark.parametrize(
    ("backend", "name"),
    [("mace", "medium-mpa-0"), ("mace", "small"), ("matgl", "M3GNet-PES-MatPES-PBE-2025.2")],
)
def test_no_network_and_no_weights_is_said_at_once(backend, name, monkeypatch, tmp_path):
    import socket

    from atomate2_alpot.potentials import mace

    def refuse(*args, **kwargs):
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(mace.SETTINGS, "MODEL_DIR", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(PotentialError, match=rf"{name}.*not on this machine.*{tmp_path}.*`name`"):
        load_predictor(PotentialSpec(backend=backend, name=name))


def test_unknown_model_names_are_answered_with_the_known_ones():
    with pytest.raises(PotentialError, match=r"'mediun'.*medium"):
        load_predictor(PotentialSpec(backend="mace", name="mediun"))
    with pytest.raises(PotentialError, match=r"'0.4.0'.*r2scan"):
        load_predictor(PotentialSpec(backend="chgnet", name="0.4.0"))
    with pytest.raises(PotentialError, match=r"SevenNett.*SevenNet"):
        load_predictor(PotentialSpec(backend="ase", name="SevenNett"))


def test_misspelt_option_names_the_nearest(mace_file):
    with pytest.raises(PotentialError, match=r"'dtpye'.*did you mean 'dtype'"):
        load_predictor(
            PotentialSpec(backend="mace", name=str(mace_file), kwargs={"dtpye": "float64"})
        )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"backend": "ase", "name": "ase.calculators.emt:EMT", "kwargs": {"asap_cutof": True}},
            r"unknown option 'asap_cutof'; did you mean 'asap_cutoff'",
        ),
        ({"backend": "chgnett"}, r"unknown backend 'chgnett'; did you mean 'chgnet'"),
        ({"backend": "chgnet", "kwargs": {"batch_size": 0}}, r"'batch_size' is 0; give a whole"),
        ({"backend": "mace", "name": "x", "kwargs": {"batch_atoms": 2.5}}, r"'batch_atoms' is 2.5"),
        ({"backend": "toy", "kwargs": {"nan_fraction": 1.5}}, r"'nan_fraction' is 1.5; give 0 to"),
        ({"backend": "ase", "name": "no_such_module:Calculator"}, r"no_such_module.*install"),
        ({"backend": "ase", "name": "ase.calculators.emt:EMTT"}, r"has no 'EMTT'"),
    ],
)
def test_recipes_that_cannot_work_are_refused_when_loaded(spec, said):
    with pytest.raises(PotentialError, match=said):
        load_predictor(PotentialSpec(**spec))


def test_a_word_that_is_no_element_is_said_before_any_member_loads():
    committee = Committee([PotentialSpec(backend="mace", name="/nowhere/at.all")])
    with pytest.raises(PotentialError, match=r"\['Xx'\] are not chemical elements"):
        committee.check_elements(["Fe", "Xx"])


def test_a_file_that_holds_no_mace_model_is_named(tmp_path):
    import torch

    cut, wrong = tmp_path / "cut.model", tmp_path / "weights.pt"
    cut.write_bytes(b"PK\x03\x04 cut short")
    torch.save({"weights": torch.zeros(2)}, wrong)
    with pytest.raises(PotentialError, match=r"cut.model is no model file.*download was cut"):
        load_predictor(PotentialSpec(backend="mace", name=str(cut)))
    with pytest.raises(PotentialError, match=r"weights.pt holds a dict, not a MACE model"):
        load_predictor(PotentialSpec(backend="mace", name=str(wrong)))


def test_heads_are_chosen_not_guessed(mace_file, tmp_path):
    import torch

    model = torch.load(mace_file, weights_only=False)
    model.heads = ["pbe", "r2scan"]
    path = tmp_path / "two.model"
    torch.save(model, path)
    with pytest.raises(PotentialError, match=r"heads \['pbe', 'r2scan'\]; choose one"):
        load_predictor(PotentialSpec(backend="mace", name=str(path)))
    chosen = load_predictor(
        PotentialSpec(backend="mace", name=str(path), kwargs={"head": "r2scan"})
    )
    assert chosen.head == "r2scan"


@pytest.mark.parametrize("name", ["M3GNet", "MatPES-r2SCAN"])
def test_matgl_through_atomate2_fails_in_seconds_without_network(name, monkeypatch, tmp_path):
    """The hub's client alone retries for most of a minute."""
    import time

    from atomate2_alpot.potentials import download

    monkeypatch.setattr(download.SETTINGS, "DOWNLOAD_TIMEOUT", 1.0)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(PotentialError, match=rf"ase:{name}.*not on this machine"):
        load_predictor(PotentialSpec(backend="ase", name=name))
    assert time.monotonic() - start < 20  # imports of matgl included; the retries take 45 s


def test_force_fields_of_atomate2_are_asked_for_stress_in_our_unit(monkeypatch):
    from atomate2.forcefields import utils

    asked = {}
    monkeypatch.setattr(utils, "ase_calculator", lambda model, **kwargs: asked.update(kwargs))
    load_predictor(PotentialSpec(backend="ase", name="MatPES-r2SCAN"))
    assert asked["stress_unit"] == "eV/A3"


def test_a_name_that_never_resolves_is_given_up_in_time(monkeypatch):
    """No timeout of a socket bounds the look-up of a name."""
    import socket
    import time

    from atomate2_alpot.potentials import download

    for variable in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(download.SETTINGS, "DOWNLOAD_TIMEOUT", 0.3)

    def hang(*_, **__):
        time.sleep(3)
        raise OSError("late")

    monkeypatch.setattr(socket, "create_connection", hang)
    start = time.monotonic()
    assert "hub.example does not answer within 0.3 s" in str(
        download.why_unreachable("https://hub.example/model")
    )
    assert time.monotonic() - start < 2


def test_a_proxy_is_what_has_to_answer(monkeypatch):
    import socket

    from atomate2_alpot.potentials import download

    asked = []

    class Connection:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    def connect(address, timeout):
        asked.append(address)
        return Connection()

    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setattr(socket, "create_connection", connect)
    assert download.why_unreachable("https://hub.example/model") is None
    assert asked == [("proxy.example", 3128)]


def test_predictions_do_not_depend_on_torchs_default_dtype(spec, alloy_frames):
    """MACE's own calculator leaves the process in float64, in which CHGNet fails."""
    import torch

    predictor = load_predictor(spec)
    expected = predictor.predict(alloy_frames)
    torch.set_default_dtype(torch.float64)
    try:
        actual = predictor.predict(alloy_frames)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_allclose(actual.forces, expected.forces, atol=1e-4)
    np.testing.assert_allclose(actual.energy, expected.energy, atol=1e-4)


def test_toys_of_different_seeds_disagree(alloy_frames):
    one, two = (ToyPotential(s).predict(alloy_frames).energy for s in (1, 2))
    assert np.abs(one - two).max() > 1e-3
