"""A toy potential: analytic, cheap, for any element. For tests; it knows no physics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from ase.data import covalent_radii
from numpy.typing import NDArray

from atomate2_alpot.potentials.base import PotentialError
from atomate2_alpot.potentials.neighbours import neighbour_pairs
from atomate2_alpot.potentials.options import check_options
from atomate2_alpot.schemas import Frames, PotentialSpec, Prediction

CUTOFF: float = 6.0
N_ELEMENTS: int = 119

OPTIONS: frozenset[str] = frozenset({"seed", "nan_fraction", "atom_energy"})


@dataclass(frozen=True)
class ToyPotential:
    """Morse pairs, E = ½ Σ_ij D_ij [(1 − e^{−a(r − r0_ij)})² − 1] f_c(r), r < 6 Å.

    r0 is the sum of covalent radii and D = 0.4 eV, both varied by a few per cent per pair of
    elements with the seed, so that toys of different seeds disagree; f_c = ½(1 + cos(πr/r_c)).

    Parameters
    ----------
    seed : int
        Which toy.
    nan_fraction : float
        Fraction of frames, chosen by content, for which it returns NaN: for fault tests.
    atom_energy : float
        eV, added for every atom.
    """

    seed: int = 0
    nan_fraction: float = 0.0
    atom_energy: float = 0.0
    steepness: ClassVar[float] = 1.5
    elements: ClassVar[frozenset[int] | None] = None

    def parameters(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return depth D in eV and distance r0 in Å for every pair, each (119, 119)."""
        noise = np.random.default_rng(self.seed).uniform(-1, 1, (2, N_ELEMENTS, N_ELEMENTS))
        noise = (noise + noise.transpose(0, 2, 1)) / 2
        radii = np.where(covalent_radii > 0, covalent_radii, 1.0)[:N_ELEMENTS]
        return 0.4 * (1 + 0.3 * noise[0]), (radii[:, None] + radii) * (1 + 0.05 * noise[1])

    def predict(self, frames: Frames) -> Prediction:
        """Evaluate frames; see :class:`atomate2_alpot.potentials.Predictor`."""
        i, j, r, vectors = neighbour_pairs(frames, CUTOFF)
        z, (depth, distance) = frames.numbers, self.parameters()
        pair, slope = self._morse(r, depth[z[i], z[j]], distance[z[i], z[j]])
        pull = (slope / np.maximum(r, 1e-12))[:, None] * vectors  # dE/dr along i -> j
        owner, n_atoms = frames.frame_index[i], int(frames.offsets[-1])
        energy = np.bincount(owner, weights=pair, minlength=len(frames)) / 2
        energy += self.atom_energy * frames.n_atoms
        forces, stress = np.zeros((n_atoms, 3)), np.zeros((len(frames), 3, 3))
        for a in range(3):
            forces[:, a] = np.bincount(i, pull[:, a], n_atoms)
        for a, b in np.ndindex(3, 3):
            stress[:, a, b] = np.bincount(owner, pull[:, a] * vectors[:, b], len(frames)) / 2
        with np.errstate(divide="ignore", invalid="ignore"):  # molecules have no volume
            stress /= frames.volume[:, None, None]
        return self._with_faults(frames, Prediction(energy, forces, stress))

    def features(self, frames: Frames) -> NDArray[np.float64]:
        """Return mean atomic number, its spread, and volume per atom, shape (S, 3)."""
        z = frames.split_atoms(frames.numbers)
        mean = np.array([v.mean() for v in z])
        spread = np.array([v.std() for v in z])
        return np.stack([mean, spread, frames.volume / frames.n_atoms], axis=1)

    def atom_features(self, frames: Frames) -> NDArray[np.float64]:
        """Return what an atom's energy is linear in, shape (ΣN, 3).

        One, and the sums over neighbours of e^{−2ax} f_c and e^{−ax} f_c, x = r − r0: with one
        depth D the energy is ½ D times the difference of one and two times the other.
        """
        i, j, r, _ = neighbour_pairs(frames, CUTOFF)
        z, distance = frames.numbers, self.parameters()[1]
        decay = np.exp(-self.steepness * (r - distance[z[i], z[j]]))
        cut = 0.5 * (1 + np.cos(np.pi * r / CUTOFF))
        out = np.ones((len(z), 3))
        out[:, 1] = np.bincount(i, decay**2 * cut, len(z))
        out[:, 2] = np.bincount(i, decay * cut, len(z))
        return out

    def _morse(
        self, r: NDArray[np.float64], depth: NDArray[np.float64], r0: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return pair energies and their derivatives by r, both shape (pairs,)."""
        decay = np.exp(-self.steepness * (r - r0))
        pair = depth * ((1 - decay) ** 2 - 1)
        slope = 2 * depth * self.steepness * (1 - decay) * decay
        cut = 0.5 * (1 + np.cos(np.pi * r / CUTOFF))
        cut_slope = -0.5 * np.pi / CUTOFF * np.sin(np.pi * r / CUTOFF)
        return pair * cut, slope * cut + pair * cut_slope

    def _with_faults(self, frames: Frames, prediction: Prediction) -> Prediction:
        if self.nan_fraction == 0:
            return prediction
        digits = np.array([int(i[:6], 16) for i in frames.frame_id]) / 16**6
        broken = digits < self.nan_fraction
        energy, forces, stress = prediction.energy, prediction.forces, prediction.stress
        energy[broken], stress[broken] = np.nan, np.nan
        forces[broken[frames.frame_index]] = np.nan
        return Prediction(energy, forces, stress)


def load(spec: PotentialSpec) -> ToyPotential:
    """Load a toy; options ``seed``, ``nan_fraction`` and ``atom_energy``.

    Raises
    ------
    PotentialError
        If an option is unknown or out of range.
    """
    check_options(spec, OPTIONS)
    toy = ToyPotential(**spec.kwargs)
    if not 0 <= toy.nan_fraction <= 1:
        raise PotentialError(
            f"potential {spec.label}: option 'nan_fraction' is {toy.nan_fraction}; give 0 to 1"
        )
    return toy
