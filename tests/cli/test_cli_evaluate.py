import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from streamer.cli import main as cli
from streamer.cli.demo import free_portrait
from streamer.evaluate.figures import Chart, Figure, Findings, Table
from streamer.evaluate.report.thresholds import Gate

COMMANDS = ("images", "video", "tables", "attack")
RECOGNIZER = ("--recognizer", "identity")


def veil(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of four photos of one face, in different light."""
    folder = tmp_path_factory.mktemp("photos")
    for number, light in enumerate((1.0, 0.8, 0.6, 1.1), 1):
        picture = (free_portrait().astype(np.float32) * light).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"Somebody_{number:04d}.png"), picture[..., ::-1])
    return folder


def gate(folder: Path, text: str) -> Path:
    path = folder / "gate.toml"
    path.write_text(text)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy(command: str):
    code = (
        "import sys; from streamer.cli.main import app; app(sys.argv[1:], standalone_mode=False);"
        "sys.exit(str({'torch', 'cv2', 'dlib', 'sklearn', 'matplotlib', 'jinja2'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code, "evaluate", command, "--help"], capture_output=True, text=True)
    assert done.stderr.strip() == ""
    assert "--thresholds" in done.stdout


@pytest.mark.slow
def test_a_missing_extra_is_named_with_what_to_install(photos: Path):
    code = "import sys; sys.modules['sklearn'] = None; from streamer.cli.main import main; main()"
    arguments = [sys.executable, "-c", code, "evaluate", "images", str(photos)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 1
    needs = "veil: veil evaluate needs more packages (sklearn): in Veil's folder, pip install '.[eval]'\n"
    assert done.stderr == needs


def test_a_mistake_in_the_thresholds_is_said_before_the_work(tmp_path: Path):
    path = gate(tmp_path, '[images]\n"ssim" = { mim = 0.5 }\n')
    result = veil("images", tmp_path / "gone", "--thresholds", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "gate.toml: [images] ssim has an unknown key 'mim'" in result.stderr
    assert "gone" not in result.stderr


@pytest.mark.parametrize("export", ["--export-hifd", "--export-lfw"])
def test_an_export_cannot_go_on_where_a_run_was_cut_off(export: str, tmp_path: Path):
    result = veil("images", tmp_path, "--resume", tmp_path / "kept", export, tmp_path / "export")
    assert result.exit_code == 2
    assert "leave out --resume" in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--recognizer", "--inception"])
def test_weights_that_are_not_there_are_named(option: str, photos: Path):
    result = veil("images", photos, photos, option, "gone.pt", *(() if option == "--recognizer" else RECOGNIZER))
    assert result.exit_code == 1
    assert "gone.pt" in result.stderr
    assert "unexpected" not in result.stderr


def test_a_report_that_cannot_be_a_file_is_said_before_the_work(tmp_path: Path):
    result = veil("images", tmp_path / "gone", "--report", tmp_path)
    assert result.exit_code == 1
    assert f"cannot write {tmp_path}: it is a folder" in " ".join(result.stderr.split())


@pytest.mark.parametrize("option", ["--report", "--out"])
def test_where_nothing_can_be_written_is_said_before_the_work(option: str, tmp_path: Path):
    (tmp_path / "file").touch()
    result = veil("images", tmp_path / "gone", option, tmp_path / "file" / "within" / "it")
    assert result.exit_code == 1
    assert "cannot write" in result.stderr
    assert "gone" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["images", "gone", "--beta", "2"], "--beta"),
        (["images", "gone", "--limit", "0"], "--limit"),
        (["images", "gone", "--key", "gone.key"], "the key cannot be read"),
        (["images"], "ORIGINALS"),
        (["video", "gone", "--every", "0"], "--every"),
    ],
)
def test_wrong_usage_is_exit_code_two(arguments: list[str], says: str):
    result = veil(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", ["images", "video"])
def test_originals_that_are_not_there_are_named(command: str, tmp_path: Path):
    result = veil(command, tmp_path / "gone", tmp_path, *RECOGNIZER)
    assert result.exit_code == 1
    assert "gone" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_copies_are_recognised_and_break_the_gate(photos: Path, tmp_path: Path):
    path = gate(tmp_path, '[images]\n"similarity.identity" = { max = 0.1 }\n"ssim" = { min = 0.65 }\n')
    report = tmp_path / "new" / "report.html"
    result = veil("images", photos, photos, *RECOGNIZER, "--thresholds", path, "--report", report, "--json")
    assert result.exit_code == 3, result.stderr
    said = json.loads(result.stdout)
    assert said["figures"]["ssim"]["value"] == pytest.approx(1)
    assert said["figures"]["similarity.identity"]["value"] == pytest.approx(1)
    assert said["verdict"] == {
        "outcome": "fail", "broken": {"similarity.identity": "1 is above 0.1"}, "too_few": {},
    }  # fmt: skip
    assert (
        "Privacy: 0 of 1 thresholds hold; 1 broken (<bdi>Likeness to the person (identity)</bdi>)."
        in report.read_text()
    )
    assert hashlib.sha256(result.stdout.rstrip("\n").encode()).hexdigest() in report.read_text()
    assert "This page shows real faces" not in report.read_text()


@pytest.mark.slow
def test_our_own_output_is_made_and_the_page_says_with_what(photos: Path, tmp_path: Path):
    path = gate(tmp_path, '[images]\n"similarity.identity" = { max = 0.5 }\n')
    options = ("--limit", 2, "--thresholds", path, "--report", tmp_path / "report.html", "--show-faces")
    options += ("--export-hifd", tmp_path / "hifd", "--export-lfw", tmp_path / "lfw")
    result = veil("images", photos, *RECOGNIZER, *map(str, options))
    assert result.exit_code == 0, result.output
    assert "PASS: 1 of 1 thresholds" in result.stdout
    page = (tmp_path / "report.html").read_text()
    sums = Path(cli.__file__).parents[2] / "models" / "weights" / "SHA256SUMS"
    assert any(line.split()[0] in page for line in sums.read_text().splitlines())
    assert "This page shows real faces" in page
    predicted = tmp_path / "hifd/methods/veil"
    embeddings, landmarks = (
        json.loads((predicted / name).read_text())["predictions"]
        for name in ("face_embedding/identity.json", "landmark/mediapipe-mesh.json")
    )
    outputs = {path.name for path in (tmp_path / "lfw/data/Somebody").iterdir()}
    assert len(embeddings) == len(landmarks) == len(outputs) == 2
    made_with = json.loads((tmp_path / "lfw/config.yaml").read_text())["parameters"]
    assert made_with["model sha256"] in page


@pytest.mark.slow
def test_a_copy_of_a_video_leaks_every_face_and_breaks_the_gate(portrait_clip: Path, tmp_path: Path):
    path = gate(tmp_path, '[video]\n"leak_rate" = { max = 0 }\n')
    result = veil("video", portrait_clip, portrait_clip, *RECOGNIZER, "--every", "6", "--thresholds", path)
    assert result.exit_code == 3, result.output
    assert "broken: leak_rate must be at most 0: 10000 is above 0" in result.stdout


def test_out_holds_tables_and_charts_as_files(tmp_path: Path):
    from streamer.cli.evaluate import Ending, _end

    table = Table("Table 1. MSE", ("method", "MSE"), (("ours", Figure(0.02, 0.01, 0.03)),))
    findings = Findings("t", {}, (table,), (Chart("Figure 3", b"png", "text"),))
    _end(findings, Gate(), Ending("tables", None, None, tmp_path, as_json=False))
    names = {path.name for path in tmp_path.iterdir()}
    assert {"tables.md", "table-1.csv", "figure-3.png"} <= names
