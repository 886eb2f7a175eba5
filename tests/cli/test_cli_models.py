"""`veil models`: import, list, and a picture that an imported model draws in."""

from pathlib import Path

import cv2
import pytest
import torch
from typer.testing import CliRunner, Result

from models.pretrained.formats import FFHQ_TEMPLATE
from models.registry import load_face_model
from streamer import Anonymizer
from streamer.cli import doctor
from streamer.cli import main as cli
from streamer.types import Image
from tests.models.published_weights import SMALL_CHANNELS, drawn, generator_shapes, small_psp


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for imported weights that is the test's own."""
    monkeypatch.setenv("VEIL_MODELS", str(tmp_path / "imported"))
    return tmp_path / "imported"


@pytest.fixture
def psp(tmp_path: Path) -> Path:
    torch.save(small_psp(), tmp_path / "psp_ffhq_encode.pt")
    return tmp_path / "psp_ffhq_encode.pt"


def veil(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


@pytest.mark.slow
def test_an_imported_model_draws_the_face_of_a_picture(psp: Path, hopper: Image, tmp_path: Path):
    imported = veil("models", "import", psp, "--name", "mine")
    assert imported.exit_code == 0, imported.stderr
    assert imported.stdout == "mine: face model of 64 px; serves one privacy level only, whatever --beta\n"
    anonymizer = Anonymizer.load(model="mine", device="cpu")
    assert load_face_model("mine").template == FFHQ_TEMPLATE
    image = anonymizer.image(hopper)
    assert (image[190:310, 200:320] != hopper[190:310, 200:320]).mean() > 0.9  # from brows to mouth
    assert (image[500:] == hopper[500:]).all()

    cv2.imwrite(str(tmp_path / "in.png"), hopper[:, :, ::-1])
    ran = veil("run", tmp_path / "in.png", tmp_path / "out.png", "--model", "mine", "--device", "cpu", "--json")
    assert ran.exit_code == 0, ran.stderr
    assert (cv2.imread(str(tmp_path / "out.png"))[:, :, ::-1] == image).all()


def test_the_list_has_every_import_and_says_which_is_damaged(psp: Path, tmp_path: Path, folder: Path):
    assert "none in" in veil("models", "list").stdout
    torch.save({"g_ema": drawn(generator_shapes(64, SMALL_CHANNELS, latent=8, mapping=2))}, tmp_path / "g.pt")
    for path in (psp, tmp_path / "g.pt"):
        assert veil("models", "import", path).exit_code == 0
    lines = veil("models", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["psp-64", "stylegan2-64"]
    assert "one privacy level" in lines[0]
    assert "generator of 64 px without an encoder, for `veil train encoder`" in lines[1]
    (folder / "psp-64.safetensors").write_bytes(b"changed")
    assert "changed since; import it again" in veil("models", "list").stdout.splitlines()[0]


def test_the_doctor_lists_imports_and_works_without_a_damaged_one(psp: Path, folder: Path):
    veil("models", "import", psp)
    (finding,) = [finding for finding in doctor.examine() if finding.name == "model psp-64"]
    assert (finding.ok, finding.value) == (True, "imported, verified")
    (folder / "psp-64.safetensors").write_bytes(b"changed")
    (finding,) = [finding for finding in doctor.examine() if finding.name == "model psp-64"]
    assert not finding.ok
    assert not finding.broken
    assert "import it again" in finding.value


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<html>Google Drive: sign in</html>", "a web page, not weights"),
        (b"", "damaged, cut short"),
        (None, "cannot be read: No such file"),
    ],
)
def test_what_cannot_be_imported_is_said_in_one_line(content: bytes | None, says: str, tmp_path: Path):
    if content is not None:
        (tmp_path / "psp.pt").write_bytes(content)
    result = veil("models", "import", tmp_path / "psp.pt")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert says in result.stderr


def test_running_a_generator_says_in_one_line_that_it_has_no_encoder(hopper: Image, tmp_path: Path):
    torch.save({"g_ema": drawn(generator_shapes(64, SMALL_CHANNELS, latent=8, mapping=2))}, tmp_path / "g.pt")
    veil("models", "import", tmp_path / "g.pt")
    cv2.imwrite(str(tmp_path / "in.png"), hopper)
    result = veil("run", tmp_path / "in.png", tmp_path / "out.png", "--model", "stylegan2-64")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "a generator without an encoder" in result.stderr
    assert not (tmp_path / "out.png").exists()


def test_a_folder_that_cannot_be_written_is_named(psp: Path, folder: Path):
    folder.write_bytes(b"a file where the folder should be")
    result = veil("models", "import", psp)
    assert result.exit_code == 1
    assert str(folder) in result.stderr
