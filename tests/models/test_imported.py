"""How imported weights are kept, checked and found again."""

import sys
from pathlib import Path

import pytest

from models.checkpoint import import_folder, verify_imports, weights_path
from models.checkpoint_errors import CheckpointError
from models.pretrained.imported import (
    describe,
    import_weights,
    stored_models,
)
from models.private_encoder.private_encoder import PrivateEncoder
from models.registry import load_as, load_face_model
from tests.models.published_weights import (
    small_psp,
)
from tests.models.saving import saved


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where `VEIL_MODELS` leads in a test."""
    return tmp_path / "imported"


def test_imported_weights_are_checked_whenever_they_are_used(tmp_path: Path, folder: Path) -> None:
    path = saved(small_psp(), tmp_path / "psp.pt")
    import_weights(path)
    stored = folder / "psp-64.safetensors"
    assert weights_path("psp-64") == stored
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="sha256 does not match; import it again"):
        load_face_model("psp-64")
    assert verify_imports() == {"psp-64": False}
    import_weights(path)  # in place of what is damaged
    assert verify_imports() == {"psp-64": True}


def test_several_imports_stand_side_by_side_and_a_deleted_file_is_forgotten(tmp_path: Path, folder: Path) -> None:
    path = saved(small_psp(), tmp_path / "psp.pt")
    import_weights(path, "b")
    import_weights(path, "a")
    assert [model.name for model in stored_models()] == ["a", "b"]
    assert all(
        model.description.endswith("serves one privacy level only, whatever --beta") for model in stored_models()
    )
    (folder / "a.safetensors").unlink()
    assert [model.name for model in stored_models()] == ["b"]
    with pytest.raises(CheckpointError, match=r"a: no such file, .*; imported: b"):
        weights_path("a")


def test_a_model_that_heeds_beta_is_not_said_to_serve_one_level(tmp_path: Path) -> None:
    import_weights(saved(small_psp(), tmp_path / "psp.pt"))
    model = load_as(PrivateEncoder, weights_path("psp-64"))
    model.encoder.styles[4].beta_affine.bias.data[3] = 0.5
    model.save(tmp_path / "trained.safetensors")
    assert describe(tmp_path / "trained.safetensors") == "face model of 64 px"
    with pytest.raises(CheckpointError, match="a checkpoint of veil already: give its path to --model"):
        import_weights(tmp_path / "trained.safetensors")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("psp-64", "there is one already; choose another --name"),
        ("default", "is a model of ours"),
        ("linear-refined", "is a model of ours"),
        ("../psp", "a name is letters, digits"),
        ("a b", "a name is letters, digits"),
        ("", "a name is letters, digits"),
    ],
)
def test_a_name_that_is_taken_or_no_name_is_refused(tmp_path: Path, name: str, says: str) -> None:
    path = saved(small_psp(), tmp_path / "psp.pt")
    import_weights(path)
    with pytest.raises(CheckpointError, match=says):
        import_weights(path, name)
    assert [model.name for model in stored_models()] == ["psp-64"]


def test_damage_among_the_imported_does_not_keep_ours_from_loading(folder: Path) -> None:
    folder.mkdir()
    (folder / "SHA256SUMS").write_text("0123abcd\n")
    assert weights_path("default").name == "linear-refined.safetensors"
    with pytest.raises(CheckpointError, match="SHA256SUMS: damaged"):
        weights_path("psp-64")


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.local/share/veil/models"),
        ("linux", {"XDG_DATA_HOME": "data"}, "data/veil/models"),
        ("darwin", {}, "home/Library/Application Support/veil/models"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/veil/models"),
        ("win32", {"VEIL_MODELS": "mine"}, "mine"),
    ],
)
def test_weights_are_kept_where_the_platform_keeps_a_user_s_data(
    platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VEIL_MODELS", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "home"} | variables).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert import_folder() == Path(expected)
