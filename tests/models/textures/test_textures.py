"""Strangers as textures: what is shipped covers everyone, suits whom it is chosen for, and is nobody's picture."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.face_model import ANCESTRIES, Attributes, Sighting
from models.registry import load_as, load_face_model
from models.textures import Textures
from models.textures.choose import misfit

WOMAN, MAN = -3.0, 3.0  # logits


@pytest.fixture(scope="module")
def model() -> Textures:
    loaded = load_face_model("textures")
    assert isinstance(loaded, Textures)
    return loaded.eval()


def seen(model: Textures, sex: float, age: float, skin: float, embedding: Tensor | None = None) -> Sighting:
    attributes = Attributes(torch.tensor([sex]), torch.tensor([age]), torch.tensor([skin]))
    crops = torch.zeros(1, 3, model.crop_size, model.crop_size)
    return Sighting(crops, None, None if embedding is None else embedding[None], attributes)


def test_there_are_2000_strangers_of_every_sex_age_and_skin_tone(model: Textures) -> None:
    assert len(model.female) >= 2000
    for female, ages, tones in itertools.product(
        (0, 1), itertools.pairwise((0, 12, 25, 40, 60, 90)), ((-90, 0), (0, 30), (30, 90))
    ):
        there = ((model.female > 0.5) == bool(female)) & (model.age >= ages[0]) & (model.age < ages[1])
        there &= (model.tone >= tones[0]) & (model.tone < tones[1])
        assert there.sum() >= 8, (female, ages, tones)


def test_a_stranger_is_the_picture_of_nobody(model: Textures) -> None:
    """No donor is all of a stranger, and no two strangers are made of the same donors."""
    parts = model.recipes[:, :3]
    assert all(len(set(row)) > 1 for row in parts.tolist())
    assert len({tuple(row) for row in parts.tolist()}) == len(parts)


def test_a_texture_is_made_the_same_each_time_and_differs_from_others(model: Textures) -> None:
    first, again, other = (model.texture(n).astype(int) for n in (3, 3, 900))
    assert first.shape == (model.crop_size, model.crop_size, 3)
    assert (first == again).all()
    assert np.abs(first - other).mean() > 5


def test_a_texture_shows_skin_alone_around_the_face(model: Textures) -> None:
    """What lies outside the face differs little from the skin inside: no hair, no background."""
    for stranger in range(0, len(model.recipes), 400):
        picture = model.texture(stranger).astype(np.float32)
        rim = np.concatenate([picture[4, 60:-60], picture[80:200, 4], picture[80:200, -5]])
        tint = rim / rim.sum(axis=1, keepdims=True)
        assert tint.std(axis=0).max() < 0.05


@pytest.mark.parametrize("sex", [WOMAN, MAN])
@pytest.mark.parametrize("age", [5.0, 25.0, 40.0, 72.0])
@pytest.mark.parametrize("skin", [-30.0, 45.0])
def test_a_stranger_is_of_the_same_sex_about_as_old_and_of_the_same_skin(
    model: Textures, sex: float, age: float, skin: float
) -> None:
    chosen = [int(model.pseudonyms(seen(model, sex, age, skin), torch.tensor([n]))[0]) for n in range(16)]
    assert len(set(chosen)) == 16
    if age > 13:
        assert {bool(model.female[n] > 0.5) for n in chosen} == {sex == WOMAN}
    assert max(abs(float(model.age[n]) - age) for n in chosen) <= 4 + 0.3 * age
    assert float(np.mean([abs(float(model.tone[n]) - skin) for n in chosen])) < 30


@pytest.mark.parametrize("number", range(4), ids=ANCESTRIES)
def test_a_stranger_is_of_the_same_ancestry_where_it_is_known(model: Textures, number: int) -> None:
    known = torch.full((1, 4), 0.02)
    known[0, number] = 0.94
    person = seen(model, WOMAN, 28.0, 20.0)
    assert person.attributes is not None
    person = replace(person, attributes=replace(person.attributes, ancestry=known))
    chosen = [int(model.pseudonyms(person, torch.tensor([n]))[0]) for n in range(24)]
    assert (model.ancestry[chosen].argmax(dim=1) == number).float().mean() > 0.9


def test_where_all_who_suit_are_like_a_person_others_will_do(model: Textures) -> None:
    """They suit less, and are less like; the more so, the more strangers were too like."""
    like, unsuited = [], []
    for twin in range(100, 2000, 100):
        person = seen(model, WOMAN, 30.0, 30.0, model.embeddings[twin])
        costs, likeness = misfit(model, person)[0], model.embeddings @ model.embeddings[twin]
        chosen = [model.pseudonyms(replace(person, leniency=n), torch.arange(96)) for n in range(3)]
        like.append([float(likeness[some].mean()) for some in chosen])
        unsuited.append([float(costs[some].mean()) for some in chosen])
    usual, lenient, most_lenient = np.mean(like, axis=0)
    assert lenient < usual - 0.03
    assert most_lenient < lenient - 0.03
    assert (np.diff(np.mean(unsuited, axis=0)) > 0).all()


def test_of_those_that_suit_those_are_tried_on_that_suit_more(model: Textures) -> None:
    """And are less like than most: by likeness alone they would suit least."""
    by_likeness, tried, likeness = [], [], []
    for twin in range(100, 2000, 100):
        person = seen(model, WOMAN, 30.0, 30.0, model.embeddings[twin])
        offered = torch.unique(model.pseudonyms(person, torch.arange(48)))
        cosines, foretold = model.embeddings[offered] @ model.embeddings[twin], model.foretold(person, offered)
        assert foretold is not None
        costs = misfit(model, person)[0, offered]
        by_likeness.append(float(costs[cosines.argsort()[:12]].mean()))
        tried.append(float(costs[foretold.argsort()[:12]].mean()))
        likeness.append(float(cosines[foretold.argsort()[:12]].mean() - cosines.mean()))
        assert torch.equal(model.foretold(replace(person, leniency=1), offered), cosines)  # who suits were too like
    assert np.mean(tried) < 0.75 * np.mean(by_likeness)
    assert np.mean(likeness) < -0.02


def test_beards_suit_grown_men(model: Textures) -> None:
    allowed = [n for n in range(0, 2000, 10) if model.may_be_bearded(n)]
    assert 20 < len(allowed) < 120
    assert model.female[allowed].max() < 0.5
    assert model.age[allowed].min() > 16


def test_of_those_that_suit_the_least_like_are_taken(model: Textures) -> None:
    """For grown people, of whom there are many kinds: the most like of all who may be taken is hardly like."""
    grown = torch.nonzero((model.age > 20) & (model.age < 47))[::150, 0].tolist()
    assert len(grown) > 8
    most, less = [], []
    for twin in grown:
        sex = WOMAN if model.female[twin] > 0.5 else MAN
        person = seen(model, sex, float(model.age[twin]), float(model.tone[twin]))
        like = Sighting(person.crops, None, model.embeddings[twin][None], person.attributes)
        chosen, any_one = (model.pseudonyms(one, torch.arange(16)).tolist() for one in (like, person))
        likeness = model.embeddings @ model.embeddings[twin]
        assert twin not in chosen
        most.append(float(likeness[chosen].max()))
        less.append(float(likeness[any_one].mean() - likeness[chosen].mean()))
    assert np.mean(most) < 0.1
    assert min(less) > 0.1
    assert np.mean(less) > 0.2


def test_a_stranger_s_features_are_unlike_the_person_s(model: Textures) -> None:
    apart = []
    for twin in range(0, len(model.age), 600):
        directions = model.shape.strangers[twin]
        mesh = model.shape.mean + (directions @ model.shape.features).view(468, 3)
        person = seen(model, MAN, 35, 20)
        shaped = Sighting(person.crops, mesh[None], None, person.attributes)
        average = Sighting(person.crops, model.shape.mean[None], None, person.attributes)
        chosen, any_one = (model.pseudonyms(who, torch.arange(24)) for who in (shaped, average))
        likeness = torch.nn.functional.cosine_similarity(model.shape.strangers, directions, dim=1)
        assert likeness[chosen].max() < 0.1
        apart.append(float(likeness[any_one].mean() - likeness[chosen].mean()))
    assert min(apart) > 0
    assert np.mean(apart) > 0.1


def test_what_is_released_of_a_person_is_bounded_and_leads_to_a_stranger(model: Textures) -> None:
    people = Sighting(torch.zeros(2, 3, 4, 4), None, model.embeddings[[7, 1500]])
    coordinates = model.identity_coordinates(people)
    assert coordinates.norm(dim=1).numpy() == pytest.approx(model.identity_size**0.5, rel=1e-4)
    assert model.nearest_strangers(coordinates).tolist() == [7, 1500]


def test_without_a_recogniser_nothing_can_be_released(model: Textures) -> None:
    with pytest.raises(ValueError, match="recogniser"):
        model.identity_coordinates(Sighting(torch.zeros(1, 3, 4, 4)))


def test_strangers_keep_pose_and_move_the_features(model: Textures) -> None:
    turn = torch.linalg.matrix_exp(torch.tensor([[0, 0, 0.4], [0, 0, 0], [-0.4, 0, 0]]))
    turned = model.shape.mean[None] * 100 @ turn
    beta = torch.zeros(1)
    moved = model.reshape(turned, beta, torch.tensor([5]))
    assert torch.isfinite(moved).all()
    assert 0.002 < float((moved - turned).norm(dim=2).mean() / turned.norm(dim=2).mean()) < 0.1
    assert torch.allclose(model.reshape(turned, beta + 1, torch.tensor([5])), turned, atol=1e-4)


def test_no_stranger_is_a_caricature(model: Textures) -> None:
    """Features of 0 are the mean's; people's lie at the root of how many there are from it."""
    usual = model.config.shape_directions**0.5
    assert 0.3 * usual < model.shape.strangers.norm(dim=1).mean() < usual
    assert model.shape.strangers.norm(dim=1).max() < 2 * usual


@pytest.mark.parametrize("sex", [-0.3, 0.0, 0.3])
def test_of_whom_it_is_not_sure_that_it_is_a_man_nobody_with_a_beard_is_made(model: Textures, sex: float) -> None:
    chosen = [int(model.pseudonyms(seen(model, sex, 35.0, 40.0), torch.tensor([n]))[0]) for n in range(16)]
    assert model.beard[chosen].max() < 0.1
    assert (model.beard[model.female < 0.5] > 0.1).float().mean() > 0.1  # men with shadows of beards there are


@pytest.mark.parametrize("leniency", range(3))
def test_a_man_stays_a_man_whoever_is_like_him(model: Textures, leniency: int) -> None:
    """Also where men who suit are like him in face and features, and women are not."""
    for twin in torch.nonzero((model.female < 0.5) & (model.age > 30))[::100, 0].tolist():
        directions = model.shape.strangers[twin]
        mesh = model.shape.mean + (directions @ model.shape.features).view(-1, 3)
        person = seen(model, MAN, float(model.age[twin]), float(model.tone[twin]), model.embeddings[twin])
        chosen = model.pseudonyms(replace(person, meshes=mesh[None], leniency=leniency), torch.arange(96))
        assert model.female[chosen].max() < 0.5


@pytest.mark.parametrize(("age", "others"), [(19.0, (15.0, 99.0)), (9.0, (0.0, 18.0))])
def test_no_grown_up_becomes_a_child_nor_a_child_a_grown_up(
    model: Textures, age: float, others: tuple[float, float]
) -> None:
    chosen = [int(model.pseudonyms(seen(model, MAN, age, 20.0), torch.tensor([n]))[0]) for n in range(16)]
    assert model.age[chosen].min() >= others[0]
    assert model.age[chosen].max() <= others[1]


def test_a_stranger_is_made_of_people_with_about_the_outline(model: Textures) -> None:
    """Of somebody with a long face, of people with longer ones than of somebody with a short one."""
    person = seen(model, WOMAN, 35, 30)
    faces = [model.shape.mean * torch.tensor([1.0, height, 1.0]) for height in (1.2, 0.85)]
    long_face, short_face = (
        [int(model.pseudonyms(who, torch.tensor([n]))[0]) for n in range(16)]
        for who in (Sighting(person.crops, face[None], None, person.attributes) for face in faces)
    )
    assert model.shape.outlines[long_face, 0].mean() > model.shape.outlines[short_face, 0].mean() + 0.01


def test_a_face_is_drawn_in_the_light_of_the_crop(model: Textures) -> None:
    size = model.crop_size
    dark_on_the_left = torch.linspace(-0.9, 0.9, size).expand(1, 3, size, size)
    latents = model.encode(dark_on_the_left, torch.zeros(1), torch.tensor([12]))
    drawn = model.generate(latents)
    assert drawn.shape == dark_on_the_left.shape
    assert drawn[..., : size // 4].mean() < drawn[..., -size // 4 :].mean() - 0.5


def test_a_checkpoint_rebuilds_it(model: Textures, tmp_path: Path) -> None:
    model.save(tmp_path / "again.safetensors")
    assert (load_as(Textures, tmp_path / "again.safetensors").texture(9) == model.texture(9)).all()


def test_the_brows_of_fair_people_do_not_become_dark(model: Textures) -> None:
    fair, dark = (
        torch.from_numpy(model.texture(int(n))).permute(2, 0, 1)[None].float() / 127.5 - 1
        for n in (model.brows.argmax(), model.brows.argmin())
    )
    chosen = [
        torch.cat([model.pseudonyms(Sighting(crops), torch.tensor([n])) for n in range(16)]) for crops in (fair, dark)
    ]
    assert model.brows[chosen[0]].min() > model.brows.max() - 0.6
    assert model.brows[chosen[0]].mean() > model.brows[chosen[1]].mean()


def test_whose_skin_is_smooth_becomes_nobody_with_lines_where_these_are_seen(model: Textures) -> None:
    """Whatever age the network says: of a woman of 40, whose own skin is all that differs."""
    smooth = model.texture(int((model.lines.mean(dim=1) + (model.female < 0.5)).argmin())).astype(np.float32)
    rows = np.arange(len(smooth))[:, None, None]
    lined = smooth * (1 - 0.15 * (rows % 10 < 2))
    assert (model.line_reader(lined) > model.line_reader(smooth) + 0.002).all()
    crops = [torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 127.5 - 1 for crop in (smooth, lined)]
    points = torch.tensor(model.template.points)[None]
    lines = []
    for side in (400.0, 60.0):
        meshes = torch.cat([side * points, torch.zeros(1, 468, 1)], dim=2)
        person = replace(seen(model, WOMAN, 40.0, 40.0), meshes=meshes)
        chosen = [model.pseudonyms(replace(person, crops=crop), torch.arange(24)) for crop in crops]
        lines.append([float(model.lines[some].mean()) for some in chosen])
    (near_smooth, near_lined), (far_smooth, far_lined) = lines
    assert near_smooth < 0.8 * near_lined
    assert abs(far_smooth - far_lined) < 0.1 * far_lined
