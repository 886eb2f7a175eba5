"""Identity in the mesh: a stranger's coordinates in, pose and everything else kept."""

import math

import pytest
import torch
from torch import Tensor

from models.face_mesh import FACE_OVAL, NOSE_TIP
from models.face_shape import MESH_POINTS, FaceShape, pose_of
from models.registry import load_face_model
from models.training.fits.fit_shape import OUTLINE_FREEDOM, fit_shape, freedom

K, B = 3, 5
ZERO, ONE = torch.zeros(1), torch.ones(1)


def motions(mesh: Tensor) -> Tensor:
    """Return the 7 ways a similarity can move `mesh`, `(7, 1404)`: shifts, turns, growth."""
    turns = [torch.linalg.cross(axis.expand_as(mesh), mesh) for axis in torch.eye(3)]
    shifts = [axis.expand_as(mesh) for axis in torch.eye(3)]
    return torch.stack([*shifts, *turns, mesh]).flatten(1)


@pytest.fixture
def shape() -> FaceShape:
    torch.manual_seed(1)
    made = FaceShape(K, B, 4)
    mean = torch.randn(MESH_POINTS, 3)
    mean = mean - mean.mean(dim=0)
    made.mean.copy_(mean / mean.norm())
    known = motions(made.mean)
    basis = torch.linalg.qr(torch.cat([known, torch.randn(K, 3 * MESH_POINTS)]).T).Q[:, 7:].T
    made.read.copy_(basis / 0.01)
    made.write.copy_(basis * 0.01)
    made.freedom.fill_(1.0)
    made.strangers.normal_()
    return made


def turned(mesh: Tensor, degrees: float = 25.0) -> Tensor:
    """Return a mesh turned about the vertical, three times as large, and elsewhere."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return 3 * mesh @ torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]]) + torch.tensor([5.0, -2.0, 1.0])


def test_pose_is_found_exactly(shape: FaceShape) -> None:
    centre, rotation, scale = pose_of(turned(shape.mean)[None], shape.mean)
    torch.testing.assert_close((turned(shape.mean)[None] - centre) @ rotation * scale, shape.mean[None])
    assert torch.linalg.det(rotation[0]).item() == pytest.approx(1.0, abs=1e-5)
    assert scale.item() == pytest.approx(1 / 3, rel=1e-5)


def test_coordinates_do_not_depend_on_turn_size_and_place(shape: FaceShape) -> None:
    mesh = shape.mean + (torch.randn(K) @ shape.write).view(-1, 3)
    torch.testing.assert_close(
        shape.coordinates(turned(mesh)[None]), shape.coordinates(mesh[None]), atol=1e-3, rtol=1e-3
    )


def test_coordinates_are_read_as_they_were_written(shape: FaceShape) -> None:
    own = torch.tensor([[0.5, -1.0, 2.0]])
    mesh = shape.mean + (own @ shape.write).view(-1, 3)
    torch.testing.assert_close(shape.coordinates(mesh[None]), own, atol=0.01, rtol=0.01)


def test_at_beta_zero_people_who_differ_in_identity_alone_get_one_shape(shape: FaceShape) -> None:
    people = shape.mean + (torch.randn(2, K) @ shape.write).view(2, -1, 3)
    one, other = shape(people, torch.zeros(2), torch.tensor([2, 2]))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    torch.testing.assert_close(shape.coordinates(one[None]), shape.strangers[2:3], atol=0.02, rtol=0.02)


def test_at_beta_one_the_mesh_is_the_person_s(shape: FaceShape) -> None:
    mesh = turned(shape.mean + (torch.randn(K) @ shape.write).view(-1, 3))[None]
    torch.testing.assert_close(shape(mesh, ONE, torch.tensor([1])), mesh)


def test_the_new_face_turns_with_the_head(shape: FaceShape) -> None:
    mesh = shape.mean + (torch.randn(K) @ shape.write).view(-1, 3)
    still, moved = (shape(each[None], ZERO, torch.tensor([3]))[0] for each in (mesh, turned(mesh)))
    torch.testing.assert_close(moved, turned(still), atol=1e-4, rtol=1e-4)


def test_an_expression_passes_whoever_the_person_becomes(shape: FaceShape) -> None:
    """What is orthogonal to identity and to all similarities moves the new face as it moved the person's."""
    known = torch.cat([motions(shape.mean), shape.write])
    smile = torch.linalg.qr(torch.cat([known, torch.randn(1, 3 * MESH_POINTS)]).T).Q[:, -1].view(-1, 3) * 0.01
    calm, smiling = (shape((shape.mean + each)[None], ZERO, torch.tensor([0])) for each in (0 * smile, smile))
    torch.testing.assert_close((smiling - calm)[0], smile, atol=1e-4, rtol=0)


def test_the_outline_moves_less_than_the_features() -> None:
    template = torch.tensor(load_face_model("linear-refined").template.points)
    free = freedom(template)
    torch.testing.assert_close(free[list(FACE_OVAL)], torch.full((36,), OUTLINE_FREEDOM))
    assert free[NOSE_TIP] == 1
    assert ((free >= OUTLINE_FREEDOM) & (free <= 1)).all()


def test_the_fit_finds_what_tells_people_apart_and_not_their_posture() -> None:
    torch.manual_seed(0)
    template = torch.tensor(load_face_model("linear-refined").template.points)
    mean = torch.nn.functional.pad(template, (0, 1)) + torch.nn.functional.pad(0.2 * torch.rand(MESH_POINTS, 1), (2, 0))
    who, smile = torch.randn(2, 400, 1)
    ways = torch.linalg.qr(torch.cat([motions(mean - mean.mean(0)), torch.randn(2, 3 * MESH_POINTS)]).T).Q[:, 7:].T
    flat = 0.05 * (who @ ways[:1] + smile @ ways[1:]) + 1e-4 * torch.randn(400, 3 * MESH_POINTS)
    shape = FaceShape(1, B, 4)
    embeddings = who @ torch.randn(1, 4) + 0.5 * smile @ torch.randn(1, 4)  # posture leaks into embeddings too
    found = fit_shape(shape, mean + flat.view(400, -1, 3), template=template, residual=embeddings, posture=smile)
    assert abs(torch.corrcoef(torch.stack([found[:, 0], who[:, 0]]))[0, 1]) > 0.99
    assert abs(torch.corrcoef(torch.stack([found[:, 0], smile[:, 0]]))[0, 1]) < 0.1
    torch.testing.assert_close(shape.coordinates(mean + flat.view(400, -1, 3)), found, atol=0.01, rtol=0.01)
