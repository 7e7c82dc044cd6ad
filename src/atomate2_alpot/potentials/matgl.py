"""matgl potentials (M3GNet, TensorNet, CHGNet, ...): a folder, or a model of its hub by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from atomate2_alpot.potentials.ase import ASEPredictor
from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.coverage import covered
from atomate2_alpot.potentials.device import default_dtype, torch_device
from atomate2_alpot.potentials.download import HUB, remedy, require_network
from atomate2_alpot.potentials.options import check_options
from atomate2_alpot.schemas import Frames, PotentialSpec, Prediction
from atomate2_alpot.settings import SETTINGS

FILES: tuple[str, ...] = ("model.json", "model.pt", "state.pt")
"""What a saved matgl model consists of."""

OPTIONS: frozenset[str] = frozenset()

ORGANISATION: str = "materialyze"
"""Where matgl looks for a model named without an owner."""


class MatGLDescriber:
    """A matgl model, for the features it computes on its way to a property.

    MP-ALOE's DIRECT uses the M3GNet of formation energies (METHODS.md §1), which is no potential.

    Parameters
    ----------
    model : matgl.models.MatGLModel
    """

    def __init__(self, model: Any) -> None:
        self.model = getattr(model, "model", model)  # without a transformer of targets
        self.elements: frozenset[int] | None = frozenset(
            atomic_numbers[e] for e in self.model.element_types
        )

    def predict(self, frames: Frames) -> Prediction:
        """Raise ``PotentialError``: a property model has no forces."""
        raise PotentialError(
            f"this matgl {type(self.model).__name__} predicts a property of {len(frames)} frames, "
            "no energies and forces; choose a model with PES in its name"
        )

    def features(self, frames: Frames) -> NDArray[np.float64]:
        """Return the features before the last layer, shape (S, D); NaN for unknown elements.

        A property model's readout describes the frame; a potential's describes atoms, and is
        averaged over the frame.

        Raises
        ------
        PotentialError
            If the architecture keeps no such features.
        """
        known = covered(frames, self.elements)
        with default_dtype(next(self.model.parameters()).dtype):
            rows = list(self._describe(frames[known]))
        out = np.full((len(frames), rows[0].size if rows else 0), np.nan)
        if rows:
            out[known] = rows
        return out

    def _describe(self, frames: Frames) -> Iterator[NDArray[np.float64]]:
        import torch
        from matgl.ext.ase import Atoms2Graph

        convert = Atoms2Graph(self.model.element_types, self.model.cutoff)
        parameter = next(self.model.parameters())
        for atoms in frames.iter_ase():
            graph, lattice, state = convert.get_graph(atoms)
            graph, cell = graph.to(parameter.device), lattice.to(parameter)[0]
            graph.pbc_offshift = graph.pbc_offset.to(parameter) @ cell
            graph.pos = graph.frac_coords.to(parameter) @ cell
            with torch.no_grad():
                self.model(g=graph, state_attr=torch.as_tensor(state).to(parameter))
            values = _last_features(self.model).cpu().numpy().astype(np.float64)
            yield values.reshape(-1, values.shape[-1]).mean(axis=0)


class MatGLPredictor(ASEPredictor):
    """A matgl potential, frame by frame through its own ASE calculator.

    Parameters
    ----------
    potential : matgl.apps.pes.Potential
    """

    def __init__(self, potential: Any) -> None:
        from matgl.ext.ase import PESCalculator

        calculator = PESCalculator(potential, stress_unit="eV/A3")
        super().__init__(calculator, next(potential.model.parameters()).dtype)
        self.describer = MatGLDescriber(potential.model)
        self.elements = self.describer.elements

    def features(self, frames: Frames) -> NDArray[np.float64]:
        """Return features averaged over each frame; see :class:`MatGLDescriber`."""
        return self.describer.features(frames)


def load(spec: PotentialSpec) -> MatGLPredictor | MatGLDescriber:
    """Load a model by folder or by the name it has on matgl's hub.

    Raises
    ------
    PotentialError
        If it is not on this machine and the hub does not answer within seconds, or the files
        hold no matgl model.
    """
    check_options(spec, OPTIONS)
    if not spec.name:
        raise PotentialError(
            "backend 'matgl': give `name`, a model folder or a name such as "
            "'M3GNet-PES-MatPES-PBE-2025.2'"
        )
    folder = _find_folder(spec.name)
    import torch
    import matgl  # isort: skip - after torch, whose default dtype it takes

    try:
        with default_dtype(torch.float32):
            model = matgl.load_model(folder or spec.name)
    except Exception as error:  # matgl wraps whatever its files raise
        raise PotentialError(
            f"matgl model {spec.name!r} could not be loaded: {error.__cause__ or error}. {remedy()}"
        ) from error
    model = model.to(torch_device()).eval()
    return MatGLPredictor(model) if hasattr(model, "calc_stresses") else MatGLDescriber(model)


def _find_folder(name: str) -> Path | None:
    """Return the folder that holds the model, None if only its hub does.

    The hub's client asks the hub about files that it has, so its cache is read as a folder.
    """
    folders = [Path(name).expanduser(), SETTINGS.MODEL_DIR.expanduser() / name]
    for folder in folders:
        if all((folder / file).is_file() for file in FILES):
            return folder
    from huggingface_hub import try_to_load_from_cache
    from matgl.config import MATGL_CACHE

    repository = name if "/" in name else f"{ORGANISATION}/{name}"
    if name.count("/") > 1:
        raise PotentialError(f"matgl model {name!r}: the folder lacks one of {FILES}")
    cached = [try_to_load_from_cache(repository, file, cache_dir=MATGL_CACHE) for file in FILES]
    if all(isinstance(path, str) for path in cached):
        return Path(str(cached[0])).parent
    require_network(HUB, f"matgl model {name!r}", [*folders, Path(MATGL_CACHE)])
    return None


def _last_features(model: Any) -> Any:
    """Return the readout, or the last block's atoms where the readout is atomic energies."""
    found = getattr(model, "feature_dict", {})
    readout = found.get("readout")
    if readout is not None and readout.shape[-1] > 1:
        return readout
    blocks = [v["node_feat"] for k, v in found.items() if k[:3] == "gc_" and isinstance(v, dict)]
    if not blocks:
        raise PotentialError(
            f"matgl {type(model).__name__} keeps no features; describe frames with an M3GNet, "
            "chgnet or mace model, or with composition_rdf"
        )
    return blocks[-1]
