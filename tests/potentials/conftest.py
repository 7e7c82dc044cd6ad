"""Frames and tiny models for the contract tests."""

from __future__ import annotations

import numpy as np
import pytest

from atomate2_alpot.schemas import Frames


@pytest.fixture
def alloy_frames(rng) -> Frames:
    """Three distorted Al/Ni/O cells of 2, 3 and 5 atoms."""
    frames = []
    for n in (2, 3, 5):
        edge = (18.0 * n) ** (1 / 3)
        cell = np.eye(3) * edge + rng.normal(0, 0.15, (3, 3))
        fractional = np.array(
            [[0, 0, 0], [0.5, 0.5, 0.45], [0.5, 0.05, 0.5], [0, 0.5, 0.55], [0.45, 0.2, 0.1]]
        )[:n]
        frames.append(Frames.from_arrays([13, 28, 28, 13, 28][:n], fractional @ cell, [cell], [n]))
    return Frames.concat(frames)


@pytest.fixture(scope="session")
def mace_file(tmp_path_factory):
    """A small MACE with random weights; it knows Al and Ni only."""
    import torch
    from mace import modules  # before e3nn: it sets what e3nn needs to load its own files
    from e3nn import o3  # isort: skip

    torch.manual_seed(0)
    model = modules.ScaleShiftMACE(
        r_max=4.5,
        num_bessel=6,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=2,
        hidden_irreps=o3.Irreps("8x0e + 8x1o"),
        MLP_irreps=o3.Irreps("8x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.array([-3.0, -5.0]),
        avg_num_neighbors=12.0,
        atomic_numbers=[13, 28],
        correlation=2,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    path = tmp_path_factory.mktemp("mace") / "tiny.model"
    torch.save(model, path)
    return path
