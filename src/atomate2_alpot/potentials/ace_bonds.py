"""Functions of a bond in linear ACE, and their derivatives: radial functions and harmonics.

As ace-jax defines them (``ace_jax.eval.radial``, ``ace_jax.eval.harmonics``); in NumPy, since XLA
takes 5 to 30 s to compile them for each shape of its arguments, longer than most trainings last.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial, pi, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RadialTable:
    """Radial functions of each pair of elements.

    Parameters
    ----------
    weights : array, shape (Z, Z, n, q)
        Of the n functions in the q polynomials; centre first.
    polynomials : array, shape (3, q)
        Recursion: P_0 = A_0, P_1 = A_1 x + B_1, P_k = (A_k x + B_k) P_{k-1} + C_k P_{k-2}.
    transform : array, shape (Z, Z, 7)
        p, q, a, r_in, r_0, y_in, y_cut of the Agnesi transform x(r), [r_in, r_cut] -> [-1, 1].
    envelope : array, shape (Z, Z, 5) or (Z, Z, 2)
        x_1, x_2, p_1, p_2, s of s (x - x_1)^p_1 (x_2 - x)^p_2; or r_cut, p of
        ((r/r_cut)^-p - 1) (1 - r/r_cut).
    """

    weights: Array
    polynomials: Array
    transform: Array
    envelope: Array

    @property
    def n_functions(self) -> int:
        """Number of functions n."""
        return self.weights.shape[2]

    def evaluate(self, r: Array, pairs: tuple[NDArray, NDArray]) -> tuple[Array, Array]:
        """Return the functions and their slopes, both (e, n).

        Parameters
        ----------
        r : array, shape (e,)
            Distances in Å.
        pairs : two arrays of int, shape (e,)
            Elements of the centre and of the neighbour.
        """
        value, slope = np.zeros((2, len(r), self.n_functions))
        n_elements = len(self.weights)
        for z in np.ndindex(n_elements, n_elements):
            own = np.flatnonzero((pairs[0] == z[0]) & (pairs[1] == z[1]))
            x, dx = agnesi(r[own], self.transform[z])
            p, dp = polynomials(x, self.polynomials)
            if self.envelope.shape[2] == 5:
                f, df = envelope_both_ends(x, self.envelope[z])
                df = df * dx
            else:
                f, df = envelope_repulsive(r[own], self.envelope[z])
            weights = self.weights[z].T
            value[own] = (f[:, None] * p) @ weights
            slope[own] = (df[:, None] * p + (f * dx)[:, None] * dp) @ weights
        return value, slope


def agnesi(r: Array, parameters: Array) -> tuple[Array, Array]:
    """Return x(r) = -1 + 2 (y - y_in)/(y_cut - y_in), y = 1/(1 + a s^q / (1 + s^(q-p))), dx/dr."""
    p, q, a, r_in, r_0, y_in, y_cut = parameters
    s = np.maximum((r - r_in) / (r_0 - r_in), 1e-12)  # below r_in: x = -1, flat
    top, bottom = a * s**q, 1 + s ** (q - p)
    f = top / bottom
    df = (q * top / s * bottom - top * (q - p) * s ** (q - p - 1)) / bottom**2
    scale = 2 / (y_cut - y_in)
    x = -1 + scale * (1 / (1 + f) - y_in)
    dx = -scale * df / (1 + f) ** 2 / (r_0 - r_in)
    inside = (r > r_in) & (x > -1) & (x < 1)
    return np.clip(x, -1, 1), np.where(inside, dx, 0)


def envelope_both_ends(x: Array, parameters: Array) -> tuple[Array, Array]:
    """Return s (x - x_1)^p_1 (x_2 - x)^p_2, zero outside, and its slope."""
    x_1, x_2, p_1, p_2, s = parameters
    left, right = np.maximum(x - x_1, 0), np.maximum(x_2 - x, 0)
    slope = s * left ** (p_1 - 1) * right ** (p_2 - 1) * (p_1 * right - p_2 * left)
    return s * left**p_1 * right**p_2, slope


def envelope_repulsive(r: Array, parameters: Array) -> tuple[Array, Array]:
    """Return ((r/r_cut)^-p - 1)(1 - r/r_cut), zero from r_cut on, and its slope."""
    r_cut, p = parameters[:2]
    s = np.minimum(r / r_cut, 1)
    slope = (-p * s ** (-p - 1) * (1 - s) - (s**-p - 1)) / r_cut
    return (s**-p - 1) * (1 - s), slope


def polynomials(x: Array, recursion: Array) -> tuple[Array, Array]:
    """Return the polynomials of :class:`RadialTable` and their slopes, both (e, q)."""
    a, b, c = recursion
    p, dp = np.zeros((2, len(a), len(x)))
    p[0] = a[0]
    if len(a) > 1:
        p[1], dp[1] = a[1] * x + b[1], a[1]
    for k in range(2, len(a)):
        line = a[k] * x + b[k]
        p[k] = line * p[k - 1] + c[k] * p[k - 2]
        dp[k] = a[k] * p[k - 1] + line * dp[k - 1] + c[k] * dp[k - 2]
    return p.T, dp.T


def solid_harmonics(vectors: Array, l_max: int) -> tuple[Array, Array]:
    """Return real solid harmonics r^l Y_lm and their gradients.

    Parameters
    ----------
    vectors : array, shape (e, 3)
    l_max : int

    Returns
    -------
    array, shape (e, (l_max + 1)²)
        In the order l² + l + m.
    array, shape (e, 3, (l_max + 1)²)
    """
    # rows of a jet: the value and its derivatives by x, y, z
    jet = np.zeros((3, 4, len(vectors)))
    for axis in range(3):
        jet[axis, 0], jet[axis, 1 + axis] = vectors[:, axis], 1
    x, y, z = jet
    squared = _times(x, x) + _times(y, y) + _times(z, z)
    one = np.zeros_like(x)
    one[0] = 1
    cosine, sine = [one], [0 * one]  # (x + iy)^m
    for _ in range(l_max):
        c, s = cosine[-1], sine[-1]
        cosine.append(_times(x, c) - _times(y, s))
        sine.append(_times(x, s) + _times(y, c))
    out = np.empty(((l_max + 1) ** 2, 4, len(vectors)))
    for m in range(l_max + 1):
        below, legendre = 0 * one, one * float(np.prod(np.arange(2 * m - 1, 0, -2)))
        for degree in range(m, l_max + 1):
            norm = sqrt((2 * degree + 1) / 4 / pi * factorial(degree - m) / factorial(degree + m))
            norm *= sqrt(2) if m else 1
            centre = degree * degree + degree
            out[centre + m] = norm * _times(legendre, cosine[m])
            if m:
                out[centre - m] = norm * _times(legendre, sine[m])
            step = (2 * degree + 1) * _times(z, legendre)
            step -= (degree + m) * _times(squared, below)
            below, legendre = legendre, step / (degree + 1 - m)
    return out[:, 0].T, out[:, 1:].transpose(2, 1, 0)


def _times(a: Array, b: Array) -> Array:
    product = a[0] * b
    product[1:] += b[0] * a[1:]
    return product
