"""Who somebody is by the geometry of their face: 468 mesh points in, those of a stranger out, pose and expression kept.

Points are compared after the similarity in space that carries a mesh onto the mean of many (Umeyama 1991), so that
turn, size and place are out of it. A few directions of what is left carry identity and neither posture nor expression;
a face's coordinates along them are replaced by a stranger's. Knows nothing of pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MESH_POINTS = 468


class FaceShape(nn.Module):
    """Where identity lies in a mesh, and the shapes of strangers; with no directions it changes nothing.

    Args:
        directions: k, how many carry identity.
        strangers: B, shapes to choose from.
        embedding: E, values of the recogniser's embedding that is foretold.
    """

    mean: Tensor  # (468, 3), of length 1 about the origin
    read: Tensor  # (k, 1404): an aligned mesh less the mean to coordinates of unit variance
    write: Tensor  # (k, 1404): coordinates to what they move in an aligned mesh
    freedom: Tensor  # (468,) in [0, 1]: how much of a move each point makes
    strangers: Tensor  # (B, k)
    recognition: Tensor  # (k, E)

    def __init__(self, directions: int, strangers: int, embedding: int) -> None:
        super().__init__()
        values = 3 * MESH_POINTS
        shapes: dict[str, tuple[int, ...]] = {
            "mean": (MESH_POINTS, 3),
            "read": (directions, values),
            "write": (directions, values),
            "freedom": (MESH_POINTS,),
            "strangers": (strangers, directions),
            "recognition": (directions, embedding),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    def coordinates(self, meshes: Tensor) -> Tensor:
        """Return the identity coordinates `(N, k)` of `meshes` `(N, 468, 3)`, in any unit."""
        return self._read(meshes, *pose_of(meshes, self.mean))

    def forward(self, meshes: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        """Return `(N, 468, 3)` meshes with a stranger's coordinates at beta 0 and their own at beta 1.

        The outline moves less than what it encloses (`freedom`): hair and neck around it stay where they are.

        Args:
            meshes: `(N, 468, 3)`, in any unit.
            beta: `(N,)` in [0, 1].
            pseudonyms: `(N,)` int64 below B.
        """
        return self.moved(meshes, (1 - beta)[:, None] * (self.strangers[pseudonyms] - self.coordinates(meshes)))

    def moved(self, meshes: Tensor, change: Tensor) -> Tensor:
        """Return `(N, 468, 3)` meshes whose coordinates differ by `change` `(N, k)`, the outline's by less."""
        _, rotation, scale = pose_of(meshes, self.mean)
        moves = (change @ self.write).view(-1, MESH_POINTS, 3) * self.freedom[:, None]
        return meshes + moves / scale @ rotation.mT

    def _read(self, meshes: Tensor, centre: Tensor, rotation: Tensor, scale: Tensor) -> Tensor:
        aligned = (meshes - centre) @ rotation * scale
        return (aligned - self.mean).flatten(1) @ self.read.T


def pose_of(meshes: Tensor, mean: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return centre `(N, 1, 3)`, rotation `(N, 3, 3)` and scale `(N, 1, 1)` that carry meshes nearest to `mean`.

        argmin ||s (x - c) R - mean||^2   (Umeyama 1991, eq. 39 to 42)

    Args:
        meshes: `(N, 468, 3)`.
        mean: `(468, 3)` about the origin.
    """
    centre = meshes.mean(dim=1, keepdim=True)
    centred = meshes - centre
    u, singular, vt = torch.linalg.svd(centred.mT @ mean)  # (N, 3, 3), (N, 3), (N, 3, 3)
    sign = torch.ones_like(singular)
    sign[:, 2] = torch.linalg.det(u @ vt).sign()  # a turn, not a mirror image
    rotation = u * sign[:, None] @ vt
    scale = (singular * sign).sum(dim=1) / centred.square().sum(dim=(1, 2)).clamp(min=1e-12)
    return centre, rotation, scale[:, None, None]
