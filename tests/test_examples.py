"""The README's Python and the examples do what they say, on a real clip."""

import json
import re
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def frame_count(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def picture_of(clip: Path, path: Path) -> np.ndarray:
    with av.open(str(clip)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="bgr24")
    cv2.imwrite(str(path), picture)
    return picture


def python(*arguments: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_starts_with_one_sentence_and_the_two_commands():
    lines = [line for line in README.splitlines() if line]
    assert lines[0] == "# Veil"
    assert [line.split()[:2] for line in lines[2:4]] == [["make", "demo"], ["make", "test"]]


def test_the_video_code_of_the_readme_runs(portrait_clip: Path, tmp_path: Path):
    (tmp_path / "clip.mp4").write_bytes(portrait_clip.read_bytes())
    said = python("-c", BLOCKS[0], cwd=tmp_path)
    assert frame_count(tmp_path / "safe.mp4") == 12
    assert re.match(r"0\.00 s: track 1 \w+", said)


def test_the_picture_code_of_the_readme_runs(tmp_path: Path):
    python("-c", BLOCKS[1] + "assert safe.shape == picture.shape", cwd=tmp_path)


def test_the_readme_names_every_option_of_run():
    from typer.main import get_command

    from streamer.cli import app

    options = {
        name for parameter in get_command(app).commands["run"].params for name in parameter.opts if name[:2] == "--"
    }
    assert {option for option in options if f"`{option}" not in README} == set()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short_enough_to_read_at_once(path: Path):
    assert len(path.read_text().splitlines()) < 40


def test_the_video_example_writes_every_frame_and_counts_the_faces(portrait_clip: Path, tmp_path: Path):
    said = python(str(ROOT / "examples" / "video.py"), str(portrait_clip), "safe.mp4", cwd=tmp_path)
    assert frame_count(tmp_path / "safe.mp4") == 12
    assert said.startswith("safe.mp4: {")


def test_the_video_example_says_in_one_line_what_was_wrong(tmp_path: Path):
    command = [sys.executable, str(ROOT / "examples" / "video.py"), "gone.mp4", "safe.mp4"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "gone.mp4" in done.stderr


def test_the_picture_example_changes_the_face_and_nothing_far_from_it(portrait_clip: Path, tmp_path: Path):
    before = picture_of(portrait_clip, tmp_path / "photo.png").astype(int)
    python(str(ROOT / "examples" / "picture.py"), "photo.png", "safe.png", cwd=tmp_path)
    changed = np.abs(cv2.imread(str(tmp_path / "safe.png")) - before).max(axis=2) > 8
    assert changed.sum() > 2000
    assert not changed[:, 900:].any()  # the person stands on the left


def test_the_folder_example_lists_the_faces_of_each_picture(portrait_clip: Path, tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    picture_of(portrait_clip, photos / "a.png")
    cv2.imwrite(str(photos / "b.png"), np.full((200, 300, 3), 128, np.uint8))
    said = python(str(ROOT / "examples" / "folder.py"), "photos", "safe", cwd=tmp_path)
    rows = [json.loads(line) for line in said.splitlines()]
    assert [(row["picture"], bool(row["boxes"]), row["failed"]) for row in rows] == [
        ("a.png", True, ""),
        ("b.png", False, ""),
    ]
    assert sorted(path.name for path in (tmp_path / "safe").iterdir()) == ["a.png", "b.png"]
