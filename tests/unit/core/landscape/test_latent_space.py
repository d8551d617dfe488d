"""Components, clusters, paths and densities of latents whose answers are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cryobridge.core.landscape import (
    agreement,
    clusters,
    direct_path,
    distinct,
    graph_path,
    k_means,
    linear_map,
    log_density,
    nearest,
    principal_components,
    rank_correlation,
    traversal,
    umap_of,
)

RANDOM = np.random.default_rng(3)
TURN = np.linalg.qr(RANDOM.normal(size=(3, 3)))[0]
SPREAD = np.array([3.0, 1.0, 0.2])
POINTS = RANDOM.normal(size=(600, 3)) * SPREAD @ TURN.T + [5.0, -1.0, 2.0]
BLOBS = np.array([[0.0, 0], [1, 0], [10, 0], [11, 0], [0, 20]])
IN_BLOBS = np.repeat(BLOBS, 40, axis=0) + 0.05 * RANDOM.normal(size=(200, 2))


class TestComponents:
    def test_they_are_the_axes_that_were_put_in(self):
        found = principal_components(POINTS)
        np.testing.assert_allclose(np.abs(found.axes @ TURN), np.eye(3), atol=0.08)
        np.testing.assert_allclose(np.sqrt(found.variances), SPREAD, rtol=0.1)
        assert found.shares.sum() == pytest.approx(1)

    def test_their_signs_do_not_depend_on_the_order_of_the_particles(self):
        one, two = principal_components(POINTS), principal_components(POINTS[::-1].copy())
        np.testing.assert_allclose(one.axes, two.axes, atol=1e-9)
        assert (np.take_along_axis(one.axes, np.abs(one.axes).argmax(1)[:, None], 1) > 0).all()

    def test_scores_lead_back_to_the_points(self):
        found = principal_components(POINTS)
        np.testing.assert_allclose(found.points(found.scores(POINTS)), POINTS, atol=1e-9)

    def test_a_weight_counts_as_so_many_points(self):
        weights = RANDOM.integers(1, 4, 50)
        one = principal_components(POINTS[:50], weights)
        two = principal_components(np.repeat(POINTS[:50], weights, axis=0))
        np.testing.assert_allclose(one.variances, two.variances)

    @pytest.mark.parametrize("even", [True, False])
    def test_a_traversal_runs_from_the_5th_to_the_95th_percentile_of_one_component(self, even: bool):
        found = principal_components(POINTS)
        scores = found.scores(traversal(found, POINTS, 1, 5, even=even))
        np.testing.assert_allclose(scores[[0, -1], 1], np.percentile(found.scores(POINTS)[:, 1], [5, 95]))
        np.testing.assert_allclose(scores[:, [0, 2]], 0, atol=1e-9)
        middle = np.percentile(found.scores(POINTS)[:, 1], 50)
        assert (scores[2, 1] == pytest.approx(middle)) is not even

    def test_the_nearest_point_is_found(self):
        assert nearest(IN_BLOBS, IN_BLOBS[[7, 150]]).tolist() == [7, 150]


class TestClusters:
    def test_blobs_are_found_and_neighbours_have_neighbouring_numbers(self):
        found = k_means(IN_BLOBS, 5)
        blocks = found.labels.reshape(5, 40)
        assert (blocks == blocks[:, :1]).all()
        assert sorted(found.counts) == [40] * 5
        numbers = blocks[:, 0]
        assert abs(numbers[0] - numbers[1]) == abs(numbers[2] - numbers[3]) == 1

    def test_a_centre_is_a_point_of_its_cluster(self):
        found = k_means(POINTS, 7)
        assert found.labels[found.centres].tolist() == list(range(7))

    def test_the_same_points_give_the_same_clusters(self):
        assert (k_means(POINTS, 7).labels == k_means(POINTS, 7).labels).all()

    def test_batches_leave_no_cluster_without_points(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(clusters, "_MINI_BATCH_ABOVE", 100)
        points = np.random.default_rng(0).normal(size=(400, 8))
        found = k_means(points, 300)
        assert len(found.counts) < 300
        assert found.counts.min() > 0
        assert found.labels[found.centres].tolist() == list(range(len(found.counts)))

    def test_more_clusters_than_points_are_refused(self):
        with pytest.raises(ValueError, match="3 clusters of 2 different points"):
            k_means(np.array([[0.0], [0.0], [1.0]]), 3)


class TestPaths:
    def test_a_direct_path_goes_straight_through_its_anchors(self):
        anchors = np.array([[0.0, 0], [3, 0], [3, 3]])
        path = direct_path(anchors, 2)
        assert path.tolist() == [[0, 0], [1, 0], [2, 0], [3, 0], [3, 1], [3, 2], [3, 3]]
        assert direct_path(anchors, 2, loop=True)[-1].tolist() == [0, 0]

    def test_a_graph_path_follows_the_particles_around_what_is_empty(self):
        angles = np.linspace(0, np.pi, 200)
        horseshoe = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        path = graph_path(horseshoe, [0, 199])
        assert path.members[[0, -1]].tolist() == [0, 199]
        assert path.length == pytest.approx(np.pi, rel=0.01)
        steps = np.linalg.norm(np.diff(horseshoe[path.members], axis=0), axis=1)
        assert steps.max() <= path.longest_edge

    def test_it_is_the_shortest_of_all_ways(self):
        """Against every order of the points in between."""
        points = RANDOM.normal(size=(7, 2))
        path = graph_path(points, [0, 6], most_neighbours=6, average_neighbours=3)
        distance = np.linalg.norm(points[:, None] - points[None], axis=2)
        ways = ((0, *middle, 6) for count in range(6) for middle in itertools.permutations(range(1, 6), count))
        lengths = [[distance[a, b] for a, b in itertools.pairwise(way)] for way in ways]
        allowed = [sum(way) for way in lengths if max(way) <= path.longest_edge]
        assert path.length == pytest.approx(min(allowed))

    def test_an_island_cannot_be_reached(self):
        with pytest.raises(ValueError, match="particle 199 cannot be reached from particle 0"):
            graph_path(IN_BLOBS, [0, 199])

    def test_it_takes_as_many_neighbours_as_reach_the_anchors_and_no_more(self):
        steps = np.random.default_rng(0).uniform(0.9, 1.1, (2, 30))

        def line(gap: float) -> np.ndarray:
            return np.cumsum(np.r_[0.0, steps[0], gap, steps[1]])[:, None]

        assert graph_path(line(1.0), [0, 61]).average_neighbours == 5
        wider = graph_path(line(3.3), [0, 61])
        assert wider.average_neighbours > 5
        with pytest.raises(ValueError, match="cannot be reached"):
            graph_path(line(3.3), [0, 61], average_neighbours=wider.average_neighbours - 1)
        with pytest.raises(ValueError, match="cannot be reached"):
            graph_path(line(40.0), [0, 61])

    def test_the_images_of_a_tilt_series_are_one_place_and_the_anchors_are_those_asked_for(self):
        angles = np.linspace(0, np.pi, 200)
        horseshoe = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        wanted = graph_path(horseshoe, [0, 90, 199])
        found = graph_path(np.repeat(horseshoe, 12, axis=0), [5, 1090, 2399])
        assert (found.members // 12).tolist() == wanted.members.tolist()
        assert (found.length, found.longest_edge) == (wanted.length, wanted.longest_edge)
        assert {5, 1090, 2399} <= set(found.members.tolist())
        with pytest.raises(ValueError, match="one place"):
            graph_path(np.ones((30, 2)), [0, 29])

    def test_two_particles_at_one_place_are_joined(self):
        points = np.array([[0.0], [0.0], [1.0]])
        assert graph_path(points, [0, 1, 2], average_neighbours=2).members.tolist() == [0, 1, 2]


class TestAgreement:
    def test_a_turn_and_a_scale_change_nothing(self):
        found = agreement(POINTS, 3 * POINTS @ TURN + 1)
        np.testing.assert_allclose(found.canonical, 1)
        assert found.procrustes == pytest.approx(1)
        assert found.neighbours == found.labels == 1

    def test_a_shear_keeps_what_is_linear_only(self):
        found = agreement(POINTS, POINTS @ np.diag([1, 20.0, 300]))
        np.testing.assert_allclose(found.canonical, 1)
        assert found.procrustes < 0.9
        assert found.neighbours < 0.7

    def test_latents_that_have_nothing_in_common_agree_in_nothing(self):
        found = agreement(POINTS, RANDOM.normal(size=(600, 3)))
        assert found.canonical.max() < 0.25
        assert found.procrustes < 0.1
        assert found.neighbours < 0.1
        assert found.labels < 0.1

    def test_neighbours_are_those_of_particles_not_of_their_images(self):
        """Of the images of one particle any fifteen are as near as any others."""
        other = POINTS + 0.2 * np.random.default_rng(1).normal(size=POINTS.shape)
        wanted = agreement(POINTS, other).neighbours
        assert agreement(np.repeat(POINTS, 20, axis=0), np.repeat(other, 20, axis=0)).neighbours == wanted < 0.9
        assert agreement(np.ones((30, 2)), np.ones((30, 2))).neighbours == 1

    def test_the_linear_map_between_two_runs_is_found(self):
        matrix = RANDOM.normal(size=(3, 2))
        found = linear_map(POINTS, POINTS @ matrix + 4)
        np.testing.assert_allclose(found.matrix, matrix, atol=1e-9)
        np.testing.assert_allclose(found(POINTS), POINTS @ matrix + 4, atol=1e-8)
        assert found.explained == pytest.approx(1)
        assert linear_map(POINTS, RANDOM.normal(size=(600, 2))).explained < 0.05


def test_density_is_that_of_a_gaussian():
    points = RANDOM.normal(size=(4000, 2))
    found = log_density(points)
    assert rank_correlation(found, -(points**2).sum(axis=1)) > 0.9


def test_density_of_a_tilt_series_is_that_of_its_particles():
    wanted = log_density(POINTS)
    np.testing.assert_array_equal(log_density(np.repeat(POINTS, 25, axis=0)), np.repeat(wanted, 25))
    assert log_density(np.ones((30, 2))).tolist() == [0.0] * 30


def test_distinct_points_are_the_first_of_their_kind_in_their_order():
    first, which = distinct(np.array([[2.0, 1.0], [1.0, 5.0], [2.0, 1.0], [1.0, 4.0], [1.0, 5.0]]))
    assert first.tolist() == [0, 1, 3]
    assert which.tolist() == [0, 1, 0, 2, 1]


def test_rank_correlation_sees_order_only_and_passes_over_what_is_unknown():
    x = np.linspace(0, 3, 50)
    assert rank_correlation(x, np.exp(x)) == pytest.approx(1)
    gaps = np.where(np.arange(50) % 5 == 0, np.nan, -(x**3))
    assert rank_correlation(x, gaps) == pytest.approx(-1)
    assert rank_correlation(x, np.ones(50)) == 0


@pytest.mark.slow
def test_a_umap_of_a_tilt_series_is_that_of_its_particles():
    pytest.importorskip("umap")
    np.testing.assert_array_equal(umap_of(np.repeat(IN_BLOBS, 20, axis=0)), np.repeat(umap_of(IN_BLOBS), 20, axis=0))


@pytest.mark.slow
def test_a_umap_of_a_sample_has_a_place_for_everybody():
    pytest.importorskip("umap")
    labels = np.repeat(np.arange(5), 40)
    places = umap_of(IN_BLOBS, fitted=150)
    assert np.isfinite(places).all()
    middles = np.array([np.median(places[labels == blob], axis=0) for blob in range(5)])
    nearest_blob = np.linalg.norm(places[:, None] - middles, axis=2).argmin(axis=1)
    assert (nearest_blob == labels).mean() > 0.9
