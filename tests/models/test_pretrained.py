"""Weights of others: recognised, verified, refused where wrong, and computing what an independent forward computes."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.checkpoint import Checkpoint, read_checkpoint, weights_path, write_checkpoint
from models.checkpoint_errors import CheckpointError
from models.face_model import DEFAULT_TEMPLATE
from models.identity.recognizer import RERANKER_WIDTHS, ArcFace, CompactRecognizer, CurricularFace, MobileFaceNet
from models.pretrained.formats import FFHQ_TEMPLATE, recognise
from models.pretrained.imported import (
    import_weights,
    load_generator,
    load_recognizer,
    read_published,
)
from models.private_encoder.generator import Generator, GeneratorConfig
from models.private_encoder.private_encoder import PrivateEncoder
from models.registry import load_as, load_face_model
from streamer.render.align import SimilarityAligner
from streamer.types import Face
from tests.models.published_weights import (
    IR_101,
    IR_SE_50,
    drawn,
    embed,
    encode,
    encoder_shapes,
    ffhq_channels,
    generator_shapes,
    mapped,
    psp_shapes,
    recognizer_shapes,
    seeded,
    small_psp,
    synthesise,
    within,
)
from tests.models.saving import PUBLISHED_CONFIG, PUBLISHED_ENCODER, SMALL_GENERATOR, random_crops, saved, weightless


def psp_output(content: dict[str, object], crops: Tensor) -> Tensor:
    """Return the pictures that pSp makes of 64 px crops, by the functions of `tests.models.published_weights`."""
    weights = content["state_dict"]
    pooled = torch.nn.functional.avg_pool2d(crops, 2)
    latents = encode(within(weights, "encoder."), pooled, (1, 2, 1, 1), 10) + content["latent_avg"]
    return synthesise(within(weights, "decoder."), latents)


# What is recognised


@pytest.mark.slow
def test_the_published_psp_is_the_network_of_the_paper() -> None:
    shapes = psp_shapes(PUBLISHED_ENCODER, generator_shapes(1024, ffhq_channels(2), latent=512, mapping=8))
    content = {"state_dict": weightless(shapes), "latent_avg": torch.empty(18, 512, device="meta"), "opts": {}}
    published = recognise(content, "psp.pt")
    assert (published.name, published.kind) == ("psp-1024", "private-encoder")
    assert published.config == PUBLISHED_CONFIG
    assert len(published.tensors) == len(shapes) + 1 + 18 * 2  # the average latent, and what turns beta to account


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [256, 512])
def test_a_psp_for_a_smaller_generator_has_fewer_styles(resolution: int) -> None:
    styles = 2 * int(math.log2(resolution)) - 2
    encoder = encoder_shapes(IR_SE_50, 64, styles=styles, latent=512, side=256)
    shapes = psp_shapes(encoder, generator_shapes(resolution, ffhq_channels(2), latent=512, mapping=8))
    published = recognise({"state_dict": weightless(shapes)}, "psp.pt")
    assert published.name == f"psp-{resolution}"
    assert published.config["encoder"]["latents"] == styles


def test_the_authors_checkpoint_is_named_for_its_beta() -> None:
    content = small_psp() | {"opts": argparse.Namespace(encoder_type="GradualStyleEncoder", target_id=0.2)}
    assert recognise(content, "best_model.pt").name == "private-encoder-64-beta-0.2"


@pytest.mark.parametrize(("resolution", "multiplier"), [(256, 1), (256, 2), (512, 2), (1024, 1), (1024, 2)])
def test_a_stylegan2_is_recognised_at_every_published_size(resolution: int, multiplier: int) -> None:
    channels = ffhq_channels(multiplier)
    shapes = generator_shapes(resolution, channels, latent=512, mapping=8)
    published = recognise({"g_ema": weightless(shapes), "latent_avg": torch.empty(512, device="meta")}, "stylegan2.pt")
    assert published.name == f"stylegan2-{resolution}"
    config = GeneratorConfig(**published.config)
    assert {side: config.channels(side) for side in config.resolutions} == {
        side: count for side, count in channels.items() if side <= resolution
    }


@pytest.mark.parametrize(
    ("stages", "squeeze", "affine", "name"),
    [(IR_SE_50, 16, True, "arcface-ir-se-50"), (IR_101, None, False, "curricularface-ir-101")],
)
def test_recognisers_are_told_apart(stages: tuple[int, ...], squeeze: int | None, affine: bool, name: str) -> None:
    shapes = recognizer_shapes(stages, squeeze=squeeze, affine=affine)
    assert recognise(weightless(shapes), "weights.pth").name == name


@pytest.mark.parametrize(("name", "says"), [("absent.pt", "No such file"), (".", "Is a directory")])
def test_a_path_without_a_file_is_named(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(CheckpointError, match=f"cannot be read: {says}"):
        import_weights(tmp_path / name)


def test_a_file_of_one_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a Tensor, expected a dict"):
        read_published(saved(torch.zeros(3), tmp_path / "one.pt"))


# What the converted networks compute


@pytest.mark.parametrize("zipped", [True, False])
def test_an_imported_psp_makes_the_pictures_that_the_published_one_makes(tmp_path: Path, zipped: bool) -> None:
    content = small_psp() | {"opts": argparse.Namespace(encoder_type="GradualStyleEncoder", label_nc=0)}
    torch.save(content, tmp_path / "psp.pt", _use_new_zipfile_serialization=zipped)
    assert import_weights(tmp_path / "psp.pt").name == "psp-64"
    model = load_face_model("psp-64").eval()
    assert model.template == FFHQ_TEMPLATE
    crops = random_crops(2, 64)
    latents = model.encode(crops, torch.tensor([0.0, 1.0]), torch.zeros(2, dtype=torch.int64))
    expected = psp_output(content, crops)
    assert 0.1 < expected.std() < 100  # neither flat nor blown up: there is something to agree on
    torch.testing.assert_close(model._generate(latents), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        (torch.arange(8.0), torch.arange(8.0).expand(10, 8)),  # one average of all latents
        (torch.arange(8.0)[None], torch.arange(8.0).expand(10, 8)),
        (None, torch.zeros(10, 8)),  # `start_from_latent_avg` was off
    ],
)
def test_an_average_latent_is_for_every_style(published: Tensor | None, expected: Tensor, tmp_path: Path) -> None:
    content = small_psp() | {"latent_avg": published}
    import_weights(saved(content, tmp_path / "psp.pt"), "mine")
    model = load_as(PrivateEncoder, weights_path("mine"))
    assert torch.equal(model.latent_avg, expected)


def test_half_precision_becomes_single_and_old_files_lack_no_counters(tmp_path: Path) -> None:
    content = small_psp()
    weights = {name: tensor.half() for name, tensor in content["state_dict"].items() if "num_batches" not in name}
    import_weights(saved(content | {"state_dict": weights}, tmp_path / "half.pt"), "half")
    tensors = read_checkpoint(weights_path("half")).tensors
    assert {tensor.dtype for name, tensor in tensors.items() if "num_batches" not in name} == {torch.float32}
    assert torch.equal(tensors["encoder.latlayer1.weight"], weights["encoder.latlayer1.weight"].float())
    assert tensors["encoder.input_layer.1.num_batches_tracked"] == 0


@pytest.mark.parametrize("latent_avg", [torch.arange(8.0), torch.arange(8.0)[None], None])
def test_an_imported_stylegan2_draws_what_the_published_one_draws(tmp_path: Path, latent_avg: Tensor | None) -> None:
    weights = drawn(SMALL_GENERATOR)
    content = {"g": {}, "d": {}, "g_ema": weights, "latent_avg": latent_avg, "args": argparse.Namespace(size=64)}
    import_weights(saved(content, tmp_path / "550000.pt"))
    generator, average = load_generator("stylegan2-64")
    assert isinstance(generator, Generator)
    assert not any(parameter.requires_grad for parameter in generator.parameters())
    assert average is None if latent_avg is None else torch.equal(average, torch.arange(8.0))
    latents = torch.randn(2, 10, 8, generator=seeded(3))
    torch.testing.assert_close(generator(latents), synthesise(weights, latents), rtol=1e-4, atol=1e-4)
    z = torch.randn(3, 8, generator=seeded(4))
    torch.testing.assert_close(generator.map(z), mapped(weights, z, 2), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_generator_is_also_read_as_published_at_256_pixels(tmp_path: Path, multiplier: int) -> None:
    channels = {side: count // 16 for side, count in ffhq_channels(multiplier).items()}
    weights = drawn(generator_shapes(256, channels, latent=16, mapping=8))
    generator, _ = load_generator(saved({"g_ema": weights}, tmp_path / "stylegan2.pt"))
    latents = torch.randn(1, 14, 16, generator=seeded(3))
    torch.testing.assert_close(generator(latents), synthesise(weights, latents), rtol=1e-3, atol=1e-3)


def test_a_generator_saved_before_noises_were_gets_the_same_ones_each_time(tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in drawn(SMALL_GENERATOR).items() if "noises" not in name}
    path = saved({"g_ema": weights}, tmp_path / "old.pt")
    first, second = load_generator(path)[0].noises.in_order(), load_generator(path)[0].noises.in_order()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert [noise.shape[-1] for noise in first] == [4, 8, 8, 16, 16, 32, 32, 64, 64]
    assert abs(float(first[-1].std()) - 1) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "stages", "squeeze", "affine"),
    [(ArcFace, IR_SE_50, 16, True), (CurricularFace, IR_101, None, False)],
)
def test_a_recogniser_embeds_as_the_published_one(
    tmp_path: Path, network: type, stages: tuple[int, ...], squeeze: int | None, affine: bool
) -> None:
    weights = drawn(recognizer_shapes(stages, squeeze=squeeze, affine=affine))
    recogniser = load_recognizer(saved(weights, tmp_path / "weights.pth"))
    assert type(recogniser) is network
    assert not recogniser.training
    assert not any(parameter.requires_grad for parameter in recogniser.parameters())
    crops = random_crops(1, 112)
    torch.testing.assert_close(recogniser(crops), embed(weights, crops, stages), rtol=1e-3, atol=1e-5)


def test_our_own_recognisers_load_as_they_are_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    crops, mobile, compact = random_crops(1, 112), MobileFaceNet().eval(), CompactRecognizer().eval()
    torch.save(mobile.state_dict(), tmp_path / "mobilefacenet.pt")
    save_file(compact.state_dict(), tmp_path / "identity.safetensors")  # as `models.training.train_identity` does
    assert torch.equal(load_recognizer(tmp_path / "mobilefacenet.pt")(crops), mobile(crops))
    assert torch.equal(load_recognizer(tmp_path / "identity.safetensors")(crops), compact(crops))
    wide = CompactRecognizer(RERANKER_WIDTHS).eval()
    save_file(wide.state_dict(), tmp_path / "reranker.safetensors")
    assert torch.equal(load_recognizer(tmp_path / "reranker.safetensors")(crops), wide(crops))


def test_each_loader_refuses_what_the_others_load(tmp_path: Path) -> None:
    import_weights(saved({"g_ema": drawn(SMALL_GENERATOR)}, tmp_path / "a.pt"), "drawing")
    import_weights(saved(MobileFaceNet().state_dict(), tmp_path / "b.pt"), "knowing")
    assert isinstance(load_recognizer("knowing"), MobileFaceNet)
    assert isinstance(load_generator("drawing")[0], Generator)
    with pytest.raises(CheckpointError, match="holds a stylegan2-generator, not a face recogniser"):
        load_recognizer("drawing")
    with pytest.raises(CheckpointError, match="holds a recognizer, not a generator"):
        load_generator("knowing")
    with pytest.raises(CheckpointError, match="a generator without an encoder; `veil train encoder` makes one"):
        load_face_model("drawing")
    with pytest.raises(CheckpointError, match="a face recogniser: it draws no faces"):
        load_face_model("knowing")


@pytest.mark.parametrize(
    ("load", "kind", "config", "says"),
    [
        (
            load_recognizer,
            "recognizer",
            {"network": "adaface"},
            "unknown recogniser 'adaface', known are mobilefacenet",
        ),
        (load_recognizer, "recognizer", {}, "unknown recogniser None"),
        (load_generator, "stylegan2-generator", {"resolution": 100}, "its configuration is damaged: resolution must"),
        (load_generator, "stylegan2-generator", {"depth": 3}, "its configuration is damaged: .*depth"),
    ],
)
def test_a_configuration_that_no_network_has_is_named(
    tmp_path: Path, load: Callable[[Path], object], kind: str, config: dict[str, object], says: str
) -> None:
    write_checkpoint(Checkpoint(kind, config, {}, {}), tmp_path / "file.safetensors")
    with pytest.raises(CheckpointError, match=rf"file\.safetensors: {says}"):
        load(tmp_path / "file.safetensors")


# Alignment


def ffhq_corners(points: np.ndarray) -> np.ndarray:
    """Return top left, bottom left, bottom right, top right of FFHQ's crop of five points, in complex arithmetic."""
    left_eye, right_eye, _, left_mouth, right_mouth = points @ np.array([1, 1j])
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    across = (right_eye - left_eye) + (mouth - eyes) / 1j  # a quarter turn from down is across
    across *= max(2 * abs(right_eye - left_eye), 1.8 * abs(mouth - eyes)) / abs(across)
    center, down = eyes + 0.1 * (mouth - eyes), across * 1j
    corners = np.array([-across - down, -across + down, across + down, across - down]) + center
    return np.stack([corners.real, corners.imag], axis=1)


@pytest.mark.parametrize(("turn", "scale"), [(0.0, 100.0), (0.4, 260.0), (-2.0, 37.0)])
def test_the_crop_of_an_average_face_is_that_of_ffhq_wherever_it_is(turn: float, scale: float) -> None:
    rotation = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    landmarks = np.array(DEFAULT_TEMPLATE.points) @ rotation.T + np.array([310.0, 205.0])
    face = Face(np.zeros(4, np.float32), landmarks.astype(np.float32), None, 1.0)
    size = 256
    # Pixels of the frame that lie a pixel inside the corners of the published recipe lie in the corners of the crop.
    corners = ffhq_corners(landmarks)
    aligner = SimilarityAligner(np.array(FFHQ_TEMPLATE.points, np.float32), size)
    roi = (0, 0, 900, 700)
    where, _ = aligner.frame_to_crop(face, roi)
    expected = np.array([[0, 0], [0, size], [size, size], [size, 0]])
    for (x, y), (u, v) in zip(corners, expected, strict=True):
        origin, right, below = where[0, 0], where[0, 1] - where[0, 0], where[1, 0] - where[0, 0]
        np.testing.assert_allclose(origin + x * right + y * below, (u, v), atol=0.1)


def test_the_template_is_near_where_the_features_of_ffhq_are() -> None:
    """Mean positions in FFHQ crops of 512 px, as face restoration tools published them."""
    known = np.array([[193.0, 239.9], [318.9, 240.2], [256.6, 314.0], [201.3, 371.4], [313.1, 371.2]]) / 512
    np.testing.assert_allclose(np.array(FFHQ_TEMPLATE.points), known, atol=0.03)
