"""Who agreed stays visible, after a moment, and nobody else does."""

from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from streamer import cli
from streamer.demo import Pose, Shot, render_clip
from streamer.keep import Keeping
from streamer.pipeline import Anonymizer, FaceAnonymizer
from streamer.sources import open_source
from streamer.types import SafeFrame

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip of 1.5 seconds of one photographed person."""
    path = tmp_path_factory.mktemp("keep") / "clip.mp4"
    render_clip(path, (Shot(1.5, (Pose(0.5, 0.5, 1.2),), (Pose(0.52, 0.5, 1.2),)),))
    return path


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the photo of that person."""
    import matplotlib

    image = cv2.imread(str(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"))
    path = tmp_path_factory.mktemp("photo") / "portrait.png"
    cv2.imwrite(str(path), image)
    return path


def enrolled(folder: Path, photo: Path, *, days: int = 1, camera: str = "") -> Path:
    """Return a consent list with one entry, made as a user would."""
    (folder / "key").write_bytes(KEY)
    day = (date.today() + timedelta(days=days)).isoformat()
    arguments = ["consent", "add", str(folder / "list.toml"), "--name", "Grace", "--photo", str(photo)]
    arguments += ["--key", str(folder / "key"), "--expires", day, *(["--camera", camera] if camera else [])]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    return folder / "list.toml"


def safe_frames(clip: Path, keeping: Keeping) -> list[tuple[np.ndarray, SafeFrame]]:
    stream = FaceAnonymizer(Anonymizer.load(mode="cover", device="cpu", keeping=keeping))
    with open_source(str(clip)) as source:
        return [(frame.image, stream(frame)) for frame in source]


def tiers(frames: list[tuple[np.ndarray, SafeFrame]]) -> Counter[str]:
    return Counter(face.tier for _, safe in frames for face in safe.faces)


def test_an_enrolled_person_is_covered_first_and_then_stays_as_they_are(clip: Path, portrait: Path, tmp_path: Path):
    keeping = Keeping.load(enrolled(tmp_path, portrait), key=KEY, camera=None)
    frames = safe_frames(clip, keeping)
    found = tiers(frames)
    assert found["kept"] > 10
    assert {face.tier for _, safe in frames if safe.seconds < 0.5 for face in safe.faces} == {"mosaic"}
    image, safe = frames[-1]
    assert [face.tier for face in safe.faces] == ["kept"]
    assert (image == safe.image).all()


def test_consent_for_another_camera_keeps_nobody_visible(clip: Path, portrait: Path, tmp_path: Path):
    keeping = Keeping.load(enrolled(tmp_path, portrait, camera="door"), key=KEY, camera="window")
    assert set(tiers(safe_frames(clip, keeping))) == {"mosaic"}


def test_a_look_that_fails_keeps_nobody_visible(clip: Path, portrait: Path, tmp_path: Path):
    keeping = Keeping.load(enrolled(tmp_path, portrait), key=KEY, camera=None)

    def broken(*_: object) -> None:
        raise RuntimeError

    object.__setattr__(keeping, "reader", broken)
    assert set(tiers(safe_frames(clip, keeping))) == {"mosaic"}


def test_a_list_without_its_key_is_wrong_usage(clip: Path, tmp_path: Path):
    result = CliRunner().invoke(cli.app, ["run", str(clip), str(tmp_path / "safe.mp4"), "--keep", "list.toml"])
    assert result.exit_code == 2
    assert "--keep-key" in result.output
