"""Figures taken from made-up measurements are those of brute force, scikit-learn, torchmetrics or a closed form."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import maximum_mean_discrepancy, poly_kernel

from streamer.evaluate.images.identity_figures import (
    identity_columns,
    nearness,
    ranks_of,
    reference_of,
    sample_of,
    verification_figures,
)
from streamer.evaluate.images.pairing import SHUFFLED, SWAPPED, background_distances, pairing_figure
from streamer.evaluate.images.scores import (
    chance_figures,
    columns_of,
    correlation_figure,
    counted,
    figures_of,
    group_figures,
    kept_figures,
    references_of,
)
from streamer.evaluate.measures.distances import frechet_figure, inception_figure, kernel_figure, polynomial_kernel
from streamer.types import Floats
from tests.evaluate.images.measured import CosineJudge, measured

JUDGE = CosineJudge()


def faces(people: int, each: int, *, size: int = 16, spread: float = 0.3, seed: int = 0) -> tuple[Floats, list[str]]:
    """Embeddings of people with several photos: their own direction, and some noise."""
    rng = np.random.default_rng(seed)
    own = np.repeat(rng.normal(size=(people, size)), each, axis=0)
    embeddings = own + spread * rng.normal(size=own.shape)
    return embeddings.astype(np.float32), [f"person {n // each}" for n in range(people * each)]


def test_outputs_that_are_the_input_all_match_and_all_rank_first():
    before, people = faces(30, 2)
    figures = figures_of(measured(before, before, people=people), [JUDGE])
    for name in ("match_rate", "match_rate_own_group", "rank1", "rank5", "similarity"):
        assert figures[f"{name}.made"].value == pytest.approx(1)
    assert figures["de_identify_rate.made"].value == 0
    assert figures["tar_after.made"].value == pytest.approx(figures["tar_before.made"].value)
    assert figures["eer_after.made"].value == pytest.approx(figures["eer_before.made"].value)
    assert figures["frechet.made"].value == pytest.approx(0, abs=1e-6)
    assert figures["kernel.made"].value == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_outputs_that_know_nothing_of_the_person_are_at_chance():
    before, people = faces(200, 2)
    after = np.random.default_rng(1).normal(size=before.shape).astype(np.float32)
    figures = figures_of(measured(before, after, people=people), [JUDGE])
    assert figures["tar_before.made"].value > 0.9
    assert figures["rank1.made"].low <= 1 / 200 <= figures["rank1.made"].high
    assert figures["rank5.made"].low <= 5 / 200 <= figures["rank5.made"].high
    assert figures["tar_after.made"].low <= 1e-3 <= figures["tar_after.made"].high
    assert figures["eer_after.made"].low <= 0.5 <= figures["eer_after.made"].high
    assert figures["match_rate.made"].value < 0.02
    assert abs(figures["similarity.made"].value) < 0.05


def test_the_chance_of_a_first_hit_is_that_of_scores_that_say_nothing():
    people = ["a"] * 5 + ["b"] * 2 + ["c"]
    m = measured(np.eye(8, dtype=np.float32), np.eye(8, dtype=np.float32), people=people)
    rng, names = np.random.default_rng(0), np.array(people)
    guesses = names[rng.random((4000, 8, 8)).argmax(axis=2)]  # (draws, probes)
    chance = chance_figures(m, references_of(m, [JUDGE]))
    assert chance["rank1_chance"].value == pytest.approx((guesses == names).mean(), abs=0.01)
    hits = (guesses == names).mean(axis=1)
    assert [chance["rank1_chance"].low, chance["rank1_chance"].high] == np.quantile(hits, [0.025, 0.975]).tolist()
    assert np.isnan(chance["match_rate_chance"].value)  # of so few pairs of strangers


def test_a_face_that_one_of_two_recognisers_knows_is_recognised_by_any():
    before, people = faces(50, 2)
    stranger = np.random.default_rng(1).normal(size=before.shape).astype(np.float32)
    other = CosineJudge()
    other.name = "other"
    m = measured(before, before, people=people)
    m = dataclasses.replace(m, before={"made": before, "other": before}, after={"made": stranger, "other": before})
    figures = figures_of(m, [JUDGE, other])
    assert figures["match_rate.made"].value < 0.1
    assert figures["match_rate_any"].value == 1
    assert figures["match_rate_any"].count == 100
    assert figures["match_rate_any_chance"].value == pytest.approx(0.002)


def test_one_in_a_thousand_pairs_of_strangers_is_above_the_threshold():
    before, people = faces(60, 1)  # 1,770 pairs, of which one may pass
    threshold = reference_of(measured(before, before, people=[f"{p}!" for p in people]), JUDGE).threshold
    scores = JUDGE.scores(before, before)[np.triu_indices(60, 1)]
    assert (scores > threshold).sum() == 1


def test_on_the_scale_of_nearness_strangers_are_at_0_and_whatever_is_above_1_is_a_match():
    before, people = faces(60, 2)
    noise = np.random.default_rng(1).normal(size=before.shape).astype(np.float32)
    m = measured(before, before + 1.2 * noise, people=people)
    reference = reference_of(m, JUDGE)
    columns = identity_columns(m, JUDGE, reference)
    assert ((columns["nearness"] > 1) == (columns["match_rate"] == 1)).all()
    assert 0 < columns["match_rate"].mean() < 1
    strangers = JUDGE.scores(before, before)[np.array(people)[:, None] != people]
    assert nearness(strangers, reference).mean() == pytest.approx(0, abs=1e-6)
    assert nearness(np.array([reference.threshold]), reference) == pytest.approx(1)
    assert figures_of(m, [JUDGE])["nearest.made"].value == columns["nearness"].max()


def test_nothing_is_said_to_be_near_where_strangers_already_pass():
    alike = np.ones((50, 4), np.float32)  # as of one face photographed 50 times under 50 names
    figures = figures_of(measured(alike, alike), [JUDGE])
    assert np.isnan(figures["nearness.made"].value)
    assert np.isnan(figures["nearest.made"].value)


def test_of_strangers_the_de_identify_rate_is_its_chance():
    before, people = faces(200, 1)
    m = measured(before, np.roll(before, 1, axis=0), people=[f"{p}!" for p in people])
    figures = figures_of(m, [JUDGE])
    chance = figures["de_identify_rate_chance.made"]
    assert chance.low <= figures["de_identify_rate.made"].value <= chance.high
    scores = JUDGE.scores(before, before)[np.triu_indices(200, 1)]
    assert chance.value == pytest.approx((scores < scores.mean()).mean(), abs=1e-3)


def test_the_names_of_whoever_is_recognised_are_kept_by_figure():
    before, people = faces(50, 2)
    after = np.random.default_rng(1).normal(size=before.shape).astype(np.float32)
    after[[3, 40]] = before[[3, 40]]
    m = measured(before, after, people=people)
    columns = columns_of(m, [JUDGE], references_of(m, [JUDGE]))
    found = counted(m, columns)
    assert set(found) == {"match_rate.made", "match_rate_any", "rank1.made"}
    assert {"made/3.png", "made/40.png"} <= set(found["rank1.made"])
    assert [len(names) for names in found.values()] == [columns.values[name].sum() for name in found]


def test_delta_is_the_mean_similarity_of_strangers():
    before, people = faces(12, 3, spread=0.05)
    reference = reference_of(measured(before, before, people=people), JUDGE)
    scores, who = JUDGE.scores(before, before), np.array(people)
    assert reference.delta == pytest.approx(scores[who[:, None] != who].mean())


def test_too_few_strangers_give_no_threshold_but_say_how_many_are_needed():
    before, _ = faces(10, 1)
    m = measured(before, before)
    figures = figures_of(m, [JUDGE])
    assert np.isnan(figures["match_rate.made"].value)
    assert "45 pairs of strangers, 1000 are needed" in figures["threshold.made"].note
    assert "45 pairs of strangers" in figures["match_rate.made"].note


def test_a_recogniser_with_a_usual_threshold_uses_it_where_strangers_are_few():
    before, _ = faces(10, 1)
    judge = CosineJudge()
    judge.usual_threshold = 0.5  # type: ignore[assignment]
    reference = reference_of(measured(before, before), judge)
    assert reference.threshold == 0.5
    assert "usual" in reference.note


def test_people_who_are_known_decide_the_threshold_not_unlabelled_twins():
    before, people = faces(50, 1)
    twins = np.concatenate([before, before])
    m = measured(twins, twins, people=[f"{p}!" for p in people] + [f"made/{n}.png" for n in range(50, 100)])
    assert list(sample_of(m)) == list(range(50))
    assert reference_of(m, JUDGE).threshold < 0.99


def test_a_group_whose_strangers_look_alike_has_a_stricter_threshold_of_its_own():
    unlike, _ = faces(60, 1)
    alike = faces(60, 1, seed=1)[0] + 1.0
    before = np.concatenate([unlike, alike]).astype(np.float32)
    groups = [("all", "a")] * 60 + [("all", "b")] * 60
    m = measured(before, before, people=[f"person {n}" for n in range(120)], groups=groups)
    own = reference_of(m, JUDGE).own_group
    for rows, name in ((slice(60), "a"), (slice(60, 120), "b")):
        scores = JUDGE.scores(before[rows], before[rows])[np.triu_indices(60, 1)]
        whole = JUDGE.scores(before, before)[np.triu_indices(120, 1)]
        expected = max(np.sort(scores)[-2], np.sort(whole)[-8])  # 1 of 1,770 and 7 of 7,140 may pass
        np.testing.assert_allclose(own[rows], expected, err_msg=name)


def test_ranks_count_the_people_who_score_more():
    gallery, people = faces(12, 3, spread=1.0)
    probes = faces(12, 3, spread=1.0, seed=5)[0]
    scores = JUDGE.scores(probes, gallery)
    expected = []
    for row, person in enumerate(people):
        best = {name: max(s for s, p in zip(scores[row], people, strict=True) if p == name) for name in set(people)}
        expected.append(1 + sum(score > best[person] for score in best.values()))
    assert ranks_of(probes, gallery, np.array(people), JUDGE).tolist() == expected


def test_verification_is_the_share_of_pairs_of_one_person_above_the_strangers_threshold():
    before, people = faces(40, 3, spread=1.0)
    figures = verification_figures(measured(before, before, people=people), JUDGE)
    who, upper = np.array(people), np.triu(np.ones((120, 120), bool), 1)
    scores = JUDGE.scores(before, before)
    same, strangers = scores[(who[:, None] == who) & upper], np.sort(scores[(who[:, None] != who) & upper])
    accepted = int(1e-3 * len(strangers))
    threshold = strangers[-accepted - 1]
    assert figures["tar_before"].value == pytest.approx((same > threshold).mean())
    assert figures["tar_before"].count == len(same) == 120
    # Where the curves cross, both rates are the equal error rate; the area tells that the curve is the right one.
    rates = [(float((strangers > t).mean()), float((same <= t).mean())) for t in np.sort(same)]
    nearest = min(rates, key=lambda rate: abs(rate[0] - rate[1]))
    assert figures["eer_before"].value == pytest.approx(sum(nearest) / 2, abs=0.01)
    area = roc_auc_score(np.r_[np.ones(len(same)), np.zeros(len(strangers))], np.r_[same, strangers])
    assert figures["eer_before"].value < 2 * (1 - area) + 0.05


def test_photos_of_people_seen_once_verify_nobody():
    before, people = faces(60, 1)
    figures = verification_figures(measured(before, before, people=people), JUDGE)
    assert np.isnan(figures["tar_after"].value)
    assert "several photos of one person" in figures["tar_after"].note


def test_the_de_identify_rate_is_the_share_less_alike_than_strangers_on_average():
    before = np.eye(4, dtype=np.float32)  # strangers: cosine 0, so delta is 0
    after = np.array([[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]], np.float32)
    m = measured(before, after, people=list("abcd"))
    columns = identity_columns(m, JUDGE, reference_of(m, JUDGE))
    assert columns["de_identify_rate"].tolist() == [0, 1, 1, 0]


def test_the_frechet_distance_is_that_of_torchmetrics_and_of_a_shift_its_square():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(400, 6)), rng.normal(0.3, 1.4, size=(400, 6))
    moments = [torch.from_numpy(value) for x in (before, after) for value in (x.mean(axis=0), np.cov(x.T))]
    assert frechet_figure(before, after).value == pytest.approx(float(_compute_fid(*moments)), rel=1e-4)
    shifted = frechet_figure(before, before + np.array([3, 4, 0, 0, 0, 0]))
    assert shifted.value == pytest.approx(25, rel=1e-6)
    assert shifted.low <= 25 <= shifted.high
    assert frechet_figure(before, before).low == 0


def test_too_few_photos_for_a_distance_say_how_many_are_needed():
    few = np.zeros((300, 2048), np.float32)
    assert inception_figure(few, few).note == "needs more than 2,048 photos, got 300"
    assert frechet_figure(few[:5, :8], few[:5, :8]).note == "needs more than 8 photos, got 5"
    assert inception_figure(few[:, :0], few[:, :0]).note == "needs --inception WEIGHTS"


def test_the_kernel_distance_is_the_unbiased_estimate_by_brute_force():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 5)), rng.normal(0.5, 1.0, size=(20, 5))
    scale = (x**2).sum(axis=1).mean()

    def k(a: Floats, b: Floats) -> float:
        return float((a @ b / scale + 1) ** 3)

    pairs = [(i, j) for i in range(20) for j in range(20) if i != j]
    terms = [k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i]) for i, j in pairs]
    assert kernel_figure(x, y).value == pytest.approx(1000 * float(np.mean(terms)))


def test_the_kernel_distance_of_unrelated_sets_is_near_that_of_torchmetrics():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(600, 5)), rng.normal(0.5, 1.0, size=(600, 5))
    scale = float((x**2).sum(axis=1).mean())
    kernels = [torch.from_numpy(polynomial_kernel(a, b, scale)) for a, b in ((x, x), (x, y), (y, y))]
    theirs = 1000 * float(maximum_mean_discrepancy(*kernels))
    ours = kernel_figure(x, y)
    assert ours.value == pytest.approx(theirs, rel=0.02)  # they pair an output with its original, too
    assert ours.low < theirs < ours.high


def test_the_kernel_is_torchmetrics_with_our_scale():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 7)), rng.normal(size=(5, 7))
    theirs = poly_kernel(torch.from_numpy(a), torch.from_numpy(b), degree=3, gamma=1 / 7, coef=1.0).numpy()
    np.testing.assert_allclose(polynomial_kernel(a, b, 7.0), theirs)


def test_what_is_kept_is_the_correlation_over_photos():
    rng = np.random.default_rng(0)
    before = rng.normal(size=(200, 1))
    after = 0.5 * before + rng.normal(size=(200, 1)) + 3
    figure = correlation_figure(before, after)
    assert figure.value == pytest.approx(np.corrcoef(before[:, 0], after[:, 0])[0, 1])
    assert figure.low < figure.value < figure.high
    assert correlation_figure(before, 2 * before + 1).value == pytest.approx(1)
    assert correlation_figure(before, np.ones_like(before)).value == 0


def test_faces_that_were_not_found_do_not_count_as_kept():
    m = measured(*(faces(20, 1)[0],) * 2)
    before = np.random.default_rng(0).normal(size=(20, 11)).astype(np.float32)
    after = before.copy()
    after[:3] = np.nan
    kept = kept_figures(dataclasses.replace(m, traits_before=before, traits_after=after))
    assert kept["mouth.kept"].value == pytest.approx(1)
    assert kept["mouth.kept"].count == 17


def test_groups_are_those_of_twenty_faces_that_are_not_everybody():
    before, people = faces(60, 1)
    groups = [("all", "few" if n < 19 else "many") for n in range(60)]
    m = measured(before, before, people=people, groups=groups)
    found = group_figures(m, columns_of(m, [JUDGE], references_of(m, [JUDGE])))
    assert set(found) == {"many"}
    assert found["many"]["ssim"].count == 41


def scenes(count: int) -> Floats:
    return np.random.default_rng(0).uniform(0, 255, (count, 256, 3)).astype(np.float32)


def test_backgrounds_are_compared_pixel_by_pixel_where_they_weigh():
    before, after = scenes(3), scenes(4)[1:]
    weights = np.random.default_rng(1).uniform(size=(3, 256)).astype(np.float32)
    expected = [
        [(w[:, None] * (x - y) ** 2).sum() / (3 * w.sum()) for y in after] for x, w in zip(before, weights, strict=True)
    ]
    np.testing.assert_allclose(background_distances(before, after, weights), expected, rtol=1e-4, atol=1e-6)


def test_outputs_of_their_own_originals_pass_the_sanity_check():
    before = scenes(10)
    embeddings = faces(10, 1)[0]
    noisy = before + np.random.default_rng(2).normal(0, 10, before.shape).astype(np.float32)
    figure, problems = pairing_figure(measured(embeddings, embeddings, places=(before, noisy)))
    assert figure.value == 1
    assert problems == []


def test_a_shuffled_pairing_is_caught():
    before = scenes(10)
    embeddings = faces(10, 1)[0]
    figure, problems = pairing_figure(measured(embeddings, embeddings, places=(before, np.roll(before, 1, axis=0))))
    assert figure.value == 0
    assert [problem.what for problem in problems] == [SHUFFLED]
    assert len(problems[0].names) == 10


def test_two_swapped_outputs_are_named():
    before = scenes(10)
    after = before.copy()
    after[[3, 7]] = before[[7, 3]]
    embeddings = faces(10, 1)[0]
    figure, problems = pairing_figure(measured(embeddings, embeddings, places=(before, after)))
    assert figure.value == 0.8
    assert [(p.what, p.names) for p in problems] == [(SWAPPED, ("made/3.png", "made/7.png"))]


def test_one_photo_is_no_evidence_of_a_pairing():
    embeddings = faces(1, 1)[0]
    figure, problems = pairing_figure(measured(embeddings, embeddings))
    assert figure.note == "needs 2 photos"
    assert problems == []
