"""The figures, against closed forms, scipy and scikit-image."""

import math

import numpy as np
import pytest
import torch

from models.metrics import (
    bootstrap_interval,
    cosine_similarity,
    false_accept_threshold,
    frechet_distance,
    landmark_error,
    rate_interval,
    ssim,
)


def test_similarity_is_the_cosine_of_each_pair_whatever_their_lengths() -> None:
    embeddings = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    others = np.array([[0.0, 3.0], [5.0, 0.0], [-1.0, 0.0]])
    assert cosine_similarity(embeddings, others) == pytest.approx([0, math.sqrt(0.5), -1])
    with pytest.raises(ValueError, match="one shape"):
        cosine_similarity(embeddings, others[:1])


def test_the_threshold_lets_through_the_asked_share_of_strangers_and_not_one_more() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1000.0))
    threshold = false_accept_threshold(scores, 0.01)
    assert threshold == 989
    assert (scores > threshold).mean() == 0.01
    assert (scores > np.nextafter(threshold, -np.inf)).mean() == 0.011


def test_strangers_who_tie_with_the_threshold_do_not_match() -> None:
    scores = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    threshold = false_accept_threshold(scores, 0.4)  # two of five may match, but the second ties with the third
    assert threshold == 0.5
    assert (scores > threshold).mean() == 0.2


def test_a_share_that_floats_round_down_is_counted_whole() -> None:
    assert 0.29 * 100 < 29
    assert false_accept_threshold(np.arange(100.0), 0.29) == 70


def test_too_few_strangers_and_impossible_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 1000 pairs, got 999"):
        false_accept_threshold(np.zeros(999), 1e-3)
    for rate in (0.0, 1.0):
        with pytest.raises(ValueError, match="rate"):
            false_accept_threshold(np.zeros(10), rate)


def with_moments(mean: list[float], deviations: list[float]) -> np.ndarray:
    """Four points whose sample mean and covariance (diagonal) are exactly these."""
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * math.sqrt(3 / 4)
    return np.array(mean) + corners * np.array(deviations)


def test_the_frechet_distance_of_gaussians_along_the_axes_is_that_of_their_means_and_deviations() -> None:
    distance = frechet_distance(with_moments([1, 2], [3, 1]), with_moments([4, 6], [1, 5]))
    assert distance == pytest.approx(3**2 + 4**2 + (3 - 1) ** 2 + (1 - 5) ** 2)


def test_the_frechet_distance_is_what_scipy_s_matrix_root_gives() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(1)
    features, others = rng.normal(size=(90, 12)) @ rng.normal(size=(12, 12)), rng.normal(1, 2, size=(70, 12))
    one, two = np.cov(features.T), np.cov(others.T)
    shift = ((features.mean(0) - others.mean(0)) ** 2).sum()
    expected = shift + np.trace(one + two - 2 * linalg.sqrtm(one @ two).real)
    assert frechet_distance(features, others) == pytest.approx(expected, rel=1e-9)


def test_the_frechet_distance_stays_exact_with_fewer_faces_than_features() -> None:
    """Mirrored, a set has the same covariance, of rank 4 in 64 dimensions, and twice the mean between."""
    features = np.random.default_rng(2).normal(3, 1, size=(5, 64)).astype(np.float32)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    expected = 4 * (features.astype(np.float64).mean(axis=0) ** 2).sum()
    assert frechet_distance(features, -features) == pytest.approx(expected, rel=1e-9)


def test_the_frechet_distance_refuses_single_faces_and_other_features() -> None:
    for shape in ((1, 3), (4, 2)):
        with pytest.raises(ValueError, match="features must be"):
            frechet_distance(np.zeros((4, 3)), np.zeros(shape))


def test_ssim_is_scikit_image_s_with_the_paper_s_window() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(3)
    pictures = rng.random((2, 3, 24, 31))
    others = np.clip(pictures + rng.normal(0, [[[[0.05]]], [[[0.4]]]], pictures.shape), 0, 1)
    expected = [
        metrics.structural_similarity(
            *pair, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=0, data_range=1.0
        )
        for pair in zip(pictures, others, strict=True)
    ]
    assert expected[1] < 0.7 < expected[0]
    assert ssim(torch.from_numpy(pictures), torch.from_numpy(others)).tolist() == pytest.approx(expected, abs=1e-9)


def test_ssim_of_even_pictures_compares_their_light() -> None:
    """Without structure only (2 x y + C1) / (x^2 + y^2 + C1) is left."""
    dark, light = torch.full((1, 1, 11, 11), 0.2), torch.full((1, 1, 11, 11), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim(dark, light).item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="at least 11"):
        ssim(dark[..., 1:], light[..., 1:])


def test_landmarks_move_in_shares_of_the_source_s_eyes_distance() -> None:
    source = np.array([[[10, 10], [30, 10], [20, 20], [13, 30], [27, 30]]], np.float32)
    moved = source.copy()
    moved[0, 0] += (3, 4)  # 5 pixels of 20, for one of five points
    assert landmark_error(source, moved) == pytest.approx([5 / 20 / 5])
    with pytest.raises(ValueError, match="landmarks must be"):
        landmark_error(source[:, :4], moved[:, :4])


def test_the_bootstrap_gives_the_interval_of_the_central_limit() -> None:
    values = np.random.default_rng(4).permutation(np.linspace(-1, 1, 4001))
    low, high = bootstrap_interval(values, seed=0)
    half = 1.96 * math.sqrt(1 / 3 / 4001)  # the variance of a uniform spread over [-1, 1] is 1/3
    assert (low, high) == pytest.approx((-half, half), rel=0.1)
    assert (low, high) == bootstrap_interval(values, seed=0)
    assert (low, high) != bootstrap_interval(values, seed=1)


def test_the_interval_of_a_rate_is_wilson_s() -> None:
    stats = pytest.importorskip("scipy.stats")
    for successes, count in ((0, 300), (3, 1000), (50, 50)):
        expected = stats.binomtest(successes, count).proportion_ci(method="wilson")
        assert rate_interval(successes, count) == pytest.approx((expected.low, expected.high), abs=1e-12)
    with pytest.raises(ValueError, match="successes"):
        rate_interval(2, 1)


def test_no_match_among_few_faces_proves_little() -> None:
    """z^2 / (n + z^2), though a bootstrap of zeros would say zero."""
    assert rate_interval(0, 100) == pytest.approx((0, 1.96**2 / (100 + 1.96**2)), rel=1e-4)
