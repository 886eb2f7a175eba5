"""LPIPS on made-up weights of the published names and shapes, against the published forward written out here."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from models.checkpoint_errors import CheckpointError
from models.identity.recognizer import ArcFace, CompactRecognizer, CurricularFace, FaceRecognizer, MobileFaceNet
from models.training.losses.lpips import embed_with_features, load_lpips

HEADS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
CONVOLUTIONS = {  # number in torchvision's `features`: outputs, inputs, side
    "alex": {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)},
    "vgg": {
        **{0: (64, 3, 3), 2: (64, 64, 3), 5: (128, 64, 3), 7: (128, 128, 3)},
        **{10: (256, 128, 3), 12: (256, 256, 3), 14: (256, 256, 3), 17: (512, 256, 3), 19: (512, 512, 3)},
        **{21: (512, 512, 3), 24: (512, 512, 3), 26: (512, 512, 3), 28: (512, 512, 3)},
    },
}


def heads_of(network: str) -> dict[str, Tensor]:
    return {f"lin{index}.model.1.weight": torch.rand(1, width, 1, 1) for index, width in enumerate(HEADS[network])}


def backbone_of(network: str) -> dict[str, Tensor]:
    state = {"classifier.6.weight": torch.zeros(2, 2)}
    for number, (outputs, inputs, side) in CONVOLUTIONS[network].items():
        state[f"features.{number}.weight"] = torch.randn(outputs, inputs, side, side) / (inputs * side**2 / 2) ** 0.5
        state[f"features.{number}.bias"] = 0.1 * torch.randn(outputs)
    return state


def expected_layers(network: str, state: dict[str, Tensor], crops: Tensor) -> list[Tensor]:
    """The features of each ReLU that LPIPS compares, by the published order of layers."""

    def conv(x: Tensor, number: int, *, stride: int = 1, padding: int = 1) -> Tensor:
        weight, bias = state[f"features.{number}.weight"], state[f"features.{number}.bias"]
        return F.relu(F.conv2d(x, weight, bias, stride=stride, padding=padding))

    x = (crops - torch.tensor([-0.030, -0.088, -0.188])[:, None, None]) / torch.tensor([0.458, 0.448, 0.450])[
        :, None, None
    ]
    if network == "alex":
        relu1 = conv(x, 0, stride=4, padding=2)
        relu2 = conv(F.max_pool2d(relu1, 3, 2), 3, padding=2)
        relu3 = conv(F.max_pool2d(relu2, 3, 2), 6)
        relu4 = conv(relu3, 8)
        return [relu1, relu2, relu3, relu4, conv(relu4, 10)]
    layers = []
    for first, numbers in enumerate(((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))):
        x = F.max_pool2d(x, 2, 2) if first else x
        for number in numbers:
            x = conv(x, number)
        layers.append(x)
    return layers


def expected_distance(network: str, heads: dict[str, Tensor], layers: list[Tensor], others: list[Tensor]) -> Tensor:
    total = torch.zeros(len(layers[0]))
    for index, (one, two) in enumerate(zip(layers, others, strict=True)):
        unit_one = one / (one.pow(2).sum(1, keepdim=True).sqrt() + 1e-10)
        unit_two = two / (two.pow(2).sum(1, keepdim=True).sqrt() + 1e-10)
        weight = heads[f"lin{index}.model.1.weight"].flatten()
        total += torch.einsum("nchw,c->nhw", (unit_one - unit_two) ** 2, weight).mean(dim=(1, 2))
    return total


def save(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_the_distance_is_the_published_one(network: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    heads, backbone = heads_of(network), backbone_of(network)
    lpips = load_lpips(save(tmp_path / "heads.pth", heads), save(tmp_path / "backbone.pth", backbone))
    crops, generated = torch.rand(2, 2, 3, 64, 48) * 2 - 1
    layers, others = (expected_layers(network, backbone, x) for x in (crops, generated))
    expected = expected_distance(network, heads, layers, others)
    assert expected.min() > 0.1
    torch.testing.assert_close(lpips(crops, generated), expected, rtol=1e-4, atol=1e-6)
    assert lpips(crops, crops).tolist() == [0, 0]


@pytest.fixture
def alex_heads(tmp_path: Path) -> Path:
    return save(tmp_path / "alex.pth", heads_of("alex"))


@pytest.fixture
def alexnet(tmp_path: Path) -> Path:
    return save(tmp_path / "alexnet.pth", backbone_of("alex"))


def test_gradients_reach_the_generated_crop_and_no_weight(alex_heads: Path, alexnet: Path) -> None:
    lpips = load_lpips(alex_heads, alexnet)
    generated = torch.zeros(1, 3, 64, 64, requires_grad=True)
    lpips(torch.ones(1, 3, 64, 64), generated).sum().backward()
    assert generated.grad is not None
    assert generated.grad.isfinite().all()
    assert generated.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in lpips.parameters())


@pytest.mark.parametrize("shape", [(1, 3, 31, 64), (3, 64, 64), (2, 3, 64, 64)])
def test_crops_that_do_not_fit_are_refused(shape: tuple[int, ...], alex_heads: Path, alexnet: Path) -> None:
    lpips = load_lpips(alex_heads, alexnet)
    with pytest.raises(ValueError, match="crops must be"):
        lpips(torch.zeros(1, 3, 64, 64) if shape[0] == 2 else torch.zeros(shape), torch.zeros(shape))


def test_a_backbone_of_another_network_is_refused_in_one_line(alex_heads: Path, tmp_path: Path) -> None:
    vgg = save(tmp_path / "vgg16.pth", {"features.0.weight": torch.zeros(64, 3, 3, 3)})
    with pytest.raises(CheckpointError, match=r"vgg16\.pth: 10 weights .* such as features\.0\.bias") as caught:
        load_lpips(alex_heads, vgg)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)},
        heads_of("alex") | {"lin5.model.1.weight": torch.zeros(1, 64, 1, 1)},
        heads_of("alex") | {"lin4.model.1.weight": torch.zeros(1, 255, 1, 1)},
    ],
)
def test_heads_of_another_shape_are_refused(state: dict[str, Tensor], tmp_path: Path, alexnet: Path) -> None:
    with pytest.raises(CheckpointError, match=r"heads\.pth: not the heads of LPIPS"):
        load_lpips(save(tmp_path / "heads.pth", state), alexnet)


def test_a_file_that_is_missing_or_broken_is_named(tmp_path: Path, alexnet: Path) -> None:
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    for name, why in (("absent", "cannot be read"), ("broken", "damaged")):
        with pytest.raises(CheckpointError, match=rf"{name}\.pth: .*{why}"):
            load_lpips(tmp_path / f"{name}.pth", alexnet)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "shapes"),
    [
        (MobileFaceNet, [(64, 56, 56), (64, 28, 28), (128, 14, 14), (128, 7, 7)]),
        (CompactRecognizer, [(64, 56, 56), (64, 28, 28), (128, 14, 14), (128, 7, 7)]),
        (ArcFace, [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]),
    ],
)
def test_a_recogniser_gives_its_embedding_and_the_features_at_four_resolutions(
    network: type[FaceRecognizer], shapes: list[tuple[int, ...]]
) -> None:
    recognizer = network().eval().requires_grad_(False)
    crops = torch.rand(1, 3, 112, 112, requires_grad=True)
    embeddings, features = embed_with_features(recognizer, crops)
    assert [tuple(layer.shape[1:]) for layer in features] == shapes
    assert all(layer.requires_grad for layer in features)
    torch.testing.assert_close(embeddings, recognizer(crops))
    assert len(features) == 4  # the hooks are gone: nothing was added by the pass after


def test_the_features_are_what_the_rest_of_the_network_reads() -> None:
    recognizer = MobileFaceNet().eval().requires_grad_(False)
    embeddings, features = embed_with_features(recognizer, torch.rand(1, 3, 112, 112))
    rest = recognizer.bn(recognizer.conv3(recognizer.gdconv(recognizer.conv2(features[-1]))))
    torch.testing.assert_close(embeddings, F.normalize(rest.flatten(1), dim=1))


def test_no_loss_is_taken_from_the_recogniser_that_judges() -> None:
    with torch.device("meta"):
        judge = CurricularFace()
    with pytest.raises(ValueError, match="curricularface"):
        embed_with_features(judge, torch.zeros(1, 3, 112, 112))
