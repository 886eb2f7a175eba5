"""The Python of the documents and the examples do what they say, on a real clip."""

import ast
import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import av
import cv2
import numpy as np
import pytest
from av import VideoFrame

from streamer import Anonymizer
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.end_to_end.rtsp_servers import SYSTEM_PYTHON
from tests.end_to_end.serve.test_serve_foreign import has_webrtcbin
from tests.end_to_end.serving import peer, serving

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)


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


def test_the_video_code_of_the_documents_runs(portrait_clip: Path, tmp_path: Path):
    (tmp_path / "clip.mp4").write_bytes(portrait_clip.read_bytes())
    said = python("-c", BLOCKS[0], cwd=tmp_path)
    assert frame_count(tmp_path / "safe.mp4") == 12
    assert re.match(r"0\.00 s: track 1 \w+", said)


def test_the_code_without_a_loop_of_the_documents_runs(portrait_clip: Path, tmp_path: Path):
    (tmp_path / "clip.mp4").write_bytes(portrait_clip.read_bytes())
    python("-c", BLOCKS[1] + "assert safe.shape == both[1].shape == (480, 640, 3)", cwd=tmp_path)
    assert frame_count(tmp_path / "whole.mp4") == 12


def test_the_quickstart_names_every_option_of_run():
    from typer.main import get_command

    from streamer.cli.main import app

    options = {
        name for parameter in get_command(app).commands["run"].params for name in parameter.opts if name[:2] == "--"
    }
    quickstart = (ROOT / "docs" / "quickstart.md").read_text()
    assert {option for option in options if f"`{option}" not in quickstart} == set()


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


def test_the_webcam_example_writes_every_frame_of_a_file(portrait_clip: Path, tmp_path: Path):
    before = picture_of(portrait_clip, tmp_path / "first.png").astype(int)
    python(str(ROOT / "examples" / "webcam.py"), str(portrait_clip), "safe.mp4", cwd=tmp_path)
    assert frame_count(tmp_path / "safe.mp4") == 12
    changed = np.abs(picture_of(tmp_path / "safe.mp4", tmp_path / "safe.png") - before).max(axis=2) > 24
    assert changed[:, :900].sum() > 2000
    assert changed[:, 900:].mean() < 0.01  # another encoder's loss


def test_the_cells_of_the_notebook_run_and_show_only_safe_pictures(
    portrait_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "clip.mp4").write_bytes(portrait_clip.read_bytes())
    cv2.imwrite(str(tmp_path / "photo.jpg"), picture_of(portrait_clip, tmp_path / "first.png"))
    monkeypatch.chdir(tmp_path)
    cells = json.loads((ROOT / "examples" / "notebook.ipynb").read_text())["cells"]
    names: dict[str, object] = {}
    fast = ("Anonymizer.load()", 'Anonymizer.load(mode="cover")')  # what is drawn is tested elsewhere
    shown = [value_of("".join(cell["source"]).replace(*fast), names) for cell in cells if cell["cell_type"] == "code"]
    assert type(shown[1]).__name__ == "Image"
    assert type(shown[2]).__name__ == "SafeFrame"
    assert getattr(shown[3], "frames", 0) == frame_count(tmp_path / "safe.mp4") == 12
    names["anonymizer"].close()  # type: ignore[attr-defined]


def value_of(code: str, names: dict[str, object]) -> object:
    """Run a cell, and return what it shows: its last line, if that is an expression."""
    *before, last = ast.parse(code).body
    exec(compile(ast.Module(before, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    exec(compile(ast.Module([last], []), "cell", "exec"), names)
    return None


def test_the_webrtc_example_passes_on_every_frame_without_its_face(
    portrait_clip: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    from aiortc.contrib.media import MediaPlayer
    from webrtc_track import SafeTrack

    async def pass_on() -> list[VideoFrame]:
        with Anonymizer.load(mode="cover", cover="solid", device="cpu") as anonymizer:
            track = SafeTrack(MediaPlayer(str(portrait_clip)).video, anonymizer)
            frames = [await track.recv() for _ in range(5)]
            track.stop()
            return frames

    frames = asyncio.run(pass_on())
    assert [frame.pts for frame in frames] == sorted({frame.pts for frame in frames})
    for frame in frames:
        assert (frame.to_ndarray(format="rgb24")[:, :900] == 0).all(axis=2).sum() > 10_000


@pytest.mark.skipif(
    not has_webrtcbin(),
    reason="needs webrtcbin (Debian: gstreamer1.0-nice gstreamer1.0-plugins-bad gir1.2-gst-plugins-bad-1.0)",
)
def test_the_gstreamer_example_is_received():
    async def send() -> None:
        async with serving() as server:
            example = str(ROOT / "examples" / "gstreamer_whip.py")
            process = await asyncio.create_subprocess_exec(SYSTEM_PYTHON, example, server.url + "/whip/door")
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while not server.peers.by_id:
                        await asyncio.sleep(0.1)
                async with peer(server, path="/whep/door") as (_, received, _):
                    await received.until(lambda images: len(images) > 3)
            finally:
                process.kill()
                await process.wait()

    asyncio.run(send())


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """Return the address of the web example, which runs until the end."""
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "examples"), "--port", "0", "fastapi_app:app"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        told = next((line for line in process.stderr if "running on" in line), "")
        yield re.findall(r"http://[\d.:]+", told)[0]
        process.terminate()
        said = process.stderr.read()
    assert "Traceback" not in said
    assert "Finished server process" in said


def post(address: str, body: bytes) -> np.ndarray:
    request = Request(address, body, {"Content-Type": "image/png"})
    with urlopen(request) as answer:
        assert answer.headers["Content-Type"] == "image/png"
        return cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR)


def test_the_web_example_returns_no_untouched_face_under_parallel_load(
    service: str, portrait_clip: Path, tmp_path: Path
):
    whole = cv2.resize(picture_of(portrait_clip, tmp_path / "photo.png"), (512, 288), interpolation=cv2.INTER_AREA)
    nobody = whole[:, 360:]  # the person stands on the left
    pictures = [whole, np.ascontiguousarray(whole[:, ::-1]), whole[:, :360], nobody]
    covering = Anonymizer.load(mode="cover", device="cpu")
    heads = [(covering.image(np.ascontiguousarray(p[:, :, ::-1]))[:, :, ::-1] != p).any(axis=2) for p in pictures]
    assert [head.any() for head in heads] == [True, True, True, False]
    bodies = [cv2.imencode(".png", picture)[1].tobytes() for picture in pictures]
    with ThreadPoolExecutor(12) as users:
        answers = list(users.map(partial(post, service), bodies * 6))
    for picture, head, answer in zip(pictures * 6, heads * 6, answers, strict=True):
        changed = (answer != picture).any(axis=2)
        near = cv2.dilate(head.astype(np.uint8), np.ones((41, 41), np.uint8))
        assert not changed[near == 0].any()
        assert changed.sum() >= 0.25 * head.sum()  # a drawn face is the inner part of what would be covered


@pytest.mark.parametrize("body", [b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_the_web_example_says_that_something_is_no_picture(service: str, body: bytes):
    with pytest.raises(HTTPError) as refused:
        post(service, body)
    with refused.value:
        assert refused.value.code == 415
