"""A stranger's features in the person's outline: of the person pose, outline and expression pass, and nothing else."""

import math

import pytest
import torch
from torch import Tensor

from models.face_mesh import FACE_OVAL, NOSE_TIP
from models.face_shape import MESH_POINTS
from models.registry import load_face_model
from models.textures import Textures
from models.textures.fit_shapes import fit_expression, fit_features, mean_value_coordinates, mirrored
from models.textures.shape import LOWER_LIP, UPPER_LIP, StrangerShape

ZERO = torch.zeros(1)
INNER = [n for n in range(MESH_POINTS) if n not in FACE_OVAL]


@pytest.fixture(scope="module")
def template() -> Tensor:
    return torch.tensor(load_face_model("textures").template.points)


@pytest.fixture(scope="module")
def shape() -> StrangerShape:
    model = load_face_model("textures")
    assert isinstance(model, Textures)
    return model.shape


def turned(mesh: Tensor, degrees: float = 25.0) -> Tensor:
    """Return a mesh turned about the vertical, three times as large, and elsewhere."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return 300 * mesh @ torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]]) + torch.tensor([5.0, -2.0, 1.0])


def drawn(shape: StrangerShape, mesh: Tensor, stranger: int = 7, beta: float = 0.0) -> Tensor:
    reshaped: Tensor = shape(mesh[None], ZERO + beta, torch.tensor([stranger]))[0]
    return reshaped


def test_weights_of_a_polygon_give_back_what_is_linear(template: Tensor) -> None:
    oval = template[list(FACE_OVAL)]
    weights = mean_value_coordinates(template, oval)
    torch.testing.assert_close(weights @ oval, template, atol=1e-5, rtol=0)
    torch.testing.assert_close(weights[list(FACE_OVAL)], torch.eye(36))


def test_jaw_and_hairline_stay_to_the_pixel_whoever_is_drawn(shape: StrangerShape) -> None:
    mesh = turned(shape.mean)
    for stranger in range(0, len(shape.strangers), 300):
        moved = (drawn(shape, mesh, stranger) - mesh).norm(dim=1)
        assert moved[list(FACE_OVAL)].max() < 1e-3
        assert moved[INNER].mean() > 0.1  # of a face 28 high


def test_at_beta_one_the_mesh_is_the_person_s(shape: StrangerShape) -> None:
    mesh = turned(shape.mean + 0.002 * torch.randn(MESH_POINTS, 3, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(drawn(shape, mesh, beta=1.0), mesh)


def test_the_new_face_turns_with_the_head(shape: StrangerShape) -> None:
    torch.testing.assert_close(drawn(shape, turned(shape.mean)), turned(drawn(shape, shape.mean)), atol=2e-3, rtol=1e-3)


def test_of_features_nothing_passes_but_what_faces_do(shape: StrangerShape) -> None:
    """Two people with other noses, brows and cheeks in one outline: drawn as one stranger, they are one."""
    chance = torch.randn(2, len(shape.features), generator=torch.Generator().manual_seed(1))
    people = shape.mean + (chance @ shape.features).view(2, MESH_POINTS, 3)
    apart = (people[0] - people[1]).norm(dim=1).mean()
    new = shape(people, torch.zeros(2), torch.tensor([7, 7]))
    assert (new[0] - new[1]).norm(dim=1).mean() < 0.15 * apart  # how far lids and lips are apart, and the similarity


def test_what_a_face_does_moves_the_stranger_as_much(shape: StrangerShape) -> None:
    for direction in shape.expression:
        doing = 0.03 * direction.view(MESH_POINTS, 3)
        moved = drawn(shape, shape.mean + doing) - drawn(shape, shape.mean)
        assert float((moved * doing).sum() / doing.square().sum()) == pytest.approx(1.0, abs=0.25)


def test_lips_are_as_far_apart_as_the_person_s(shape: StrangerShape) -> None:
    upper, lower = list(UPPER_LIP[0]), list(LOWER_LIP[0])
    shut, open_ = shape.mean.clone(), shape.mean.clone()
    shut[lower] = shut[upper] = (shape.mean[upper] + shape.mean[lower]) / 2
    open_[lower, 1] += 0.01
    for stranger in range(0, len(shape.strangers), 300):
        new = drawn(shape, shut, stranger)
        assert (new[lower, 1] - new[upper, 1]).abs().max() < 1e-3
        new = drawn(shape, open_, stranger)
        assert (new[lower, 1] - new[upper, 1]).min() > 0.005


def test_the_mouth_smiles_as_much_as_the_person_s(shape: StrangerShape) -> None:
    def bend(mesh: Tensor) -> float:
        below = mesh[[13, 14], 1].mean() - mesh[[78, 308], 1].mean()
        return float(below / (mesh[78] - mesh[308]).norm())

    for rise in (-0.004, 0.0, 0.008):
        mesh = shape.mean.clone()
        mesh[[78, 62, 76, 61, 308, 292, 306, 291], 1] -= rise
        for stranger in range(0, len(shape.strangers), 300):
            assert bend(drawn(shape, mesh, stranger)) == pytest.approx(bend(mesh), abs=1e-3)


def test_closed_eyes_are_closed(shape: StrangerShape) -> None:
    shut = shape.mean.clone()
    for upper, lower in ((159, 145), (160, 144), (158, 153), (386, 374), (385, 380), (387, 373)):
        shut[upper] = shut[lower]
    new = shape.opening(shape.mean[None], shut[None])[0]
    assert (new[145, 1] - new[159, 1]).abs() < 1e-4
    assert (new[374, 1] - new[386, 1]).abs() < 1e-4


def test_no_stranger_folds_a_face(shape: StrangerShape, template: Tensor) -> None:
    """Facing the camera, what lies left of a point stays left of it: of four neighbours across the face."""
    order = [234, 116, 118, 6, 347, 345, 454], [10, 151, 9, 168, 6, 197, 4, 2, 0, 17, 18, 200, 152]
    for stranger in range(0, len(shape.strangers), 20):
        new = drawn(shape, shape.mean, stranger)
        assert (new[order[0], 0].diff() > 0).all()
        assert (new[order[1], 1].diff() > 0).all()


def test_the_fit_tells_what_faces_do_from_how_they_differ(template: Tensor) -> None:
    chance = torch.Generator().manual_seed(0)
    mean = torch.cat([template, 0.2 * torch.rand(MESH_POINTS, 1, generator=chance)], dim=1)
    mean = mean - mean.mean(dim=0)
    mean[:, 2] = (mean[:, 2] + mean[mirrored(template), 2]) / 2
    ways = torch.zeros(2, MESH_POINTS, 3)
    ways[0, [13, 82, 312], 1] = 1.0  # both the same on either side
    ways[1, [NOSE_TIP, 4, 5], 2] = 1.0
    who, doing = torch.randn(60, generator=chance), torch.randn(240, generator=chance)
    people = torch.arange(60).repeat(4)
    noise = 1e-4 * torch.randn(240, MESH_POINTS, 3, generator=chance)
    meshes = mean + 0.02 * (doing[:, None, None] * ways[0] + who[people][:, None, None] * ways[1]) + noise
    shape = StrangerShape(1, 1, 1)
    fit_expression(shape, meshes, people, template=template)
    found = fit_features(shape, meshes)[:, 0]
    told = shape.inner(shape.aligned(meshes)[0]) @ shape.expression[0]
    assert abs(torch.corrcoef(torch.stack([told, doing]))[0, 1]) > 0.98
    assert abs(torch.corrcoef(torch.stack([found, who[people]]))[0, 1]) > 0.98
    assert found.std() == pytest.approx(1.0, abs=0.05)
