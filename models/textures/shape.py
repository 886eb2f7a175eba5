"""Whose face it is by its geometry: a stranger's features in the person's outline, in their pose and expression.

Points are compared after the similarity in space that carries an outline onto the mean of many. Of the person only this
reaches the new mesh: that similarity, the outline, coordinates along a few directions that hold what faces do, and how
far lids and lips are apart and bent. All else is a stranger's. Features are carried into the outline as a whole, so
that jaw and hairline stay where they are. Knows nothing of pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.face_mesh import FACE_OVAL
from models.face_shape import MESH_POINTS, pose_of

# fmt: off
EYES = (  # corners; upper and lower lid, and the fold beyond each: image-left eye, then the other
    ((33, 133), (246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155),
     (247, 30, 29, 27, 28, 56, 190), (25, 110, 24, 23, 22, 26, 112)),
    ((362, 263), (398, 384, 385, 386, 387, 388, 466), (382, 381, 380, 374, 373, 390, 249),
     (414, 286, 258, 257, 259, 260, 467), (341, 256, 252, 253, 254, 339, 255)))
CORNERS = ((78, 62, 76, 61), (308, 292, 306, 291))  # of the mouth, from within
BESIDE = (57, 287)  # the skin at its corners
UPPER_LIP = ((191, 80, 81, 82, 13, 312, 311, 310, 415), (183, 42, 41, 38, 12, 268, 271, 272, 407),
             (184, 74, 73, 72, 11, 302, 303, 304, 408), (185, 40, 39, 37, 0, 267, 269, 270, 409),
             (186, 92, 165, 167, 164, 393, 391, 322, 410))  # from within, and the skin above
LOWER_LIP = ((95, 88, 178, 87, 14, 317, 402, 318, 324), (96, 89, 179, 86, 15, 316, 403, 319, 325),
             (77, 90, 180, 85, 16, 315, 404, 320, 307), (146, 91, 181, 84, 17, 314, 405, 321, 375),
             (43, 106, 182, 83, 18, 313, 406, 335, 273))
LIP_SHARES = (1.0, 1.0, 1.0, 1.0, 0.8)  # of the move of the lips that each makes
OUTLINE_SPANS = ((10, 152), (172, 397), (54, 284))  # height, jaw, forehead: over the width
# fmt: on
WIDTH = (234, 454)
LID_PROFILE = (0.45, 0.75, 0.94, 1.0, 0.94, 0.75, 0.45)  # how far lids are apart from corner to corner
BEND_BELOW = 0.3  # of a change of the mouth's bend that its middle makes, and its corners the rest
UPPER_SHARE = 0.8  # of a lid's move that the upper one makes
FOLD_SHARE = 0.45  # of the move of a lid that the fold beyond it makes


class StrangerShape(nn.Module):
    """Where expression lies in a mesh, and the features of strangers.

    Args:
        expressions: e, directions of what faces do.
        directions: k, directions in which features differ.
        strangers: B, shapes to choose from.
    """

    mean: Tensor  # (468, 3), of length 1 about the origin
    inward: Tensor  # (468, 36): how much each point goes along with each of the outline, 1 together
    expression: Tensor  # (e, 1404) orthonormal, of features
    features: Tensor  # (k, 1404) orthogonal to `expression`: what a standard deviation moves
    strangers: Tensor  # (B, k)
    _oval: Tensor  # (36,)
    outlines: Tensor  # (B, 3): `outline_spans` of those a stranger is made of

    def __init__(self, expressions: int, directions: int, strangers: int) -> None:
        super().__init__()
        values = 3 * MESH_POINTS
        shapes: dict[str, tuple[int, ...]] = {
            "mean": (MESH_POINTS, 3),
            "inward": (MESH_POINTS, len(FACE_OVAL)),
            "expression": (expressions, values),
            "features": (directions, values),
            "strangers": (strangers, directions),
            "outlines": (strangers, len(OUTLINE_SPANS)),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("_oval", torch.tensor(FACE_OVAL), persistent=False)
        self.opening = Opening()

    def coordinates(self, meshes: Tensor) -> Tensor:
        """Return where the features of `meshes` `(N, 468, 3)` lie among those of people, `(N, k)`, of unit variance."""
        aligned, _ = self.aligned(meshes)
        length = self.features.square().sum(dim=1).clamp(min=1e-12)
        found: Tensor = self.inner(aligned) @ (self.features / length[:, None]).T
        return found

    def expressions(self, meshes: Tensor) -> Tensor:
        """Return what the faces of `meshes` `(N, 468, 3)` do, `(N, e)`: coordinates along `expression`."""
        found: Tensor = self.inner(self.aligned(meshes)[0]) @ self.expression.T
        return found

    def forward(self, meshes: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        """Return `(N, 468, 3)` meshes with a stranger's features at beta 0 and their own at beta 1.

        Args:
            meshes: `(N, 468, 3)`, in any unit.
            beta: `(N,)` in [0, 1].
            pseudonyms: `(N,)` int64 below B.
        """
        aligned, (rotation, scale) = self.aligned(meshes)
        plain = self.inward @ aligned[:, self._oval] + self._mean_features  # features of nobody in that outline
        doing = (aligned - plain).flatten(1) @ self.expression.T @ self.expression
        features = (doing + self.strangers[pseudonyms] @ self.features).view(-1, MESH_POINTS, 3)
        new = self.opening(plain + features, aligned)
        moves: Tensor = (1 - beta)[:, None, None] * (new - aligned) / scale
        return meshes + moves @ rotation.mT

    def aligned(self, meshes: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return `meshes` `(N, 468, 3)`, their outlines carried onto the mean's; and the rotations and scales."""
        outline = self.mean[self._oval]
        middle = outline.mean(dim=0)
        centre, rotation, scale = pose_of(meshes[:, self._oval], outline - middle)
        return (meshes - centre) @ rotation * scale + middle, (rotation, scale)

    def inner(self, aligned: Tensor) -> Tensor:
        """Return how the features of aligned meshes lie in their outline, less the mean's, `(N, 1404)`."""
        inner: Tensor = aligned - self.inward @ aligned[:, self._oval] - self._mean_features
        return inner.flatten(1)

    @property
    def _mean_features(self) -> Tensor:
        return self.mean - self.inward @ self.mean[self._oval]


def outline_spans(aligned: Tensor) -> Tensor:
    """Return height, width of the jaw and of the forehead of aligned meshes over the face's width, `(N, 3)`."""
    spans = torch.stack([(aligned[:, a] - aligned[:, b]).norm(dim=1) for a, b in (*OUTLINE_SPANS, WIDTH)], dim=1)
    return spans[:, :-1] / spans[:, -1:]


class Opening(nn.Module):
    """How far lips and lids are apart and how the mouth is bent: read in one mesh, and made so in another."""

    lips: Tensor  # (9, 468): the move down of each point where a pair of lips is to be one farther apart
    bent: Tensor  # (468,): where the mouth's middle is to lie one lower, against its corners
    lids: Tensor  # (14, 468): where a pair of lids is to be one farther apart
    _profile: Tensor  # (14,)
    _upper: Tensor  # (23,)
    _lower: Tensor  # (23,)
    _ends: Tensor  # (2, 3)

    def __init__(self) -> None:
        super().__init__()
        lips, bent, lids = torch.zeros(9, MESH_POINTS), torch.zeros(MESH_POINTS), torch.zeros(14, MESH_POINTS)
        pairs, place = torch.arange(9), torch.linspace(-0.8, 0.8, 9)
        for above, below, share in zip(UPPER_LIP, LOWER_LIP, LIP_SHARES, strict=True):
            lips[pairs, list(above)], lips[pairs, list(below)] = -share / 2, share / 2
            bent[list(above + below)] = share * (BEND_BELOW - place.square()).repeat(2)
        for corner, beside in zip(CORNERS, BESIDE, strict=True):
            bent[list(corner)], bent[beside] = BEND_BELOW - 1, LIP_SHARES[-1] * (BEND_BELOW - 1)
        for eye, (_, upper, lower, fold, under) in enumerate(EYES):
            pair = torch.arange(7) + 7 * eye
            lids[pair, list(upper)], lids[pair, list(lower)] = -UPPER_SHARE, 1 - UPPER_SHARE
            lids[pair, list(fold)], lids[pair, list(under)] = -FOLD_SHARE * UPPER_SHARE, FOLD_SHARE * (1 - UPPER_SHARE)
        constants = {
            "lips": lips,
            "bent": bent,
            "lids": lids,
            "_profile": torch.tensor(LID_PROFILE * 2),
            "_upper": torch.tensor([*UPPER_LIP[0], *EYES[0][1], *EYES[1][1]]),
            "_lower": torch.tensor([*LOWER_LIP[0], *EYES[0][2], *EYES[1][2]]),
            "_ends": torch.tensor([(CORNERS[0][0], CORNERS[1][0]), EYES[0][0], EYES[1][0]]).T,
        }
        for name, value in constants.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, new: Tensor, own: Tensor) -> Tensor:
        """Return the aligned meshes `new` with mouth and eyes as open as in `own`, over their widths."""
        gaps, widths, bend = self._read(new)
        own_gaps, own_widths, own_bend = self._read(own)
        times = widths / own_widths  # (N, 3)
        lips = own_gaps[:, :9] * times[:, :1] - gaps[:, :9]
        middles = own_gaps[:, 9:].reshape(-1, 2, 7)[:, :, 2:5]
        opening = middles.sum(dim=2) / sum(LID_PROFILE[2:5]) * times[:, 1:]
        lids = opening.repeat_interleave(7, dim=1) * self._profile - gaps[:, 9:]
        bent = own_bend * times[:, 0] - bend
        down = lips @ self.lips + lids @ self.lids + bent[:, None] * self.bent  # (N, 468)
        opened: Tensor = new + down[..., None] * new.new_tensor([0.0, 1.0, 0.0])
        return opened

    def _read(self, meshes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return how far lips and lids are apart `(N, 23)`, the widths of mouth and eyes `(N, 3)`, the bend `(N,)`."""
        heights = meshes[..., 1]
        ends = meshes[:, self._ends]  # (N, 2, 3, 3)
        widths = (ends[:, 0] - ends[:, 1]).norm(dim=2).clamp(min=1e-6)
        upper, lower = heights[:, self._upper], heights[:, self._lower]
        bend = (upper[:, 4] + lower[:, 4]) / 2 - ends[:, :, 0, 1].mean(dim=1)
        return lower - upper, widths, bend
