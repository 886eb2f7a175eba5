"""Make the checkpoint of `models.textures` of pictures of donors: deterministic, in minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from models.attributes.attributes import AttributeNet
from models.face_model import Template
from models.identity.recognizer import FaceRecognizer
from models.textures import Textures, TexturesConfig, folds
from models.textures.clean import Texture, clean
from models.textures.fit_shapes import fit_expression, fit_features
from models.textures.fitness import Fitness, judge
from models.textures.recipes import Donors, Recipe, make_recipes
from models.textures.regions import Regions, make_regions
from models.textures.shape import outline_spans
from models.textures.skin import SMALL, Skin, brow_darkness, logarithm, picture_of, read_skin
from streamer.errors import SourceError
from streamer.render.textures.light import SIDE, LightReader
from streamer.training import coarse_shades
from streamer.training.donors import Donor, Label, estimated, read_donors
from streamer.training.shading import DIRECTIONS, read_shading, without_shading
from streamer.training.sitters import (
    Sitters,
    StreamSitters,
    agreed,
    dealt_out,
    drawn_ancestries,
    recognition_and_attributes,
    sexes_and_tones,
    with_doubt,
)
from streamer.types import Face, Floats, Image

SIZE = 320  # pixels: a face fills two thirds of a texture, about what it has in a picture of 384
QUALITY = 95  # of 100, of the pictures in the checkpoint
EXPRESSIONS = 6  # directions of the mesh that tell what a face does
SHAPE_DIRECTIONS = 40  # that tell whose it is
MANY = 200  # faces, from which on those of identity are found anew
DISTINCT = 0.5  # times the mean of two donors' features: about the mean, no nose or mouth looks out of place
LEAST_DISTINCT = 0.6  # times as far as usual everybody's features move those of the mean, which are like all
EVERY = 10  # strangers between two whose light is read: all are lit alike


@dataclass(frozen=True)
class Mended:
    """A donor whose picture can be used.

    Attributes:
        donor: As read.
        texture: Of the picture.
        fitness: Which parts a stranger may have.
        tone: Degrees of the typology angle.
    """

    donor: Donor
    texture: Texture
    fitness: Fitness
    tone: float


@dataclass(frozen=True)
class Progress:
    """What is done: a verb, and how many of how many; 0 where it is not known."""

    doing: str
    done: int
    total: int = 0


def train_textures(
    sources: Sequence[Path],
    out: Path,
    *,
    labels: dict[str, Label],
    base: Textures,
    recognizer: FaceRecognizer,
    attributes: AttributeNet,
    strangers: int,
) -> Iterator[Progress]:
    """Write the checkpoint `out` of the pictures in `sources`; yield how far it is.

    Args:
        sources: Folders and tars.
        out: Replaced once all is made.
        labels: By file.
        base: Whose template and harmonizer are taken; also what faces do, if no labels name people of whom there are
            several pictures, and how they differ, if there are fewer than `MANY`.
        recognizer: Tells how alike strangers and people are: that of the runs.
        attributes: Estimates the labels of pictures that have none, and how old strangers look.
        strangers: How many to make, at most.

    Raises:
        SourceError: If the pictures are too few, or cannot be read.
    """
    points = np.array(base.template.points, np.float32)
    donors: list[Donor] = []
    for number, donor in enumerate(read_donors(sources, labels, network=attributes, points=points, size=SIZE), 1):
        donors += [donor] if donor is not None else []
        yield Progress("read", number)
    yield Progress("mended", 0, len(donors))
    shading = read_shading(donors, points, base)
    donors = without_shading(donors, shading)
    mended, mean_light, skins = mend(donors, points)
    table = _table(mended)
    usable = bool(table.upper.any() and table.lower.any() and table.skin.any())
    recipes = make_recipes(table, strangers, seed=0) if usable else []
    used = sorted({number for r in recipes for number in (r.upper, r.lower, r.skin, r.colour)})
    if not recipes:
        raise SourceError(
            f"no stranger can be made of {len(donors)} faces: two must show even light, a clear "
            f"forehead, open eyes and a shut mouth"
        )
    model = _filled(mended, used, recipes, mean_light, template=base.template, donors=donors, table=table)
    coarse_shades.give_coarse_shades(model, donors, table, recipes, points)
    model.brows.copy_(_brows(model))
    model.harmonizer.load_state_dict(base.harmonizer.state_dict())
    for value, found in zip((model.shades, model.directions, model.usual_light), shading.model, strict=True):
        value.copy_(found)
    _give_shapes(model, recipes, mended, donors, base=base)
    _give_folds(model, donors, skins)
    model.light.copy_(_common_light(model, points))
    yield from _look_at(model, donors, points, recognizer, attributes)
    for number in range(len(model.lines)):
        model.lines[number] = torch.from_numpy(model.line_reader(model.texture(number).astype(np.float32)))
        yield Progress("read the lines of", number + 1, len(model.lines))
    _centre(model.embeddings)
    model.harmonizer.half()
    out.parent.mkdir(parents=True, exist_ok=True)
    model.save(out)


def mend(donors: Sequence[Donor], points: Floats) -> tuple[list[Mended], Floats, list[Skin]]:
    """Return all donors mended, the mean light `(SMALL, SMALL, 3)` that all textures then have, and their skin."""
    regions, small = make_regions(points, SIZE), make_regions(points, SMALL)
    skins = [read_skin(donor.crop.astype(np.float32), small) for donor in donors]
    if not skins:
        raise SourceError("no face was found; are the pictures upright?")
    lights = [cv2.resize(skin.light - skin.colour, (SMALL, SMALL), interpolation=cv2.INTER_AREA) for skin in skins]
    median = np.median(np.stack(lights), axis=0).astype(np.float32)
    mean_light = (median + median[:, ::-1]) / 2
    enlarged = np.asarray(cv2.resize(mean_light, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), np.float32)
    return [_mended(d, s, enlarged, regions) for d, s in zip(donors, skins, strict=True)], mean_light, skins


def _mended(donor: Donor, skin: Skin, mean_light: Floats, regions: Regions) -> Mended:
    texture = clean(donor.crop.astype(np.float32), skin, mean_light, regions)
    found, label = judge(texture, skin, _mesh(donor), regions), donor.label
    upper, lower, bare = (
        (value or part in label.fit) and part not in label.unfit
        for part, value in (("u", found.upper), ("l", found.lower), ("s", found.skin))
    )
    fitness = Fitness(upper, lower, bare, found.beard)
    return Mended(donor, texture, fitness, typology_angle(texture.colour))


def typology_angle(colour: Floats) -> float:
    """Return the individual typology angle of a skin colour `(3,)`, degrees (Chardon et al. 1991): light is high."""
    srgb = np.asarray(picture_of(colour) / 255, np.float32)[None, None]
    lightness, _, yellow = cv2.cvtColor(srgb, cv2.COLOR_RGB2LAB)[0, 0]
    return float(np.degrees(np.arctan2(lightness - 50, max(float(yellow), 1.0))))


def _table(mended: Sequence[Mended]) -> Donors:
    return Donors(
        upper=np.array([m.fitness.upper for m in mended]),
        lower=np.array([m.fitness.lower for m in mended]),
        skin=np.array([m.fitness.skin for m in mended]),
        beard=np.array([m.fitness.beard for m in mended], np.float32),
        female=np.array([m.donor.label.female for m in mended], np.float32),
        age=np.array([m.donor.label.age for m in mended], np.float32),
        tone=np.array([m.tone for m in mended], np.float32),
        ancestry=np.array([m.donor.label.ancestry for m in mended], np.float32),
    )


@torch.no_grad()
def _filled(
    mended: Sequence[Mended],
    used: Sequence[int],
    recipes: Sequence[Recipe],
    mean_light: Floats,
    *,
    template: Template,
    donors: Sequence[Donor],
    table: Donors,
) -> Textures:
    """Return the model with all but what needs its pictures drawn."""
    enlarged = cv2.resize(mean_light, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    encoded = [_encoded(mended[number].texture, enlarged) for number in used]
    config = TexturesConfig(
        size=SIZE,
        donors=len(used),
        picture_bytes=sum(map(len, encoded)),
        strangers=len(recipes),
        expressions=EXPRESSIONS,
        shape_directions=SHAPE_DIRECTIONS,
        directions=DIRECTIONS,
        coarse=min(coarse_shades.DIRECTIONS, len(recipes)),
    )
    model = Textures(config, template).eval()
    place = {number: row for row, number in enumerate(used)}
    rows = [[place[n] for n in (r.upper, r.lower, r.skin, r.colour)] for r in recipes]
    model.pictures.copy_(torch.from_numpy(np.concatenate(encoded)))
    model.ends.copy_(torch.from_numpy(np.cumsum([len(picture) for picture in encoded])))
    model.colours.copy_(torch.from_numpy(np.stack([mended[number].texture.colour for number in used])))
    model.mean_light.copy_(torch.from_numpy(mean_light))
    model.recipes.copy_(torch.tensor(rows))
    model.female.copy_(torch.tensor([r.female for r in recipes]))
    model.age.copy_(torch.tensor([r.age for r in recipes]))
    model.tone.copy_(torch.tensor([mended[r.colour].tone for r in recipes]))
    ancestries = np.array([mended[r.upper].donor.label.ancestry for r in recipes], np.float32)
    model.ancestry.copy_(torch.from_numpy(ancestries))
    model.beard.copy_(torch.tensor([r.beard(table) for r in recipes]))
    return model


def _brows(model: Textures) -> torch.Tensor:
    """Return how dark the brows of all strangers are, `(B,)`."""
    textures = (model.texture(number).astype(np.float32) for number in range(model.config.strangers))
    return torch.tensor([brow_darkness(texture, model.small_regions) for texture in textures])


def _encoded(texture: Texture, mean_light: Floats) -> Image:
    picture = picture_of(texture.detail + texture.colour + mean_light) + 0.5
    written = cv2.imencode(".webp", picture.astype(np.uint8)[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1]
    return np.asarray(written, np.uint8).ravel()


def _look_at(
    model: Textures, donors: Sequence[Donor], points: Floats, recognizer: FaceRecognizer, attributes: AttributeNet
) -> Iterator[Progress]:
    """Fill in how old strangers look, how like one another, and of which sex and ancestry.

    Lines and shades go with the age, so that comes first.
    """

    def age(picture: Image, face: Face) -> torch.Tensor:
        return torch.tensor(estimated(picture, face, attributes).age)

    count, seen = len(model.age), torch.zeros_like(model.age)
    for number, look in enumerate(Sitters(model, donors, points).looks(age)):
        seen[number] = look
        yield Progress("looked at", number + 1, count)
    model.age.copy_(dealt_out(model.age, seen, sexes_and_tones(model)))
    sitters, looks = StreamSitters(model, donors), list[torch.Tensor]()
    for look in sitters.looks(recognition_and_attributes(recognizer, attributes)):
        looks.append(look)
        yield Progress("drawn", len(looks), len(sitters) * count)
    drawn, size = torch.stack(looks).view(len(sitters), count, -1), model.config.embedding
    model.embeddings.copy_(agreed(drawn[..., :size]))
    model.female.copy_(with_doubt(model.female, drawn[..., size]))
    model.ancestry.copy_(drawn_ancestries(model.ancestry, drawn[..., size + 1 :]))


def _centre(embeddings: torch.Tensor) -> None:
    """Take from unit embeddings what all have in common, in place: what is left tells one from another."""
    embeddings -= embeddings.mean(dim=0)
    embeddings /= embeddings.norm(dim=1, keepdim=True).clamp(min=1e-6)


def _common_light(model: Textures, points: Floats) -> torch.Tensor:
    reader = LightReader(points)
    some = range(0, model.config.strangers, EVERY)
    small = [cv2.resize(model.texture(n), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for n in some]
    cells = np.mean([reader(np.asarray(picture)).cells for picture in small], axis=0)
    return torch.from_numpy(cells - cells.mean(axis=(0, 1)))


@torch.no_grad()
def _give_shapes(
    model: Textures, recipes: Sequence[Recipe], mended: Sequence[Mended], donors: Sequence[Donor], *, base: Textures
) -> None:
    """Give each stranger the features of the donors of the inner face."""
    shape, meshes = model.shape, torch.from_numpy(np.stack([_mesh(donor) for donor in donors]))
    people = _people(donors)
    if people.max() >= 0:
        fit_expression(shape, meshes, people, template=torch.tensor(model.template.points))
    else:
        for name in ("mean", "inward", "expression"):
            getattr(shape, name).copy_(getattr(base.shape, name))
    if len(donors) >= MANY:
        coordinates = fit_features(shape, meshes)
    else:
        shape.features.copy_(base.shape.features)
        coordinates = shape.coordinates(meshes)
    spans = outline_spans(shape.aligned(meshes)[0])
    row = {donor.name: number for number, donor in enumerate(donors)}
    for number, recipe in enumerate(recipes):
        both = [row[mended[donor].donor.name] for donor in (recipe.upper, recipe.lower)]
        shape.strangers[number] = DISTINCT * coordinates[both].mean(dim=0)
        shape.outlines[number] = spans[both].mean(dim=0)
    moves = (shape.strangers @ shape.features).view(len(recipes), -1, 3).norm(dim=2).mean(dim=1, keepdim=True)
    shape.strangers *= (LEAST_DISTINCT * moves.median() / moves.clamp(min=1e-9)).clamp(min=1.0)


@torch.no_grad()
def _give_folds(model: Textures, donors: Sequence[Donor], skins: Sequence[Skin]) -> None:
    """Find what expressions do to skin; too few faces tell nothing, and skin then stays as it is."""
    model.deviation.fill_(1.0)
    if len(donors) < MANY:
        return
    details = [
        cv2.resize(
            (logarithm(d.crop.astype(np.float32)) - s.light).mean(axis=2),
            (folds.SIZE,) * 2,
            interpolation=cv2.INTER_AREA,
        )
        for d, s in zip(donors, skins, strict=True)
    ]
    expressions = model.shape.expressions(torch.from_numpy(np.stack([_mesh(donor) for donor in donors])))
    regions = make_regions(np.array(model.template.points, np.float32), folds.SIZE)
    fitted = folds.fit_folds(np.stack(details), expressions, regions)
    for value, found in zip((model.folds, model.neutral, model.deviation), fitted, strict=True):
        value.copy_(found)


def _people(donors: Sequence[Donor]) -> torch.Tensor:
    """Return who each picture is of, `(D,)` int64; -1 for those of whom there is one, or of whom it is not known."""
    names = [donor.label.person for donor in donors]
    several = sorted(name for name, count in Counter(names).items() if name and count > 1)
    return torch.tensor([several.index(name) if name in several else -1 for name in names])


def _mesh(donor: Donor) -> Floats:
    assert donor.face.mesh is not None
    return donor.face.mesh.astype(np.float32)
