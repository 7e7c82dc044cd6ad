"""Uncertainty measures on real VASP labels of tungsten (../shared/data/tungsten); one table.

The models are linear ACEs on the basis of `train.ace`, each regularised by the evidence of its own
training set, as that trainer does. Members of an ensemble are bootstraps over frames, on all
functions or on a random share of them; every frame's normal equations are kept, so that a model is
one sum and one eigendecomposition. Settings were fixed before the first run with this basis and not
changed after: none is fitted to what the table reports.

The table goes to docs/_generated/uncertainty.md, the figures to docs/_static/uncertainty.
"""

# ruff: noqa: ARG001 (choices share one signature)

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from atomate2_alpot.potentials.ace import ACEPredictor
from atomate2_alpot.schemas import CommitteePrediction, Frames
from atomate2_alpot.select import direct_sample
from atomate2_alpot.train import AceSettings, fit_e0s
from atomate2_alpot.train.ace_design import QUANTITIES, equations
from atomate2_alpot.train.ace_model import build_model
from atomate2_alpot.train.ace_solve import LeastSquares
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
    threshold_maps,
    z_statistics,
)
from atomate2_alpot.uncertainty import figures as draw
from atomate2_alpot.uncertainty.calibration import has_spread

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "tungsten"
TABLE = ROOT / "docs" / "_generated" / "uncertainty.md"
PICTURES = ROOT / "docs" / "_static" / "uncertainty"
SETTINGS = AceSettings(order=3, degree=10, cutoff=5.0)
complete_set = partial(ActiveSet.fit, complete=1e-6)


class Data:
    """Features and equations of frames."""

    def __init__(self, frames: Frames, e0: float, model, prior) -> None:
        self.frames, self.prior = frames, prior
        predictor = ACEPredictor(model, batch_atoms=256)
        self.atoms = predictor.atom_features(frames)
        self.rows = list(equations(model.basis, frames, np.array([e0]), SETTINGS, "tungsten"))
        self.mean = np.add.reduceat(self.atoms, frames.offsets[:-1]) / frames.n_atoms[:, None]
        self.e0 = e0

    def normal(self):
        """Normal equations of each frame with the target as last column, (S, P + 1, P + 1)."""
        matrices = []
        for row in self.rows:
            every = np.column_stack([row.values / self.prior, row.target]) * row.weight[:, None]
            matrices.append(every.T @ every)
        return np.array(matrices), np.array([len(row.target) for row in self.rows])

    def predict(self, models) -> CommitteePrediction:
        frames, m = self.frames, len(models)
        energies, forces = [], []
        for row in self.rows:
            values = row.values @ models.T
            energies.append(values[row.quantity == QUANTITIES.index("energy")][0])
            forces.append(values[row.quantity == QUANTITIES.index("forces")].reshape(-1, 3, m))
        energies = np.array(energies).T + self.e0 * frames.n_atoms
        return CommitteePrediction(
            energies=energies,
            forces=np.ascontiguousarray(np.concatenate(forces).transpose(2, 0, 1)),
            stress=np.zeros((m, len(frames), 3, 3)),
            reference_energies=np.zeros_like(energies),
            offsets=frames.offsets,
            members=tuple(f"bootstrap {k}" for k in range(m)),
        )


def solve(matrix, n_rows):
    """Solve normal equations, regularised by their evidence (see `train.ace_solve`)."""
    values, vectors = np.linalg.eigh(matrix[:-1, :-1])
    values = np.maximum(values[::-1], np.finfo(float).eps * values[-1])
    vt = vectors[:, ::-1].T
    along = vt @ matrix[:-1, -1] / np.sqrt(values)
    rest = max(float(matrix[-1, -1] - along @ along), 1e-12 * matrix[-1, -1])
    problem = LeastSquares(vt, np.sqrt(values), along, rest, n_rows)
    return problem.solution(problem.most_probable())


def ensemble(equations_, prior, n_members, rng, share=0.6):
    """Fit one model per bootstrap of the frames and random share of the functions, (M, P)."""
    matrices, n_rows = equations_
    n_functions = len(prior)
    models = np.zeros((n_members, n_functions))
    for model in models:
        weight = np.bincount(rng.integers(0, len(n_rows), len(n_rows)), minlength=len(n_rows))
        used = np.sort(rng.permutation(n_functions)[: round(share * n_functions)])
        total = np.tensordot(weight, matrices, 1)[np.ix_([*used, -1], [*used, -1])]
        model[used] = solve(total, int(weight @ n_rows)) / prior[used]
    return models


LINES: list[str] = []


def say(line: str) -> None:
    print(line, flush=True)
    LINES.append(line)


def keep(name: str, figure) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURES / f"{name}.svg")


def row(name, *values):
    cells = "".join(f"{v:>12.3f}" if isinstance(v, float) else f"{v:>12}" for v in values)
    say(f"{name:44}{cells}")


def head(title, *columns):
    say(f"\n{title:44}" + "".join(f"{c:>12}" for c in columns))


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
        results = committee_rows(train, test, ensemble(fit, train.prior, 20, rng, share), name)
    ordinary = keep_ordinary_forces(train.frames)
    active = complete_set(train.atoms[ordinary])
    unfiltered = complete_set(train.atoms)
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
            models = ensemble(fit, train.prior, size, rng)
            e = mean_errors(train.frames, train.predict(models))
            u = max_disagreement(test.predict(models))
            tau = iqr_threshold(e.energy), iqr_threshold(e.forces)
            shares.append([(u.energy > tau[0]).mean(), (u.forces > tau[1]).mean()])
        low, high = np.min(shares, axis=0), np.max(shares, axis=0)
        row(f"{size} members, 5 ensembles", *(float(v) for v in (low[0], high[0], low[1], high[1])))


def calibration(data, fit, first, rng):
    """Train on 60 %, calibrate on 20 %, judge on 20 % of B+C (symmetry makes A's forces zero)."""
    matrices, n_rows = fit
    names = ("z std raw", "calibrated", "ECE raw", "calibrated", "a", "b")
    head("3. calibration on held-out frames", *names)
    for seed in range(3):
        order = first + np.random.default_rng(seed).permutation(len(n_rows) - first)
        n = len(order)
        cut = [order[: 3 * n // 5], order[3 * n // 5 : 4 * n // 5], order[4 * n // 5 :]]
        models = ensemble((matrices[cut[0]], n_rows[cut[0]]), data.prior, 10, rng)
        p = data.predict(models)
        for name in ("energy", "forces"):
            judge_calibration(name, seed, component_points(data.frames, p)[name], cut)
        d, err = component_disagreement(p).forces, member_errors(data.frames, p).forces
        line = LinearCalibration.fit(d[cut[1]], err[cut[1]])
        targets = np.quantile(err[cut[2]], [0.25, 0.5, 0.75])
        rates = rates_along(line, d[cut[2]], err[cut[2]], targets)
        row("  TPR along the line, targets q25 q50 q75", *rates.tpr.tolist())
        row("  PPV along the line", *rates.ppv.tolist())
        if seed == 0:
            maps = threshold_maps(d[cut[2]], err[cut[2]])
            keep("rates", draw.draw_maps(maps, line, "eV/Å"))


def judge_calibration(name, seed, points, cut):
    """Fit on the second part, report on the third."""
    fitted, judged = (np.isin(points.frame, cut[k]) & has_spread(points.spread) for k in (1, 2))
    law = PowerLawCalibration.fit(points.spread[fitted], points.error[fitted])
    s, e = points.spread[judged], points.error[judged]
    sigma = law.apply(s)
    ece = [reliability(x, e).calibration_error for x in (s, sigma)]
    row(
        f"{name}, seed {seed}",
        z_statistics(s, e).std,
        z_statistics(sigma, e).std,
        *ece,
        law.a,
        law.b,
    )
    if name == "energy":
        return
    curve = sparsification(sigma, e)
    row("  sparsification: area, oracle", curve.area, curve.area_oracle)
    if seed == 0:
        keep("correlation", draw.draw_correlation(s, e, law, "eV/Å"))
        keep("z", draw.draw_z(z_statistics(sigma, e)))
        keep("reliability", draw.draw_reliability(reliability(sigma, e), "eV/Å"))
        keep("sparsification", draw.draw_sparsification(curve))


def heterogeneous(a, b, c, describe, rng):
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
        cut.append(
            Frames.from_arrays(
                [74] * len(near), near, [40 * np.eye(3)], [len(near)], pbc=[[False] * 3]
            )
        )
    clusters = describe(Frames.concat(cut))
    features = np.concatenate([a.atoms, clusters])
    labels = np.repeat(["A", "clusters"], [len(a.atoms), len(clusters)])
    sets = {
        "global": complete_set(features),
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
    return pool[direct_sample(data.mean[pool], budget=n, seed=context["seed"]).indices]


def choose_sequential(data, known, pool, n, context):
    offsets = data.frames.offsets
    atoms = np.concatenate([np.arange(offsets[s], offsets[s + 1]) for s in known])
    active = complete_set(data.atoms[atoms])
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


def active_learning(data, fit):
    """Force RMSE on held-out frames of A+B+C against the number of labels."""
    matrices, n_rows = fit
    sizes = (2, 4, 8, 16, 32, 64)
    head("5. force RMSE, eV/Å: median (range) of 3", *(f"{n} labels" for n in sizes))
    for name, choose in CHOICES.items():
        curves = []
        for seed in range(3):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(n_rows))
            held_out, known = order[:200], order[200 : 200 + sizes[0]]
            atoms = np.isin(data.frames.frame_index, held_out)
            curve = []
            for size in sizes:
                models = ensemble((matrices[known], n_rows[known]), data.prior, 8, rng)
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
    frames = [Frames.from_extxyz(DATA / f"{n}.xyz.gz") for n in names]
    e0 = fit_e0s(Frames.concat(frames[:2]))["W"]
    with tempfile.TemporaryDirectory() as folder:
        model, prior = build_model(SETTINGS, ["W"], Path(folder) / "w.npz")
    a, b, c = (Data(f, e0, model, prior) for f in frames)
    say(f"{a.atoms.shape[1]} functions; features in {time.perf_counter() - start:.0f} s")
    everything = join(a, b, c)
    matrices, n_rows = everything.normal()
    n_train = len(a.frames) + len(b.frames)
    fit, train = (matrices[:n_train], n_rows[:n_train]), join(a, b)
    detection(train, c, fit, rng)
    ensemble_size(train, c, fit, rng)
    calibration(everything, (matrices, n_rows), len(a.frames), rng)
    heterogeneous(a, b, c, ACEPredictor(model, 256).atom_features, rng)
    active_learning(everything, (matrices, n_rows))
    say(f"\n{time.perf_counter() - start:.0f} s in all")
    TABLE.write_text("```text\n" + "\n".join(LINES) + "\n```\n")


def join(*parts: Data) -> Data:
    whole = object.__new__(Data)
    whole.frames = Frames.concat([p.frames for p in parts])
    whole.prior, whole.e0 = parts[0].prior, parts[0].e0
    whole.atoms = np.concatenate([p.atoms for p in parts])
    whole.mean = np.concatenate([p.mean for p in parts])
    whole.rows = [r for p in parts for r in p.rows]
    return whole


if __name__ == "__main__":
    main()
