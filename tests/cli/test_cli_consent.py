"""`veil consent` with real faces: who is enrolled, who is refused and why, and that no photo stays."""

import stat
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import skimage
import typer
from typer.testing import CliRunner, Result

from models.privacy import load_key
from streamer.cli.consent import consent_app
from streamer.consent.cohort import load_cohort
from streamer.consent.enroll import embed_strangers, enroll
from streamer.consent.entries import ConsentList
from streamer.consent.quality import FaceReader, recognizer_id
from streamer.errors import SourceError
from streamer.faces.detect import FaceDetector
from streamer.types import Image
from tests.clips import encode_clip

pytestmark = pytest.mark.slow

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"  # US Navy, public domain
COLLINS = Path(skimage.__file__).parent / "data" / "astronaut.png"  # NASA, public domain

app = typer.Typer()
app.add_typer(consent_app, name="consent")
NEXT_YEAR = str(date.today() + timedelta(days=365))


def veil(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def picture(path: Path) -> Image:
    return np.asarray(cv2.imread(str(path)))


def photo(folder: Path, name: str, image: Image) -> Path:
    cv2.imwrite(str(folder / name), image)
    return folder / name


@pytest.fixture
def key(tmp_path: Path) -> Path:
    assert veil("consent", "new-key", tmp_path / "keep.key").exit_code == 0
    return tmp_path / "keep.key"


@pytest.fixture
def add(tmp_path: Path, key: Path) -> Iterator[object]:
    def run(*arguments: str | Path, name: str = "Grace", expires: str = NEXT_YEAR) -> Result:
        options = ["--name", name, "--key", key, "--expires", expires]
        return veil("consent", "add", tmp_path / "list.toml", *options, *arguments)

    return run


def test_an_enrolled_person_is_opened_with_the_key_and_is_like_their_photo(
    tmp_path: Path,
    key: Path,
    add: Callable[..., Result],
    reader: FaceReader,
    detector: FaceDetector,
):
    mirrored = photo(tmp_path, "mirrored.png", picture(HOPPER)[:, ::-1])
    result = add("--photo", HOPPER, "--photo", mirrored, "--camera", "door")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"Grace may stay visible until {NEXT_YEAR}\n"
    opened = ConsentList.load(
        tmp_path / "list.toml",
        key=load_key(key),
        camera="door",
        today=date.today(),
        recognizer=recognizer_id("identity"),
    )
    (grace,) = opened.people
    image = picture(HOPPER)[:, :, ::-1]
    (face,) = detector(np.ascontiguousarray(image))
    assert grace.embedding @ reader(image, face).embedding > 0.9
    assert {path.name for path in tmp_path.iterdir()} == {"list.toml", "keep.key", "mirrored.png"}  # no copy of a photo


def test_the_key_is_secret_and_is_never_replaced(key: Path):
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(key.read_bytes()) == 32
    result = veil("consent", "new-key", key)
    assert result.exit_code == 1
    assert "never replaced" in result.stderr


def test_people_are_listed_without_a_key_and_removed(tmp_path: Path, add):  # noqa: ANN001
    add("--photo", HOPPER, "--camera", "door", "--camera", "hall")
    add("--photo", COLLINS, name="Eileen")
    lines = veil("consent", "list", tmp_path / "list.toml").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["Grace", "until", f"{NEXT_YEAR},", "door,", "hall,", "known", "by", "identity"],
        ["Eileen", "until", f"{NEXT_YEAR},", "every", "camera,", "known", "by", "identity"],
    ]
    assert veil("consent", "remove", tmp_path / "list.toml", "--name", "Grace").exit_code == 0
    assert veil("consent", "list", tmp_path / "list.toml").stdout.startswith("Eileen")
    result = veil("consent", "remove", tmp_path / "list.toml", "--name", "Grace")
    assert result.exit_code == 1
    assert "Grace is not in" in result.stderr


def test_what_is_no_good_photo_of_one_person_is_refused_with_the_reason(tmp_path: Path, reader: FaceReader):
    hopper = picture(HOPPER)
    beside = np.hstack([hopper, cv2.resize(hopper[:, ::-1], hopper.shape[1::-1])])
    refused = {
        "empty.png": (np.full((200, 200, 3), 90, np.uint8), "shows 0 faces"),
        "two.png": (beside, "shows 2 faces"),
        "small.png": (cv2.resize(hopper, None, fx=0.35, fy=0.35, interpolation=cv2.INTER_AREA), "the face is small"),
        "blurred.png": (cv2.GaussianBlur(hopper, (0, 0), 8), "the face is blurred"),
        "dark.png": (hopper // 6, "the face is dim"),
    }
    for name, (image, says) in refused.items():
        with pytest.raises(SourceError, match=f"{name}: {says}"):
            enroll([photo(tmp_path, name, image)], reader)


def test_photos_of_two_people_are_not_one_person(reader: FaceReader):
    with pytest.raises(SourceError, match="does not look like the person in the other photos"):
        enroll([HOPPER, COLLINS], reader)


def test_a_video_is_no_photo(tmp_path: Path, reader: FaceReader):
    with pytest.raises(SourceError, match="a video, not a photo"):
        enroll([encode_clip(tmp_path / "clip.mp4")], reader)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ({"name": "a\nb"}, 2, "printable"),
        ({"expires": "2020-01-01"}, 2, "before it begins"),
        ({"expires": "soon"}, 2, "soon"),
    ],
)
def test_wrong_usage_is_said_before_a_photo_is_read(add, options: dict[str, str], code: int, says: str):  # noqa: ANN001
    result = add("--photo", "nowhere.jpg", **options)
    assert result.exit_code == code
    assert says in result.stderr


def test_a_name_is_enrolled_once_and_a_list_has_one_key(tmp_path: Path, add):  # noqa: ANN001
    assert add("--photo", HOPPER).exit_code == 0
    assert "enrolled already" in add("--photo", HOPPER).stderr
    veil("consent", "new-key", tmp_path / "other.key")
    arguments = ["--name", "Eileen", "--photo", COLLINS, "--expires", NEXT_YEAR, "--key", tmp_path / "other.key"]
    result = veil("consent", "add", tmp_path / "list.toml", *arguments)
    assert result.exit_code == 1
    assert "the key is another" in result.stderr


def test_an_expired_consent_is_listed_as_expired(tmp_path: Path, add):  # noqa: ANN001
    add("--photo", HOPPER)
    path = tmp_path / "list.toml"
    today = str(date.today())
    text = path.read_text().replace(NEXT_YEAR, "2020-02-02")
    path.write_text(text.replace(f"enrolled = {today}", "enrolled = 2020-01-01"))
    assert "expired 2020-02-02" in veil("consent", "list", path).stdout


def test_a_crowd_is_made_of_a_folder_of_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "people").mkdir()
    photo(tmp_path / "people", "a.png", picture(HOPPER))
    photo(tmp_path / "people", "b.png", np.full((100, 100, 3), 90, np.uint8))
    photo(tmp_path / "people", "c.png", picture(COLLINS))
    result = veil("consent", "crowd", tmp_path / "people", "--out", tmp_path / "crowd")
    assert result.exit_code == 1
    assert "b.png: no face" in result.stderr
    assert "at least 150 different people, got 2" in result.stderr
    assert not (tmp_path / "crowd").exists()

    photo(tmp_path / "people", "d.png", picture(HOPPER)[:, ::-1])
    monkeypatch.setattr("streamer.consent.cohort.LEAST_COHORT", 3)  # who would photograph 150 people for a test?
    monkeypatch.setattr("streamer.consent.cohort.FALSE_ACCEPTS", 0.4)  # one of the three pairs: that of the two Hoppers
    assert veil("consent", "crowd", tmp_path / "people", "--out", tmp_path / "crowd").exit_code == 0
    crowd = load_cohort(tmp_path / "crowd", recognizer_id("identity"))
    grace, eileen, mirrored = crowd.embeddings
    assert crowd.threshold == pytest.approx(max(grace @ eileen, eileen @ mirrored), abs=0.002)


def test_photos_without_any_face_make_no_crowd(tmp_path: Path, reader: FaceReader):
    with pytest.raises(SourceError, match="no face in any"):
        embed_strangers([photo(tmp_path, "empty.png", np.full((100, 100, 3), 90, np.uint8))], reader)


def test_a_recognizer_that_is_missing_is_said_in_one_line(add):  # noqa: ANN001
    result = add("--photo", HOPPER, "--recognizer", "nobody")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "nobody" in result.stderr
