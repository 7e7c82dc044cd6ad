"""Linear ACE of ace-jax, evaluated in blocks of atoms: a file or an artifact."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomate2_alpot.potentials.ace_basis import (
    Block,
    block_basis,
    block_energies,
    blocks,
    float64,
)
from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.coverage import blank, covered, spread
from atomate2_alpot.potentials.options import check_options, positive_integer
from atomate2_alpot.schemas import Frames, PotentialSpec, Prediction
from atomate2_alpot.settings import SETTINGS

Array = NDArray[np.float64]


class ACEPredictor:
    """A linear ACE: E = Σ_i E0(z_i) + B_i · c(z_i).

    Parameters
    ----------
    model : ace_jax.ACEModel
        In float64.
    meta : dict
        ace-jax's description of it.
    batch_atoms : int
        Most atoms per pass; bounds memory.
    """

    def __init__(self, model: Any, meta: dict[str, Any], batch_atoms: int) -> None:
        self.model, self.batch_atoms = model, batch_atoms
        self.cutoff = float(meta["rcut"])
        self.numbers = [int(z) for z in meta["elements"]]
        self.elements: frozenset[int] | None = frozenset(self.numbers)

    @property
    def n_functions(self) -> int:
        """Basis functions D of an atom."""
        return int(self.model.WB.shape[0] + self.model.Wpair.shape[0])

    @property
    def coefficients(self) -> Array:
        """c in eV by element (atomic number ascending) and function, shape (Z, D)."""
        return np.concatenate([np.asarray(self.model.WB), np.asarray(self.model.Wpair)]).T

    @property
    def e0s(self) -> Array:
        """E0 in eV by element, shape (Z,)."""
        return np.asarray(self.model.E0)

    def predict(self, frames: Frames) -> Prediction:
        """Evaluate frames; NaN for an element it does not know, or atoms in one place.

        The stress of a frame without a volume is zero.
        """
        known = covered(frames, self.elements)
        return spread(self._predict(frames[known]), frames, known)

    def _predict(self, frames: Frames) -> Prediction:
        n_atoms = len(frames.numbers)
        site, forces, virial = np.zeros(n_atoms), np.zeros((n_atoms, 3)), np.zeros((n_atoms, 3, 3))
        for block in self._blocks(frames):
            site[block.atoms], slopes = block_energies(self.model, block)
            n = block.n_atoms
            forces[block.atoms] += slopes.sum(axis=1)
            np.subtract.at(
                forces, block.neighbours[:n], np.where(block.mask[:n, :, None], slopes, 0)
            )
            virial[block.atoms] = np.einsum("nka,nkb->nab", slopes, block.vectors[:n])
        out = blank(frames)
        for s, (e, w, f) in enumerate(
            zip(*map(frames.split_atoms, (site, virial, forces)), strict=True)
        ):
            if not np.isfinite(f).all():
                continue
            out.energy[s] = e.sum()
            out.forces[frames.offsets[s] : frames.offsets[s + 1]] = f
            total = w.sum(axis=0)
            volume = frames.volume[s]
            out.stress[s] = (total + total.T) / 2 / volume if volume > 0 else 0.0
        return out

    def features(self, frames: Frames) -> Array:
        """Return ∂E/∂c of each frame, shape (S, Z·D).

        The sum of the basis functions over the atoms of each element, elements by atomic number:
        E − Σ E0 is its product with the flattened :attr:`coefficients`.
        """
        known = covered(frames, self.elements)
        inside = frames[known]
        out = np.full((len(frames), len(self.numbers), self.n_functions), np.nan)
        sums = np.zeros((len(inside), *out.shape[1:]))
        place = np.searchsorted(self.numbers, inside.numbers)
        np.add.at(sums, (inside.frame_index, place), self._describe(inside))
        out[known] = sums
        return out.reshape(len(frames), -1)

    def atom_features(self, frames: Frames) -> Array:
        """Return the basis functions B of each atom, shape (ΣN, D).

        The functions are the same for all elements, their coefficients are not: for one element,
        this is the B of METHODS.md §4. NaN for all atoms of a frame with an unknown element.
        """
        known = covered(frames, self.elements)
        out = np.full((len(frames.numbers), self.n_functions), np.nan)
        out[known[frames.frame_index]] = self._describe(frames[known])
        return out

    def _describe(self, frames: Frames) -> Array:
        out = np.empty((len(frames.numbers), self.n_functions))
        for block in self._blocks(frames):
            out[block.atoms] = block_basis(self.model, block)
        return out

    def _blocks(self, frames: Frames) -> Any:
        return blocks(frames, self.numbers, self.cutoff, self.batch_atoms)


def load(spec: PotentialSpec) -> ACEPredictor:
    """Load a model file of ace-jax (``.npz``: arrays and JSON, nothing pickled).

    The option ``batch_atoms`` is the number of atoms per pass.

    Raises
    ------
    PotentialError
        If there is no such file, or it holds no linear ACE with known elements.
    """
    check_options(spec, {"batch_atoms"})
    batch_atoms = positive_integer(spec, "batch_atoms", SETTINGS.PREDICT_BATCH_ATOMS)
    model, meta = read_model(_find_model(spec))
    return ACEPredictor(model, meta, batch_atoms)


def read_model(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return the model of a file in float64, and its description.

    Raises
    ------
    PotentialError
        If the file cannot be read as one.
    """
    from ace_jax.eval import io

    try:
        with float64():
            model, meta, _ = io.load(path)
    except (OSError, ValueError, KeyError, NotImplementedError, json.JSONDecodeError) as error:
        raise PotentialError(
            f"{path} is no model of ace-jax that can be read ({type(error).__name__}: {error}); give "
            "the .npz file that training writes"
        ) from error
    if list(meta["elements"]) != sorted(meta["elements"]):
        raise PotentialError(
            f"{path}: its elements {meta['elements']} are not in the order of atomic numbers; "
            "train it with atomate2-alpot, or build it with the elements in that order"
        )
    return model, meta


def _find_model(spec: PotentialSpec) -> Path:
    if spec.artifact is not None:
        return spec.artifact.unpack(SETTINGS.CACHE_DIR)
    path = Path(spec.name or "").expanduser()
    if not path.is_file():
        raise PotentialError(
            f"ace model {spec.name!r}: no such file; give `name`, the path of a trained .npz, or an "
            "artifact: there are no foundation models of this kind"
        )
    return path
