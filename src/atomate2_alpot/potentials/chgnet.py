"""CHGNet: three pretrained models ship in its wheel (0.2.0, 0.3.0, r2scan)."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.device import torch_device
from atomate2_alpot.potentials.options import check_options
from atomate2_alpot.schemas import Frames, PotentialSpec, Prediction
from atomate2_alpot.units import EV_PER_A3_TO_GPA

MODELS: tuple[str, ...] = ("0.3.0", "0.2.0", "r2scan")


class CHGNetPredictor:
    """A pretrained CHGNet.

    Parameters
    ----------
    model : chgnet.model.CHGNet
    batch_size : int
        Graphs per forward pass; CHGNet gains little from more and needs ~3 GB at 64.
    """

    def __init__(self, model: Any, batch_size: int = 32) -> None:
        self.model = model
        self.batch_size = batch_size
        # a graph with an isolated atom raises, which costs that frame and not the batch
        self.model.graph_converter.set_isolated_atom_response("error")
        self.elements: frozenset[int] | None = frozenset(range(1, 95))

    def predict(self, frames: Frames) -> Prediction:
        """Evaluate frames; NaN for one with an atom that has no neighbour within 6 Å."""
        graphs, valid = self._graphs(frames)
        energy = np.full(len(frames), np.nan)
        forces = np.full((int(frames.offsets[-1]), 3), np.nan)
        stress = np.full((len(frames), 3, 3), np.nan)
        for s, result in zip(valid, self._run(graphs, task="efs"), strict=True):
            own = slice(frames.offsets[s], frames.offsets[s + 1])
            energy[s] = float(result["e"]) * frames.n_atoms[s]
            forces[own] = result["f"]
            stress[s] = result["s"] / EV_PER_A3_TO_GPA
        return Prediction(energy, forces, stress)

    def features(self, frames: Frames) -> NDArray[np.float64]:
        """Return CHGNet's crystal feature of each frame, shape (S, 64); NaN as in predict."""
        graphs, valid = self._graphs(frames)
        results = self._run(graphs, task="e", return_crystal_feas=True)
        found = {s: r["crystal_fea"] for s, r in zip(valid, results, strict=True)}
        width = len(next(iter(found.values()))) if found else 64
        out = np.full((len(frames), width), np.nan)
        for s, feature in found.items():
            out[s] = feature
        return out

    def _graphs(self, frames: Frames) -> tuple[list[Any], list[int]]:
        graphs, valid = [], []
        for s, structure in enumerate(frames.to_structures()):
            try:
                graphs.append(self.model.graph_converter(structure))
            except ValueError:
                continue
            valid.append(s)
        return graphs, valid

    def _run(self, graphs: list[Any], **options: Any) -> list[dict[str, Any]]:
        if not graphs:
            return []
        results = self.model.predict_graph(graphs, batch_size=self.batch_size, **options)
        return [results] if isinstance(results, dict) else results


def load(spec: PotentialSpec) -> CHGNetPredictor:
    """Load a model by name (default 0.3.0) from chgnet's wheel; option ``batch_size``."""
    from chgnet.model.model import CHGNet

    check_options(spec, {"batch_size"})
    if spec.artifact is not None:
        raise PotentialError(f"potential {spec.label}: chgnet models are given by name {MODELS}")
    name = spec.name or "0.3.0"
    if name not in MODELS:
        raise PotentialError(f"chgnet model {name!r}: the wheel ships {MODELS}")
    with redirect_stdout(StringIO()):  # it greets whatever `verbose` says
        model = CHGNet.load(model_name=name, use_device=torch_device(), verbose=False)
    return CHGNetPredictor(model, **spec.kwargs)
