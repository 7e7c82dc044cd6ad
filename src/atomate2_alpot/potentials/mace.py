"""MACE, evaluated in batches: a file, an artifact, or a foundation model by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.coverage import covered, spread
from atomate2_alpot.potentials.device import default_dtype, torch_device
from atomate2_alpot.potentials.download import remedy, require_network
from atomate2_alpot.potentials.options import check_options, positive_integer
from atomate2_alpot.potentials.trust import require_trust
from atomate2_alpot.schemas import Frames, PotentialSpec, Prediction
from atomate2_alpot.schemas.potential import TRUST
from atomate2_alpot.settings import SETTINGS

OPTIONS: frozenset[str] = frozenset({"dtype", "batch_atoms", "head", TRUST})


class MACEPredictor:
    """A MACE model.

    Parameters
    ----------
    model : torch.nn.Module
        In evaluation mode, on its device and in its dtype.
    batch_atoms : int
        Most atoms per forward pass; bounds memory.
    head : str
        Which of the model's heads answers.
    """

    def __init__(self, model: Any, batch_atoms: int, head: str = "Default") -> None:
        self.model = model
        self.batch_atoms = batch_atoms
        self.head = head
        self.elements: frozenset[int] | None = frozenset(int(z) for z in model.atomic_numbers)

    def predict(self, frames: Frames) -> Prediction:
        """Evaluate frames in batches of ``batch_atoms``; NaN for an element it does not know."""
        known = covered(frames, self.elements)
        return spread(self._predict(frames[known]), frames, known)

    def _predict(self, frames: Frames) -> Prediction:
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
        known = covered(frames, self.elements)
        rows = []
        for n_atoms, values in self._describe(frames[known]):
            starts = np.cumsum(n_atoms) - n_atoms
            rows.append(np.add.reduceat(values, starts, axis=0) / n_atoms[:, None])
        return _spread_rows(rows, known)

    def atom_features(self, frames: Frames) -> NDArray[np.float64]:
        """Return the invariant node features of all layers, shape (ΣN, D); NaN as in predict."""
        known = covered(frames, self.elements)
        rows = [values for _, values in self._describe(frames[known])]
        return _spread_rows(rows, known[frames.frame_index])

    def _describe(self, frames: Frames) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yield per batch the atoms of each frame and the features of each atom."""
        from mace.modules.utils import extract_invariant

        model = self.model
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
            yield frames.n_atoms[start:stop], _numpy(invariant)

    def _batches(self, frames: Frames) -> Iterator[tuple[int, int, Any]]:
        """Yield (first frame, last frame + 1, batch on the model's device)."""
        from mace.tools import torch_geometric

        parameter = next(self.model.parameters())
        for start, stop in _cut(frames.n_atoms, self.batch_atoms):
            data = self._atomic_data(frames[start:stop], parameter.dtype)
            batch = torch_geometric.batch.Batch.from_data_list(data)
            yield start, stop, batch.to(parameter.device)

    def _atomic_data(self, frames: Frames, dtype: Any) -> list[Any]:
        from mace.data import AtomicData, config_from_atoms
        from mace.tools import AtomicNumberTable

        table = AtomicNumberTable(sorted(self.elements or ()))
        cutoff, heads = float(self.model.r_max), _heads(self.model)
        with default_dtype(dtype):  # AtomicData builds its tensors in the default dtype
            return [
                AtomicData.from_config(
                    config_from_atoms(atoms, head_name=self.head),
                    z_table=table,
                    cutoff=cutoff,
                    heads=heads,
                )
                for atoms in frames.iter_ase()
            ]


def load(spec: PotentialSpec) -> MACEPredictor:
    """Load a model; options ``dtype`` (float32 or float64), ``batch_atoms``, ``head``, ``trust``.

    Raises
    ------
    PotentialError
        If there is no such file and no such foundation model, it cannot be downloaded, or the
        file holds no MACE model.
    """
    check_options(spec, OPTIONS)
    batch_atoms = positive_integer(spec, "batch_atoms", SETTINGS.PREDICT_BATCH_ATOMS)
    dtype = spec.kwargs.get("dtype", "float32")
    if dtype not in ("float32", "float64"):
        raise PotentialError(f"potential {spec.label}: dtype {dtype!r}; use float32 or float64")
    model = _load_model(find_model(spec))
    head = _choose_head(spec, _heads(model))
    model = model.double() if dtype == "float64" else model.float()
    model = model.to(torch_device()).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(requires_grad=False)
    return MACEPredictor(model, batch_atoms, head)


def _heads(model: Any) -> list[str]:
    return list(getattr(model, "heads", None) or ["Default"])


def _choose_head(spec: PotentialSpec, heads: list[str]) -> str:
    """Return the head asked for, the only one, or the one called default."""
    asked = spec.kwargs.get("head")
    fits = [
        h for h in heads if (h == asked if asked else len(heads) == 1 or h.lower() == "default")
    ]
    if not fits:
        raise PotentialError(
            f"potential {spec.label}: the model has the heads {heads}; choose one by the option "
            "`head`"
        )
    return fits[0]


def find_model(spec: PotentialSpec) -> Path:
    """Return the file of a recipe: artifact, path, or foundation model (downloaded if needed).

    Raises
    ------
    PotentialError
        Naming the model, where it was looked for, and how to provide it; or that nobody has said
        whether the file may be loaded (see :func:`require_trust`).
    """
    if spec.artifact is not None:
        return spec.artifact.unpack(SETTINGS.CACHE_DIR)
    name = spec.name or "medium-mpa-0"
    candidates = model_candidates(name)
    path = next((p for p in candidates if p.is_file()), None)
    if path is None:
        return _foundation_model(name, candidates)
    require_trust(spec, path)
    return path


def model_candidates(name: str) -> list[Path]:
    """Return where a model of this name is looked for before it is a foundation model's."""
    folder = SETTINGS.MODEL_DIR.expanduser()
    return [Path(name).expanduser(), folder / name, folder / f"{name}.model"]


def model_e0s(path: Path) -> dict[str, float]:
    """Return the atomic energies that a model file holds, eV by symbol (of its first head)."""
    model = _load_model(path)
    energies = _numpy(model.atomic_energies_fn.atomic_energies).reshape(
        -1, len(model.atomic_numbers)
    )
    pairs = zip(model.atomic_numbers, energies[0], strict=True)
    return {chemical_symbols[int(z)]: float(e) for z, e in pairs}


def write_with_e0s(path: Path, e0s: dict[str, float], target: Path) -> Path:
    """Copy a model file, with these atomic energies in every head; return the copy's path."""
    import torch

    model = _load_model(path)
    energies = model.atomic_energies_fn.atomic_energies
    for column, z in enumerate(model.atomic_numbers):
        if (symbol := chemical_symbols[int(z)]) in e0s:
            energies[..., column] = e0s[symbol]
    torch.save(model, target)
    return target


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
    try:
        return Path(zoo.download_mace_mp_checkpoint(name))
    except (OSError, RuntimeError) as error:
        raise PotentialError(
            f"mace foundation model {name!r} could not be downloaded from {url}: {error}. "
            f"{remedy()}"
        ) from error


def _load_model(path: Path) -> Any:
    """Unpickle a MACE model file, which :func:`find_model` found: MACE has no other format."""
    import mace  # noqa: F401 - before e3nn, whose own files torch refuses to load otherwise
    import torch

    try:
        model = torch.load(path, map_location="cpu", weights_only=False)
    except ImportError:
        raise
    except Exception as error:  # unpickling raises whatever the bytes suggest
        raise PotentialError(
            f"{path} is no model file that can be read ({type(error).__name__}: {error}); if a "
            "download was cut short, delete it and load it again"
        ) from error
    if not hasattr(model, "atomic_numbers") or not hasattr(model, "r_max"):
        raise PotentialError(
            f"{path} holds a {type(model).__name__}, not a MACE model; give the .model file that "
            "training writes, not a checkpoint or a state_dict"
        )
    return model


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


def _spread_rows(parts: list[NDArray[np.float64]], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Put rows back to where they are known, NaN elsewhere."""
    out = np.full((len(known), parts[0].shape[1] if parts else 0), np.nan)
    if parts:
        out[known] = np.concatenate(parts)
    return out


def _numpy(tensor: Any) -> NDArray[np.float64]:
    return tensor.detach().cpu().numpy().astype(np.float64)
