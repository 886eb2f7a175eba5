"""What is done to identity: differential privacy for the coordinates that carry it, and pseudonyms under a key.

**Differential privacy.** A latent's coordinates along the identity directions of a model, `(k,)` whitened numbers, are
read once in the life of a track, clipped to a norm, and released with Gaussian noise. Which stranger is drawn may then
depend on the released vector in any way, and on nothing else of those coordinates: post-processing costs no privacy.
The noise is drawn anew for each release, from the system's generator and never from a key: noise under a key would be
the same for the same coordinates, so that two releases alike would tell that they are one person's.

What holds: let one person of a recording be exchanged for any other, and all but their identity coordinates stay the
same. The chance of any outcome, such as who is drawn in each track, then changes by no more than (epsilon, delta) says.
The accountant composes all tracks that it is told of, and takes them for one person's, the worst case. This holds
against whoever knows everything else, a key included. Under a mechanism nothing else that the stages above decide reads
identity: strangers are not chosen by likeness, sex or age; nobody is recognised who comes back; drawn faces are not
compared with the person, since a face that is replaced or covered as too alike, and a likeness that is reported, would
each be a second, unbounded release.

What does not hold:
- Only the identity coordinates are protected. Pose, expression, the outline of the face, hair, light, clothes, gait and
  voice pass, and may identify; so may what of a face a linear model does not take for identity. Light and colour pass
  as means of 6 x 6 cells, and so does a face that is not drawn under a mosaic: a solid cover shows nothing of it.
- Whether, where and how well a face is found, and with that which faces are drawn and when tracks begin and end, is
  read off its pixels, and not hidden.
- Without the comparison, a stranger may by chance look like the person.
- Who is to stay visible by consent is told by recognising everybody: whether someone is shown is not protected.
- It ends where the person's coordinates are used again: at a beta above 0, or in a release that is not accounted for.
  Other runs over the same person add up, runs over the same recording as well, and are not known here.
- Identity directions and strangers are learned from public training data, never from the person; the people of those
  data are not protected.
- Noise is drawn in double precision, not exactly: the last digits of a released vector may tell which values it can
  have come from (Mironov 2012). So a released vector stays in the process; what is seen is which of some thousand
  strangers it leads to. A discrete Gaussian (Canonne et al. 2020) would be exact; it is not used. Noise beyond 8.2
  sigma, a chance of 2e-16 a coordinate, never comes.

**Pseudonyms.** Without a mechanism a person becomes, under a key and in a stream, the same stranger whenever they come
back; under another key, or in a stream of another name, the stranger is drawn anew, and does not tell that it was the
same person; hair, voice and whatever else passes may. Of the few strangers that a model finds to suit someone, two keys
may draw the same. This is no differential privacy.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import math
import secrets
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

KEY_BYTES = 32  # as many as HMAC-SHA256 gives: a shorter key is the weaker part
_GAUSS = NormalDist()


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Return the least delta for which mu-Gaussian privacy is (epsilon, delta)-differential privacy.

        delta = Phi(-epsilon / mu + mu / 2) - e^epsilon Phi(-epsilon / mu - mu / 2)

    (Dong, Roth and Su 2022, corollary 2.13; Balle and Wang 2018, theorem 8, with mu = sensitivity / sigma.)

    Args:
        epsilon: At least 0.
        mu: Above 0.
    """
    near, far = epsilon / mu - mu / 2, epsilon / mu + mu / 2
    # e^epsilon Phi(-far) as a product without overflow: epsilon - far^2 / 2 = -near^2 / 2.
    second = math.exp(-near * near / 2) * _scaled_erfc(far / math.sqrt(2))
    return max(math.erfc(near / math.sqrt(2)) - second, 0.0) / 2


def gaussian_mu(epsilon: float, delta: float) -> float:
    """Return the greatest mu for which mu-Gaussian privacy is (epsilon, delta)-differential privacy.

    Noise of deviation sensitivity / mu is then the analytic Gaussian mechanism (Balle and Wang 2018, arXiv 1805.06530,
    algorithm 1): exact for every epsilon, where the classical sqrt(2 ln(1.25 / delta)) / epsilon is too much noise
    below 1 and proves nothing above.

    Args:
        epsilon: At least 0, finite.
        delta: In (0, 1).
    """
    return _last(lambda mu: gaussian_delta(epsilon, mu) <= delta)


def clip_norm(vectors: Doubles, bound: float) -> Doubles:
    """Return `(N, k)` vectors, those longer than `bound` shortened to it.

    Raises:
        ValueError: If a value is not finite: it could not be clipped.
    """
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise ValueError(f"vectors must be (N, k) and finite, got {vectors.shape}")
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    clipped: Doubles = vectors * (bound / np.maximum(length, bound))
    return clipped


@dataclass(frozen=True)
class GaussianMechanism:
    """Clips and adds noise, so that one release is (epsilon, delta)-differentially private.

    Attributes:
        epsilon: Above 0, finite: how much more likely an outcome can be for one person than for another, as e^epsilon.
        delta: In (0, 1): with what chance that may fail.
        bound: Norm that vectors are clipped to; two people's then lie at most twice as far apart.
    """

    epsilon: float
    delta: float
    bound: float

    def __post_init__(self) -> None:
        _check_budget(self.epsilon, self.delta)
        _check_positive("bound", self.bound)

    @cached_property
    def mu(self) -> float:
        """How hard one release is to tell from another's: as N(mu, 1) is from N(0, 1)."""
        return gaussian_mu(self.epsilon, self.delta)

    @property
    def sigma(self) -> float:
        """Deviation of the noise on each coordinate."""
        return 2 * self.bound / self.mu

    def release(self, vectors: npt.NDArray[Any]) -> Doubles:
        """Return `(N, k)` noisy vectors, each a release of its own: once per track, as a second one would add to it.

        Args:
            vectors: `(N, k)`, the identity coordinates of each track's person.

        Raises:
            ValueError: If a value is not finite.
        """
        clipped = clip_norm(np.asarray(vectors, np.float64), self.bound)
        return clipped + self.sigma * _noise(clipped.size).reshape(clipped.shape)


class PrivacyAccountant:
    """Adds up what has been released of one person, exactly: Gaussian mechanisms compose to a Gaussian mechanism.

        mu = sqrt(mu_1^2 + ... + mu_n^2)

    (Dong, Roth and Su 2022, corollary 3.3.) Whose track is whose is not known, so each counts as the same person's.
    For any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.releases = 0
        self._mu_squared = 0.0

    def record(self, mechanism: GaussianMechanism, releases: int) -> None:
        """Count `releases` of `mechanism`: tracks that began, re-entries among them.

        Raises:
            ValueError: If it would take back what is out.
        """
        if releases < 0:
            raise ValueError(f"releases must be at least 0, got {releases}")
        with self._lock:
            self.releases += releases
            self._mu_squared += releases * mechanism.mu**2

    def spent(self, delta: float) -> float:
        """Return the least epsilon for which everything released so far is (epsilon, delta)-differentially private.

        Args:
            delta: In (0, 1).

        Raises:
            ValueError: If it is not.
        """
        _check_delta(delta)
        mu = math.sqrt(self._mu_squared)
        return _last(lambda epsilon: gaussian_delta(epsilon, mu) >= delta) if mu else 0.0


def new_key() -> bytes:
    """Return a key that nobody else has."""
    return secrets.token_bytes(KEY_BYTES)


def load_key(path: Path | str) -> bytes:
    """Return the key in a file: all its bytes, whatever they are; a line's end at the end is part of it.

    Raises:
        ValueError: If it cannot be read, or is too short to be a secret.
    """
    try:
        key = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: the key cannot be read: {error.strerror or error}") from error
    if len(key) < KEY_BYTES:
        raise ValueError(
            f"{path}: a key needs at least {KEY_BYTES} bytes, this has {len(key)}; make one: "
            f"head -c {KEY_BYTES} /dev/urandom > {path}"
        )
    return key


def pseudonym_seed(key: bytes, *, stream: str, person: int) -> int:
    """Return what chooses the stranger of a person, in [0, 2^63): as good as drawn at random for who lacks the key.

    Args:
        key: The secret.
        stream: Name of a stream of the key's.
        person: A number within the stream.
    """
    message = b"pseudonym:%d:" % person + stream.encode("utf-8", "surrogatepass")
    return int.from_bytes(hmac.digest(key, message, hashlib.sha256)[:8], "big") >> 1


def stream_name(picture: npt.NDArray[np.uint8]) -> str:
    """Return the name of a stream that has none: it follows from a picture in it, and is as good as nobody else's."""
    shape = "x".join(map(str, picture.shape))
    return f"{shape}:{hashlib.sha256(np.ascontiguousarray(picture).data).hexdigest()}"


@dataclass
class _Person:
    embedding: Doubles = field(repr=False)  # (D,), unit
    seen: int = 1


class PseudonymBook:
    """The people of one session, in memory only, so that whoever comes back is drawn as the same stranger.

    In doubt a face is someone new, and is not remembered, so that it puts no one else in doubt.

    Args:
        threshold: Cosine above which two embeddings may be one person's: that of a low false accept rate
            (`models.metrics.false_accept_threshold`), for the recogniser that the embeddings are from.
        known: `(D,)` unit embeddings of people who are known beforehand, and numbered from 0 in their order. They are
            looked for first, never forgotten, and stay as they are.
    """

    MARGIN = 0.05  # of cosine, by which the most like person must be ahead of the next
    MAX_PEOPLE = 1000  # a megabyte, and a few milliseconds to search when a track begins
    MAX_SEEN = 8  # embeddings in a running mean; from then on it follows, as faces change with the light

    def __init__(self, threshold: float, known: Sequence[npt.NDArray[Any]] = ()) -> None:
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be in (0, 1), got {threshold}")
        self._threshold = threshold
        self._known = [np.asarray(embedding, np.float64) for embedding in known]
        self._people: dict[int, _Person] = {}  # from the longest unseen to the last seen
        self._numbers = itertools.count(len(known))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._people)} people)"  # no embedding: it identifies

    def identify(self, embedding: npt.NDArray[Any], *, exclude: Collection[int]) -> int:
        """Return the number of the person whose track begins, known or new; a number is never given twice.

        Args:
            embedding: `(D,)`, unit.
            exclude: Numbers of those who are visible now: nobody is in two places.

        Raises:
            ValueError: If the embedding is no unit vector.
        """
        if embedding.ndim != 1 or not abs(np.linalg.norm(embedding) - 1) < 1e-3:  # not <: catches what is no number
            raise ValueError(f"the embedding must be a unit vector (D,), got {embedding.shape}")
        for number in exclude:
            self._see(number)
        exact = np.asarray(embedding, np.float64)
        alike = self._most_alike(exact, range(len(self._known)), self._known)
        if len(alike) == 1 and alike[0] not in exclude:
            return alike[0]
        alike = self._most_alike(exact, self._people, [person.embedding for person in self._people.values()])
        if not alike:
            return self._remember(exact)
        if len(alike) > 1 or alike[0] in exclude:
            return next(self._numbers)
        self._see(alike[0])
        self._learn(self._people[alike[0]], exact)
        return alike[0]

    def people(self) -> dict[int, Doubles]:
        """Return the mean embedding `(D,)`, unit, of each person who is remembered, by number; not of the known."""
        return {number: person.embedding for number, person in self._people.items()}

    def _most_alike(self, embedding: Doubles, numbers: Collection[int], people: Sequence[Doubles]) -> list[int]:
        """Return whom of `people` it may be: nobody, the most like person, or several that are about as like."""
        if not people:
            return []
        cosines = np.stack(people) @ embedding
        best = cosines.max()
        if best <= self._threshold:
            return []
        return [number for number, cosine in zip(numbers, cosines, strict=True) if cosine > best - self.MARGIN]

    def _see(self, number: int) -> None:
        """Move a person to the end, as the last seen."""
        if number in self._people:
            self._people[number] = self._people.pop(number)

    def _remember(self, embedding: Doubles) -> int:
        """Return the number of a new person; the longest unseen is forgotten if there are too many."""
        if len(self._people) == self.MAX_PEOPLE:
            del self._people[next(iter(self._people))]
        number = next(self._numbers)
        self._people[number] = _Person(embedding)
        return number

    def _learn(self, person: _Person, embedding: Doubles) -> None:
        mean = person.seen * person.embedding + embedding
        person.embedding = mean / np.linalg.norm(mean)
        person.seen = min(person.seen + 1, self.MAX_SEEN)


def _noise(count: int) -> Doubles:
    """Return `(count,)` of unit Gaussian noise: what the system draws, through the inverse of Phi."""
    words = np.frombuffer(secrets.token_bytes(8 * count), "<u8")
    uniform = ((words >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52  # in (0, 1), all exact, symmetric
    return np.array([_GAUSS.inv_cdf(value) for value in uniform.tolist()])


def _scaled_erfc(x: float) -> float:
    """Return e^(x^2) erfc(x) for x from 0, where erfc alone would vanish too."""
    if x < 5:
        return math.exp(x * x) * math.erfc(x)
    fraction = x  # Abramowitz and Stegun 7.1.14, backwards; 40 terms are exact from 5 on
    for term in range(40, 0, -1):
        fraction = x + term / 2 / fraction
    return 1 / (math.sqrt(math.pi) * fraction)


def _last(holds: Callable[[float], bool]) -> float:
    """Return the greatest number above 0 for which `holds`, which does up to there and not beyond; 0 if for none."""
    low, high = 0.0, 1.0
    while holds(high):
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _check_budget(epsilon: float, delta: float) -> None:
    _check_positive("epsilon", epsilon)
    _check_delta(delta)


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ValueError(f"delta must be in (0, 1), got {delta}")


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be above 0 and finite, got {value}")
