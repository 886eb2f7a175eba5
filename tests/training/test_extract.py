"""Photos become training data."""

import dataclasses
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from models.face_model import DEFAULT_TEMPLATE
from models.registry import load_face_model
from models.training.inputs.dataset import open_crops, open_dataset, to_crops, unpack_valid
from streamer.cli import main as cli
from streamer.errors import SourceError
from streamer.faces.detect import FaceDetector
from streamer.render.align import umeyama
from streamer.training.extract import extract, extract_crops, named_frames
from streamer.types import Frame

pytestmark = pytest.mark.slow

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


def photos(folder: Path) -> Path:
    folder.mkdir()
    image = cv2.imread(str(HOPPER))
    cv2.imwrite(str(folder / "a_whole.png"), image)
    cv2.imwrite(str(folder / "b_small.png"), cv2.resize(image, None, fx=0.15, fy=0.15))
    cv2.imwrite(str(folder / "c_cut.png"), image[:, 250:])
    cv2.imwrite(str(folder / "d_empty.png"), np.full((200, 200, 3), 90, np.uint8))
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extract")
    model = load_face_model("linear-refined")
    frames = named_frames([str(photos(folder / "photos"))])
    assert list(extract(frames, folder / "out", template=model.template, crop_size=model.crop_size)) == [1, 1, 1, 1]
    return folder / "out"


def test_only_whole_faces_of_a_usable_size_are_kept_with_their_names(prepared: Path) -> None:
    assert open_dataset(prepared).names == ["photos/a_whole.png"]


def test_the_grid_puts_the_crop_back_into_the_recogniser_s_photo(prepared: Path) -> None:
    faces = open_dataset(prepared)
    photo, crop = to_crops(faces.photos), to_crops(faces.crops)
    grid = torch.from_numpy(faces.grids.astype(np.float32))
    inside = (grid.abs().amax(-1) < 0.8)[:, None]
    assert inside.float().mean() > 0.3

    def error(shift: tuple[float, float]) -> float:
        drawn = F.grid_sample(crop, grid + 2 / 128 * torch.tensor(shift), align_corners=False)
        return float(((drawn - photo).abs() * inside).sum() / (3 * inside.sum()))

    assert error((0, 0)) < 0.07
    assert all(error((0, 0)) < error(shift) for shift in ((1, 0), (-1, 0), (0, 1), (0, -1)))


def test_the_crop_of_a_whole_face_is_known_everywhere_inside_the_mesh(prepared: Path) -> None:
    faces = open_dataset(prepared)
    valid = unpack_valid(faces.valid, faces.crop_size)
    assert 0.6 < valid.mean() < 0.75


def test_without_a_single_face_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "empty.png"), np.full((200, 200, 3), 90, np.uint8))
    frames = named_frames([str(folder)])
    with pytest.raises(SourceError, match="no face"):
        list(extract(frames, tmp_path / "out", template=load_face_model("linear-refined").template, crop_size=128))
    assert not (tmp_path / "out").exists()


def test_a_similarity_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mesh template"):
        list(extract([], tmp_path / "out", template=DEFAULT_TEMPLATE, crop_size=128))


@pytest.fixture(scope="module")
def crops_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    frames = named_frames([str(photos(folder / "photos"))])
    tar = folder / "made" / "crops.tar"
    assert list(extract_crops(frames, tar, template=DEFAULT_TEMPLATE, crop_size=128)) == [1, 1, 2, 2]
    assert list(tar.parent.iterdir()) == [tar]
    return tar


def test_crops_have_the_five_points_of_the_template(crops_tar: Path, detector: FaceDetector) -> None:
    image = np.ascontiguousarray(cv2.imread(str(HOPPER))[..., ::-1])
    crop = open_crops([crops_tar], 128).images[0].permute(1, 2, 0).numpy()
    (face,) = detector(image)
    (again,) = detector(cv2.resize(crop, None, fx=3, fy=3))
    matrix = umeyama(face.landmarks, DEFAULT_TEMPLATE.crop_points(128))
    expected = face.landmarks @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(again.landmarks / 3 - expected).max() < 2
    assert np.abs(expected - DEFAULT_TEMPLATE.crop_points(128)).max() < 5  # a head is not quite the template's


def test_what_lies_outside_the_picture_is_unknown(crops_tar: Path) -> None:
    crops = open_crops([crops_tar], 128)
    assert crops.names == ("photos/a_whole-0.webp", "photos/c_cut-1.webp")
    assert crops.valid is not None
    assert crops.valid[0].all()
    unknown = ~crops.valid[1, 0]
    assert unknown[:, 0].all()  # this photo was cut through the face, on the image's left
    assert 0.05 < unknown.float().mean() < 0.6
    assert not unknown[:, -1].any()


def test_a_source_that_breaks_leaves_no_tar(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[str, Frame]]:
        yield from itertools.islice(named_frames([str(HOPPER)]), 1)
        raise SourceError("cable pulled")

    with pytest.raises(SourceError, match="cable pulled"):
        list(extract_crops(broken(), tmp_path / "crops.tar", template=DEFAULT_TEMPLATE, crop_size=32))
    with pytest.raises(SourceError, match="no face"):
        list(extract_crops([], tmp_path / "crops.tar", template=DEFAULT_TEMPLATE, crop_size=32))
    assert not list(tmp_path.iterdir())


def test_a_mesh_crop_is_face_alone_and_carries_its_template(tmp_path: Path) -> None:
    template = dataclasses.replace(load_face_model("linear-refined").template, around="filled", light="even")
    painted = np.ascontiguousarray(cv2.imread(str(HOPPER))[..., ::-1])
    plain = painted.copy()
    painted[:60] = (0, 255, 0)  # the background above the head
    crops = []
    for name, image in (("plain", plain), ("painted", painted)):
        tar = tmp_path / f"{name}.tar"
        frame = Frame(image, index=0, pts=0, time_base=Fraction(1))
        assert list(extract_crops([(name, frame)], tar, template=template, crop_size=64)) == [1]
        found = open_crops([tar], 64)
        assert found.template == template
        assert found.valid is None
        crops.append(found.images[0].float())
    assert (crops[0] - crops[1]).abs().mean() < 3  # the mesh trembles a little; nothing around the face is in it
    red, green, blue = crops[1]
    assert (green - torch.maximum(red, blue)).max() < 20
    assert crops[0][:, 28:36, 28:36].std() > 3


def test_what_crops_look_like_is_in_the_tar(crops_tar: Path) -> None:
    attributes = open_crops([crops_tar], 64).attributes  # in the order of their headings' names: age, sex, skin
    assert attributes is not None
    assert attributes.shape == (2, 3)
    assert (attributes[:, 0] > 30).all()
    assert (attributes[:, 2] > 0).all()


def test_crops_of_two_templates_do_not_mix(tmp_path: Path, crops_tar: Path) -> None:
    tar, image = tmp_path / "mesh.tar", np.ascontiguousarray(cv2.imread(str(HOPPER))[..., ::-1])
    frame = Frame(image, index=0, pts=0, time_base=Fraction(1))
    list(extract_crops([("a", frame)], tar, template=load_face_model("linear-refined").template, crop_size=32))
    with pytest.raises(ValueError, match="one template"):
        open_crops([tar, crops_tar], 32)


def test_the_command_writes_a_tar_of_crops(tmp_path: Path) -> None:
    tar = tmp_path / "crops.tar"
    arguments = ["extract", str(HOPPER), "--align", "similarity", "--size", "48", "--out", str(tar)]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"\n1 faces in {tar}\n"
    assert open_crops([tar], 48).images.shape == (1, 3, 48, 48)
    assert CliRunner().invoke(cli.app, ["extract", str(HOPPER), "--size", "48"]).exit_code == 2
    assert CliRunner().invoke(cli.app, ["extract", str(HOPPER), "--align", "drawn", "--size", "48"]).exit_code == 2
    assert CliRunner().invoke(cli.app, ["extract", str(HOPPER), "--flat-light"]).exit_code == 2
    tar.with_name("crops.tar.partial").symlink_to("/dev/full")
    full = CliRunner().invoke(cli.app, arguments)
    assert full.exit_code == 1
    assert full.stderr.endswith(f"veil: cannot write {tar}: No space left on device\n")
