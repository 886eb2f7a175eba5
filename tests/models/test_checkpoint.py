"""Checkpoint files: what is written comes back, and what is damaged is named."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import safetensors.torch
import torch

from models.checkpoint import (
    Checkpoint,
    config_from_json,
    file_sha256,
    read_checkpoint,
    verify_weights,
    weights_path,
    write_checkpoint,
)
from models.checkpoint_errors import CheckpointError

METADATA = {"veil_format": "1", "kind": "toy", "config": "{}", "template": "{}"}


def toy(value: float = 1.0) -> Checkpoint:
    return Checkpoint("toy", {"width": 3}, {"kind": "similarity"}, {"weight": torch.full((2, 3), value)})


def shipped(folder: Path, names: tuple[str, ...] = ("linear-refined", "other")) -> Path:
    """A folder of shipped weights with its sums, as `sha256sum` writes them."""
    lines = []
    for name in names:
        content = name.encode()
        (folder / f"{name}.safetensors").write_bytes(content)
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}.safetensors\n")
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


@dataclass(frozen=True)
class Inner:
    size: int


@dataclass(frozen=True)
class Outer:
    inner: Inner
    widths: tuple[int, ...]
    points: tuple[tuple[float, float], ...]


def test_a_checkpoint_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_checkpoint(toy(), tmp_path / "toy.safetensors")
    read = read_checkpoint(tmp_path / "toy.safetensors")
    assert (read.kind, read.config, read.template) == ("toy", {"width": 3}, {"kind": "similarity"})
    assert torch.equal(read.tensors["weight"], torch.ones(2, 3))


def test_tensors_of_any_layout_in_memory_are_written(tmp_path: Path) -> None:
    weight = torch.arange(24.0).view(1, 2, 3, 4)
    tensors = {"last": weight.contiguous(memory_format=torch.channels_last), "turned": weight[0, 0].T}
    write_checkpoint(Checkpoint("toy", {}, {}, tensors), tmp_path / "toy")
    read = read_checkpoint(tmp_path / "toy").tensors
    assert torch.equal(read["last"], weight)
    assert torch.equal(read["turned"], weight[0, 0].T)


def test_a_new_checkpoint_replaces_the_old_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_checkpoint(toy(1.0), tmp_path / "toy")
    write_checkpoint(toy(2.0), tmp_path / "toy")
    assert read_checkpoint(tmp_path / "toy").tensors["weight"][0, 0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one_and_no_half(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError, match="folder"):
        write_checkpoint(toy(), target)  # a file cannot replace a folder
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.safetensors: cannot be read"):
        read_checkpoint(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("kept", [0, 4, 40, -1])
def test_a_truncated_file_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "half.safetensors"
    write_checkpoint(toy(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"half\.safetensors: damaged"):
        read_checkpoint(path)


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "picture.safetensors"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" * 50)
    with pytest.raises(CheckpointError, match=r"picture\.safetensors: damaged or not a safetensors file"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "not a checkpoint of veil"),
        ({"format": "pt"}, "not a checkpoint of veil"),
        ({**METADATA, "veil_format": "2"}, "format 2, this version of veil reads 1; update"),
        ({"veil_format": "1", "kind": "toy", "template": "{}"}, "the metadata has no 'config'"),
        ({**METADATA, "config": '{"width": '}, "damaged"),
    ],
)
def test_foreign_newer_and_damaged_metadata_are_told_apart(
    tmp_path: Path, metadata: dict[str, str] | None, message: str
) -> None:
    path = tmp_path / "toy.safetensors"
    safetensors.torch.save_file({"weight": torch.ones(1)}, path, metadata)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_survives_json_with_its_tuples_and_dataclasses() -> None:
    config = Outer(Inner(4), (1, 2, 3), ((0.5, 0.25), (1.0, 0.0)))
    assert config_from_json(Outer, json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize("values", [{}, {"size": 1, "colour": 2}])
def test_a_configuration_with_other_fields_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        config_from_json(Inner, values)


def test_the_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(("asked", "file"), [("default", "linear-refined"), ("other", "other")])
def test_a_bare_name_is_the_weights_of_that_name(tmp_path: Path, asked: str, file: str) -> None:
    folder = shipped(tmp_path)
    assert weights_path(asked, folder=folder) == folder / f"{file}.safetensors"


def test_a_path_is_that_file_whatever_we_ship(tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"mine")
    assert weights_path(own, folder=shipped(tmp_path)) == own
    assert weights_path(str(own), folder=tmp_path) == own


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"styleless: no such file, .*: linear-refined, other"):
        weights_path("styleless", folder=shipped(tmp_path))


def test_without_any_weights_the_message_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"linear-refined: no such file, .*: none installed"):
        weights_path("default", folder=tmp_path)


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_weights_that_are_not_as_shipped_are_refused(tmp_path: Path, damage: str) -> None:
    path = shipped(tmp_path) / "linear-refined.safetensors"
    path.write_bytes(b"x") if damage == "changed" else path.unlink()
    with pytest.raises(CheckpointError, match="sha256 does not match; reinstall veil-stream"):
        weights_path("default", folder=tmp_path)


def test_verifying_tells_for_each_of_our_weights_whether_it_is_intact(tmp_path: Path) -> None:
    folder = shipped(tmp_path, ("good", "changed", "removed"))
    (folder / "changed.safetensors").write_bytes(b"x")
    (folder / "removed.safetensors").unlink()
    assert verify_weights(folder=folder) == {"good": True, "changed": False, "removed": False}


def test_damaged_sums_are_named(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text("0123abcd\n")
    with pytest.raises(CheckpointError, match="SHA256SUMS: damaged"):
        verify_weights(folder=tmp_path)


def test_the_weights_we_ship_are_intact() -> None:
    assert all(verify_weights().values())
