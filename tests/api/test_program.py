"""What a Python program calls: pictures in any form, streams frame by frame, whole videos; in a notebook, too."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PilImage

from streamer import Anonymizer, AnonymizerError, SinkError, SourceError, open_source, protect
from streamer.types import Image
from tests.clips import packets_of


@pytest.fixture(scope="module")
def photo() -> Image:
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    whole = cv2.imread(str(path))[:, :, ::-1]
    return np.ascontiguousarray(cv2.resize(whole, (256, 300), interpolation=cv2.INTER_AREA))


@pytest.fixture(scope="module")
def covering() -> Iterator[Anonymizer]:
    with Anonymizer.load(mode="cover", cover="solid", device="cpu") as made:
        yield made


@pytest.fixture(scope="module")
def covered(covering: Anonymizer, photo: Image) -> Image:
    safe = covering.image(photo)
    assert (safe != photo).any()
    return np.asarray(safe)


def test_opencvs_order_gives_the_same_picture_in_opencvs_order(covering: Anonymizer, photo: Image, covered: Image):
    safe = covering.image(photo[:, :, ::-1], order="bgr")
    assert (safe[:, :, ::-1] == covered).all()


@pytest.mark.parametrize("shape", [(300, 256), (300, 256, 1)])
def test_grey_stays_grey(covering: Anonymizer, photo: Image, shape: tuple[int, ...]):
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).reshape(shape)
    safe = covering.image(grey)
    changed = (safe != grey).reshape(300, 256)
    assert safe.shape == shape
    assert changed[60:150, 90:160].mean() > 0.9
    assert not changed[250:].any()


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_alpha_is_kept_and_what_it_hides_is_covered(covering: Anonymizer, photo: Image, covered: Image, order: str):
    alpha = np.zeros(photo.shape[:2], np.uint8)
    alpha[200:] = 255
    colours = photo if order == "rgb" else photo[..., ::-1]
    safe = covering.image(np.dstack([colours, alpha]), order=order)  # type: ignore[arg-type]
    assert (safe[..., 3] == alpha).all()
    assert (np.asarray(safe)[..., [0, 1, 2] if order == "rgb" else [2, 1, 0]] == covered).all()


def test_a_face_in_the_alpha_channel_is_covered(covering: Anonymizer, photo: Image):
    face = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    safe = covering.image(np.dstack([np.full_like(photo, 90), face]))
    assert (safe[..., 3] != face)[60:150, 90:160].mean() > 0.9


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_pillow_image_comes_back_as_one_of_its_mode(covering: Anonymizer, photo: Image, covered: Image, mode: str):
    safe = covering.image(PilImage.fromarray(photo).convert(mode))
    assert isinstance(safe, PilImage.Image)
    assert (safe.mode, safe.size) == (mode, (256, 300))
    if mode == "RGB":
        assert (np.asarray(safe) == covered).all()


def test_a_pillow_image_with_a_palette_comes_back_in_colour(covering: Anonymizer, photo: Image):
    assert covering.image(PilImage.fromarray(photo).quantize()).mode == "RGB"


def test_a_pillow_image_stored_on_its_side_is_found_and_comes_back_upright(
    covering: Anonymizer, photo: Image, covered: Image, tmp_path: Path
):
    exif = PilImage.Exif()
    exif[0x112], exif[0x10E] = 6, "where she lives"
    PilImage.fromarray(np.rot90(photo)).save(tmp_path / "side.png", exif=exif)
    safe = covering.image(PilImage.open(tmp_path / "side.png"))
    assert (np.asarray(safe) == covered).all()
    assert not safe.getexif()


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((10, 10, 3), np.float32),
        np.zeros((10, 10, 2), np.uint8),
        np.zeros((4, 10, 10, 3), np.uint8),
        np.zeros((0, 10, 3), np.uint8),
        np.zeros(10, np.uint8),
        "photo.jpg",
    ],
)
def test_what_is_no_picture_is_refused_with_what_is(covering: Anonymizer, picture: object):
    with pytest.raises(ValueError, match=r"must be uint8 of shape \(H, W\).*got"):
        covering.image(picture)  # type: ignore[type-var]


def test_an_unknown_order_is_refused(covering: Anonymizer, photo: Image):
    with pytest.raises(ValueError, match="order must be 'rgb' or 'bgr'"):
        covering.image(photo, order="gbr")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="leave out order"):
        covering.image(PilImage.fromarray(photo), order="bgr")


def test_many_pictures_come_back_in_their_order(covering: Anonymizer, photo: Image, covered: Image):
    nobody = np.full_like(photo, 128)
    safe = covering.images([photo, nobody, photo[:, :, 0], photo])
    assert (safe[0] == covered).all()
    assert (safe[1] == nobody).all()
    assert safe[2].shape == (300, 256)
    assert (safe[3] == covered).all()


def test_of_many_pictures_the_wrong_one_is_named(covering: Anonymizer, photo: Image):
    with pytest.raises(ValueError, match="picture 1: a picture must be"):
        covering.images([photo, photo.astype(float)])  # type: ignore[list-item]


def test_one_picture_is_not_taken_for_many(covering: Anonymizer, photo: Image, covered: Image):
    with pytest.raises(ValueError, match="images takes several pictures: pass a list of them, or use image for one"):
        covering.images(photo)
    (one,) = covering.images(photo[None])
    assert (np.asarray(one) == covered).all()


@pytest.mark.parametrize("sink", ["preview:", "virtual-camera:", "whip:https://ann:pw@host/a", "rtsp://ann:pw@host/a"])
def test_what_is_no_file_is_refused_by_name(
    covering: Anonymizer, portrait_clip: Path, sink: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SinkError, match="is no file; the command `veil run`") as refused:
        covering.video(portrait_clip, sink)
    assert "pw" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_camera_by_its_number_is_said_to_be_live(covering: Anonymizer, tmp_path: Path):
    with pytest.raises(SourceError, match=r"0: is live; use protect\(\)"):
        covering.video(0, tmp_path / "safe.mp4")


def test_a_notebook_shows_the_safe_picture_and_nothing_that_came_of_it(
    covering: Anonymizer, photo: Image, covered: Image
):
    for safe in (covering.image(photo), covering.image(photo[:, :, ::-1], order="bgr")):
        shown = cv2.imdecode(np.frombuffer(safe._repr_png_(), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]  # type: ignore[attr-defined]
        assert (shown == covered).all()
        for derived in (safe[:100], safe + photo, safe.copy(), np.where(safe > 3, safe, photo)):
            assert getattr(derived, "_repr_png_", lambda: None)() is None


def test_a_notebook_shows_safe_frames_and_no_others(covering: Anonymizer, portrait_clip: Path):
    with open_source(portrait_clip) as source:
        frame = next(iter(source))
        assert not [name for name in dir(frame) if name.startswith("_repr_")]
        safe = next(covering.frames([frame]))
    shown = cv2.imdecode(np.frombuffer(safe._repr_png_(), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert (shown == safe.image).all()
    assert (shown != frame.image).any()


def test_a_stream_takes_one_picture_and_returns_one(covering: Anonymizer, photo: Image, covered: Image):
    nobody = np.full_like(photo, 128)
    with covering.stream(order="bgr") as stream:
        first = stream(photo[:, :, ::-1], seconds=10.0)
        assert (first[:, :, ::-1] == covered).all()
        assert [face.track_id for face in stream.faces] == [1]
        gone = stream(nobody[:, :, ::-1], seconds=10.04)
        assert (gone != 128).any()  # a face that is lost stays covered for a moment
        assert not (stream(nobody, seconds=12.0) != 128).any()
        assert not stream.faces


def test_frames_of_a_stream_may_come_without_times(covering: Anonymizer, photo: Image):
    with covering.stream() as stream:
        for _ in range(3):
            assert (stream(photo) != photo).any()
        assert [face.track_id for face in stream.faces] == [1]


def test_a_stream_that_cannot_search_covers_all(covering: Anonymizer, photo: Image, monkeypatch: pytest.MonkeyPatch):
    with covering.stream() as stream:
        monkeypatch.setattr(stream._one, "detector", lambda _: 1 / 0)
        safe = stream(photo)
        assert stream.failed == "ZeroDivisionError"
        assert np.ptp(safe) == 0
        monkeypatch.undo()


def test_a_closed_stream_refuses_frames_and_a_stream_takes_no_alpha(covering: Anonymizer, photo: Image):
    stream = covering.stream()
    with pytest.raises(ValueError, match="no alpha"):
        stream(np.dstack([photo, photo[..., 0]]))
    stream.close()
    stream.close()
    with pytest.raises(AnonymizerError, match=r"closed; Anonymizer\.stream\(\)"):
        stream(photo)


@pytest.mark.slow
def test_a_video_is_one_call(covering: Anonymizer, portrait_clip: Path, tmp_path: Path):
    said: list[tuple[int, int | None]] = []
    written = covering.video(portrait_clip, tmp_path / "safe.mp4", progress=lambda *counts: said.append(counts))
    assert (written.frames, written.covered_whole) == (12, 0)
    assert written.faces["solid"] >= 9
    assert said == [(n, 12) for n in range(1, 13)]
    with open_source(written.path) as source, open_source(portrait_clip) as before:
        for frame, original in zip(protect(source, covering), before, strict=True):
            assert frame.image.shape == original.image.shape


@pytest.mark.slow
def test_the_voice_of_a_video_can_be_changed(covering: Anonymizer, portrait_clip: Path, tmp_path: Path):
    covering.video(portrait_clip, tmp_path / "safe.mp4", voice=True)
    sounds = [packets_of(path, "audio") for path in (portrait_clip, tmp_path / "safe.mp4")]
    assert len(sounds[1]) == 1
    assert not {data for _, data in sounds[0][0]} & {data for _, data in sounds[1][0]}


@pytest.mark.slow
def test_a_part_of_a_video_is_written(covering: Anonymizer, portrait_clip: Path, tmp_path: Path):
    assert covering.video(portrait_clip, tmp_path / "a.mp4", start_seconds=0.1, end_seconds=0.3).frames == 6


def test_errors_name_what_the_program_can_pass(covering: Anonymizer, clip: Callable[..., Path], tmp_path: Path):
    path, taken = clip(), tmp_path / "taken.mp4"
    taken.touch()
    with pytest.raises(SinkError, match="pass overwrite=True"):
        covering.video(path, taken)
    covering.video(path, taken, overwrite=True)
    assert taken.stat().st_size > 0
    with pytest.raises(SourceError, match=r"use protect\(\)"):
        covering.video("rtsp://user:password@127.0.0.1:1/a", tmp_path / "b.mp4")


def test_a_progress_that_raises_leaves_no_output(covering: Anonymizer, clip: Callable[..., Path], tmp_path: Path):
    with pytest.raises(ZeroDivisionError):
        covering.video(clip(), tmp_path / "safe.mp4", progress=lambda *_: 1 / 0)  # type: ignore[arg-type, return-value]
    assert not list(tmp_path.glob("safe*"))
