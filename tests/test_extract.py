"""Photos become training data."""

from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.dataset import open_dataset, to_crops, unpack_valid
from models.face_model import DEFAULT_TEMPLATE, load_face_model
from streamer.errors import SourceError
from streamer.extract import extract, named_frames

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
    model = load_face_model("default")
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
        list(extract(frames, tmp_path / "out", template=load_face_model("default").template, crop_size=128))
    assert not (tmp_path / "out").exists()


def test_a_similarity_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mesh template"):
        list(extract([], tmp_path / "out", template=DEFAULT_TEMPLATE, crop_size=128))
