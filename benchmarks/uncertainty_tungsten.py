"""Uncertainty measures on real VASP labels of tungsten (../shared/data/tungsten); one table.

The models are linear in the spirit of ACE: Chebyshev radial functions, moments up to rank 3, their
contractions, and products of three densities. Members of an ensemble are bootstraps over frames, on
a random share of the functions: every frame's normal equations are kept, so that a model is one
sum and one solve. Linear models on the same functions differ far less than they err.
"""

# ruff: noqa: ARG001 (choices share one signature)

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from matscipy.neighbours import neighbour_list

from atomate2_alpot.schemas import CommitteePrediction, Frames
from atomate2_alpot.select import direct_sample
from atomate2_alpot.uncertainty import (
    ActiveSet,
    LinearCalibration,
    LocalActiveSet,
    PowerLawCalibration,
    atom_disagreement,
    component_disagreement,
    component_points,
    iqr_threshold,
    keep_ordinary_forces,
    max_disagreement,
    mean_errors,
    member_errors,
    rates_along,
    reliability,
    select_sequentially,
    sparsification,
    spearman,
    z_statistics,
)

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "tungsten"
INNER, CUTOFF, N_RADIAL, MAX_RANK = 1.8, 5.0, 6, 3
NOISE = 1e-5  # eV/Å: components that symmetry makes zero have spreads of rounding only
RIDGE, ENERGY_WEIGHT = 1e-9, 30.0  # an energy per atom weighs as 30² force components


def radial(r):
    """Chebyshev polynomials times a cutoff, and derivatives, both (pairs, n)."""
    x, scale = 2 * (r - INNER) / (CUTOFF - INNER) - 1, 2 / (CUTOFF - INNER)
    cheb = np.polynomial.chebyshev
    t = np.stack([cheb.chebval(x, np.eye(N_RADIAL)[n]) for n in range(N_RADIAL)], axis=1)
    dt = np.stack(
        [cheb.chebval(x, cheb.chebder(np.eye(N_RADIAL)[n])) for n in range(N_RADIAL)], axis=1
    )
    cut, slope = (1 - r / CUTOFF) ** 2, -2 / CUTOFF * (1 - r / CUTOFF)
    return t * cut[:, None], dt * scale * cut[:, None] + t * slope[:, None]


def tensors(u, r):
    """Powers of the direction u by rank, (pairs, 3^l), and derivatives, (pairs, 3, 3^l)."""
    du = (np.eye(3) - u[:, :, None] * u[:, None, :]) / r[:, None, None]  # d u_q / d r_c
    value, slope = np.ones((len(u), 1)), np.zeros((len(u), 3, 1))
    yield value, slope
    for _ in range(MAX_RANK):
        slope = (slope[:, :, :, None] * u[:, None, None, :]).reshape(len(u), 3, -1) + (
            value[:, None, :, None] * du[:, :, None, :]
        ).reshape(len(u), 3, -1)
        value = (value[:, :, None] * u[:, None, :]).reshape(len(u), -1)
        yield value, slope


def describe(positions, cell, pbc, forces=True):
    """Features of atoms (N, K) and their force design matrix (N, 3, K)."""
    n = len(positions)
    i, j, r, d = neighbour_list("ijdD", positions=positions, cell=cell, pbc=pbc, cutoff=CUTOFF)
    f, df = radial(r)
    u = d / r[:, None]
    pairs = np.triu_indices(N_RADIAL)
    columns, slopes = [np.ones((n, 1))], [np.zeros((len(r), 3, 1))]
    for rank, (t, dt) in enumerate(tensors(u, r)):
        moment = np.zeros((n, N_RADIAL, t.shape[1]))
        np.add.at(moment, i, f[:, :, None] * t[:, None, :])
        columns.append(np.einsum("anq,amq->anm", moment, moment)[:, pairs[0], pairs[1]])
        own = moment[i]  # (pairs, n, q)
        radial_part = np.einsum("pq,pmq->pm", t, own)
        angular = np.einsum("pcq,pmq->pcm", dt, own)
        g = np.einsum("pn,pc,pm->pcnm", df, u, radial_part) + np.einsum("pn,pcm->pcnm", f, angular)
        slopes.append((g + g.swapaxes(2, 3))[:, :, pairs[0], pairs[1]])
        if rank == 0:
            m0, dm0 = moment[:, :, 0], df[:, None, :] * u[:, :, None]  # (pairs, 3, n)
            a, b, c = (np.array(x) for x in zip(*triples(), strict=True))
            columns += [m0, m0[:, a] * m0[:, b] * m0[:, c]]
            o = m0[i][:, None, :]
            slopes += [
                dm0,
                dm0[..., a] * o[..., b] * o[..., c]
                + o[..., a] * dm0[..., b] * o[..., c]
                + o[..., a] * o[..., b] * dm0[..., c],
            ]
    features = np.concatenate(columns, axis=1)
    if not forces:
        return features, None
    slope = np.concatenate(slopes, axis=2)  # d B(i) / d (r_j − r_i)
    design = np.zeros((n, 3, features.shape[1]))
    np.add.at(design, i, slope)
    np.subtract.at(design, j, slope)  # F = −dE/dr
    return features, design


def triples():
    n = N_RADIAL
    return [(a, b, c) for a in range(n) for b in range(a, n) for c in range(b, n)]


class Data:
    """Features and normal equations of frames."""

    def __init__(self, frames: Frames) -> None:
        self.frames = frames
        atoms, sums, self.design = [], [], []
        for s in range(len(frames)):
            own = slice(frames.offsets[s], frames.offsets[s + 1])
            features, design = describe(frames.positions[own], frames.cell[s], frames.pbc[s])
            atoms.append(features)
            sums.append(features.mean(axis=0))
            self.design.append(design.reshape(-1, features.shape[1]))
        self.atoms, self.mean = np.concatenate(atoms), np.stack(sums)
        self.scale = None

    def normal(self, scale):
        """Normal equations of each frame, (S, K, K) and (S, K)."""
        matrices, vectors = [], []
        for s, design in enumerate(self.design):
            forces = self.frames.forces[self.frames.offsets[s] : self.frames.offsets[s + 1]]
            e = ENERGY_WEIGHT * self.mean[s] / scale
            f = design / scale
            matrices.append(np.outer(e, e) + f.T @ f)
            target = ENERGY_WEIGHT * self.frames.energy[s] / self.frames.n_atoms[s]
            vectors.append(e * target + f.T @ forces.reshape(-1))
        return np.array(matrices), np.array(vectors)

    def predict(self, models) -> CommitteePrediction:
        frames, m = self.frames, len(models)
        energies = (self.mean @ models.T * frames.n_atoms[:, None]).T
        forces = np.concatenate([(d @ models.T).reshape(-1, 3, m) for d in self.design])
        return CommitteePrediction(
            energies=energies,
            forces=np.ascontiguousarray(forces.transpose(2, 0, 1), dtype=float),
            stress=np.zeros((m, len(frames), 3, 3)),
            reference_energies=np.zeros_like(energies),
            offsets=frames.offsets,
            members=tuple(f"bootstrap {k}" for k in range(m)),
        )


def ensemble(matrices, vectors, scale, n_members, rng, share=0.6):
    """Fit one model per bootstrap of the frames and random share of the functions, (M, K)."""
    models = np.zeros((n_members, len(scale)))
    for model in models:
        weight = np.bincount(rng.integers(0, len(vectors), len(vectors)), minlength=len(vectors))
        used = np.sort(rng.permutation(len(scale) - 1)[: int(share * len(scale))] + 1)
        used = np.r_[0, used]  # the constant stays
        a = np.tensordot(weight, matrices, 1)[np.ix_(used, used)]
        a += RIDGE * np.trace(a) / len(a) * np.eye(len(a))
        model[used] = np.linalg.solve(a, (weight @ vectors)[used]) / scale[used]
    return models


def row(name, *values):
    cells = "".join(f"{v:>12.3f}" if isinstance(v, float) else f"{v:>12}" for v in values)
    print(f"{name:44}{cells}", flush=True)


def head(title, *columns):
    print(f"\n{title:44}" + "".join(f"{c:>12}" for c in columns))


def committee_rows(train, test, models, title):
    """Print a row per criterion; return spreads and errors."""
    results = {}
    for name, data in (("train", train), ("test", test)):
        p = data.predict(models)
        e = mean_errors(data.frames, p)
        u = max_disagreement(p)
        results[name] = {
            "CBE": (u.energy, e.energy),
            "CBF": (u.forces, e.forces),
            "ABF": (atom_disagreement(p, "max"), e.atoms),
        }
    for name in ("CBE", "CBF", "ABF"):
        (u, e), (u0, e0) = results["test"][name], results["train"][name]
        tau = iqr_threshold(e0)
        row(f"{name}, {title}", spearman(u, e), spearman(u0, e0), float((u > tau).mean()), tau)
    for name, data in (("A+B", train), ("C", test)):
        error = results["train" if data is train else "test"]["ABF"][1]
        row(f"  force RMSE of the mean on {name}, eV/Å", float(np.sqrt((error**2).mean() / 3)))
    return results


def detection(train, test, fit, rng):
    """Spearman ρ and flagged share on C for each criterion, with adaptive thresholds."""
    head("1. train A+B, test C", "rho test", "rho train", "flagged", "threshold")
    for share, name in ((1.0, "bootstraps"), (0.6, "bootstraps, 60 % of functions")):
        results = committee_rows(train, test, ensemble(*fit, 20, rng, share), name)
    keep = keep_ordinary_forces(train.frames)
    active = ActiveSet.fit(train.atoms[keep], complete=1e-6)
    unfiltered = ActiveSet.fit(train.atoms, complete=1e-6)
    for name, used in (("gamma_atom", active), ("gamma_atom, no force filter", unfiltered)):
        atoms = used.grade(test.atoms)
        frames = np.maximum.reduceat(atoms, test.frames.offsets[:-1])
        row(name, spearman(atoms, results["test"]["ABF"][1]), "", float((atoms > 1).mean()), 1.0)
        rho = spearman(frames, results["test"]["CBF"][1])
        row("gamma_cfg" + name[10:], rho, "", float((frames > 1).mean()), 1.0)


def ensemble_size(train, test, fit, rng):
    head("2. flagged share of C", "CBE min", "CBE max", "CBF min", "CBF max")
    for size in (3, 5, 10, 15, 20):
        shares = []
        for _ in range(5):
            models = ensemble(*fit, size, rng)
            e = mean_errors(train.frames, train.predict(models))
            u = max_disagreement(test.predict(models))
            tau = iqr_threshold(e.energy), iqr_threshold(e.forces)
            shares.append([(u.energy > tau[0]).mean(), (u.forces > tau[1]).mean()])
        low, high = np.min(shares, axis=0), np.max(shares, axis=0)
        row(f"{size} members, 5 ensembles", *(float(v) for v in (low[0], high[0], low[1], high[1])))


def calibration(data, normal, scale, first, rng):
    """Train on 60 %, calibrate on 20 %, judge on 20 % of B+C (symmetry makes A's forces zero)."""
    matrices, vectors = normal
    names = ("z std raw", "calibrated", "ECE raw", "calibrated", "a", "b")
    head("3. calibration on held-out frames", *names)
    for seed in range(3):
        order = first + np.random.default_rng(seed).permutation(len(vectors) - first)
        n = len(order)
        cut = [order[: 3 * n // 5], order[3 * n // 5 : 4 * n // 5], order[4 * n // 5 :]]
        models = ensemble(matrices[cut[0]], vectors[cut[0]], scale, 10, rng)
        p = data.predict(models)
        for name in ("energy", "forces"):
            points = component_points(data.frames, p)[name]
            free = points.spread > NOISE
            fitted = np.isin(points.frame, cut[1]) & free, np.isin(points.frame, cut[2]) & free
            law = PowerLawCalibration.fit(points.spread[fitted[0]], points.error[fitted[0]])
            s, e = points.spread[fitted[1]], points.error[fitted[1]]
            raw, cal = z_statistics(s, e), z_statistics(law.apply(s), e)
            ece = [reliability(x, e).calibration_error for x in (s, law.apply(s))]
            row(f"{name}, seed {seed}", raw.std, cal.std, *ece, law.a, law.b)
            if name == "forces":
                curve = sparsification(s, e)
                row("  sparsification: area, oracle", curve.area, curve.area_oracle)
        d, err = component_disagreement(p).forces, member_errors(data.frames, p).forces
        line = LinearCalibration.fit(d[cut[1]], err[cut[1]])
        targets = np.quantile(err[cut[2]], [0.25, 0.5, 0.75])
        rates = rates_along(line, d[cut[2]], err[cut[2]], targets)
        row("  TPR along the line, targets q25 q50 q75", *rates.tpr.tolist())
        row("  PPV along the line", *rates.ppv.tolist())


def heterogeneous(a, b, c, rng):
    """A plus clusters cut from B in vacuum: what a global and a local active set flag."""
    names = ("flagged C", "C atoms", "flagged B", "B atoms")
    head("4. train A + clusters in vacuum cut from B", *names)
    cut = []
    for s in rng.choice(len(b.frames), 30, replace=False):
        own = slice(b.frames.offsets[s], b.frames.offsets[s + 1])
        x, cell = b.frames.positions[own], b.frames.cell[s]
        shifts = np.array(list(np.ndindex(3, 3, 3))) - 1
        images = (x[None] + (shifts @ cell)[:, None]).reshape(-1, 3)
        centre = x[rng.integers(len(x))]
        near = images[np.linalg.norm(images - centre, axis=1) < 6.0]
        cut.append(describe(near, np.eye(3) * 40, [False] * 3, forces=False)[0])
    clusters = np.concatenate(cut)
    features = np.concatenate([a.atoms, clusters])
    labels = np.repeat(["A", "clusters"], [len(a.atoms), len(clusters)])
    sets = {
        "global": ActiveSet.fit(features, complete=1e-6),
        "local, given labels": LocalActiveSet.fit(features, labels=labels),
        "local, k-means 2": LocalActiveSet.fit(features, n_clusters=2),
        "local, k-means 4": LocalActiveSet.fit(features, n_clusters=4),
        "local, BIRCH": LocalActiveSet.fit(features),
    }
    for name, used in sets.items():
        values = []
        for data in (c, b):
            atoms = used.grade(data.atoms)
            frames = np.maximum.reduceat(atoms, data.frames.offsets[:-1])
            values += [float((frames > 1).mean()), float((atoms > 1).mean())]
        row(f"{name}, {getattr(used, 'n_clusters', 1)} sets", *values)


def choose_random(data, known, pool, n, context):
    return context["rng"].choice(pool, n, replace=False)


def choose_largest(data, known, pool, n, context):
    spread = component_disagreement(context["prediction"]).forces
    return pool[np.argsort(-spread[pool])[:n]]


def choose_calibrated(data, known, pool, n, context):
    """TrainsPot: at random among those whose calibrated error exceeds 50 meV/Å."""
    spread = component_disagreement(context["prediction"]).forces
    error = member_errors(data.frames, context["prediction"]).forces
    line = LinearCalibration.fit(spread[known], error[known], min_points=2)
    tau = line.invert(0.05)
    above = pool[spread[pool] > tau]
    rest = np.setdiff1d(pool, above)
    order = [context["rng"].permutation(part) for part in (above, rest)]
    return np.concatenate(order)[:n]


def choose_direct(data, known, pool, n, context):
    return pool[direct_sample(data.mean[pool, 1:], budget=n, seed=context["seed"]).indices]


def choose_sequential(data, known, pool, n, context):
    offsets = data.frames.offsets
    atoms = np.concatenate([np.arange(offsets[s], offsets[s + 1]) for s in known])
    active = ActiveSet.fit(data.atoms[atoms], complete=1e-6)
    atoms = np.concatenate([np.arange(offsets[s], offsets[s + 1]) for s in pool])
    starts = np.concatenate([[0], np.cumsum(data.frames.n_atoms[pool])])
    found = select_sequentially(active, data.atoms[atoms], starts, max_frames=n).frames
    rest = np.setdiff1d(np.arange(len(pool)), found)
    return pool[np.concatenate([found, context["rng"].permutation(rest)])[:n]]


CHOICES = {
    "random": choose_random,
    "largest spread": choose_largest,
    "calibrated, above 50 meV/Å": choose_calibrated,
    "DIRECT": choose_direct,
    "sequential D-optimal": choose_sequential,
}


def active_learning(data, matrices, vectors, scale):
    """Force RMSE on held-out frames of A+B+C against the number of labels."""
    sizes = (2, 4, 8, 16, 32, 64)
    head("5. force RMSE, eV/Å: median (range) of 3", *(f"{n} labels" for n in sizes))
    for name, choose in CHOICES.items():
        curves = []
        for seed in range(3):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(vectors))
            held_out, known = order[:200], order[200 : 200 + sizes[0]]
            atoms = np.isin(data.frames.frame_index, held_out)
            curve = []
            for size in sizes:
                models = ensemble(matrices[known], vectors[known], scale, 8, rng)
                prediction = data.predict(models)
                error = mean_errors(data.frames, prediction).atoms[atoms]
                curve.append(np.sqrt((error**2).mean() / 3))
                if size != sizes[-1]:
                    pool = np.setdiff1d(order[200:], known)
                    context = {"rng": rng, "prediction": prediction, "seed": seed}
                    known = np.concatenate([known, choose(data, known, pool, size, context)])
            curves.append(curve)
        row(name, *np.median(curves, axis=0).tolist())
        low, high = np.min(curves, axis=0), np.max(curves, axis=0)
        row("", *(f"{a:.2f}-{b:.2f}" for a, b in zip(low, high, strict=True)))


def main() -> None:
    if not DATA.exists():
        sys.exit(f"needs the data in {DATA}")
    start, rng = time.perf_counter(), np.random.default_rng(0)
    names = ("A_elastic", "B_defects", "C_periodic_defects")
    a, b, c = (Data(Frames.from_extxyz(DATA / f"{n}.xyz.gz")) for n in names)
    print(f"{a.atoms.shape[1]} functions; features in {time.perf_counter() - start:.0f} s")
    everything = join(a, b, c)
    scale = np.sqrt((everything.atoms**2).mean(axis=0))
    matrices, vectors = everything.normal(scale)
    n_train = len(a.frames) + len(b.frames)
    fit = matrices[:n_train], vectors[:n_train], scale
    train = join(a, b)
    detection(train, c, fit, rng)
    ensemble_size(train, c, fit, rng)
    calibration(everything, (matrices, vectors), scale, len(a.frames), rng)
    heterogeneous(a, b, c, rng)
    active_learning(everything, matrices, vectors, scale)
    print(f"\n{time.perf_counter() - start:.0f} s in all")


def join(*parts: Data) -> Data:
    whole = object.__new__(Data)
    whole.frames = Frames.concat([p.frames for p in parts])
    whole.atoms = np.concatenate([p.atoms for p in parts])
    whole.mean = np.concatenate([p.mean for p in parts])
    whole.design = [d for p in parts for d in p.design]
    return whole


if __name__ == "__main__":
    main()
