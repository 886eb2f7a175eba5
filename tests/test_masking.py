"""No form of an address that a user may name shows its secret, in whatever text it stands."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamer.audit import run_log as run_audit
from streamer.audit.log import settings_sha256
from streamer.cli import main as cli
from streamer.cli.jobs.job import Job
from streamer.masking import ADVICE, encoding_advice, mask_secrets

# What is shown of each; "S3CRET" is in all of them and may be in none.
FORMS = {
    "rtsp://me:S3CRET@host:554/live": "rtsp://***@host:554/live",
    "rtsp://S3CRET@host/live": "rtsp://***@host/live",
    "RTSP://me:S3CRET@host/live": "RTSP://***@host/live",
    "rtsp://me:S3CRET@[::1]:8554/live": "rtsp://***@[::1]:8554/live",
    "rtsp://me:S3/CRET S3CRET@host/live": "rtsp://***@host/live",
    "rtsp://me:1/S3CRET@host/live": "rtsp://***@host/live",
    "rtsp://me:a@b/S3CRET@host/live": "rtsp://***@host/live",
    "rtsp://me:what?S3CRET#S3CRET@host/live": "rtsp://***@host/live",
    "rtsp://me:p@S3CRET@host/live": "rtsp://***@host/live",
    "rtsp://me:S3%2FCRETS3CRET@host/live": "rtsp://***@host/live",
    "rtsp://me:S3CRET/host": "rtsp://me:***/host",
    "rtsp://host/user=me&password=S3CRET&channel=1&stream=0.sdp": "rtsp://host/***",
    "rtsp://host:554/user=me_password=S3CRET_channel=1_stream=0.sdp?real_stream": "rtsp://host:554/***?***",
    "rtsp://host/cam;password=S3CRET/S3CRET": "rtsp://host/cam;***",
    "http://host/axis-cgi/mjpg/video.cgi?user=me&password=S3CRET": "http://host/axis-cgi/mjpg/video.cgi?***",
    "https://host/live.m3u8?S3CRET": "https://host/live.m3u8?***",
    "https://host/live.m3u8#S3CRET": "https://host/live.m3u8#***",
    "https://host/hls/hdnts=exp=1~hmac=S3CRET/live.m3u8": "https://host/hls/***",
    "http://host:8080/live/me/S3CRET/1234.ts": "http://host:8080/live/***/***/1234.ts",
    "http://host:8080/me/S3CRET/1234": "http://host:8080/***/***/1234",
    "rtsps://host:7441/AbS3CRETcDeF9x?enableSrtp": "rtsps://host:7441/***?***",
    "rtmp://a.rtmp.example/live2/S3CRET": "rtmp://a.rtmp.example/live2/***",
    "rtmps://host:443/app/instance/S3CRET/": "rtmps://host:443/app/instance/***/",
    "rtmp://host/S3CRET": "rtmp://host/***",
    "rtmp://me:S3CRET@host/app/S3CRET": "rtmp://***@host/app/***",
    "rtmp://host/app/S3CRET?x=S3CRET": "rtmp://host/app/***?***",
    "rtmp://host/app/k playpath=S3CRET pubPasswd=S3CRET": "rtmp://host/app/*** playpath=*** pubPasswd=***",
    "srt://host:9000?streamid=publish:S3CRET&passphrase=S3CRET": "srt://host:9000?***",
    "udp://239.0.0.1:1234?key=S3CRET": "udp://239.0.0.1:1234?***",
    "whip:https://me:S3CRET@host/whip/room": "whip:https://***@host/whip/room",
    "whip:https://host/0d1c2bS3CRET3a4f5e6d/webRTC/publish": "whip:https://host/***/webRTC/publish",
    "whip:https://host/whip?token=S3CRET": "whip:https://host/whip?***",
    "rtsp:/me:S3CRET@host/live": "rtsp:/***@host/live",
    "http://host/@S3CRET@ann/live": "http://***@ann/live",  # it might have been a password
    "me:S3CRET@192.168.1.5/live": "***@192.168.1.5/live",
    "/home/ann/me:S3CRET@192.168.1.5/live": "/home/ann/***@192.168.1.5/live",
}


@pytest.mark.parametrize("url", FORMS)
def test_an_address_shows_where_and_nothing_secret(url: str):
    assert mask_secrets(url) == FORMS[url]


@pytest.mark.parametrize("url", FORMS)
def test_in_a_message_too_and_masking_again_changes_nothing(url: str):
    said = mask_secrets(f"[tcp @ 0x55] cannot open '{url}', nor {url}: Connection refused; is it on?")
    assert "S3CRET" not in said
    assert said.endswith("Connection refused; is it on?")
    assert mask_secrets(said) == said
    assert "S3CRET" not in mask_secrets(json.dumps({"source": url, "sink": url}))


@pytest.mark.parametrize("text", ["Authorization: Bearer S3CRET.x.y", "authorization: basic S3CRET==", "pwd=S3CRET"])
def test_what_a_server_was_told_is_no_part_of_a_message(text: str):
    assert "S3CRET" not in mask_secrets(f"refused ({text}) with 401")


@pytest.mark.parametrize(
    "plain",
    [
        "/home/ann@work/what?.mp4",
        "clip #3 (final).mp4",
        "rtsp://host/cam/realmonitor",
        "http://127.0.0.1:8765/2024-05-01_town_meeting.mp4",
        "rtsp://host:8554/camera_front_door",
        "udp://239.0.0.1:1234",
        "whip:https://host/whip/room",
        "no frame in 00:01:30; 12:34 is the ratio",
        "camera:Logitech",
    ],
)
def test_what_is_no_secret_stays(plain: str):
    assert mask_secrets(plain) == plain


@pytest.mark.parametrize(
    "url", ["rtsp://me:p/w@host/live", "rtsp://me:p w@host/live", "rtsp://me:a@b/c@host/live", "rtsp://me:p?w@host/a"]
)
def test_who_must_encode_a_password_is_told_how(url: str):
    assert encoding_advice(url) == ADVICE
    assert "%2F" in ADVICE


@pytest.mark.parametrize(
    "url",
    ["rtsp://me:p%2Fw@host/live", "rtsp://me:p@w@host/live", "http://host/@ann", "rtsp://[::1]:8554/a", "udp://@:1234"],
)
def test_an_address_that_is_clear_needs_no_advice(url: str):
    assert encoding_advice(url) == ""


@pytest.mark.parametrize("password", ["S3CRET", "S3CRET@x", "S3:CRET"])
def test_a_path_that_took_a_slash_is_masked_too(password: str):
    assert mask_secrets(f"rtsp://me:{password}@host/a") == "rtsp://***@host/a"
    assert mask_secrets(str(Path(f"rtsp://me:{password}@host/a"))) == "rtsp:/***@host/a"


@pytest.mark.parametrize(
    ("source", "sink"),
    [
        ("rtsp://me:S3CRET@127.0.0.1:1/a", "safe.mp4"),
        ("rtsp://me:S3/CRETS3CRET@127.0.0.1:1/a", "safe.mp4"),
        ("http://127.0.0.1:1/a?token=S3CRET", "safe.mp4"),
        ("ftp://me:S3CRET@127.0.0.1/a", "safe.mp4"),
        ("me:S3CRET@127.0.0.1/a", "safe.mp4"),
        ("clip.mp4", "rtmp://127.0.0.1:1/app/S3CRET KEYS3CRET"),
        ("clip.mp4", "ftp://127.0.0.1:1/app;password=S3CRET"),
        ("clip.mp4", "whip:ftp://me:S3CRET@127.0.0.1:1/app"),
    ],
)
def test_a_run_that_fails_shows_no_secret_even_in_its_traceback(
    source: str, sink: str, clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clip("clip.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VEIL_DEBUG", "1")
    options = ["--mode", "cover", "--audit", "log", "--json"]
    result = CliRunner().invoke(cli.app, ["run", source, sink, *options])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "veil: " in result.stderr
    assert "S3CRET" not in result.output
    assert not Path("log").exists() or "S3CRET" not in Path("log").read_text()


def test_a_long_word_takes_no_longer_than_its_length():
    """At 2.3 seconds for 8,000 letters, and by the square, this would take minutes."""
    word = 100_000 * "a"
    assert mask_secrets(f"{word} rtsp://ann:secret@camera/{word}").count("***") >= 1


def test_the_hash_in_an_audit_log_cannot_be_used_to_guess_a_password():
    jobs = [Job(f"rtsp://me:{word}@host/a", "a.mp4", (f"rtmp://host/app/{word}",)) for word in ("one", "other")]
    assert len({settings_sha256(run_audit.shown(job)) for job in jobs}) == 1
    assert settings_sha256(run_audit.shown(jobs[0])) != settings_sha256(run_audit.shown(replace(jobs[0], sink="b.mp4")))


def test_tracebacks_of_threads_and_warnings_of_libraries_are_masked():
    code = (
        "import logging, threading\nfrom streamer.cli.failures import show_no_secrets\nshow_no_secrets()\n"
        "def work(): raise OSError(111, 'refused', 'rtsp://me:S3/CRET@host/a')\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()\n"
        "logging.getLogger('other').warning('retrying %s', 'rtmp://host/app/S3CRET')\nwork()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.count("rtsp://***@host/a") == 2
    assert done.stderr.count("Traceback") == 2
    assert "retrying rtmp://host/app/***" in done.stderr
    assert "CRET" not in done.stderr
