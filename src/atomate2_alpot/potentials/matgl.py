"""matgl potentials (M3GNet, TensorNet, CHGNet, ...): a folder, or a model of its hub by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from atomate2_alpot.potentials.ase import ASEPredictor
from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.device import torch_device
from atomate2_alpot.potentials.download import require_network
from atomate2_alpot.potentials.options import check_options
from atomate2_alpot.schemas import Frames, PotentialSpec
from atomate2_alpot.settings import SETTINGS

HUB: str = "https://huggingface.co"


class MatGLPredictor(ASEPredictor):
    """A matgl potential, frame by frame through its own ASE calculator.

    Parameters
    ----------
    potential : matgl.apps.pes.Potential
    """

    def __init__(self, potential: Any) -> None:
        from matgl.ext.ase import PESCalculator

        super().__init__(PESCalculator(potential, stress_unit="eV/A3"))
        self.potential = potential
        self.elements = frozenset(atomic_numbers[e] for e in potential.model.element_types)

    def features(self, frames: Frames) -> NDArray[np.float64]:
        """Return the model's readout features of each frame, shape (S, D).

        Raises
        ------
        PotentialError
            If the architecture keeps no readout features.
        """
        model, rows = self.potential.model, []
        for structure in frames.to_structures():
            model.predict_structure(structure)
            readout = getattr(model, "feature_dict", {}).get("readout")
            if readout is None:
                raise PotentialError(
                    f"matgl {type(model).__name__} keeps no readout features; describe frames with "
                    "an M3GNet, chgnet or mace model, or with composition_rdf"
                )
            values = readout.detach().cpu().numpy().astype(np.float64)
            rows.append(values.reshape(-1, values.shape[-1]).mean(axis=0))
        return np.stack(rows) if rows else np.zeros((0, 0))


def load(spec: PotentialSpec) -> MatGLPredictor:
    """Load a model by folder or by the name it has on matgl's hub.

    Raises
    ------
    PotentialError
        If it is not on this machine and the hub does not answer within seconds.
    """
    check_options(spec, set())
    if not spec.name:
        raise PotentialError(
            "backend 'matgl': give `name`, a model folder or a name such as "
            "'M3GNet-PES-MatPES-PBE-2025.2'"
        )
    model_dir = SETTINGS.MODEL_DIR.expanduser()
    folders = [Path(spec.name).expanduser(), model_dir / spec.name]
    found = next((f for f in folders if (f / "model.json").is_file()), None)
    if found is None and not _in_hub_cache(spec.name):
        require_network(HUB, f"matgl model {spec.name!r}", folders)
    import matgl

    potential = matgl.load_model(found or spec.name)
    if not hasattr(potential, "calc_stresses"):
        raise PotentialError(
            f"matgl model {spec.name!r} is a {type(potential).__name__}, not a potential (PES)"
        )
    return MatGLPredictor(potential.to(torch_device()))


def _in_hub_cache(name: str) -> bool:
    """Tell whether the hub's own cache holds the model, so that no network is needed."""
    from huggingface_hub import try_to_load_from_cache

    repository = name if "/" in name else f"materialyze/{name}"
    return isinstance(try_to_load_from_cache(repository, "model.json"), str)
