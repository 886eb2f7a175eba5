"""The linear model with strangers: what of a person goes through it, and what does not."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.face_model import DEFAULT_TEMPLATE, Attributes, Sighting, prepare
from models.linear_refined import KEPT, NEAR, YEARS, LinearRefined, LinearRefinedConfig, spread_out
from models.registry import load_face_model

CONFIG = LinearRefinedConfig(
    crop_size=32,
    linear_size=16,
    linear_values=16 * 16 * 3,
    components=20,
    identity_directions=6,
    shape_directions=3,
    strangers=400,
    embedding=5,
    attributes=2,
    widths=(8, 8, 8),
)
PEOPLE = 7


@pytest.fixture
def model() -> LinearRefined:
    torch.manual_seed(3)
    made = LinearRefined(CONFIG, DEFAULT_TEMPLATE)
    made.inside.fill_(True)
    made.mean.normal_(0, 0.1)
    made.basis.copy_(torch.linalg.qr(torch.randn(CONFIG.linear_values, 20)).Q.T)
    made.deviation.copy_(torch.linspace(2, 0.5, 20))
    made.identity.copy_(torch.linalg.qr(torch.randn(20, 6)).Q.T)
    made.recognition.copy_(made.identity.T @ torch.randn(6, 5) + 0.1 * torch.randn(20, 5))
    made.strangers.normal_()
    made.attribute_weight.normal_()
    made.stranger_attributes.normal_()
    return made.eval().requires_grad_(False)


def crops_of(model: LinearRefined, latents: Tensor) -> Tensor:
    """Return crops whose coordinates are exactly `latents`."""
    return model.decode(latents).repeat_interleave(2, 2).repeat_interleave(2, 3)


def beta(value: float) -> Tensor:
    return torch.full((PEOPLE,), value)


def test_projecting_what_was_decoded_returns_the_coordinates(model: LinearRefined) -> None:
    latents = torch.randn(PEOPLE, 20)
    torch.testing.assert_close(model.project(crops_of(model, latents)), latents, atol=1e-4, rtol=1e-4)


def test_at_beta_one_the_person_s_own_coordinates_pass(model: LinearRefined) -> None:
    own = torch.randn(PEOPLE, 20)
    latents = model.encode(crops_of(model, own), beta(1.0), torch.zeros(PEOPLE, dtype=torch.int64))
    torch.testing.assert_close(latents[:, 0], own, atol=1e-4, rtol=1e-4)


def test_at_beta_zero_the_identity_coordinates_are_the_stranger_s(model: LinearRefined) -> None:
    chosen = torch.arange(PEOPLE)
    latents = model.encode(crops_of(model, torch.randn(PEOPLE, 20)), beta(0.0), chosen)
    coordinates = latents[:, 0] @ model.identity.T
    torch.testing.assert_close(coordinates, (model.strangers @ model.identity.T)[chosen], atol=1e-4, rtol=1e-4)


def test_at_beta_zero_nothing_of_the_person_along_the_identity_directions_reaches_the_picture(
    model: LinearRefined,
) -> None:
    """People who differ only along them become, as the same stranger, the same picture."""
    torch.nn.init.normal_(model.refiner.to_rgb.weight, std=0.1)
    common = torch.randn(1, 20)
    people = common + torch.randn(PEOPLE, 6) @ model.identity
    latents = model.encode(crops_of(model, people), beta(0.0), torch.full((PEOPLE,), 5))
    made = model.generate(latents)
    torch.testing.assert_close(made, made[:1].expand_as(made), atol=1e-4, rtol=0)


def test_the_same_share_of_what_is_not_identity_passes_whoever_the_person_becomes(model: LinearRefined) -> None:
    """Two frames of one person differ by the same light, pose and expression before and after."""
    first, second = torch.randn(2, PEOPLE, 20)
    rest = torch.eye(20) - model.identity.T @ model.identity
    before, after = (model.encode(crops_of(model, own), beta(0.0), torch.arange(PEOPLE)) for own in (first, second))
    torch.testing.assert_close((after - before)[:, 0], KEPT * (second - first) @ rest, atol=1e-4, rtol=1e-4)


def test_likeness_rises_with_beta(model: LinearRefined) -> None:
    own, chosen = torch.randn(PEOPLE, 20), torch.arange(PEOPLE)
    distances = [
        (model.encode(crops_of(model, own), beta(value), chosen)[:, 0] - own).norm(dim=1)
        for value in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert (torch.stack(distances).diff(dim=0) < 0).all()


def test_a_recogniser_takes_no_stranger_for_the_person(model: LinearRefined) -> None:
    own = torch.randn(PEOPLE, 20)
    crops = crops_of(model, own)
    made = model.encode(crops, beta(0.0), model.pseudonyms(Sighting(crops), torch.arange(PEOPLE)))[:, 0]
    assert (torch.cosine_similarity(own @ model.recognition, made @ model.recognition) < 0).all()


def test_the_same_seed_gives_the_same_stranger_and_others_give_several(model: LinearRefined) -> None:
    crops = crops_of(model, torch.randn(1, 20).expand(PEOPLE, -1))
    same = model.pseudonyms(Sighting(crops), torch.full((PEOPLE,), 2**62))
    assert len(set(same.tolist())) == 1
    assert len(set(model.pseudonyms(Sighting(crops), torch.arange(PEOPLE)).tolist())) > 1


def test_strangers_to_choose_from_are_unlike_each_other() -> None:
    angles = torch.tensor([0.0, 0.1, 3.1, 0.2, 1.6, 1.3])
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert spread_out(embeddings, 3).tolist() == [0, 2, 4]
    assert sorted(spread_out(embeddings, 9).tolist()) == list(range(6))


def test_of_two_strangers_equally_unlike_the_one_that_suits_is_taken(model: LinearRefined) -> None:
    model.strangers.zero_()
    model.stranger_attributes.copy_(torch.randn_like(model.stranger_attributes) + 10)
    crops = crops_of(model, torch.zeros(1, 20))
    suited = torch.zeros(1, 20) @ model.attribute_weight.T
    model.stranger_attributes[5:17] = suited + 0.1
    chosen = model.pseudonyms(Sighting(crops.expand(12, -1, -1, -1)), torch.arange(12))
    assert sorted(chosen.tolist()) == list(range(5, 17))


@pytest.mark.parametrize("sex", [-3.0, 3.0])
@pytest.mark.parametrize("years", [4.0, 30.0, 70.0])
def test_nobody_becomes_somebody_of_the_other_sex_or_another_age(sex: float, years: float) -> None:
    """Whatever their latents say of it: of a dozen faces that are noise, the classifier knows."""
    shipped = load_face_model("linear-refined")
    assert isinstance(shipped, LinearRefined)
    torch.manual_seed(0)
    crops = shipped.decode(0.5 * torch.randn(12, 1, shipped.config.components)[:, 0]).repeat_interleave(2, 2)
    each = torch.ones(12)
    person = Sighting(crops.repeat_interleave(2, 3), attributes=Attributes(sex * each, years * each, 0 * each))
    chosen = shipped.pseudonyms(person, torch.arange(12))
    female, old = shipped.stranger_attributes[chosen, :2].T
    usual = YEARS[0] * torch.log(torch.tensor(years + 5)) + YEARS[1]
    assert ((female > 0) == (sex < 0)).float().mean() > 0.9
    assert (old - usual).abs().median() < 1.5
    assert (old - usual).abs().max() < 2.0


def test_shape_and_embedding_count_in_who_is_like_whom(model: LinearRefined) -> None:
    """Of strangers that appearance cannot tell apart, those of a like shape, or a like embedding, are not taken."""
    model.strangers.zero_()
    model.shape.read.normal_()
    model.shape.mean.normal_()
    model.shape.recognition.normal_()
    mesh = torch.randn(1, 468, 3)
    own = model.shape.coordinates(mesh)[0] @ model.shape.recognition
    model.shape.strangers.copy_(torch.randn(400, len(model.shape.read)))
    crops = crops_of(model, torch.zeros(1, 20))
    by_shape = model.pseudonyms(Sighting(crops, mesh), torch.arange(1))
    assert torch.cosine_similarity(model.shape.strangers[by_shape] @ model.shape.recognition, own[None]) < 0
    model.shape.recognition.zero_()
    embedding = torch.nn.functional.normalize(torch.randn(1, 5), dim=1)
    model.stranger_embeddings.copy_(torch.nn.functional.normalize(torch.randn(400, 5), dim=1))
    by_embedding = model.pseudonyms(Sighting(crops, mesh, embedding), torch.arange(1))
    assert (model.stranger_embeddings[by_embedding] @ embedding.T).item() < -0.5


def test_a_release_leads_to_the_stranger_in_its_direction(model: LinearRefined) -> None:
    wanted = torch.tensor([7, 31])
    coordinates = 20 * model.strangers[wanted] @ model.identity.T
    assert model.nearest_strangers(coordinates).tolist() == wanted.tolist()


def test_a_face_does_not_depend_on_the_others_of_its_batch(model: LinearRefined) -> None:
    crops, chosen = crops_of(model, torch.randn(PEOPLE, 20)), torch.arange(PEOPLE)
    together = model.generate(model.encode(crops, beta(0.0), chosen))
    alone = model.generate(model.encode(crops[2:3], beta(0.0)[:1], chosen[2:3]))
    torch.testing.assert_close(together[2:3], alone, atol=1e-4, rtol=1e-4)


def test_an_untrained_refiner_only_enlarges(model: LinearRefined) -> None:
    latents = 0.1 * torch.randn(PEOPLE, 20)
    made = model.generate(latents[:, None])
    small = torch.nn.functional.avg_pool2d(made, 2)
    torch.testing.assert_close(small[..., 2:-2, 2:-2], model.decode(latents)[..., 2:-2, 2:-2], atol=0.2, rtol=0)


def test_a_saved_model_draws_the_same_faces(model: LinearRefined, tmp_path: Path) -> None:
    model.save(tmp_path / "a.safetensors")
    again = load_face_model(tmp_path / "a.safetensors").eval()
    latents = torch.randn(2, 1, 20)
    torch.testing.assert_close(again.generate(latents), model.generate(latents))


def test_the_weights_we_ship_keep_identity_out_of_the_other_coordinates() -> None:
    shipped = load_face_model("linear-refined")
    assert isinstance(shipped, LinearRefined)
    directions = shipped.identity
    torch.testing.assert_close(directions @ directions.T, torch.eye(len(directions)), atol=1e-3, rtol=0)
    assert shipped.template.kind == "mesh"


def test_on_the_cpu_opencv_draws_what_torch_does():
    model = load_face_model("linear-refined")
    latents = model.strangers[:3, None] + torch.randn(3, 1, model.config.components)
    with torch.inference_mode():
        drawn = model.generate(latents)  # (3, 3, S, S)
        fast = prepare(model, "cpu").generate(latents)
    assert not torch.equal(fast, drawn), "it is torch that draws"
    torch.testing.assert_close(fast, drawn, atol=0.1 / 127.5, rtol=0.0)  # a tenth of a grey level


def test_what_opencv_drew_stays_when_it_draws_again_and_in_other_threads():
    model = prepare(load_face_model("linear-refined"), "cpu")
    latents = model.strangers[:8, None].split(1)
    alone = [model.generate(one) for one in latents]
    with ThreadPoolExecutor(4) as threads:
        at_once = list(threads.map(model.generate, latents))
    assert torch.equal(torch.cat(at_once), torch.cat(alone))
    assert len({made.sum().item() for made in alone}) == 8


def test_what_is_to_be_learnt_through_passes_torch():
    model = prepare(load_face_model("linear-refined"), "cpu")
    latents = model.strangers[:1, None].clone().requires_grad_()
    model.generate(latents).sum().backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0


def test_latents_near_others_need_no_refiner_and_those_far_away_do() -> None:
    refined = load_face_model("linear-refined")
    assert isinstance(refined, LinearRefined)
    own = refined.strangers[:8]
    steps = torch.nn.functional.normalize(torch.randn(own.shape, generator=torch.Generator().manual_seed(2)), dim=1)
    first, second = own[:, None], (own + 0.95 * NEAR * steps)[:, None]
    made, true = refined.generate(first), refined.generate(second)
    told = torch.stack(
        [one for row in range(8) if (one := refined.carried(made[row], first[row], second[row])) is not None]
    )
    assert (told - true).abs().mean() < 1 / 127.5  # a grey level
    assert (told - true).abs().mean() < 0.4 * (made - true).abs().mean()
    assert refined.carried(made[0], first[0], first[0] + 1.05 * NEAR * steps[0]) is None
    assert refined.carried(made[0], first[0], first[0] * torch.nan) is None
