from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from streamer.cli import demo
from streamer.cli.demo import Pose, Shot
from streamer.errors import SinkError, SourceError


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_clip_is_as_long_as_its_shots_and_has_sound(portrait_clip: Path):
    with av.open(str(portrait_clip)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, video.average_rate) == (1280, 720, 30)
        assert sum(1 for _ in container.decode(video)) == 12
        assert float(audio.duration * audio.time_base) == pytest.approx(0.4, abs=0.05)


def test_a_shot_without_photos_is_an_empty_scene(portrait_clip: Path):
    frames = pictures(portrait_clip)
    detail = [cv2.Laplacian(frame, cv2.CV_32F).std() for frame in frames]
    assert min(detail[:9]) > 5 * max(detail[9:])


def test_the_demo_shows_pan_zoom_turn_two_sizes_and_an_empty_second():
    moving = [(start, end) for shot in demo.SHOTS for start, end in zip(shot.start, shot.end, strict=True)]
    assert any(start.x != end.x and start.height == end.height for start, end in moving)
    assert any(start.height != end.height for start, end in moving)
    assert any(start.degrees != end.degrees for start, end in moving)
    assert any(len({pose.height for pose in shot.start}) == 2 for shot in demo.SHOTS)
    assert sum(shot.seconds for shot in demo.SHOTS if not shot.start) >= 1
    assert sum(shot.seconds for shot in demo.SHOTS) == 10


def test_a_photo_stands_where_its_pose_says_halfway_between_two():
    photo = np.zeros((600, 400, 3), np.uint8)
    start, end = Pose(0.5, 0.5, 1.0), Pose(1.5, 0.5, 1.0)
    matrix = demo._photo_to_scene(photo, start, end, 0.5)
    np.testing.assert_allclose(matrix @ (200, 300, 1), (720, 360), atol=1e-3)  # its centre: x 1.0, y .5 of 720
    np.testing.assert_allclose(matrix @ (200, 0, 1), (720, 0), atol=1e-3)  # 600 pixels of it fill 720


def test_a_mirrored_photo_stands_in_the_same_place_the_other_way_round():
    photo = np.zeros((600, 400, 3), np.uint8)
    pose, mirrored = Pose(0.7, 0.5, 0.5, 20), Pose(0.7, 0.5, 0.5, 20, mirrored=True)
    plain, other = (demo._photo_to_scene(photo, each, each, 0.0) for each in (pose, mirrored))
    np.testing.assert_allclose(plain @ (100, 50, 1), other @ (300, 50, 1), atol=1e-3)


def test_the_sheet_has_before_on_the_left_and_after_on_the_right(tmp_path: Path):
    before, after = tmp_path / "before", tmp_path / "after"
    for folder, value in ((before, 40), (after, 200)):
        folder.mkdir()
        for index in range(6):
            cv2.imwrite(str(folder / f"{index}.png"), np.full((90, 160, 3), value + index, np.uint8))
    sheet = tmp_path / "sheet.png"
    demo.contact_sheet(str(before), str(after), sheet, frames=6, moments=3)
    picture = cv2.imread(str(sheet))
    row = 360 + demo.LABEL_HEIGHT
    assert picture.shape == (demo.LABEL_HEIGHT + 3 * row, 1280, 3)
    middles = [demo.LABEL_HEIGHT + row * number + 180 for number in range(3)]
    assert [int(picture[y, 320, 0]) for y in middles] == [40, 42, 44]  # the middle of each third: .5, 2.5, 4.5
    assert [int(picture[y, 960, 0]) for y in middles] == [200, 202, 204]


def test_the_sheet_of_a_short_clip_has_fewer_rows(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "one.png"), np.full((90, 160, 3), 90, np.uint8))
    demo.contact_sheet(str(tmp_path / "one.png"), str(tmp_path / "one.png"), tmp_path / "sheet.png", frames=1)
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[0] == 2 * demo.LABEL_HEIGHT + 360


def test_a_clip_that_cannot_be_written_says_where_and_what_to_do(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match=r"file/clip\.mp4: .*; choose another folder"):
        demo.render_clip(tmp_path / "file" / "clip.mp4", (Shot(0.1),))


def test_a_sheet_that_cannot_be_written_says_so(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "one.png"), np.full((90, 160, 3), 90, np.uint8))
    with pytest.raises(SinkError, match=r"cannot write the contact sheet .*gone"):
        demo.contact_sheet(
            str(tmp_path / "one.png"), str(tmp_path / "one.png"), tmp_path / "gone" / "sheet.png", frames=1
        )


def test_without_the_photo_the_user_is_told_to_bring_a_clip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match="matplotlib"):
        demo.render_clip(tmp_path / "clip.mp4", (Shot(0.1),))
