"""People drawn as themselves and as strangers: what the harmonizer learns from, and what it then is."""

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
import pytest
import torch
from typer.testing import CliRunner

from models.checkpoint import WEIGHTS
from models.face_model import prepare
from models.privacy import PrivacyAccountant
from models.registry import load_as, load_face_model
from models.textures import Textures, coarse
from models.training.inputs.drawn_pairs import MASKS, PICTURES
from models.training.train_harmonizer import SHIPPED
from streamer import Anonymizer
from streamer.cli.main import app
from streamer.errors import SourceError
from streamer.faces.detect import FaceDetector
from streamer.faces.fine_mesh import FineMesh
from streamer.render.cutter import shrunk
from streamer.render.pseudonym import Pseudonyms
from streamer.render.textures import finish
from streamer.training.extract import named_frames
from streamer.training.pair_drawer import Drawing, Flaws, PairDrawer
from streamer.training.pairs import degraded, extract_pairs
from streamer.types import Frame, Image, Track
from tests.render.textures.strangers import strangers

pytestmark = pytest.mark.slow

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"  # US Navy, public domain
NONE = Flaws(blur=1.0, contrast=1.0, share=0.0, sigma=20.0)
Pairs = dict[str, npt.NDArray[np.uint8]]


def made(folder: Path, source: Path, *, seed: int = 0) -> Pairs:
    """The pairs of a source."""
    model = prepare(load_face_model("textures"), "cpu")
    list(extract_pairs(named_frames([str(source)]), folder / "pairs.npz", model=model, seed=seed))
    with np.load(folder / "pairs.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person at three distances, once too small; and nobody."""
    folder = tmp_path_factory.mktemp("photos")
    image = cv2.imread(str(HOPPER))
    for number, scale in enumerate((1.0, 0.6, 0.4, 0.15)):
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(image, None, fx=scale, fy=scale))
    cv2.imwrite(str(folder / "nobody.png"), np.full((200, 200, 3), 90, np.uint8))
    return folder


@pytest.fixture(scope="module")
def pairs(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return made(tmp_path_factory.mktemp("pairs"), photos)


def test_a_person_is_drawn_twice_over_each_photo_and_nobody_where_there_is_none(pairs: Pairs) -> None:
    assert {name: array.shape for name, array in pairs.items()} == {
        **dict.fromkeys(PICTURES, (3, 128, 128, 3)),
        **dict.fromkeys(MASKS, (3, 128, 128)),
    }
    for mask in MASKS:
        assert (pairs[mask].max(axis=(1, 2)) == 255).all()
        share = (pairs[mask] > 127).mean(axis=(1, 2))
        assert ((share > 0.15) & (share < 0.45)).all()  # a face fills a third of its surroundings
        assert (pairs[mask][:, 48:80, 56:72] == 255).all()  # in their middle


def test_nothing_is_changed_but_what_was_drawn(pairs: Pairs) -> None:
    for name, mask in zip(PICTURES[1:], MASKS, strict=True):
        for picture, photo, drawn in zip(pairs[name], pairs["photo"], pairs[mask], strict=True):
            far = cv2.dilate(drawn, np.ones((9, 9), np.uint8)) == 0
            assert (picture[far] == photo[far]).all()
            assert (picture[~far] != photo[~far]).any()


def test_people_are_nearer_to_their_photos_than_strangers_are(pairs: Pairs) -> None:
    def distance(name: str, row: int) -> float:
        apart = np.abs(pairs[name][row].astype(float) - pairs["photo"][row]).mean(axis=2)
        return float(apart[pairs["drawn_own"][row] == 255].mean())

    assert all(distance("own", row) < distance("stranger", row) for row in range(3))


def test_a_seed_makes_the_same_file_and_another_seed_another(photos: Path, pairs: Pairs, tmp_path: Path) -> None:
    same, other = made(tmp_path, photos), made(tmp_path, photos, seed=1)
    assert all((same[name] == pairs[name]).all() for name in pairs)
    assert not any((other[name] == pairs[name]).all() for name in pairs)


def test_without_a_single_face_it_says_so_and_writes_nothing(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no face"):
        made(tmp_path, photos / "nobody.png")
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_of_textures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only textures are harmonized"):
        list(extract_pairs([], tmp_path / "pairs.npz", model=load_face_model("linear-refined"), seed=0))


# How they are drawn


@pytest.fixture(scope="module")
def person(detector: FaceDetector) -> tuple[Image, Track]:
    image = np.ascontiguousarray(cv2.imread(str(HOPPER))[..., ::-1])
    (face,) = detector(image)
    image, (face,), _ = shrunk(image, [face], 150.0)
    return image, Track(1, face, 0.0)


@pytest.fixture(scope="module")
def drawer() -> Iterator[PairDrawer]:
    model, accountant = strangers(), PrivacyAccountant()
    pseudonyms = Pseudonyms(
        model, torch.device("cpu"), key=bytes(16), recognizer=None, mechanism=None, accountant=accountant
    )
    drawer = PairDrawer(model, pseudonyms=pseudonyms, network=FineMesh())
    yield drawer
    drawer.close()


def drawn(drawer: PairDrawer, person: tuple[Image, Track], **flaws: float) -> Drawing:
    drawing = drawer.as_themselves(*person, "a", dataclasses.replace(NONE, **flaws))
    assert drawing is not None
    return drawing


def distance(one: Drawing, image: Image) -> float:
    """How far apart two pictures are where a face is drawn, in grey levels."""
    return float(np.abs(one.image.astype(float) - image).mean(axis=2)[one.strength == 1.0].mean())


def detail(one: Drawing) -> float:
    grey = one.image.mean(axis=2)
    return float((grey - cv2.GaussianBlur(grey, (0, 0), 2.0))[cv2.erode(one.strength, np.ones((9, 9))) == 1.0].std())


def test_the_share_of_a_stranger_brings_a_person_nearer_to_them(
    drawer: PairDrawer, person: tuple[Image, Track]
) -> None:
    stranger = drawer.as_stranger(*person, "a")
    assert stranger is not None
    shares = [drawn(drawer, person, share=share, sigma=6.0) for share in (1.0, 0.5, 0.0)]
    near, middle, far = (distance(one, stranger.image) for one in shares)
    assert near < middle < far
    assert near < 0.9 * far  # what is finer stays the person's


def test_only_a_stranger_has_coarse_shades_of_others(
    drawer: PairDrawer, person: tuple[Image, Track], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, stranger = drawn(drawer, person), drawer.as_stranger(*person, "a")
    dark = np.full((coarse.SIZE, coarse.SIZE, 3), -0.5, np.float32)
    monkeypatch.setattr(drawer._textures, "coarse_shades", lambda number: dark)
    other = drawer.as_stranger(*person, "a")
    assert stranger is not None
    assert other is not None
    assert distance(other, stranger.image) > 1.0
    assert (drawn(drawer, person).image == own.image).all()


def test_a_person_is_as_pale_as_the_flaws_say(drawer: PairDrawer, person: tuple[Image, Track]) -> None:
    assert detail(drawn(drawer, person, contrast=0.6)) < 0.85 * detail(drawn(drawer, person))


def test_a_person_is_as_soft_as_the_flaws_say_where_the_frame_is_softer_than_they_are(drawer: PairDrawer) -> None:
    patch = np.random.default_rng(0).uniform(0, 255, (80, 80, 3)).astype(np.float32)
    frame, inside = np.asarray(cv2.GaussianBlur(patch, (0, 0), 2.0)), np.ones((80, 80), bool)
    usual = finish.measure(frame, patch, inside)
    assert usual.blur > 0.5
    drawer._flaws = dataclasses.replace(NONE, blur=1.4)
    assert drawer._measured(frame, patch, inside).blur == pytest.approx(1.4 * usual.blur)
    drawer._flaws = None  # a stranger
    assert drawer._measured(frame, patch, inside) == usual


def test_drawing_leaves_the_photo_as_it_is_and_depends_on_no_drawing_before(
    drawer: PairDrawer, person: tuple[Image, Track]
) -> None:
    before = person[0].copy()
    first = drawn(drawer, person, share=0.5)
    drawer.as_stranger(*person, "b")
    again = drawn(drawer, person, share=0.5)
    assert (first.image == again.image).all()
    assert (person[0] == before).all()


def test_a_poor_picture_keeps_its_colours_and_is_not_always_poor() -> None:
    red = np.zeros((40, 60, 3), np.uint8)
    red[:] = (200, 60, 90)
    poor = [degraded(red, np.random.default_rng(seed)) for seed in range(40)]
    for picture in poor:
        colour = picture.mean(axis=(0, 1))
        assert colour[0] > colour[2] > colour[1]
        assert 1.0 <= picture.shape[1] / 60 <= 2.01
    assert any(picture.shape == red.shape and (picture == red).all() for picture in poor)
    assert len({picture.shape for picture in poor}) > 5


# The commands


def veil(*arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


def test_what_is_trained_on_one_s_own_photos_draws_faces(photos: Path, tmp_path: Path) -> None:
    veil("extract", photos, "--align", "drawn", "--out", tmp_path / "pairs.npz")
    said = veil("train", "harmonizer", tmp_path / "pairs.npz", "--run", tmp_path / "run", "--steps", 2)
    assert str(tmp_path / "run" / "textures.safetensors") in said
    ours, before = (load_as(Textures, path) for path in (tmp_path / "run" / SHIPPED, WEIGHTS / SHIPPED))
    changed = {name for name, value in ours.state_dict().items() if not torch.equal(value, before.state_dict()[name])}
    assert changed
    assert all(name.startswith("harmonizer.") for name in changed)
    frame = Frame(np.ascontiguousarray(cv2.imread(str(HOPPER))[..., ::-1]), index=0, pts=0, time_base=Fraction(1))
    with Anonymizer.load(str(tmp_path / "run" / SHIPPED)) as anonymizer:
        assert [face.tier for face in anonymizer.picture(frame).faces] == ["generated"]
