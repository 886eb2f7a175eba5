"""Recordings on a real web server: they end, and all of their frames come, or it is said that they do not."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
import pytest

from streamer.errors import SourceError
from streamer.sources import recordings
from streamer.sources.file_source import VideoSource, open_source
from streamer.sources.live import LiveSource
from tests.clips import encode_clip
from tests.end_to_end.patience import PATIENCE_SECONDS
from tests.sources.test_margins import with_pixel_crop

ACCOUNT = "Basic YW5uOnJpZ2h0"  # ann:right


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files in parts; those whose name begins with "half" only up to their middle, then it hangs up or waits."""

    released: ClassVar[threading.Event]
    asks_for_account: ClassVar[bool] = False

    def do_GET(self) -> None:
        if self.asks_for_account and self.headers["Authorization"] != ACCOUNT:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="files"')
            return self.end_headers()
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        data = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers["Range"] or "bytes=0-")
        assert asked
        start, end = int(asked[1]), min(int(asked[2] or len(data)) + 1, len(data))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        self.wfile.write(data[start : end // 2 if path.name.startswith("half") else end])
        if path.name.startswith("half_silent"):
            self.wfile.flush()
            self.released.wait(PATIENCE_SECONDS)
        return None

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def serving(folder: Path, *, asks_for_account: bool = False) -> Iterator[str]:
    """Yield the address at which the files of a folder are."""
    handler = type("Serving", (Handler,), {"released": threading.Event(), "asks_for_account": asks_for_account})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        server.handle_error = lambda *_: None  # who has read enough hangs up
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            handler.released.set()
            server.shutdown()


def playlist_of(clip: Path, *, has_end: bool) -> Path:
    """Return the playlist of HLS that `clip` makes, in segments beside it."""
    playlist = clip.with_suffix(".m3u8")
    with (
        av.open(str(clip)) as source,
        av.open(str(playlist), "w", "hls", options={"hls_time": "1", "hls_list_size": "0"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    text = playlist.read_text()
    assert text.count(".ts") == 4
    playlist.write_text(text if has_end else text.replace("#EXT-X-ENDLIST\n", ""))
    return playlist


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.m3u8"])
def test_a_recording_gives_the_frames_of_the_file_and_ends(
    clip: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    local = clip("clip.mp4" if name.endswith("m3u8") else name, pts=range(40), options={"g": "10"})
    if name.endswith("m3u8"):
        playlist_of(local, has_end=True)
    with open_source(local) as source:
        expected = list(source)
    with serving(tmp_path) as url, open_source(f"{url}/{name}") as source:
        assert isinstance(source, VideoSource)
        assert not source.info.is_live
        came = list(source)
    assert len(came) == len(expected) == 40
    assert [frame.seconds for frame in came] == pytest.approx([frame.seconds for frame in expected], abs=1e-4)
    assert all(np.array_equal(one.image, other.image) for one, other in zip(came, expected, strict=True))


def test_a_playlist_without_end_is_live(clip: Callable[..., Path], tmp_path: Path) -> None:
    playlist_of(clip(pts=range(40), options={"g": "10"}), has_end=False)
    with serving(tmp_path) as url, open_source(f"{url}/clip.m3u8") as source:
        assert isinstance(source, LiveSource)
        assert next(iter(source)).image.shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("name", "stall", "reason"),
    [("half.mkv", PATIENCE_SECONDS, "Input/output error"), ("half_silent.mkv", 2.0, "it is silent")],
)
def test_a_recording_that_breaks_off_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, stall: float, reason: str
) -> None:
    monkeypatch.setattr(recordings, "STALL_SECONDS", stall)
    noise = np.random.default_rng(0).integers(0, 256, (20, 120, 160, 3), np.uint8)  # more than is read ahead
    encode_clip(tmp_path / name, size=(160, 120), pts=range(20), pictures=list(noise))
    with serving(tmp_path) as url, open_source(f"{url}/{name}") as source:
        assert isinstance(source, VideoSource)
        frames = iter(source)
        assert next(frames).index == 0
        with pytest.raises(SourceError, match=rf"cannot read .*{name} further: {reason}"):
            list(frames)


def test_what_is_cut_off_a_recording_stays_cut_off(clip: Callable[..., Path], tmp_path: Path) -> None:
    with_pixel_crop(clip("clip.mkv"), top=10)
    with serving(tmp_path, asks_for_account=True) as url:
        with open_source(f"{url.replace('//', '//ann:right@')}/clip.mkv") as source:
            assert (source.info.width, source.info.height) == (64, 38)
        with pytest.raises(SourceError, match="cannot open") as refused:
            open_source(f"{url.replace('//', '//ann:wr0ng@')}/clip.mkv")
    assert "wr0ng" not in str(refused.value)


@pytest.mark.slow
def test_the_command_writes_a_recording_and_ends(portrait_clip: Path, tmp_path: Path) -> None:
    with serving(portrait_clip.parent) as url, open_source(portrait_clip) as source:
        command = [sys.executable, "-m", "streamer", "run", f"{url}/{portrait_clip.name}", str(tmp_path / "safe.mp4")]
        done = subprocess.run([*command, "--mode", "cover", "--json"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["frames"] == len(list(source))
