"""CHGNet: three pretrained models ship in its wheel (0.2.0, 0.3.0, r2scan)."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.coverage import blank, covered
from atomate2_alpot.potentials.device import default_dtype, torch_device
from atomate2_alpot.potentials.options import check_options, positive_integer
from atomate2_alpot.schemas import Frames, PotentialSpec, Prediction
from atomate2_alpot.units import EV_PER_A3_TO_GPA

MODELS: tuple[str, ...] = ("0.3.0", "0.2.0", "r2scan")

OPTIONS: frozenset[str] = frozenset({"batch_size"})


class CHGNetPredictor:
    """A pretrained CHGNet.

    Parameters
    ----------
    model : chgnet.model.CHGNet
    batch_size : int
        Graphs per forward pass; CHGNet gains little from more and needs ~3 GB at 64.
    """

    def __init__(self, model: Any, batch_size: int) -> None:
        self.model = model
        self.batch_size = batch_size
        # a graph with an isolated atom raises, which costs that frame and not the batch
        self.model.graph_converter.set_isolated_atom_response("error")
        self.elements: frozenset[int] | None = frozenset(range(1, 95))

    def predict(self, frames: Frames) -> Prediction:
        """Evaluate frames; NaN for an element above Pu, or an atom alone within 6 Å."""
        out = blank(frames)
        valid, results = self._run(frames, task="efs")
        for s, result in zip(valid, results, strict=True):
            own = slice(frames.offsets[s], frames.offsets[s + 1])
            out.energy[s] = float(result["e"]) * frames.n_atoms[s]
            out.forces[own] = result["f"]
            out.stress[s] = result["s"] / EV_PER_A3_TO_GPA
        return out

    def features(self, frames: Frames) -> NDArray[np.float64]:
        """Return CHGNet's crystal feature of each frame, shape (S, 64); NaN as in predict."""
        valid, results = self._run(frames, task="e", return_crystal_feas=True)
        out = np.full((len(frames), self.model.atom_fea_dim), np.nan)
        for s, result in zip(valid, results, strict=True):
            out[s] = result["crystal_fea"]
        return out

    def atom_features(self, frames: Frames) -> NDArray[np.float64]:
        """Return CHGNet's features of each atom, shape (ΣN, 64); NaN as in predict."""
        valid, results = self._run(frames, task="e", return_atom_feas=True)
        out = np.full((len(frames.numbers), self.model.atom_fea_dim), np.nan)
        for s, result in zip(valid, results, strict=True):
            out[frames.offsets[s] : frames.offsets[s + 1]] = result["atom_fea"]
        return out

    def _run(self, frames: Frames, **options: Any) -> tuple[list[int], list[dict[str, Any]]]:
        """Return the frames that CHGNet accepts, and its results for them."""
        import torch

        graphs, valid = [], []
        known = covered(frames, self.elements)
        with default_dtype(torch.float32):
            for s, structure in enumerate(frames.to_structures()):
                try:
                    graph = self.model.graph_converter(structure) if known[s] else None
                except ValueError:  # an isolated atom
                    continue
                if graph is not None:
                    graphs.append(graph)
                    valid.append(s)
            if not graphs:
                return [], []
            results = self.model.predict_graph(graphs, batch_size=self.batch_size, **options)
        return valid, [results] if isinstance(results, dict) else results


def load(spec: PotentialSpec) -> CHGNetPredictor:
    """Load a model by name (default 0.3.0) from chgnet's wheel; option ``batch_size``."""
    import torch
    from chgnet.model.model import CHGNet

    check_options(spec, OPTIONS)
    batch_size = positive_integer(spec, "batch_size", 32)
    if spec.artifact is not None:
        raise PotentialError(f"potential {spec.label}: chgnet models are given by name {MODELS}")
    name = spec.name or "0.3.0"
    if name not in MODELS:
        raise PotentialError(f"chgnet model {name!r}: the wheel ships {MODELS}")
    # it greets whatever `verbose` says
    with redirect_stdout(StringIO()), default_dtype(torch.float32):
        model = CHGNet.load(model_name=name, use_device=torch_device(), verbose=False)
    return CHGNetPredictor(model, batch_size)
