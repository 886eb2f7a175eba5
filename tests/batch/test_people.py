"""One person becomes one stranger in all parts of a video: who is glanced at, how parts agree, what damage does."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from models.privacy import PseudonymBook
from streamer.batch.glances import key_frames
from streamer.batch.manifest import Manifest
from streamer.batch.people import merged
from streamer.batch.work import Work
from streamer.pipeline.anonymizer import Anonymizer
from streamer.render.pseudonym import Pseudonyms
from streamer.settings import Settings
from streamer.types import Image, KnownPerson
from tests.batch.archives import batch, files_below, first_picture, frames_of, records
from tests.clips import SHARED_CLIPS, encode_clip

KEYS = {"g": "8", "keyint_min": "8", "sc_threshold": "0"}  # a key frame every 0.8 seconds
IN_PARTS = ("--part-minutes", "0.0267")  # 1.6 s
PORTRAITS = ("portrait_720p_a.mp4", "portrait_720p_b.mp4")


def person(*towards: float, stranger: int = 0, looks: int = 1) -> KnownPerson:
    embedding = np.array(towards, np.float32)
    return KnownPerson(embedding / np.linalg.norm(embedding), stranger, looks)


def test_who_is_in_several_parts_becomes_the_stranger_of_the_part_in_which_they_were_seen_most() -> None:
    found = merged(
        [
            [person(1, 0, 0.2, stranger=1, looks=2), person(0, 1, 0, stranger=2)],
            [person(0, 1, 0.3, stranger=3, looks=3), person(1, 0.2, 0, stranger=4)],
            [],
        ]
    )
    assert [(each.stranger, each.looks) for each in found] == [(3, 4), (1, 3)]
    assert found[0].embedding == pytest.approx(np.array([0, 1 + 3 / 1.09**0.5, 0.9 / 1.09**0.5]) / 4, abs=0.01)
    assert merged([[], []]) == ()


def test_no_two_who_are_left_could_be_taken_for_each_other() -> None:
    """Merging moves people: two who were unlike may be alike after it."""
    generator = np.random.default_rng(3)
    people = [person(*generator.normal(size=4), stranger=n) for n in range(60)]
    cosines = np.array([each.embedding for each in merged([people])])
    cosines = cosines @ cosines.T - 2 * np.eye(len(cosines))
    assert cosines.max() <= 0.412


def test_of_thousands_those_seen_most_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PseudonymBook, "MAX_PEOPLE", 50)
    rows = np.random.default_rng(0).normal(size=(5000, 128))
    found = merged([[person(*row, stranger=n, looks=1 + (n % 100 == 7))] for n, row in enumerate(rows)])
    assert [each.stranger for each in found] == list(range(7, 5000, 100))


def test_what_identifies_is_not_shown() -> None:
    assert "embedding" not in repr(person(1, 0))


def test_key_frames_of_a_part_are_few_and_within_it(tmp_path: Path) -> None:
    clip = encode_clip(tmp_path / "clip.mp4", pts=range(5, 405), options=KEYS)
    times = [frame.pts * frame.time_base for frame in key_frames(clip, start=Fraction(8), end=Fraction(32))]
    assert times[0] - Fraction(1, 2) == 8
    assert times[-1] - Fraction(1, 2) < 32
    assert all((time - times[0]) % Fraction(4, 5) == 0 for time in times)
    assert len(times) == 16  # one in two seconds, and those that may come early


def damaged(clip: Path, start: float, end: float) -> Path:
    """Return a clip of whose pictures all bytes from one share of the file to another are noise."""
    with av.open(str(clip)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(clip.read_bytes())
    noise = np.random.default_rng(0)
    for place, size in packets[round(start * len(packets)) : round(end * len(packets))]:
        data[place : place + size] = noise.bytes(size)
    broken = clip.with_name("broken.mp4")
    broken.write_bytes(data)
    return broken


def face_clip(path: Path, face: Image, frames: int = 40) -> Path:
    return encode_clip(path, pts=range(frames), pictures=[face] * frames, size=face.shape[1::-1], options=KEYS)


def test_glances_leave_out_what_is_damaged(tmp_path: Path) -> None:
    clip = encode_clip(tmp_path / "clip.mp4", pts=range(40), options=KEYS)
    whole, broken = (
        [frame.pts * frame.time_base for frame in key_frames(path, start=Fraction(0), end=None)]
        for path in (clip, damaged(clip, 0.2, 0.6))
    )
    assert [float(time) for time in whole] == pytest.approx([0, 0.8, 1.6, 2.4, 3.2])
    assert [float(time) for time in broken] == pytest.approx([0, 2.4, 3.2])
    clip.write_bytes(clip.read_bytes()[:400])
    assert list(key_frames(clip, start=Fraction(0), end=None)) == []


def test_nobody_is_known_under_a_mechanism(anonymizer: Anonymizer) -> None:
    private = anonymizer.with_settings(Settings(epsilon=1.0))
    with pytest.raises(ValueError, match="nobody is recognised"):
        private.begin_stream("one", known=[person(*np.ones(128))])
    with pytest.raises(ValueError, match="that is a release"):
        private.people_in([], stream="one")
    private.begin_stream("one").close()


def test_what_is_only_covered_or_has_one_part_is_not_glanced_at(tmp_path: Path) -> None:
    clip = encode_clip(tmp_path / "clip.mp4", pts=range(40), options=KEYS)
    (tmp_path / "key").write_bytes(bytes(32))
    for number, (options, expected) in enumerate(
        (
            (("--mode", "cover", *IN_PARTS), [False, False]),
            (("--key", tmp_path / "key"), [False]),
            (("--key", tmp_path / "key", *IN_PARTS), [True, True]),
        )
    ):
        out = tmp_path / f"out{number}"
        assert batch("plan", clip, "--out", out, *options).exit_code == 0
        work = Work(Manifest(str(out)), str(out))
        assert [task.is_glance for task in iter(work.take, None)] == expected
        assert work.total == len(expected)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> tuple[str | Path, ...]:
    """What draws a video in two parts: in the first a person comes before another, in the second after them."""
    if not SHARED_CLIPS.is_dir():
        pytest.skip("needs the clips of ../shared")
    folder = tmp_path_factory.mktemp("two")
    (folder / "key").write_bytes(bytes(range(32)))
    people = [pictures_of(SHARED_CLIPS / name) for name in PORTRAITS]
    order = [*people[0][:8], *people[1][:8], *people[1][8:], *people[0][8:]]
    clip = encode_clip(folder / "two.mp4", pts=range(32), pictures=order, size=order[0].shape[1::-1], options=KEYS)
    return (clip, "--key", folder / "key", "--device", "cpu", *IN_PARTS)


def pictures_of(clip: Path) -> list[Image]:
    """Sixteen pictures of a clip, six frames apart, at half its size."""
    with av.open(str(clip)) as container:
        every = [frame for n, frame in enumerate(container.decode(video=0)) if n % 6 == 0][:16]
        return [np.ascontiguousarray(frame.to_ndarray(format="rgb24")[::2, ::2]) for frame in every]


@dataclass(frozen=True)
class Whole:
    """An output that was made at once, and whom people became in each part, in the order in which they came."""

    out: Path
    drawn: list[list[int]]


@pytest.fixture(scope="module")
def whole(arguments: tuple[str | Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What comes of the video; the real thing, watched."""
    made = Whole(tmp_path_factory.mktemp("whole") / "out", [])
    remember: Callable[..., None] = Pseudonyms._remember
    watched: list[Pseudonyms] = []

    def remembered(self: Pseudonyms, track: int, *, person: int, stranger: int) -> None:
        if self._known:
            if self not in watched:
                watched.append(self)
                made.drawn.append([])
            made.drawn[-1].append(stranger)
        remember(self, track, person=person, stranger=stranger)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Pseudonyms, "_remember", remembered)
        result = batch("run", *arguments, "--out", made.out)
    assert result.exit_code == 0, result.output
    return made


@pytest.mark.slow
def test_two_people_become_the_same_two_strangers_in_every_part(whole: Whole) -> None:
    first, second = (list(dict.fromkeys(part)) for part in whole.drawn)
    assert first == second[::-1]
    assert len(set(first)) == 2
    assert records(whole.out)[-1]["counts"]["faces_generated"] == 32
    assert "embedding" not in (whole.out / "manifest.jsonl").read_text()


@pytest.mark.slow
def test_after_an_interruption_people_become_whom_they_became_before(
    arguments: tuple[str | Path, ...], whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Manifest.add

    def interrupted(self: Manifest, *record: dict[str, object]) -> None:
        add(self, *record)
        if record[0]["kind"] == "part":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Manifest, "add", interrupted)
        assert batch("run", *arguments, "--out", tmp_path / "out").exit_code != 0
    assert [record["kind"] for record in records(tmp_path / "out")] == ["archive", "source", "part"]
    assert batch("run", *arguments, "--out", tmp_path / "out").exit_code == 0
    assert frames_of(tmp_path / "out" / "two.mp4") == frames_of(whole.out / "two.mp4")


@pytest.mark.slow
def test_ray_draws_the_same_strangers_with_however_many_workers(
    arguments: tuple[str | Path, ...], whole: Whole, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
    result = batch("run", *arguments, "--out", tmp_path / "ray", "--engine", "ray", "--workers", "2")
    assert result.exit_code == 0, result.output
    assert frames_of(tmp_path / "ray" / "two.mp4") == frames_of(whole.out / "two.mp4")


@pytest.mark.slow
def test_damage_in_a_part_does_not_keep_the_others_from_being_done(tmp_path: Path, portrait_clip: Path) -> None:
    clip = face_clip(tmp_path / "face.mp4", first_picture(portrait_clip))
    (tmp_path / "key").write_bytes(bytes(32))
    arguments = ("--out", tmp_path / "out", "--key", tmp_path / "key", *IN_PARTS)
    assert batch("run", damaged(clip, 0.4, 0.8), *arguments).exit_code == 0
    counts = records(tmp_path / "out")[-1]["counts"]
    assert (counts["frames"], counts["frames_covered_whole"]) == (24, 3)  # up to the key frame after the damage
    assert counts["faces_generated"] == 21


@pytest.mark.slow
def test_a_part_that_is_lost_is_named_and_what_was_done_of_the_others_is_kept(
    tmp_path: Path, portrait_clip: Path
) -> None:
    clip = face_clip(tmp_path / "face.mp4", first_picture(portrait_clip), frames=120)
    (tmp_path / "key").write_bytes(bytes(32))
    result = batch(
        "run", damaged(clip, 0.47, 1.0), "--part-minutes", "0.1", "--out", tmp_path / "out", "--key", tmp_path / "key"
    )
    assert result.exit_code == 1
    assert "(in the part from 4.8 s)" in result.stderr
    assert [record["kind"] for record in records(tmp_path / "out")] == ["archive", "source", "part", "failed"]
    assert files_below(tmp_path / "out") == [".veil-parts/broken.mp4/00000.mp4", "manifest.jsonl"]


def test_where_nobody_could_be_told_that_is_said_and_the_parts_are_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = encode_clip(tmp_path / "clip.mp4", pts=range(40), options=KEYS)
    (tmp_path / "key").write_bytes(bytes(32))
    out = tmp_path / "out"
    assert batch("plan", clip, "--out", out, "--key", tmp_path / "key", *IN_PARTS).exit_code == 0
    work = Work(Manifest(str(out)), str(out))
    glances = list(iter(work.take, None))
    for glance in glances[::-1]:  # in whatever order they end
        assert work.take() is None
        people = {"kind": "people", "people": [person(1, 0, stranger=5)]}
        work.finish(glance, {"kind": "failed", "name": glance.name, "reason": "lost"} if glance.part else people)
    assert [record.getMessage() for record in caplog.records] == ["clip.mp4: people may become others: lost"]
    parts = list(iter(work.take, None))
    assert [(task.part, task.is_glance, [each.stranger for each in task.known]) for task in parts] == [
        (0, False, [5]),
        (1, False, [5]),
    ]
    assert [record["kind"] for record in records(out)] == ["archive", "source"]
