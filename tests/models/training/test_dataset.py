"""Crops from tars and folders."""

import io
import logging
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.training.inputs.dataset import CropSet, open_crops
from models.training.ranks import Draws, Ranks

CHECKERS = (np.indices((4, 4)).sum(0) % 2 * 200).astype(np.uint8)  # every 2 x 2 pixels have a mean of 100


def picture(pixels: np.ndarray, alpha: np.ndarray | None = None) -> bytes:
    channels = [pixels] * 3 + ([] if alpha is None else [alpha])
    content = io.BytesIO()
    Image.fromarray(np.dstack(channels)).save(content, "PNG")
    return content.getvalue()


def tar_of(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"set/{name.replace('_', '.')}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_tars_and_folders_are_read_in_order_and_other_files_ignored(tmp_path: Path) -> None:
    flat = [np.full((2, 2), value, np.uint8) for value in (10, 20, 30)]
    tar = tar_of(tmp_path / "a.tar", b_png=picture(flat[0]), labels_csv=b"b.png,1")
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "x.PNG").write_bytes(picture(flat[1]))
    (folder / "y.png").write_bytes(picture(flat[2]))
    (folder / "notes.txt").write_text("no picture")
    crops = open_crops([tar, folder], 2)
    assert crops.names == ("set/b.png", "photos/deep/x.PNG", "photos/y.png")
    assert crops.images.dtype == torch.uint8
    assert crops.images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert crops.valid is None
    assert len(crops) == 3


def test_larger_pictures_are_averaged_over_areas_and_smaller_ones_enlarged(tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "a.tar", large_png=picture(CHECKERS), small_png=picture(np.full((1, 1), 50, np.uint8)))
    images = open_crops([tar], 2).images
    assert torch.equal(images[0], torch.full((3, 2, 2), 100, dtype=torch.uint8))
    assert torch.equal(images[1], torch.full((3, 2, 2), 50, dtype=torch.uint8))


def test_what_is_transparent_is_unknown_and_does_not_bleed(tmp_path: Path) -> None:
    alpha = np.full((4, 4), 255, np.uint8)
    alpha[0] = 0  # a row: half of each pixel above
    pixels = np.full((4, 4), 80, np.uint8)
    pixels[0] = 255
    crops = open_crops([tar_of(tmp_path / "a.tar", half_png=picture(pixels, alpha), all_png=picture(pixels))], 2)
    assert crops.valid is not None
    assert crops.valid[0, 0].tolist() == [[False, False], [True, True]]
    assert crops.images[0, 0].tolist() == [[0, 0], [80, 80]]
    assert crops.valid[1].all()


def test_jpeg_and_webp_are_read(tmp_path: Path) -> None:
    for suffix in ("jpg", "webp"):
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / f"face.{suffix}")
    images = open_crops([tmp_path], 8).images.int()
    assert len(images) == 2
    assert (images - 90).abs().max() <= 2


def test_pictures_that_cannot_be_used_are_left_out_counted_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = picture(np.zeros((2, 2), np.uint8))
    files = {"a_png": b"not a picture", "b_png": good[:40], "c_png": picture(np.zeros((2, 3), np.uint8)), "d_png": good}
    with caplog.at_level(logging.WARNING):
        crops = open_crops([tar_of(tmp_path / "a.tar", **files)], 2)
    assert crops.names == ("set/d.png",)
    assert "3 of 4 pictures cannot be used and are left out: set/a.png, set/b.png, set/c.png" in caplog.text


def test_no_crop_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no crops in .*a\.tar; expected square pictures"):
        open_crops([tar_of(tmp_path / "a.tar", labels_csv=b"")], 2)


def test_missing_and_damaged_tars_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.tar"):
        open_crops([tmp_path / "gone.tar"], 2)
    (tmp_path / "text.tar").write_text("no tar " * 200)
    with pytest.raises(ValueError, match=r"text\.tar is not a tar file"):
        open_crops([tmp_path / "text.tar"], 2)


def test_a_tar_that_was_cut_short_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    tar = tar_of(tmp_path / "a.tar", a_png=picture(noise), b_png=picture(noise))
    tar.write_bytes(tar.read_bytes()[:2500])
    with pytest.raises(ValueError, match=r"a\.tar is not a tar file, or damaged"):
        open_crops([tar], 2)


def test_a_batch_is_in_range_known_pixels_only_and_mirrored_with_its_mask() -> None:
    images = torch.tensor([0, 255], dtype=torch.uint8).expand(1, 3, 2, 2).clone()
    valid = torch.tensor([[False, True], [True, True]])[None, None]
    pictures, known = CropSet(images, valid, ("one",)).draw(
        Draws(Ranks(0, 1, torch.device("cpu")), batch=32, seed=0, step=0)
    )
    plain = torch.tensor([[0.0, 1.0], [-1.0, 1.0]]).expand(3, 2, 2)
    straight = (pictures == plain).flatten(1).all(dim=1)
    flipped = (pictures == plain.flip(2)).flatten(1).all(dim=1)
    assert (straight ^ flipped).all()
    assert 0 < straight.sum() < 32
    assert torch.equal(known[:, 0, 0, 0] == 0, straight)


def test_other_names_or_sizes_are_another_set() -> None:
    def digest(size: int, *names: str) -> str:
        return CropSet(torch.zeros(len(names), 3, size, size, dtype=torch.uint8), None, names).digest

    assert digest(2, "a", "b") == digest(2, "a", "b")
    assert len({digest(2, "a", "b"), digest(4, "a", "b"), digest(2, "a", "c"), digest(2, "a")}) == 4


def test_what_is_known_of_faces_is_read_by_name_and_the_rest_is_unknown(tmp_path: Path) -> None:
    flat = picture(np.full((2, 2), 9, np.uint8))
    tar = tar_of(tmp_path / "a.tar", x_png=flat, y_png=flat, attributes_csv=b"name,sex,age\nset/y.png,,30\n")
    other = tar_of(tmp_path / "b.tar", z_png=flat, attributes_csv=b"name,skin\nset/z.png,-4.5\n")
    known = open_crops([tar, other], 2).attributes
    assert known is not None
    nan = float("nan")
    torch.testing.assert_close(known, torch.tensor([[nan, nan], [30.0, nan], [nan, -4.5]]), equal_nan=True)
    assert open_crops([tar_of(tmp_path / "c.tar", x_png=flat)], 2).attributes is None


def test_an_attribute_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    flat = picture(np.full((2, 2), 9, np.uint8))
    with pytest.raises(ValueError, match="old"):
        open_crops([tar_of(tmp_path / "a.tar", x_png=flat, attributes_csv=b"name,age\nset/x.png,old\n")], 2)
