"""What is told of a face: from crops of any size, agreed upon over several looks."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.attributes.attributes import AGES, MOST_SURE, AttributeMean, AttributeNet, load_attributes, mean_age
from models.checkpoint_errors import CheckpointError
from models.face_model import DEFAULT_TEMPLATE
from streamer.faces.detect import FaceDetector
from streamer.render.align import SimilarityAligner
from streamer.types import Image


@pytest.fixture(scope="module")
def network() -> AttributeNet:
    return load_attributes()


def crop_of(image: Image, detector: FaceDetector) -> Image:
    """Return the crop `(112, 112, 3)` of the face in a picture."""
    face = max(detector(image), key=lambda face: face.score)
    return SimilarityAligner(np.array(DEFAULT_TEMPLATE.points, np.float32), 112).crop(image, face)


def tensor(crop: Image) -> torch.Tensor:
    return torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_an_old_face_is_told_from_a_young_one_small_and_dim_as_well(
    network: AttributeNet, detector: FaceDetector
) -> None:
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    old = crop_of(np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1]), detector)  # 77 years
    young = crop_of(pytest.importorskip("skimage.data").astronaut(), detector)  # Eileen Collins, 42 years
    assert network(tensor(young)).sex < 0
    for made in (np.asarray, lambda crop: cv2.resize(crop, (32, 32), interpolation=cv2.INTER_AREA), dimmed):
        ages = [float(network(tensor(made(crop))).age[0]) for crop in (old, young)]
        assert ages[0] > 50 > ages[1]


def dimmed(crop: Image) -> Image:
    return (crop * 0.4).astype(np.uint8)


def test_a_batch_gives_what_each_crop_gives(network: AttributeNet) -> None:
    crops = torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together, alone = network(crops), network(crops[1:2])
    torch.testing.assert_close(together.sex[1:2], alone.sex, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(together.age[1:2], alone.age, atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("shape", [(3, 80, 80), (1, 1, 80, 80), (1, 3, 80, 64)])
def test_a_crop_of_another_shape_is_refused(network: AttributeNet, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"crops must be \(N, 3, S, S\)"):
        network(torch.zeros(shape))


def test_the_mean_age_lies_between_the_bins_that_are_likely() -> None:
    logits = torch.full((2, AGES), -50.0)
    logits[0, 4] = 0  # 20 years
    logits[1, [4, 6]] = 0  # 20 or 30
    assert mean_age(logits).tolist() == pytest.approx([20, 25])


def test_several_looks_are_averaged_and_no_single_one_decides() -> None:
    mean = AttributeMean()
    mean.add(100.0, 30, 40, 0, 0, 1, 0)  # sure, and wrong
    mean.add(-3.0, 34, 44, 0.6, 0.4, 0, 0)
    mean.add(-3.0, 38, 48, 0.9, 0, 0.1, 0)
    assert mean.mean == pytest.approx(((MOST_SURE - 6) / 3, 34, 44, 0.5, 0.4 / 3, 1.1 / 3, 0))
    assert mean.looks == 3


def test_a_look_that_is_no_number_does_not_count() -> None:
    mean = AttributeMean()
    mean.add(1.0, 20, 30, 1, 0, 0, 0)
    mean.add(float("nan"), 20, 30, 1, 0, 0, 0)
    mean.add(1.0, float("inf"), 30, 1, 0, 0, 0)
    assert (mean.mean, mean.looks) == ((1.0, 20.0, 30.0, 1.0, 0.0, 0.0, 0.0), 1)


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(CheckpointError, match="weights missing, unknown or misshapen"):
        load_attributes("identity")
