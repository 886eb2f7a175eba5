"""A Private-Encoder with strangers: nothing of the person is left where identity lies, and keys and epsilon work."""

import dataclasses
from pathlib import Path

import matplotlib
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from models.checkpoint import weights_path
from models.face_model import Sighting
from models.identity.recognizer import CompactRecognizer
from models.linear_refined import LinearRefined
from models.pretrained.imported import load_recognizer
from models.private_encoder.encoder import EncoderConfig
from models.private_encoder.generator import GeneratorConfig
from models.private_encoder.private_encoder import PrivateEncoder, PrivateEncoderConfig
from models.registry import load_as, load_face_model
from models.training.fits.fit_strangers import find_identity, with_strangers
from models.training.fits.identity_place import IdentityPlace, read_place, write_place
from models.training.inputs.dataset import CropSet
from streamer import Anonymizer
from streamer.cli import main as cli
from streamer.render.cutter import face_alone
from streamer.settings import Settings
from streamer.sources.file_source import open_source
from streamer.training.extract import extract_crops, named_frames

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
DIRECTIONS, STRANGERS = 5, 400
TEMPLATE = face_alone(load_face_model("linear-refined").template, light="even")


def crops(count: int = 60) -> CropSet:
    torch.manual_seed(1)
    coarse = torch.rand(count, 3, 8, 8) * 255  # pictures that differ where an encoder looks
    images = torch.nn.functional.interpolate(coarse, size=64, mode="bilinear").byte()
    return CropSet(images, None, tuple(map(str, range(count))), TEMPLATE)


def pictures(count: int) -> Tensor:
    return crops().images[:count].float() / 127.5 - 1


@pytest.fixture(scope="module")
def plain() -> PrivateEncoder:
    torch.manual_seed(0)
    encoder = EncoderConfig(input_size=32, latents=10, latent_size=16, stage_blocks=(1, 1, 1, 1), width=16)
    generator = GeneratorConfig(resolution=64, latent_size=16, mapping_layers=1, channel_base=256, channel_max=8)
    return PrivateEncoder(PrivateEncoderConfig(encoder, generator), TEMPLATE).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model(plain: PrivateEncoder) -> PrivateEncoder:
    shape = load_as(LinearRefined, weights_path("linear-refined")).shape
    recognizer = load_recognizer("identity")
    return with_strangers(
        plain, crops(), recognizer, directions=DIRECTIONS, strangers=STRANGERS, shape=shape, seed=0
    ).requires_grad_(False)


def test_at_beta_0_a_strangers_coordinates_stand_in_the_persons_place(model: PrivateEncoder) -> None:
    people = torch.tensor([3, 3, 7])
    latents = model.encode(pictures(3), torch.zeros(3), people)
    assert model.strangers is not None
    torch.testing.assert_close(
        model.strangers.coordinates(latents), model.strangers.strangers[people], atol=1e-3, rtol=0
    )
    assert (latents[0] - latents[1]).abs().max() > 1e-3  # what does not tell identity passes


def test_at_beta_1_the_network_draws_what_it_would_without_strangers(
    model: PrivateEncoder, plain: PrivateEncoder
) -> None:
    one, anybody = torch.ones(3), torch.zeros(3, dtype=torch.int64)
    torch.testing.assert_close(
        model.encode(pictures(3), one, anybody), plain.encode(pictures(3), one, anybody), atol=1e-5, rtol=0
    )


def test_coordinates_of_people_have_unit_variance(model: PrivateEncoder) -> None:
    own = model.identity_coordinates(Sighting(pictures(60)))
    assert own.shape == (60, DIRECTIONS)
    assert model.identity_size == DIRECTIONS
    torch.testing.assert_close(own.square().mean(dim=0), torch.ones(DIRECTIONS), atol=0.05, rtol=0)


def test_a_person_becomes_by_their_seed_one_of_those_least_like_them(model: PrivateEncoder) -> None:
    chosen = model.pseudonyms(Sighting(pictures(1)), torch.arange(STRANGERS // 8))
    assert len(set(chosen.tolist())) == STRANGERS // 8
    assert model.strangers is not None
    own = model.identity_coordinates(Sighting(pictures(1)))
    likeness = torch.cosine_similarity(own, model.strangers.strangers, dim=1)
    assert likeness[chosen].max() <= likeness.sort().values[STRANGERS // 8 - 1]


def test_who_stands_where_a_stranger_does_is_nearest_to_them(model: PrivateEncoder) -> None:
    assert model.strangers is not None
    assert model.nearest_strangers(2 * model.strangers.strangers[:9]).tolist() == list(range(9))


def test_the_mesh_takes_a_strangers_shape_too(model: PrivateEncoder) -> None:
    assert model.shape is not None
    mesh = torch.cat([torch.tensor(TEMPLATE.points), torch.zeros(468, 1)], dim=1)[None]
    moved = model.reshape(mesh, torch.zeros(1), torch.tensor([4]))
    assert 0.002 < (moved - mesh).norm(dim=2).mean() < 0.1
    torch.testing.assert_close(model.reshape(mesh, torch.ones(1), torch.tensor([4])), mesh, atol=1e-6, rtol=0)


def test_a_saved_model_has_the_same_strangers(model: PrivateEncoder, tmp_path: Path) -> None:
    model.save(tmp_path / "model.safetensors")
    again = load_as(PrivateEncoder, tmp_path / "model.safetensors")
    assert again.config == model.config
    torch.testing.assert_close(again.state_dict(), model.state_dict(), atol=0, rtol=0)


def test_strangers_are_asked_for_once_of_crops_that_fit(model: PrivateEncoder, plain: PrivateEncoder) -> None:
    recognizer, other = CompactRecognizer().eval(), dataclasses.replace(TEMPLATE, light="kept")

    def ask(of: PrivateEncoder, data: CropSet, directions: int = 2) -> None:
        with_strangers(of, data, recognizer, directions=directions, strangers=3, shape=None, seed=0)

    with pytest.raises(ValueError, match="already"):
        ask(model, crops())
    with pytest.raises(ValueError, match="aligned"):
        ask(plain, CropSet(crops().images, None, crops().names, other))
    with pytest.raises(ValueError, match="at least 20 crops, got 12"):
        ask(plain, crops(12), directions=10)
    with pytest.raises(ValueError, match="strangers"):
        PrivateEncoderConfig(strangers=3)


@pytest.mark.slow
def test_keys_and_epsilon_choose_whom_a_face_becomes(model: PrivateEncoder) -> None:
    with open_source(str(HOPPER)) as source:
        frame = next(iter(source))

    def drawn(settings: Settings) -> Tensor:
        safe = Anonymizer(model, torch.device("cpu"), settings, load_recognizer("identity")).picture(frame)
        assert [face.tier for face in safe.faces] == ["generated"]
        return torch.from_numpy(safe.image.copy()).float()

    first, same, *others = (drawn(Settings(key=bytes([key] * 32))) for key in (0, 0, 1, 2, 3))
    assert (same - first).abs().max() == 0
    assert max(float((other - first).abs().max()) for other in others) > 0
    drawn(Settings(epsilon=2.0))  # which a model without strangers refuses


def test_the_command_gives_a_model_strangers(plain: PrivateEncoder, tmp_path: Path) -> None:
    plain.save(tmp_path / "plain.safetensors")
    frames = [frame for _, frame in named_frames([str(HOPPER)])] * 4
    data, out = tmp_path / "crops.tar", tmp_path / "made" / "model.safetensors"
    list(extract_crops(((str(i), f) for i, f in enumerate(frames)), data, template=TEMPLATE, crop_size=64))
    arguments = ["train", "strangers", str(tmp_path / "plain.safetensors"), str(data), "--recognizer", "identity"]
    arguments += ["--directions", "2", "--strangers", "3", "--out", str(out)]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.stderr
    assert load_face_model(out).identity_size == 2
    result = CliRunner().invoke(cli.app, [*arguments, "--shape", "textures"])
    assert result.exit_code == 1
    assert "holds a textures model" in result.stderr


def test_what_is_known_of_faces_stays_when_they_become_strangers(plain: PrivateEncoder) -> None:
    data, recognizer = crops(), load_recognizer("identity")
    latents = plain.encode(pictures(60), torch.ones(60), torch.zeros(60, dtype=torch.int64)).flatten(1)
    direction = torch.linalg.svd(latents - latents.mean(dim=0)).Vh[0]
    told = (latents - latents.mean(dim=0)) @ direction  # some attribute
    places = {}
    for name, attributes in (("blind", None), ("told", told[:, None])):
        place = IdentityPlace(DIRECTIONS, latents.shape[1], 128, 60)
        place.find(plain, dataclasses.replace(data, attributes=attributes), recognizer)
        places[name] = place
    moves = {
        name: place.part.write @ torch.linalg.svd(latents - latents.mean(dim=0)).Vh[0] for name, place in places.items()
    }
    assert moves["told"].norm() < 0.1 * moves["blind"].norm()


def test_an_attribute_that_nobody_has_changes_nothing(plain: PrivateEncoder) -> None:
    recognizer, unknown = load_recognizer("identity"), torch.full((60, 1), float("nan"))
    found = [
        find_identity(plain, dataclasses.replace(crops(), attributes=attributes), recognizer, directions=2).part.write
        for attributes in (None, unknown)
    ]
    torch.testing.assert_close(*found, atol=0, rtol=0)


def test_strangers_that_an_encoder_learnt_with_are_those_it_gets(plain: PrivateEncoder, tmp_path: Path) -> None:
    place = IdentityPlace(DIRECTIONS, plain.latent_avg.numel(), 128, 60)
    place.find(plain, crops(), load_recognizer("identity"))
    write_place(place, tmp_path / "place.safetensors")
    trained = read_place(tmp_path / "place.safetensors")
    made = with_strangers(
        plain,
        crops(),
        load_recognizer("identity"),
        directions=DIRECTIONS,
        strangers=7,
        shape=None,
        seed=0,
        trained=trained,
    )
    assert made.strangers is not None
    torch.testing.assert_close(made.strangers.write, place.part.write)
    assert made.config.strangers_trained
    # Such an encoder is told beta; one that got strangers afterwards is always asked for the person as they are.
    half = made._own_latents(pictures(2), torch.full((2,), 0.5))
    people = torch.tensor([1, 2])
    expected = made.strangers(half, torch.full((2,), 0.5), people)
    torch.testing.assert_close(made.encode(pictures(2), torch.full((2,), 0.5), people), expected)
