"""`MPAloeMaker` against METHODS.md §1, value by value."""

from __future__ import annotations

import dataclasses
import json

import pytest
from monty.json import MontyDecoder, MontyEncoder

from atomate2_alpot import MPAloeMaker
from atomate2_alpot.flows import LoopSettings
from atomate2_alpot.label import presets
from atomate2_alpot.select.makers import CommitteeSelector
from atomate2_alpot.structures.makers import PrototypeProposer
from atomate2_alpot.train import CommitteeTrainer


@pytest.fixture(scope="module")
def maker() -> MPAloeMaker:
    return MPAloeMaker(labeller=presets.toy_surrogate())


def test_the_89_elements(maker):
    missing = {"Po", "At", "Rn", "Fr", "Ra"}
    assert len(maker.proposer.elements) == len(set(maker.proposer.elements)) == 89
    assert not missing & set(maker.proposer.elements)
    assert {"H", "Pu"} <= set(maker.proposer.elements)


def test_prototypes_have_two_to_eight_atoms_and_up_to_three_elements(maker):
    assert maker.proposer.n_atoms == (2, 8)
    assert maker.proposer.n_elements == (2, 3)
    assert maker.proposer.ternary_weight == pytest.approx(1 / 3)


def test_lattices_and_scrambling(maker):
    first, later = maker.proposer.first, maker.proposer.later
    assert (first.lattice_factor, later.lattice_factor) == (0.92, 0.96)
    assert (first.sigma, later.sigma) == (0.005, 0.020)
    for scramble in (first, later):
        assert scramble.displacement_cut == 3
        assert (scramble.strain_sigma, scramble.strain_cut) == (0.02, 2)


def test_the_first_committee_is_mace_chgnet_m3gnet_of_pbe(maker):
    assert [m.backend for m in maker.committee] == ["mace", "chgnet", "matgl"]
    assert "M3GNet" in maker.committee[2].name
    assert {m.functional for m in maker.committee} == {"PBE"}


def test_thresholds_of_the_committee(maker):
    criterion = maker.selector.criterion
    assert criterion.thresholds == {"energy": 0.1, "forces": 0.1, "stress": 0.1}
    assert criterion.form == "std"
    assert criterion.size_factor is True
    assert criterion.element_factors.model_dump() == {
        "noble_gas": 5,
        "helium": 3,
        "neon": 2,
        "technetium": 4,
        "actinoid": 4,
        "lanthanoid": 3,
    }


def test_what_is_unphysical(maker):
    criterion = maker.selector.criterion
    assert criterion.formation_energy == 0.25
    assert criterion.max_force == 50
    assert criterion.mean_stress == 0.5


def test_direct_takes_five_per_cluster_of_m3gnet_features(maker):
    sampler = maker.selector.sampler
    assert sampler.kind == "direct"
    assert sampler.k_per_cluster == 5
    assert sampler.threshold_init == 0.1
    assert sampler.descriptor == "model"
    assert sampler.spec.backend == "matgl"
    assert sampler.spec.name.startswith("M3GNet-Eform")


def test_labels_per_iteration(maker):
    assert maker.loop.labels_per_iteration == 125_000
    assert maker.loop.targets == {}
    assert maker.proposer.candidates_per_iteration >= 500_000  # as many pass the committee


def test_three_mace_models_from_scratch_on_their_own_splits(maker):
    trainer = maker.trainer
    assert trainer.n_members == 3
    assert trainer.fractions == (0.9, 0.05, 0.05)
    assert trainer.start_from is None
    assert trainer.e0s is None
    assert trainer.functional == maker.labeller.functional


def test_mace_is_trained_as_mace_mp_0a_large_for_100_epochs(maker):
    settings = maker.trainer.settings
    assert settings.max_num_epochs == 100
    expected = {
        "num_channels": 128,
        "max_L": 2,
        "r_max": 6.0,
        "num_interactions": 2,
        "correlation": 3,
        "max_ell": 3,
        "num_radial_basis": 10,
        "batch_size": 16,
        "lr": 0.005,
        "loss": "universal",
        "energy_weight": 1,
        "forces_weight": 10,
        "stress_weight": 100,
        "scheduler": "ReduceLROnPlateau",
        "scheduler_patience": 5,
        "ema": True,
        "ema_decay": 0.995,
        "clip_grad": 100,
        "weight_decay": 1e-8,
        "default_dtype": "float32",
    }
    assert {name: getattr(settings, name) for name in expected} == expected
    assert settings.patience >= settings.max_num_epochs


@pytest.mark.slow
def test_mace_has_the_number_of_parameters_of_the_paper(maker):
    pytest.importorskip("mace")
    import numpy as np
    import torch
    from e3nn import o3
    from mace import modules
    from mace.tools import build_default_arg_parser

    settings = maker.trainer.settings
    given = ["--train_file=none", *settings.arguments(), "--name=count"]
    options = build_default_arg_parser().parse_args(given)
    interactions = modules.interaction_classes
    degrees = "+".join(
        f"{options.num_channels}x{order}{'eo'[order % 2]}" for order in range(options.max_L + 1)
    )
    model = modules.MACE(
        r_max=options.r_max,
        num_bessel=options.num_radial_basis,
        num_polynomial_cutoff=options.num_cutoff_basis,
        max_ell=options.max_ell,
        interaction_cls=interactions[options.interaction],
        interaction_cls_first=interactions[options.interaction_first],
        num_interactions=options.num_interactions,
        num_elements=len(maker.proposer.elements),
        hidden_irreps=o3.Irreps(degrees),
        MLP_irreps=o3.Irreps(options.MLP_irreps),
        atomic_energies=np.zeros(89),
        avg_num_neighbors=10.0,
        atomic_numbers=list(range(1, 90)),
        correlation=options.correlation,
        gate=torch.nn.functional.silu,
        radial_MLP=json.loads(options.radial_MLP),
    )
    assert sum(p.numel() for p in model.parameters()) == 5_725_072


def test_the_labeller_is_yours_to_choose():
    with pytest.raises(ValueError, match="labeller is not set"):
        MPAloeMaker().make()


@pytest.mark.parametrize(
    ("field", "value"),
    [("elements", ["Al", "Cu"]), ("candidates_per_iteration", 7), ("seed", 1)],
)
def test_a_field_that_contradicts_the_proposer_is_named(field, value):
    proposer = PrototypeProposer(elements=["Al", "Ni"], candidates_per_iteration=10, seed=3)
    with pytest.raises(ValueError, match=rf"MPAloeMaker.{field}=.* has {field}="):
        MPAloeMaker(proposer=proposer, **{field: value})
    same = MPAloeMaker(proposer=proposer, **{field: getattr(proposer, field)})
    assert same.proposer == proposer


def test_a_proposer_without_a_field_is_no_place_for_it():
    @dataclasses.dataclass
    class Pool:
        name: str = "pool"
        elements: tuple[str, ...] = ("Al", "Ni")

    assert MPAloeMaker(proposer=Pool(), elements=["Al", "Ni"]).trainer.seed == 0
    with pytest.raises(ValueError, match="candidates_per_iteration=5, but the proposer"):
        MPAloeMaker(proposer=Pool(), candidates_per_iteration=5)


def test_fields_reach_the_steps_that_are_left_out():
    maker = MPAloeMaker(elements=["Al", "Ni"], candidates_per_iteration=50, seed=7)
    assert maker.proposer.elements == ["Al", "Ni"]
    assert maker.proposer.candidates_per_iteration == 50
    assert [s.seed for s in (maker.proposer, maker.selector, maker.trainer)] == [7] * 3
    given = MPAloeMaker(proposer=PrototypeProposer(seed=5))
    assert [s.seed for s in (given.selector, given.trainer)] == [5, 5]


def test_steps_that_are_given_are_kept():
    selector, trainer = CommitteeSelector(chunk_size=5), CommitteeTrainer(n_members=2)
    maker = MPAloeMaker(selector=selector, trainer=trainer, loop=LoopSettings(max_iterations=1))
    assert maker.selector is selector
    assert maker.trainer is trainer
    assert maker.loop.labels_per_iteration == LoopSettings().labels_per_iteration


def test_a_copy_keeps_what_was_filled_in():
    maker = MPAloeMaker(elements=["Al", "Ni"], seed=2, labeller=presets.toy_surrogate())
    again = dataclasses.replace(maker, campaign_id="c", committee=None)  # as the loop does
    assert again.proposer == maker.proposer
    assert again.selector == maker.selector
    travelled = MontyDecoder().decode(json.dumps(maker, cls=MontyEncoder))
    assert travelled.proposer.elements == maker.proposer.elements
    assert travelled.trainer.settings == maker.trainer.settings
    assert maker.make().name == "MP-ALOE"
