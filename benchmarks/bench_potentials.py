"""MACE in batches against its own ASE calculator one by one, on 6-atom cells."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mace import modules
from mace.calculators import MACECalculator

from e3nn import o3  # isort: skip - after mace, which sets what it needs

from atomate2_alpot.potentials import load_predictor
from atomate2_alpot.schemas import PotentialSpec
from atomate2_alpot.structures import CandidateSpace, aflow_prototypes

N = 200


def write_model(path: Path) -> None:
    """Write an untrained MACE, 32x0e: speed does not depend on what it has learnt."""
    torch.manual_seed(0)
    model = modules.ScaleShiftMACE(
        r_max=5.0,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=3,
        hidden_irreps=o3.Irreps("32x0e"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(3),
        avg_num_neighbors=20.0,
        atomic_numbers=[8, 13, 28],
        correlation=3,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    torch.save(model, path)


def seconds(work: Callable[[], object]) -> float:
    """Return the median time of three runs, after one that lets torch compile."""
    work()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    space = CandidateSpace(aflow_prototypes(n_atoms=(6, 6)), ["Al", "Ni", "O"])
    frames = space.propose(0, N, 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.model"
        write_model(path)
        predictor = load_predictor(
            PotentialSpec(backend="mace", name=str(path), kwargs={"trust": True})
        )
        calculator = MACECalculator(model_paths=str(path), device="cpu", default_dtype="float32")
        batched = seconds(lambda: predictor.predict(frames)) / N

        def one_by_one() -> None:
            for a in frames.iter_ase():
                a.calc = calculator
                a.get_potential_energy(), a.get_forces(), a.get_stress()

        single = seconds(one_by_one) / N
    print(f"{N} cells of 6 atoms{'':12}{'ms per frame':>14}")
    print(f"{'ASE calculator, one by one':30}{1e3 * single:14.2f}")
    ratio = f"{single / batched:.1f} times faster"
    print(f"{'our predictor, in batches':30}{1e3 * batched:14.2f}   {ratio}")


if __name__ == "__main__":
    main()
