"""The recogniser: its border, its gradients, and that it is the network others published."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.identity.recognizer import IDENTITY_LANDMARKS, MobileFaceNet, load_mobilefacenet

WEIGHTS = Path(__file__).parents[4] / "shared" / "weights"
needs_published_weights = pytest.mark.skipif(
    not (WEIGHTS / "mobilefacenet.pt").is_file(), reason="../shared/weights is not on this machine"
)


def random_crops(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def recogniser() -> MobileFaceNet:
    torch.manual_seed(0)
    return MobileFaceNet().eval().requires_grad_(False)


@pytest.mark.slow
def test_embeddings_are_unit_vectors_of_128_numbers(recogniser: MobileFaceNet) -> None:
    embeddings = recogniser(random_crops(3))
    assert embeddings.shape == (3, 128)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))


def test_an_embedding_does_not_depend_on_the_other_faces_of_the_batch(recogniser: MobileFaceNet) -> None:
    crops = random_crops(3)
    torch.testing.assert_close(recogniser(crops)[1:2], recogniser(crops[1:2]), rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_crop_through_frozen_weights(recogniser: MobileFaceNet) -> None:
    crops = random_crops(1).requires_grad_()
    recogniser(crops)[0, 0].backward()
    assert crops.grad is not None
    assert crops.grad.abs().sum() > 0


def test_the_input_is_normalised_as_imagenet_pictures_are(recogniser: MobileFaceNet) -> None:
    white = torch.ones(1, 3, 1, 1)
    normalised = (white - recogniser.input_mean) / recogniser.input_std
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(normalised.flatten(), torch.tensor(expected))


@pytest.mark.parametrize("shape", [(1, 3, 96, 112), (1, 1, 112, 112), (3, 112, 112)])
def test_a_crop_of_another_shape_is_refused(recogniser: MobileFaceNet, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="crops must be"):
        recogniser(torch.zeros(shape))


def test_loading_freezes_the_weights_and_the_batch_statistics(tmp_path: Path, recogniser: MobileFaceNet) -> None:
    torch.save(recogniser.state_dict(), tmp_path / "weights.pt")
    loaded = load_mobilefacenet(tmp_path / "weights.pt")
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert torch.equal(loaded(random_crops(1)), recogniser(random_crops(1)))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_mobilefacenet(tmp_path / "absent.pt")


@pytest.mark.parametrize("content", [b"", b"not weights"])
def test_a_broken_file_is_named_in_the_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.pt"):
        load_mobilefacenet(path)


def test_weights_of_another_network_are_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(ValueError, match=r"other\.pt"):
        load_mobilefacenet(path)


def test_the_landmark_template_lies_inside_the_crop_image_left_first() -> None:
    eyes_and_mouth = np.array(IDENTITY_LANDMARKS)
    assert ((eyes_and_mouth > 0) & (eyes_and_mouth < 112)).all()
    assert eyes_and_mouth[0, 0] < eyes_and_mouth[1, 0]
    assert eyes_and_mouth[3, 0] < eyes_and_mouth[4, 0]


@needs_published_weights
def test_the_published_weights_give_the_published_network() -> None:
    cv2 = pytest.importorskip("cv2")
    crops = random_crops(2)
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
    std = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)
    network = cv2.dnn.readNetFromONNX(str(WEIGHTS / "mobilefacenet.onnx"))
    rows = []
    for crop in crops:  # the file was exported for one face at a time
        network.setInput(((crop.numpy()[None] + 1) / 2 - mean) / std)
        rows.append(network.forward().reshape(1, 128).copy())
    expected = np.concatenate(rows)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    embeddings = load_mobilefacenet(WEIGHTS / "mobilefacenet.pt")(crops)
    np.testing.assert_allclose(embeddings.numpy(), expected, atol=1e-4)
