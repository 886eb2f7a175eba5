"""Fit `StrangerShape` in closed form: what faces do, how features differ, and those of strangers."""

from __future__ import annotations

import torch
from torch import Tensor

from models.face_mesh import FACE_OVAL
from models.face_shape import MESH_POINTS
from models.textures.shape import StrangerShape

ALIGNMENTS = 4  # rounds in which mean and poses are found in turn; the third changes nothing visible
COMPONENTS = 80  # of the features: 99 % of their variance
BETWEEN = 1.0  # price of what differs between people, over what the same person does


def fit_expression(shape: StrangerShape, meshes: Tensor, people: Tensor, *, template: Tensor) -> None:
    """Find mean, inward and expression of `shape`, in place.

    Directions are those in which pictures of one person differ most, less `BETWEEN` times what people differ by.

    Args:
        shape: Changed.
        meshes: `(N, 468, 3)`, in any unit.
        people: `(N,)` int64: who each is of; -1 where nobody else is the same.
        template: `(468, 2)`.
    """
    mirror = mirrored(template)
    shape.inward.copy_(mean_value_coordinates(template, template[list(FACE_OVAL)]))
    shape.mean.copy_(_unit(meshes[0]))
    for _ in range(ALIGNMENTS):
        middle = shape.aligned(meshes)[0].mean(dim=0)
        shape.mean.copy_(_unit(middle + _flip(middle[None], mirror)[0]))  # as its mirror image
    inner = shape.inner(shape.aligned(meshes)[0])
    groups = [inner[people == person] for person in range(int(people.max()) + 1)]
    doing = torch.cat([(group - group.mean(dim=0)) * (len(group) / (len(group) - 1)) ** 0.5 for group in groups])
    both, within = (torch.cat([x, _flip(x.view(-1, MESH_POINTS, 3), mirror).flatten(1)]) for x in (inner, doing))
    basis = torch.pca_lowrank(both, q=COMPONENTS + 10, center=False, niter=4)[2][:, :COMPONENTS]
    total, doing_scatter = (x.T @ x / len(x) for x in (both @ basis, within @ basis))
    directions = torch.linalg.eigh(doing_scatter - BETWEEN * (total - doing_scatter)).eigenvectors.flip(1)
    shape.expression.copy_((basis @ directions[:, : len(shape.expression)]).T)


def fit_features(shape: StrangerShape, meshes: Tensor) -> Tensor:
    """Find the features of `shape`, in place; return the coordinates of the faces, `(N, k)`.

    Args:
        shape: With mean, inward and expression.
        meshes: `(N, 468, 3)`, in any unit.
    """
    inner = shape.inner(shape.aligned(meshes)[0])
    lasting = inner - inner @ shape.expression.T @ shape.expression
    count = len(shape.features)
    _, singular, basis = torch.pca_lowrank(lasting, q=count + 10, center=False, niter=4)
    shape.features.copy_((basis * singular / len(lasting) ** 0.5)[:, :count].T)
    return shape.coordinates(meshes)


def mean_value_coordinates(points: Tensor, polygon: Tensor) -> Tensor:
    """Return the weights `(N, K)` of a polygon's corners `(K, 2)` at each of the points in it `(N, 2)`.

    Smooth, and exact for what is linear (Floater 2003, Mean value coordinates, eq. 2.4); a corner's are its own alone.
    """
    points, polygon = points.double(), polygon.double()
    to = polygon[None] - points[:, None]  # (N, K, 2)
    following = to.roll(-1, 1)
    angle = torch.atan2(to[..., 0] * following[..., 1] - to[..., 1] * following[..., 0], (to * following).sum(dim=2))
    half = torch.tan(angle / 2)
    distance = to.norm(dim=2)
    weights = (half + half.roll(1, 1)) / distance.clamp(min=1e-9)
    corner = distance < 1e-6
    weights = torch.where(corner.any(dim=1, keepdim=True), corner.double(), weights)
    return (weights / weights.sum(dim=1, keepdim=True)).float()


def mirrored(template: Tensor) -> Tensor:
    """Return which point of the template is the mirror image of each, `(468,)` int64."""
    image = torch.stack([1 - template[:, 0], template[:, 1]], dim=1)
    return torch.cdist(image, template).argmin(dim=1)


def _flip(meshes: Tensor, mirror: Tensor) -> Tensor:
    return meshes[:, mirror] * meshes.new_tensor([-1.0, 1.0, 1.0])


def _unit(mesh: Tensor) -> Tensor:
    centred = mesh - mesh.mean(dim=0)
    unit: Tensor = centred / centred.norm()
    return unit
