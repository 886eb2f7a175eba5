"""Differential privacy against numerical integration and an attack; pseudonyms by who is taken for whom."""

import itertools
import math
import random
from pathlib import Path

import numpy as np
import pytest

from models.privacy import (
    GaussianMechanism,
    PrivacyAccountant,
    PseudonymBook,
    clip_norm,
    gaussian_delta,
    load_key,
    new_key,
    pseudonym_seed,
    stream_name,
)

KEY = bytes(range(32))


def noise_of(epsilon: float, delta: float, *, sensitivity: float) -> float:
    """The deviation of the noise where two people's vectors lie at most so far apart."""
    return GaussianMechanism(epsilon, delta, bound=sensitivity / 2).sigma


def hockey_stick(epsilon: float, *, sigma: float, sensitivity: float) -> float:
    """Integral of max(0, p - e^epsilon q), p and q Gaussians `sensitivity` apart: delta by its definition."""
    integrate = pytest.importorskip("scipy.integrate")
    norm = pytest.importorskip("scipy.stats").norm
    crossing = epsilon * sigma**2 / sensitivity + sensitivity / 2  # where p = e^epsilon q; beyond, p is larger

    def excess(x: float) -> float:
        return float(norm.pdf(x, sensitivity, sigma) - math.exp(epsilon) * norm.pdf(x, 0, sigma))

    value, _ = integrate.quad(excess, crossing, crossing + 40 * sigma, limit=500, epsabs=1e-14)
    return float(value)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0, 12.0])
@pytest.mark.parametrize("delta", [1e-5, 0.05])
def test_sigma_is_just_enough_noise_by_numerical_integration(epsilon: float, delta: float) -> None:
    sigma = noise_of(epsilon, delta, sensitivity=3.0)
    assert hockey_stick(epsilon, sigma=sigma, sensitivity=3.0) == pytest.approx(delta, rel=1e-5)


def test_sigma_is_the_published_one() -> None:
    """What the authors' program prints for these arguments (Balle and Wang 2018)."""
    assert noise_of(1.0, 1e-5, sensitivity=1.0) == pytest.approx(3.730631634944469, rel=1e-9)
    assert noise_of(1.0, 1e-5, sensitivity=2.5) == pytest.approx(2.5 * 3.730631634944469, rel=1e-9)


@pytest.mark.parametrize(
    ("mu", "epsilon", "delta"), [(1, 0, 0.38292492), (1, 1, 0.12693674), (1, 2, 0.02092364), (3, 1, 0.78760074)]
)
def test_delta_is_the_published_one(mu: float, epsilon: float, delta: float) -> None:
    """From the tests of Google's differential privacy library."""
    assert gaussian_delta(epsilon, mu) == pytest.approx(delta, abs=5e-9)


@pytest.mark.parametrize("epsilon", [1e-6, 30.0, 800.0, 1e5])
def test_delta_is_exact_where_its_terms_overflow_or_cancel(epsilon: float) -> None:
    special = pytest.importorskip("scipy.special")
    mu = 1 / noise_of(epsilon, 1e-6, sensitivity=1.0)
    near, far = -epsilon / mu + mu / 2, -epsilon / mu - mu / 2
    expected = special.ndtr(near) - math.exp(epsilon + special.log_ndtr(far))
    assert expected == pytest.approx(1e-6, rel=1e-4)


def test_more_privacy_is_more_noise() -> None:
    sigmas = [noise_of(epsilon, 1e-5, sensitivity=1.0) for epsilon in (0.1, 0.5, 1, 5, 50)]
    assert sigmas == sorted(sigmas, reverse=True)


@pytest.mark.parametrize(
    ("epsilon", "delta", "sensitivity", "name"),
    [
        (0.0, 0.1, 1.0, "epsilon"),
        (math.inf, 0.1, 1.0, "epsilon"),
        (math.nan, 0.1, 1.0, "epsilon"),
        (1.0, 0.0, 1.0, "delta"),
        (1.0, 1.0, 1.0, "delta"),
        (1.0, 0.1, 0.0, "bound"),
    ],
)
def test_a_budget_that_is_none_is_refused(epsilon: float, delta: float, sensitivity: float, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        noise_of(epsilon, delta, sensitivity=sensitivity)


def test_vectors_longer_than_the_bound_are_shortened_and_others_left() -> None:
    vectors = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    np.testing.assert_allclose(clip_norm(vectors, 2.5), [[1.5, 2.0], [0.3, 0.4], [0.0, 0.0]])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_cannot_be_clipped_is_not_released(value: float) -> None:
    mechanism = GaussianMechanism(1.0, 0.1, bound=1.0)
    with pytest.raises(ValueError, match="finite"):
        mechanism.release(np.array([[value, 0.0]]))


def test_no_two_people_can_be_told_apart_by_more_than_twice_the_bound() -> None:
    """The noise is for clipped vectors of opposite directions, the farthest there are."""
    mechanism = GaussianMechanism(1.0, 0.05, bound=4.0)
    assert hockey_stick(1.0, sigma=mechanism.sigma, sensitivity=8.0) == pytest.approx(0.05, rel=1e-5)


def test_the_noise_is_gaussian_of_the_stated_deviation_on_every_coordinate() -> None:
    stats = pytest.importorskip("scipy.stats")
    mechanism = GaussianMechanism(2.0, 1e-3, bound=1.0)
    released = mechanism.release(np.zeros((2000, 5)))
    assert stats.kstest(released.ravel() / mechanism.sigma, "norm").pvalue > 1e-6  # by chance once in a million runs
    correlation = np.corrcoef(released.T) - np.eye(5)
    assert np.abs(correlation).max() < 6 / math.sqrt(2000)


def test_an_attacker_who_knows_all_but_the_person_gains_what_epsilon_and_delta_say_and_no_less() -> None:
    """The likelihood ratio of the two farthest people, the strongest test there is, on the real mechanism."""
    epsilon, delta, count = 1.0, 0.1, 40_000
    mechanism = GaussianMechanism(epsilon, delta, bound=2.0)
    one, other = np.array([[30.0, 0.0]]), np.array([[-30.0, 0.0]])  # clipped to 2 and -2
    ratios = []
    for person in (one, other):
        released = mechanism.release(person.repeat(count, axis=0))
        distances = [((released - clip_norm(known, 2.0)) ** 2).sum(axis=1) for known in (one, other)]
        ratios.append((distances[1] - distances[0]) / (2 * mechanism.sigma**2))
    gains = []
    for threshold in np.linspace(-3, 3, 61):
        hits, false_alarms = ((ratio > threshold).mean() for ratio in ratios)
        gains.append(hits - math.exp(epsilon) * false_alarms)
    error = math.sqrt((0.25 + math.exp(2 * epsilon) * 0.25) / count)  # of a gain, at most
    assert max(gains) < delta + 4 * error
    assert max(gains) > delta - 4 * error
    assert 4 * error < 0.35 * delta  # so that half or twice the noise would show


def test_no_two_releases_share_their_noise() -> None:
    """Not even of the same coordinates: that they are the same is what must not show."""
    mechanism = GaussianMechanism(1.0, 1e-5, bound=3.0)
    person = np.array([[1.0, 2.0], [1.0, 2.0]])
    noises = [noise for _ in range(3) for noise in mechanism.release(person) - person]
    for one, other in itertools.combinations(noises, 2):
        assert np.abs(one - other).min() > 1e-7 * mechanism.sigma


def test_noise_does_not_follow_from_what_a_program_seeds() -> None:
    mechanism, releases = GaussianMechanism(1.0, 1e-5, bound=3.0), []
    for _ in range(2):
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002 - what a program would do
        releases.append(mechanism.release(np.zeros((1, 4))))
    assert (releases[0] != releases[1]).all()


def test_nobody_is_no_release() -> None:
    assert GaussianMechanism(1.0, 1e-5, bound=3.0).release(np.zeros((0, 2))).shape == (0, 2)


def test_one_release_spends_its_epsilon_and_none_spends_nothing() -> None:
    accountant = PrivacyAccountant()
    assert accountant.spent(1e-5) == 0
    accountant.record(GaussianMechanism(0.7, 1e-5, bound=9.0), 1)
    assert accountant.spent(1e-5) == pytest.approx(0.7, rel=1e-9)
    assert accountant.spent(1e-6) > 0.7


def test_releases_compose_as_their_privacy_losses_add_up() -> None:
    """Independently: the losses' distributions, N(mu^2 / 2, mu^2), convolved on a grid, and delta by its definition."""
    mechanism, releases, delta = GaussianMechanism(0.5, 1e-3, bound=1.0), 5, 1e-3
    accountant = PrivacyAccountant()
    accountant.record(mechanism, 2)
    accountant.record(mechanism, releases - 2)
    assert accountant.releases == releases
    mu, step = 2 * mechanism.bound / mechanism.sigma, 2e-3
    grid = np.arange(-2000, 2001) * step
    one = np.exp(-((grid - mu**2 / 2) ** 2) / (2 * mu**2))
    one /= one.sum()
    total = one
    for _ in range(releases - 1):
        total = np.convolve(total, one)
    losses = np.arange(-2000 * releases, 2000 * releases + 1) * step
    excess = np.maximum(1 - np.exp(accountant.spent(delta) - losses), 0)
    assert (total * excess).sum() == pytest.approx(delta, rel=1e-4)


def test_many_releases_cost_less_than_their_sum() -> None:
    accountant = PrivacyAccountant()
    accountant.record(GaussianMechanism(0.1, 1e-6, bound=1.0), 100)
    assert 0.1 < accountant.spent(1e-6) < 0.2 * math.sqrt(100)


def test_mechanisms_of_different_noise_compose_by_the_squares_of_their_mu() -> None:
    weak, strong = GaussianMechanism(2.0, 1e-4, bound=1.0), GaussianMechanism(0.5, 1e-4, bound=5.0)
    accountant = PrivacyAccountant()
    accountant.record(weak, 1)
    accountant.record(strong, 3)
    mu = math.sqrt((2 / weak.sigma) ** 2 + 3 * (10 / strong.sigma) ** 2)
    assert gaussian_delta(accountant.spent(1e-4), mu) == pytest.approx(1e-4, rel=1e-9)


def test_a_large_delta_alone_may_pay_for_everything() -> None:
    accountant = PrivacyAccountant()
    accountant.record(GaussianMechanism(0.1, 1e-6, bound=1.0), 1)
    assert accountant.spent(0.5) == 0
    with pytest.raises(ValueError, match="delta"):
        accountant.spent(1.0)
    with pytest.raises(ValueError, match="releases"):
        accountant.record(GaussianMechanism(0.1, 1e-6, bound=1.0), -1)


def test_a_seed_depends_on_key_stream_and_person_and_fits_a_tensor() -> None:
    seeds = {
        pseudonym_seed(key, stream=stream, person=person)
        for key, stream, person in itertools.product((KEY, KEY[::-1]), ("1", "11"), (1, 11, 111))
    }
    assert len(seeds) == 12
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**60
    assert pseudonym_seed(KEY, stream="1", person=1) == pseudonym_seed(KEY, stream="1", person=1)


@pytest.mark.parametrize(
    ("one", "other"), [((1, ":2"), (1, "2")), ((11, "2"), (1, "1:2")), ((1, "\udce9"), (1, "\xe9"))]
)
def test_person_and_stream_are_not_mistaken_for_each_other(one: tuple[int, str], other: tuple[int, str]) -> None:
    seeds = {pseudonym_seed(KEY, stream=stream, person=person) for person, stream in (one, other)}
    assert len(seeds) == 2


def test_a_picture_names_its_stream_by_what_it_shows() -> None:
    picture = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    others = [picture + np.uint8(1), picture.reshape(2, 8, 3), picture[::-1]]
    assert stream_name(picture) == stream_name(picture.copy())
    assert len({stream_name(one) for one in (picture, *others)}) == 4
    assert stream_name(picture[:, ::2]) == stream_name(picture[:, ::2].copy())  # a view, too


def test_a_key_is_read_as_it_is_and_a_short_or_missing_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\x00\n" * 16)
    assert load_key(tmp_path / "key") == b"\x00\n" * 16
    (tmp_path / "short").write_bytes(b"secretsecretsecret")
    with pytest.raises(ValueError, match=r"short: a key needs at least 32 bytes, this has 18") as caught:
        load_key(tmp_path / "short")
    assert "secret" not in str(caught.value).replace(str(tmp_path), "")
    with pytest.raises(ValueError, match=r"absent: the key cannot be read"):
        load_key(tmp_path / "absent")


def test_new_keys_are_long_enough_and_never_the_same(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(new_key())
    assert load_key(tmp_path / "key") != new_key()


def toward(degrees: float) -> np.ndarray:
    """A unit embedding in a plane: two are as alike as the cosine of the angle between."""
    return np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), 0.0])


@pytest.fixture
def book() -> PseudonymBook:
    return PseudonymBook(threshold=0.5)  # 60 degrees


def test_whoever_comes_back_keeps_their_number(book: PseudonymBook) -> None:
    first, second = book.identify(toward(0), exclude=()), book.identify(toward(90), exclude=())
    assert first != second
    assert book.identify(toward(10), exclude=()) == first
    assert book.identify(toward(100), exclude=()) == second


def test_a_stranger_gets_a_number_of_their_own(book: PseudonymBook) -> None:
    first = book.identify(toward(0), exclude=())
    assert book.identify(toward(61), exclude=()) != first


def test_a_face_between_two_people_is_neither_and_puts_neither_in_doubt(book: PseudonymBook) -> None:
    first, second = book.identify(toward(0), exclude=()), book.identify(toward(80), exclude=())
    between = book.identify(toward(40.5), exclude=())
    assert between not in (first, second)
    assert book.identify(toward(39.5), exclude=()) not in (first, second, between)
    assert book.identify(toward(15), exclude=()) == first
    assert book.identify(toward(65), exclude=()) == second


def test_nobody_is_in_two_places(book: PseudonymBook) -> None:
    first = book.identify(toward(0), exclude=())
    double = book.identify(toward(1), exclude={first})
    assert double != first
    assert book.identify(toward(1), exclude={double}) == first


def test_a_double_of_someone_visible_is_not_taken_for_the_next_like_person(book: PseudonymBook) -> None:
    first, second = book.identify(toward(0), exclude=()), book.identify(toward(61), exclude=())
    assert book.identify(toward(10), exclude={first}) not in (first, second)


def test_a_person_is_known_by_the_mean_of_how_they_looked(book: PseudonymBook) -> None:
    first = book.identify(toward(0), exclude=())
    assert book.identify(toward(50), exclude=()) == first  # the mean of both is at 25
    assert book.identify(toward(84), exclude=()) == first
    assert book.identify(toward(-40), exclude=()) != first


def test_the_mean_follows_a_face_that_changes(book: PseudonymBook) -> None:
    first = book.identify(toward(0), exclude=())
    for degrees in [0] * 100 + [50] * 20:  # an equal weight for all would leave the mean at 8
        assert book.identify(toward(degrees), exclude=()) == first
    assert book.identify(toward(95), exclude=()) == first


def test_of_too_many_people_the_longest_unseen_is_forgotten_and_no_number_comes_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PseudonymBook, "MAX_PEOPLE", 3)
    book = PseudonymBook(threshold=0.9)
    first, second, third = (book.identify(toward(degrees), exclude=()) for degrees in (0, 60, 120))
    assert book.identify(toward(0), exclude=()) == first
    fourth = book.identify(toward(180), exclude={second})  # the third was seen before both of the others
    assert [book.identify(toward(degrees), exclude=()) for degrees in (0, 60, 180)] == [first, second, fourth]
    assert book.identify(toward(120), exclude=()) not in (first, second, third, fourth)


def test_what_is_printed_of_a_book_identifies_nobody(book: PseudonymBook) -> None:
    book.identify(toward(12), exclude=())
    assert repr(book) == "PseudonymBook(1 people)"
    assert "0.97" not in repr(vars(book))


@pytest.mark.parametrize(
    "embedding", [np.array([2.0, 0.0]), np.array([math.nan, 1.0]), np.zeros(2), np.array([[1.0, 0.0]])]
)
def test_what_is_no_unit_vector_is_nobody(book: PseudonymBook, embedding: np.ndarray) -> None:
    with pytest.raises(ValueError, match="unit vector"):
        book.identify(embedding, exclude=())


@pytest.mark.parametrize("threshold", [0.0, 1.0, math.nan])
def test_a_threshold_that_everyone_or_nobody_passes_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        PseudonymBook(threshold)
