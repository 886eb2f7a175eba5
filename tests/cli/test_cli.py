import json
import subprocess
import sys
from pathlib import Path

import av
import pytest

from streamer.cli import run as cli_run
from streamer.cli.doctor import Finding
from streamer.pipeline import anonymizer as pipeline
from tests.cli.running import COVER, veil
from tests.clips import packets_of


def frames_of(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [frame.pts for frame in container.decode(video=0)]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_and_version_load_nothing_heavy(arguments: list[str]):
    code = (
        "import sys; from streamer.cli.main import app; app(sys.argv[1:], standalone_mode=False);"
        "sys.exit(str({'torch', 'cv2', 'av', 'mediapipe'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stderr.strip() == ""
    assert done.stdout


def test_version_is_that_of_the_package():
    import streamer

    assert veil("--version").stdout == f"veil {streamer.__version__}\n"


@pytest.mark.slow
def test_run_writes_every_frame_and_says_how_faces_were_covered(portrait_clip: Path, tmp_path: Path):
    result = veil("run", portrait_clip, tmp_path / "safe.mp4", *COVER)
    assert result.exit_code == 0, result.stderr
    assert len(frames_of(tmp_path / "safe.mp4")) == 12
    for part in ("12 in", "fps on cpu", "face-frames", "mosaic", "dropped (1 stream; a voice identifies a person"):
        assert part in result.stdout
    assert result.stderr == ""


@pytest.mark.slow
def test_a_key_and_a_privacy_budget_are_taken_and_accounted_for(portrait_clip: Path, tmp_path: Path):
    (tmp_path / "key").write_bytes(bytes(range(32)))
    options = ("--key", tmp_path / "key", "--epsilon", 2, "--delta", 1e-6, "--device", "cpu")
    result = veil("run", portrait_clip, tmp_path / "safe.mp4", *options)
    assert result.exit_code == 0, result.stderr
    assert "epsilon 2 a track at delta 1e-06, 2 if all 1 tracks were one person" in result.stdout
    assert "none with --epsilon: no face is compared with the person" in result.stdout


@pytest.mark.slow
def test_a_key_and_a_name_decide_who_is_drawn_in_every_run(tmp_path: Path):
    import matplotlib

    photo = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    (tmp_path / "key").write_bytes(bytes(range(32)))
    made = []
    for n, options in enumerate([(), (), ("--stream", "door"), ("--stream", "door"), ("--stream", "yard")]):
        safe = tmp_path / f"{n}.png"
        result = veil("run", photo, safe, "--key", tmp_path / "key", "--device", "cpu", *options)
        assert result.exit_code == 0, result.stderr
        made.append(safe.read_bytes())
    assert made[0] == made[1]
    assert made[2] == made[3]
    assert len(set(made)) == 3


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"short", [], "a key needs at least 32 bytes, this has 5"),
        (None, [], "the key cannot be read: No such file"),
        (bytes(32), ["--epsilon", "1", "--beta", "0.5"], "epsilon needs mode 'generate' and beta 0"),
        (bytes(32), ["--epsilon", "nan"], "epsilon must be above 0 and finite"),
    ],
)
def test_a_wrong_key_or_budget_is_wrong_usage_and_writes_nothing(
    content: bytes | None, options: list[str], message: str, portrait_clip: Path, tmp_path: Path
):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    result = veil("run", portrait_clip, tmp_path / "safe.mp4", "--key", tmp_path / "key", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "safe.mp4").exists()


@pytest.mark.slow
def test_json_is_one_object_on_stdout_and_agrees_with_the_output(portrait_clip: Path, tmp_path: Path):
    result = veil("run", portrait_clip, tmp_path / "safe.mkv", *COVER, "--cover", "solid", "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["frames"] == len(frames_of(tmp_path / "safe.mkv")) == 12
    assert said["face_frames"] == sum(said["covered"]["solid"].values()) >= 9
    assert said["tracks"] >= 1
    assert said["frames_covered_whole"] == {}
    assert (said["audio_streams"], said["audio_packets"]) == (1, None)


@pytest.mark.slow
def test_audio_is_kept_only_when_asked_for(portrait_clip: Path, tmp_path: Path):
    kinds = {}
    for name, options in (("without.mp4", ()), ("with.mp4", ("--keep-audio",))):
        assert veil("run", portrait_clip, tmp_path / name, *COVER, *options).exit_code == 0
        with av.open(str(tmp_path / name)) as container:
            kinds[name] = [stream.type for stream in container.streams]
    assert kinds == {"without.mp4": ["video"], "with.mp4": ["video", "audio"]}


@pytest.mark.slow
def test_the_summary_counts_the_packets_of_sound_that_were_copied(portrait_clip: Path, tmp_path: Path):
    result = veil("run", portrait_clip, tmp_path / "safe.mp4", *COVER, "--keep-audio", "--json")
    with av.open(str(tmp_path / "safe.mp4")) as container:
        count = sum(bool(packet.size) for packet in container.demux(audio=0))
    said = json.loads(result.stdout)
    assert (said["audio_streams"], said["audio_packets"]) == (1, count)
    assert said["audio"] == f"{count} packets of 1 stream copied: a voice identifies a person"


@pytest.mark.slow
def test_another_voice_is_heard_and_said_in_summary_and_log(portrait_clip: Path, tmp_path: Path):
    log = tmp_path / "log.jsonl"
    result = veil("run", portrait_clip, tmp_path / "safe.mp4", *COVER, "--voice", "--audit", log, "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert (said["voice"], said["audio_failures"]) == ("another", [])
    assert said["audio"] == "1 stream in another voice: disguised, not anonymous"
    assert json.loads(log.read_text().splitlines()[0])["sound"] == "another voice"
    sounds = [packets_of(path, "audio")[0] for path in (portrait_clip, tmp_path / "safe.mp4")]
    assert float(sounds[1][-1][0]) == pytest.approx(float(sounds[0][-1][0]), abs=0.03)
    assert not {data for _, data in sounds[0]} & {data for _, data in sounds[1]}


@pytest.mark.parametrize("options", [("--keep-audio",), ("--also", "frames")])
def test_a_voice_that_cannot_be_is_refused(portrait_clip: Path, tmp_path: Path, options: tuple[str, ...]):
    result = veil("run", portrait_clip, tmp_path / "safe.mp4", *COVER, "--voice", *options)
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "safe.mp4").exists()


def test_small_faces_are_looked_for_as_asked(portrait_clip: Path, tmp_path: Path):
    result = veil("run", portrait_clip, tmp_path / "safe.mp4", *COVER, "--min-face", "50", "--json")
    assert json.loads(result.stdout)["searched"]["least_face"] == 50.0


@pytest.mark.slow
def test_a_codec_can_be_chosen(portrait_clip: Path, tmp_path: Path):
    assert veil("run", portrait_clip, tmp_path / "safe.mp4", *COVER, "--codec", "hevc").exit_code == 0
    with av.open(str(tmp_path / "safe.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "hevc"


@pytest.mark.slow
def test_av1_is_written_without_a_word(portrait_clip: Path, tmp_path: Path):
    command = [sys.executable, "-m", "streamer", "run", portrait_clip, tmp_path / "safe.webm", *COVER, "--codec", "av1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    assert done.stderr == ""  # the encoder itself writes there, below Python


@pytest.mark.slow
def test_a_folder_of_pictures_becomes_a_folder_of_pictures(portrait_clip: Path, tmp_path: Path):
    assert veil("run", portrait_clip, tmp_path / "frames", *COVER).exit_code == 0
    result = veil("run", tmp_path / "frames", tmp_path / "safe", *COVER, "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["tracks"] is None
    assert len(list((tmp_path / "safe").iterdir())) == 12


@pytest.fixture
def only_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the demo does around the network, without one."""
    monkeypatch.setattr(cli_run, "load_anonymizer", lambda *_, **__: pipeline.Anonymizer.load(mode="cover"))


@pytest.mark.slow
@pytest.mark.usefixtures("only_cover")
def test_the_demo_of_a_clip_writes_video_and_sheet_and_warns(portrait_clip: Path, tmp_path: Path):
    result = veil("demo", portrait_clip, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["demo_safe.mp4", "demo_sheet.png"]
    assert "real faces, do not publish" in result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("only_cover")
def test_the_demo_makes_its_own_clip(portrait_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streamer.cli.demo.render_clip", lambda path: path.write_bytes(portrait_clip.read_bytes()))
    result = veil("demo", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "out" / "demo_input.mp4").exists()
    assert len(frames_of(tmp_path / "out" / "demo_safe.mp4")) == 12


def test_a_demo_that_has_nowhere_to_write_says_so(portrait_clip: Path, tmp_path: Path):
    (tmp_path / "file").touch()
    result = veil("demo", portrait_clip, "--out", tmp_path / "file" / "out")
    assert result.exit_code == 1
    assert "cannot make the folder" in result.stderr


FINDINGS = [Finding("torch", "2.13.0"), Finding("cuda", "none", ok=False, needed=False)]


@pytest.mark.parametrize(("broken", "code"), [([], 0), ([Finding("weights", "changed", ok=False)], 1)])
def test_doctor_fails_only_if_something_needed_is_broken(
    broken: list[Finding], code: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("streamer.cli.doctor.examine", lambda: FINDINGS + broken)
    result = veil("doctor")
    assert result.exit_code == code
    assert [line.split() for line in result.stdout.splitlines()[:2]] == [
        ["ok", "torch", "2.13.0"],
        ["absent", "cuda", "none"],
    ]
    said = json.loads(veil("doctor", "--json").stdout)
    assert said["ok"] is (code == 0)
    assert len(said["findings"]) == 2 + len(broken)


def test_python_m_streamer_is_veil():
    done = subprocess.run([sys.executable, "-m", "streamer", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("veil ")


@pytest.mark.parametrize("kind", [["linear", "--recognizer"], ["refiner", "--teacher"], ["identity", "--teacher"]])
def test_training_without_data_says_which_file_is_missing(kind: list[str], tmp_path: Path) -> None:
    command, option = kind
    arguments = ["train", command, str(tmp_path / "gone"), option, "x.pt", "--run", str(tmp_path / "run")]
    result = veil(*arguments)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "gone" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_audited_run_leaves_a_log_that_verifies(portrait_clip: Path, tmp_path: Path):
    log, key, public = tmp_path / "log.jsonl", tmp_path / "audit.pem", tmp_path / "public.pem"
    made = veil("audit-key", key)
    assert made.exit_code == 0
    public.write_text(made.stdout)
    result = veil("run", portrait_clip, tmp_path / "safe.mp4", *COVER, "--audit", log, "--audit-key", key)
    assert result.exit_code == 0, result.stderr
    checked = veil("verify", log, "--public-key", public)
    assert checked.exit_code == 0
    assert "12 frames" in checked.stdout
    log.write_text(log.read_text().replace('"frames":12', '"frames":11', 1))
    assert veil("verify", log, "--public-key", public).exit_code == 1


def test_a_key_without_a_log_is_wrong_usage(portrait_clip: Path, tmp_path: Path):
    result = veil("run", portrait_clip, tmp_path / "safe.mp4", *COVER, "--audit-key", tmp_path / "key.pem")
    assert result.exit_code == 2
    assert "--audit" in result.stderr
