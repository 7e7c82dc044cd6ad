"""Linear ACE in the files of ace-jax, evaluated in NumPy: a file or an artifact."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from atomate2_alpot.potentials.ace_basis import ACEBasis, Bonds, find_bonds
from atomate2_alpot.potentials.ace_bonds import RadialTable
from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.coverage import blank, covered, spread
from atomate2_alpot.potentials.options import check_options, positive_integer
from atomate2_alpot.schemas import Frames, PotentialSpec, Prediction
from atomate2_alpot.settings import SETTINGS

OPTIONS: frozenset[str] = frozenset({"batch_atoms"})

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ACEModel:
    """A linear ACE: E = Σ_i E0(z_i) + B_i · c(z_i).

    Parameters
    ----------
    basis : ACEBasis
    coefficients : array, shape (Z, D)
        c in eV, by element of the basis and function.
    e0s : array, shape (Z,)
        E0 in eV.
    """

    basis: ACEBasis
    coefficients: Array
    e0s: Array


class ACEPredictor:
    """Energies, forces, stress and basis functions of a linear ACE.

    Parameters
    ----------
    model : ACEModel
    batch_atoms : int
        Most atoms per pass; bounds memory.
    """

    def __init__(self, model: ACEModel, batch_atoms: int) -> None:
        self.model, self.batch_atoms = model, batch_atoms
        self.elements: frozenset[int] | None = frozenset(model.basis.elements)

    def predict(self, frames: Frames) -> Prediction:
        """Evaluate frames; NaN for an element it does not know, or two atoms in one place.

        The stress of a frame without a volume is zero.
        """
        known = covered(frames, self.elements)
        with np.errstate(divide="ignore", invalid="ignore"):
            return spread(self._predict(frames[known]), frames, known)

    def _predict(self, frames: Frames) -> Prediction:
        n_atoms = len(frames.numbers)
        site, forces, virial = np.zeros(n_atoms), np.zeros((n_atoms, 3)), np.zeros((n_atoms, 3, 3))
        for bonds in self._bonds(frames):
            energy, slopes = self.model.basis.energies(bonds, self.model.coefficients)
            site[bonds.atoms] = energy + self.model.e0s[bonds.species]
            forces[bonds.atoms] += bonds.sum(slopes)
            np.subtract.at(forces, bonds.neighbour, slopes)
            virial[bonds.atoms] = bonds.sum(slopes[:, :, None] * bonds.vector[:, None, :])
        out = blank(frames)
        parts = zip(*map(frames.split_atoms, (site, forces, virial)), strict=True)
        for s, (energy, force, strain) in enumerate(parts):
            if not (np.isfinite(energy).all() and np.isfinite(force).all()):
                continue
            total, volume = strain.sum(axis=0), frames.volume[s]
            out.energy[s] = energy.sum()
            out.forces[frames.offsets[s] : frames.offsets[s + 1]] = force
            out.stress[s] = (total + total.T) / 2 / volume if volume > 0 else 0.0
        return out

    def features(self, frames: Frames) -> Array:
        """Return ∂E/∂c of each frame, shape (S, Z·D).

        The basis functions summed over the atoms of each element, elements by atomic number:
        E − Σ E0 is the product with the flattened ``model.coefficients``.
        """
        known = covered(frames, self.elements)
        inside, basis = frames[known], self.model.basis
        sums = np.zeros((len(inside), len(basis.elements), basis.n_functions))
        place = np.searchsorted(basis.elements, inside.numbers)
        np.add.at(sums, (inside.frame_index, place), self._describe(inside))
        out = np.full((len(frames), len(basis.elements) * basis.n_functions), np.nan)
        out[known] = sums.reshape(len(inside), -1)
        return out

    def atom_features(self, frames: Frames) -> Array:
        """Return the basis functions of each atom, shape (ΣN, D): the B of METHODS.md §4.

        The functions are the same for all elements, only their coefficients are not. NaN for all
        atoms of a frame with an unknown element.
        """
        known = covered(frames, self.elements)
        out = np.full((len(frames.numbers), self.model.basis.n_functions), np.nan)
        out[known[frames.frame_index]] = self._describe(frames[known])
        return out

    def _describe(self, frames: Frames) -> Array:
        out = np.empty((len(frames.numbers), self.model.basis.n_functions))
        with np.errstate(divide="ignore", invalid="ignore"):
            for bonds in self._bonds(frames):
                out[bonds.atoms] = self.model.basis.values(bonds)
        return out

    def _bonds(self, frames: Frames) -> Iterator[Bonds]:
        basis = self.model.basis
        return find_bonds(frames, basis.elements, basis.cutoff, self.batch_atoms)


def load(spec: PotentialSpec) -> ACEPredictor:
    """Load a model file of ace-jax (``.npz``: arrays and JSON, nothing pickled).

    It is evaluated without ace-jax. The option ``batch_atoms`` is the number of atoms per pass.

    Raises
    ------
    PotentialError
        If there is no such file, or it holds no linear ACE of the kind that we train.
    """
    check_options(spec, OPTIONS)
    batch_atoms = positive_integer(spec, "batch_atoms", SETTINGS.PREDICT_BATCH_ATOMS)
    return ACEPredictor(read_model(find_model(spec)), batch_atoms)


def read_model(path: Path) -> ACEModel:
    """Read a model file.

    Raises
    ------
    PotentialError
        If the file cannot be read, or holds splines or other functions than ``build_model`` of
        ace-jax makes.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            meta = json.loads(bytes(arrays["meta_json"]).decode())
            other = _unlike_ours(meta)
            if not other:
                return _model(arrays, meta)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise PotentialError(
            f"{path} is no model file of ace-jax that can be read ({type(error).__name__}: {error})"
            "; give the .npz file that training writes"
        ) from error
    raise PotentialError(
        f"{path} holds a model with {other}, which is not evaluated here; train it with "
        "atomate2-alpot, or use it through backend 'ase' and ace_jax:ACECalculator"
    )


def _unlike_ours(meta: Mapping[str, Any]) -> str:
    """Return what makes a model another kind than ours; empty if nothing."""
    ours = {
        "schema_version": 1,
        "radial_kind": "analytic",
        "pair_radial_kind": "analytic",
        "pair_envelope_kind": "poly1sr",
        "ybasis_kind": "real_solidharmonics",
        "elements": sorted(meta["elements"]),
    }
    found = {key: meta[key] for key in ours}
    radial = meta.get("rnl_basis", meta.get("basis", {}).get("rnl_basis", "poly"))
    ours["rnl_basis"], found["rnl_basis"] = "poly", radial
    return ", ".join(f"{k} {found[k]!r}" for k in ours if found[k] != ours[k])


def _model(arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> ACEModel:
    basis = ACEBasis(
        elements=[int(z) for z in meta["elements"]],
        cutoff=float(meta["rcut"]),
        radial=_radial(arrays, "rnl", ""),
        pair=_radial(arrays, "pair", "pair_"),
        l_max=int(meta["lmax"]),
        factors=(arrays["aspec_r"].astype(np.int64), arrays["aspec_y"].astype(np.int64)),
        products=tuple(
            arrays[f"aa_spec_{k + 1}"].astype(np.int64) for k in range(len(meta["aa_lens"]))
        ),
        coupling=csr_matrix(
            (arrays["A2B_vals"], (arrays["A2B_rows"], arrays["A2B_cols"])),
            shape=tuple(arrays["A2B_shape"]),
        ),
    )
    coefficients = np.concatenate([arrays["WB"], arrays["Wpair"]]).T
    return ACEModel(basis, coefficients, arrays["E0"])


def _radial(arrays: Mapping[str, Any], name: str, prefix: str) -> RadialTable:
    return RadialTable(
        weights=arrays[f"{name}_Wnlq"],
        polynomials=np.stack([arrays[f"{prefix}polys_{c}"] for c in "ABC"]),
        transform=arrays[f"{name}_transform"],
        envelope=arrays[f"{name}_envelope"],
    )


def find_model(spec: PotentialSpec) -> Path:
    """Return the file of a recipe: artifact or path.

    Raises
    ------
    PotentialError
        If there is no such file.
    """
    if spec.artifact is not None:
        return spec.artifact.unpack(SETTINGS.CACHE_DIR)
    path = Path(spec.name or "").expanduser()
    if not path.is_file():
        raise PotentialError(
            f"ace model {spec.name!r}: no such file; give `name`, the path of a trained .npz, or "
            "an artifact (there are no foundation models of this kind)"
        )
    return path
