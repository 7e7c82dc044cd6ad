"""MACE, evaluated in batches: a file, an artifact, or a foundation model by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.device import torch_device
from atomate2_alpot.potentials.download import require_network
from atomate2_alpot.potentials.options import check_options
from atomate2_alpot.schemas import Frames, PotentialSpec, Prediction
from atomate2_alpot.settings import SETTINGS


class MACEPredictor:
    """A MACE model.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode, on its device and in its dtype.
    batch_atoms : int
        Most atoms per forward pass; bounds memory.
    """

    def __init__(self, model: Any, batch_atoms: int) -> None:
        self.model = model
        self.batch_atoms = batch_atoms
        self.elements: frozenset[int] | None = frozenset(int(z) for z in model.atomic_numbers)

    def predict(self, frames: Frames) -> Prediction:
        """Evaluate frames in batches of at most ``batch_atoms`` atoms."""
        energy = np.empty(len(frames))
        forces = np.empty((int(frames.offsets[-1]), 3))
        stress = np.empty((len(frames), 3, 3))
        for start, stop, batch in self._batches(frames):
            out = self.model(batch.to_dict(), compute_force=True, compute_stress=True)
            energy[start:stop] = _numpy(out["energy"])
            forces[frames.offsets[start] : frames.offsets[stop]] = _numpy(out["forces"])
            stress[start:stop] = _numpy(out["stress"])
        return Prediction(energy, forces, stress)

    def features(self, frames: Frames) -> NDArray[np.float64]:
        """Return the invariant node features averaged over each frame, shape (S, D)."""
        from mace.modules.utils import extract_invariant

        model, rows = self.model, []
        num_layers = int(model.num_interactions)
        irreps = model.products[0].linear.irreps_out
        for start, stop, batch in self._batches(frames):
            out = model(batch.to_dict(), compute_force=False)
            invariant = extract_invariant(
                out["node_feats"],
                num_layers=num_layers,
                num_features=irreps.dim // (irreps.lmax + 1) ** 2,
                l_max=irreps.lmax,
            )
            cuts = frames.offsets[start : stop + 1] - frames.offsets[start]
            sums = np.add.reduceat(_numpy(invariant), cuts[:-1], axis=0)
            rows.append(sums / np.diff(cuts)[:, None])
        return np.concatenate(rows) if rows else np.zeros((0, 0))

    def _batches(self, frames: Frames) -> Iterator[tuple[int, int, Any]]:
        """Yield (first frame, last frame + 1, batch on the model's device)."""
        from mace.tools import torch_geometric

        parameter = next(self.model.parameters())
        for start, stop in _cut(frames.n_atoms, self.batch_atoms):
            data = self._atomic_data(frames[start:stop], parameter.dtype)
            batch = torch_geometric.batch.Batch.from_data_list(data)
            yield start, stop, batch.to(parameter.device)

    def _atomic_data(self, frames: Frames, dtype: Any) -> list[Any]:
        import torch
        from mace.data import AtomicData, config_from_atoms
        from mace.tools import AtomicNumberTable

        table = AtomicNumberTable(sorted(self.elements or ()))
        cutoff, heads = float(self.model.r_max), getattr(self.model, "heads", None)
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)  # AtomicData builds its tensors in the default dtype
        try:
            return [
                AtomicData.from_config(
                    config_from_atoms(atoms), z_table=table, cutoff=cutoff, heads=heads
                )
                for atoms in frames.to_ase()
            ]
        finally:
            torch.set_default_dtype(before)


def load(spec: PotentialSpec) -> MACEPredictor:
    """Load a model; options ``dtype`` (float32 or float64) and ``batch_atoms``.

    Raises
    ------
    PotentialError
        If there is no such file and no such foundation model, or it cannot be downloaded.
    """
    check_options(spec, {"dtype", "batch_atoms"})
    path = find_model(spec)
    model = _load_model(path)
    dtype = spec.kwargs.get("dtype", "float32")
    if dtype not in ("float32", "float64"):
        raise PotentialError(f"potential {spec.label}: dtype {dtype!r}; use float32 or float64")
    model = model.double() if dtype == "float64" else model.float()
    model = model.to(torch_device()).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(requires_grad=False)
    return MACEPredictor(model, spec.kwargs.get("batch_atoms", SETTINGS.PREDICT_BATCH_ATOMS))


def find_model(spec: PotentialSpec) -> Path:
    """Return the file of a recipe: artifact, path, or foundation model (downloaded if needed).

    Raises
    ------
    PotentialError
        Naming the model, where it was looked for, and how to provide it.
    """
    if spec.artifact is not None:
        return spec.artifact.unpack(SETTINGS.CACHE_DIR)
    name = spec.name or "medium-mpa-0"
    model_dir = SETTINGS.MODEL_DIR.expanduser()
    candidates = [Path(name).expanduser(), model_dir / name, model_dir / f"{name}.model"]
    for path in candidates:
        if path.is_file():
            return path
    return _foundation_model(name, candidates)


def _foundation_model(name: str, looked_for: list[Path]) -> Path:
    from mace.calculators import foundations_models as zoo

    if name not in zoo.mace_mp_names:
        raise PotentialError(
            f"mace model {name!r}: no such file (looked for {[str(p) for p in looked_for]}) and no "
            f"foundation model of that name; names: {[n for n in zoo.mace_mp_names if n]}"
        )
    url = zoo.mace_mp_urls[name]
    cached = Path(zoo.get_cache_dir()) / "".join(
        c for c in url.rsplit("/", 1)[-1] if c.isalnum() or c in "_"
    )
    if not cached.is_file():
        require_network(url, f"mace foundation model {name!r}", [*looked_for, cached])
    return Path(zoo.download_mace_mp_checkpoint(name))


def _load_model(path: Path) -> Any:
    """Unpickle a MACE model file: MACE has no other format; name only files you trust."""
    import torch

    return torch.load(path, map_location="cpu", weights_only=False)


def _cut(n_atoms: NDArray[np.int64], most: int) -> Iterator[tuple[int, int]]:
    """Cut frames into runs of at most ``most`` atoms, at least one frame each."""
    start, atoms = 0, 0
    for index, count in enumerate(n_atoms):
        if index > start and atoms + count > most:
            yield start, index
            start, atoms = index, 0
        atoms += int(count)
    if len(n_atoms):
        yield start, len(n_atoms)


def _numpy(tensor: Any) -> NDArray[np.float64]:
    return tensor.detach().cpu().numpy().astype(np.float64)
