"""The model that labels must not vote, however either of the two is spelt."""

from __future__ import annotations

import pytest
from atomate2.ase.jobs import EmtRelaxMaker
from atomate2.forcefields.jobs import ForceFieldStaticMaker
from fakes import small_loop, toy

from atomate2_alpot.flows.voters import check_voters, force_fields_of, model_of
from atomate2_alpot.label import LabelMaker, presets
from atomate2_alpot.label.isolated import atom_labeller
from atomate2_alpot.schemas import Artifact, PotentialSpec


def chgnet(name=None, **kwargs) -> PotentialSpec:
    return PotentialSpec(backend="chgnet", name=name, kwargs=kwargs)


def ase(name, **kwargs) -> PotentialSpec:
    return PotentialSpec(backend="ase", name=name, kwargs=kwargs)


def force_field(name, **kwargs) -> LabelMaker:
    maker = ForceFieldStaticMaker(force_field_name=name, calculator_kwargs=kwargs)
    return LabelMaker(maker=maker, functional="PBE", surrogate="mine")


PBE = presets.chgnet_surrogate("0.3.0")


@pytest.mark.parametrize(
    ("member", "labeller"),
    [
        (chgnet("0.3.0"), PBE),
        (chgnet(), PBE),
        (chgnet(batch_size=4), PBE),
        (chgnet("0.3.0", batch_size=4), force_field("CHGNet")),
        (ase("CHGNet"), PBE),
        (ase("MLFF.CHGNet"), PBE),
        (ase("chgnet.model.dynamics:CHGNetCalculator", use_device="cpu"), PBE),
        (
            chgnet(),
            force_field({"@module": "chgnet.model.dynamics", "@callable": "CHGNetCalculator"}),
        ),
        (PotentialSpec(backend="mace"), force_field("MACE-MPA-0")),
        (PotentialSpec(backend="mace", kwargs={"dtype": "float64"}), force_field("MACE_MPA_0")),
        (ase("mace.calculators:mace_mp", model="medium"), force_field("MACE-MP-0")),
        (toy(0), presets.surrogate(PotentialSpec(backend="toy"))),
        (chgnet(batch_size=2), atom_labeller(PBE)),
        (PotentialSpec(backend="ase", name="SevenNet"), force_field("SevenNet")),
    ],
)
def test_the_same_model_is_found_out(member, labeller):
    with pytest.raises(ValueError, match="so it must not vote"):
        check_voters([toy(1), member], labeller)


@pytest.mark.parametrize(
    ("member", "labeller"),
    [
        (chgnet("0.2.0"), PBE),
        (chgnet(), presets.chgnet_surrogate("r2scan")),
        (toy(1), presets.toy_surrogate(2)),
        (ase("mace.calculators:mace_mp", model="small"), force_field("MACE-MP-0")),
        (PotentialSpec(backend="mace", name="medium"), force_field("MACE-MPA-0")),
        (PotentialSpec(backend="mace", artifact=Artifact(b"x", "m.model")), PBE),
        (chgnet(), LabelMaker(maker=EmtRelaxMaker(), functional="EMT")),
        (chgnet(), presets.gpaw()),
    ],
)
def test_another_model_may_vote(member, labeller):
    check_voters([toy(5), member], labeller)


def test_a_file_is_one_model_by_any_path(tmp_path, monkeypatch):
    (tmp_path / "m.model").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    here, there = (
        model_of(PotentialSpec(backend="mace", name=n)) for n in ("m.model", f"{tmp_path}/m.model")
    )
    assert here == there


def test_heads_of_one_model_differ():
    one, two = (model_of(PotentialSpec(backend="mace", name="x", kwargs={"head": h})) for h in "ab")
    assert one != two


def test_force_fields_are_found_in_makers_of_makers():
    found = list(force_fields_of(atom_labeller(PBE)))
    assert [s.label for s in found] == ["chgnet:0.3.0"]


def test_the_loop_asks():
    maker = small_loop()
    maker.committee = [toy(1), PotentialSpec(backend="toy", kwargs={"nan_fraction": 0, "seed": 99})]
    with pytest.raises(ValueError, match="must not vote"):
        maker.make()
