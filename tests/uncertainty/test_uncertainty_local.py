"""Local active sets, clusters, and grades of frames by element."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from atomate2_alpot.schemas import Frames, Labels
from atomate2_alpot.uncertainty import (
    ActiveSet,
    ElementActiveSets,
    FeatureError,
    LocalActiveSet,
    keep_ordinary_forces,
)
from atomate2_alpot.uncertainty import clusters as clusters_module
from atomate2_alpot.uncertainty.rows import Rows


def three_groups(rng, n=80):
    """Tight groups around far corners of 4 dimensions."""
    centres = np.array([[9.0, 1, 0, 1], [1, 9, 1, 0], [0, 1, 9, 1]])
    features = np.concatenate([c + 0.3 * rng.normal(size=(n, 4)) for c in centres])
    return features, np.repeat(["a", "b", "c"], n)


def test_the_grade_is_the_smallest_over_clusters(rng):
    features, labels = three_groups(rng)
    local = LocalActiveSet.fit(features, labels=labels)
    probes = 4 * rng.normal(size=(50, 4))
    sets = [ActiveSet.fit(features[labels == name]) for name in "abc"]
    expected = [min(s.grade(p[None])[0] for s in sets) for p in probes]
    np.testing.assert_allclose(local.grade(probes), expected, rtol=1e-9)
    assert local.names.tolist() == ["a", "b", "c"]
    assert local.n_clusters == 3
    assert local.grade(features).max() <= 1 + 1e-6
    for active, name in zip(local.sets, "abc", strict=True):
        assert (labels[active.indices] == name).all()
        np.testing.assert_allclose(active.rows, features[active.indices])


def test_the_paper_s_example_between_clusters(rng):
    """Fig. 7: a point between groups passes for known globally, and is new locally."""
    features, labels = three_groups(rng)
    between = features.reshape(3, -1, 4).mean(axis=(0, 1))[None]
    assert ActiveSet.fit(features).grade(between)[0] < 1
    assert LocalActiveSet.fit(features, labels=labels).grade(between)[0] > 1


def test_one_cluster_is_global(rng):
    features, probes = rng.normal(size=(60, 5)), rng.normal(size=(30, 5))
    expected = ActiveSet.fit(features).grade(probes)
    for local in (
        LocalActiveSet.fit(features, labels=np.zeros(60, int)),
        LocalActiveSet.fit(features, n_clusters=1),
    ):
        np.testing.assert_allclose(local.grade(probes), expected)


@pytest.mark.parametrize(
    "options", [{"n_clusters": 3}, {}, {"method": "birch", "n_clusters": 3}, {"method": "birch"}]
)
def test_clusters_are_found(rng, options):
    features, labels = three_groups(rng)
    features = features * [1, 1e-4, 1e3, 1]  # units do not matter
    local = LocalActiveSet.fit(features, **options)
    for found in local.names:
        assert len(set(labels[local.labels == found])) == 1
    if options.get("n_clusters"):
        assert local.n_clusters == 3


def test_clustering_is_seeded_and_sees_all_rows_in_the_end(rng, monkeypatch):
    features, labels = three_groups(rng)
    monkeypatch.setattr(clusters_module, "SAMPLE", 60)
    one, two = (clusters_module.cluster_rows(Rows(features), 3, None, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    for name in "abc":
        assert len(set(one[labels == name])) == 1


def test_birch_is_capped(rng):
    features = rng.normal(size=(3000, 30))  # every point its own subcluster
    labels = clusters_module.cluster_rows(Rows(features), None, "birch", 0)
    assert 1 <= len(set(labels)) <= clusters_module.MAX_BIRCH


def test_small_clusters_are_completed_or_refused(rng):
    features = rng.normal(size=(60, 5))
    labels = np.where(np.arange(60) < 2, "few", "many")
    local = LocalActiveSet.fit(features, labels=labels)
    assert local.grade(features).max() <= 1 + 1e-6
    assert (local.indices >= 0).all()
    with pytest.raises(FeatureError, match="cluster .*'few'.*: the 2 rows .* span 2 of 5"):
        LocalActiveSet.fit(features, labels=labels, complete=None)


def test_constant_features_make_one_cluster():
    local = LocalActiveSet.fit(np.ones((30, 3)))
    assert local.n_clusters == 1
    assert local.grade([[1, 1, 1]])[0] == pytest.approx(1)
    assert local.grade([[1, 1, 2]])[0] > 1e4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": [0, 1]}, r"labels have shape \(2,\) for 30 rows"),
        ({"labels": np.zeros(30), "n_clusters": 2}, "not both"),
        ({"method": "kmeans"}, "k-means needs n_clusters"),
        ({"method": "dbscan", "n_clusters": 2}, "method is 'dbscan'"),
        ({"n_clusters": 0}, "n_clusters is 0; give 1 to 30"),
        ({"n_clusters": 31}, "n_clusters is 31"),
    ],
)
def test_bad_partitions_are_refused(rng, options, message):
    with pytest.raises(FeatureError, match=message):
        LocalActiveSet.fit(rng.normal(size=(30, 3)), **options)


def test_no_rows_are_refused():
    with pytest.raises(FeatureError, match="no rows"):
        LocalActiveSet.fit(np.zeros((0, 3)))


# --- frames -----------------------------------------------------------------------------------


def alloy(rng, n_frames=12, species=(13, 28, 28)):
    n = n_frames * len(species)
    forces = rng.normal(size=(n, 3))
    labels = Labels(np.zeros(n_frames), forces)
    cells = [np.eye(3) * 5] * n_frames
    sizes = [len(species)] * n_frames
    return Frames.from_arrays(
        np.tile(species, n_frames), rng.random((n, 3)) * 5, cells, sizes, labels=labels
    )


def test_each_element_has_its_own_set(rng):
    frames, features = alloy(rng), rng.normal(size=(36, 4))
    sets = ElementActiveSets.fit(frames, features, filter_forces=False)
    assert list(sets.sets) == ["Al", "Ni"]
    probes = 2 * rng.normal(size=(36, 4))
    found = sets.grade(frames, probes)
    assert found.unseen == ()
    for s in range(12):
        grades = []
        for i in range(3 * s, 3 * s + 3):
            own = features[frames.numbers == frames.numbers[i]]
            grades.append(ActiveSet.fit(own).grade(probes[i : i + 1])[0])
        np.testing.assert_allclose(found.atoms[3 * s : 3 * s + 3], grades)
        assert found.frames[s] == pytest.approx(max(grades))


def test_an_unseen_element_is_infinitely_far_and_named(rng):
    sets = ElementActiveSets.fit(alloy(rng), rng.normal(size=(36, 4)), filter_forces=False)
    frames = Frames.concat([alloy(rng, 1), alloy(rng, 1, (13, 8))])
    found = sets.grade(frames, 0.1 * rng.normal(size=(5, 4)))
    assert found.unseen == ("O",)
    np.testing.assert_array_equal(np.isinf(found.atoms), [False] * 4 + [True])
    np.testing.assert_array_equal(np.isinf(found.frames), [False, True])


def test_atoms_with_outlying_forces_are_left_out(rng):
    frames = alloy(rng, 40)
    forces = frames.forces.copy()
    forces[[4, 9]] *= 1000
    frames = frames.with_labels(Labels(frames.energy, forces))
    size = np.linalg.norm(forces, axis=1)
    expected = np.ones(120, bool)
    for z in (13, 28):
        own = sorted(size[frames.numbers == z])
        q1, q3 = (np.interp(q * (len(own) - 1), range(len(own)), own) for q in (0.25, 0.75))
        expected[(frames.numbers == z) & (size > q3 + 1.5 * (q3 - q1))] = False
    keep = keep_ordinary_forces(frames)
    np.testing.assert_array_equal(keep, expected)
    assert not keep[[4, 9]].any()
    features = rng.normal(size=(120, 4))
    features[[4, 9]] *= 1000
    filtered = ElementActiveSets.fit(frames, features)
    assert filtered.left_out == {
        e: int((~keep & (frames.numbers == z)).sum()) for e, z in (("Al", 13), ("Ni", 28))
    }
    assert filtered.grade(frames, features).atoms[[4, 9]].min() > 10
    everything = ElementActiveSets.fit(frames, features, filter_forces=False)
    assert everything.grade(frames, features).atoms.max() <= 1 + 1e-6


def test_atoms_without_force_labels_are_kept(rng):
    frames = alloy(rng)
    bare = Frames.from_arrays(frames.numbers, frames.positions, frames.cell, frames.n_atoms)
    assert keep_ordinary_forces(bare).all()


@pytest.mark.parametrize("per", ["frame", "atom"])
def test_labels_of_frames_or_atoms_make_the_sets_local(rng, per):
    frames, features = alloy(rng), rng.normal(size=(36, 4))
    labels = np.arange(12) % 2
    given = labels if per == "frame" else labels[frames.frame_index]
    sets = ElementActiveSets.fit(frames, features, labels=given, filter_forces=False)
    ni = frames.numbers == 28
    expected = LocalActiveSet.fit(features[ni], labels=labels[frames.frame_index][ni])
    probes = rng.normal(size=(36, 4))
    found = sets.grade(frames, probes).atoms
    np.testing.assert_allclose(found[ni], expected.grade(probes[ni]))


def test_clustered_sets_can_be_asked_for(rng):
    frames, features = alloy(rng), rng.normal(size=(36, 4))
    make = partial(LocalActiveSet.fit, n_clusters=2)
    sets = ElementActiveSets.fit(frames, features, make=make)
    assert sets.sets["Ni"].n_clusters == 2


def test_mistakes_name_the_element(rng):
    frames, features = alloy(rng), rng.normal(size=(36, 4))
    features[frames.numbers == 13] = 1
    with pytest.raises(FeatureError, match="Al: the 12 rows .*all rows are equal"):
        ElementActiveSets.fit(frames, features, filter_forces=False)
    with pytest.raises(FeatureError, match="35 rows for 36 atoms"):
        ElementActiveSets.fit(frames, features[:35])
    with pytest.raises(FeatureError, match=r"labels have shape \(5,\); give one per frame \(12\)"):
        ElementActiveSets.fit(frames, features, labels=np.zeros(5))


def test_frames_do_not_see_each_other(rng):
    frames, features = alloy(rng), rng.normal(size=(36, 4))
    sets = ElementActiveSets.fit(frames, features, filter_forces=False)
    order = [3, 3, 0, 7]
    atoms = np.concatenate([np.arange(3 * s, 3 * s + 3) for s in order])
    whole, part = sets.grade(frames, features), sets.grade(frames.take(order), features[atoms])
    np.testing.assert_allclose(part.frames, whole.frames[order])
