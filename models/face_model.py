"""What every front end sees of a model: aligned crops in, latents between, aligned crops out.

Knows nothing of frames: how a crop is cut from one is in the model's `Template`, and left to the caller.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.checkpoint import Checkpoint, write_checkpoint
from models.face_mesh import IMAGE_LEFT_EYE, IMAGE_LEFT_MOUTH, IMAGE_RIGHT_EYE, IMAGE_RIGHT_MOUTH, NOSE_TIP

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_TEMPLATE_POINTS = {"similarity": 5, "mesh": 468}

AnyModule = TypeVar("AnyModule", bound=nn.Module)


@dataclass(frozen=True)
class Template:
    """Where the points of a face lie in a crop.

    Attributes:
        kind: "similarity": turn, scale and shift the frame so that five points come to lie nearest to theirs: eye
            centres, nose tip, mouth corners, image-left first. "mesh": move all 468 points of the face mesh onto
            theirs, and the triangles between with them.
        points: x, y of each point in the unit square; pixels are these times the crop's side.
        around: "kept": what lies around the face is in the crop. "filled": in a mesh crop, smooth colours of the face's
            edge stand in its place.
        light: "kept", or in a mesh crop "even": the coarse light of the frame is taken out.
    """

    kind: Literal["similarity", "mesh"]
    points: tuple[tuple[float, float], ...]
    around: Literal["kept", "filled"] = "kept"
    light: Literal["kept", "even"] = "kept"

    def __post_init__(self) -> None:
        expected = _TEMPLATE_POINTS.get(self.kind)
        if expected is None:
            raise ValueError(f"template kind must be one of {tuple(_TEMPLATE_POINTS)}, got {self.kind!r}")
        if len(self.points) != expected or any(len(point) != 2 for point in self.points):
            raise ValueError(f"a {self.kind} template needs {expected} points x, y, got {len(self.points)}")
        if not all(math.isfinite(value) for point in self.points for value in point):
            raise ValueError(f"the points of a {self.kind} template must be finite")
        if self.around not in ("kept", "filled") or self.light not in ("kept", "even"):
            raise ValueError(f"around must be kept or filled and light kept or even, got {self.around}, {self.light}")
        if self.kind != "mesh" and (self.around, self.light) != ("kept", "kept"):
            raise ValueError("only a mesh template tells what of a crop is face, to fill the rest or to even the light")

    @property
    def landmarks(self) -> npt.NDArray[np.float64]:
        """The `(5, 2)` eye centres, nose tip and mouth corners in the unit square, image-left first."""
        points = np.array(self.points, np.float64)
        if self.kind == "similarity":
            return points
        eyes = [points[list(eye)].mean(axis=0) for eye in (IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE)]
        return np.stack([*eyes, points[NOSE_TIP], points[IMAGE_LEFT_MOUTH], points[IMAGE_RIGHT_MOUTH]])

    def crop_points(self, crop_size: int) -> npt.NDArray[np.float32]:
        """Return the points in pixels of a crop, `(5 or 468, 2)` float32."""
        return np.array(self.points, np.float32) * np.float32(crop_size)


DEFAULT_TEMPLATE = Template(
    "similarity", ((0.365, 0.42), (0.635, 0.42), (0.501, 0.574), (0.39, 0.732), (0.6135, 0.731))
)


SURE_SEX = (0.4, 2.0)  # logits: below, either sex suits; from the second on, the other is out of the question
# As UTKFace's labels of race divide people; features of one go ill with the hair and head of another.
ANCESTRIES = ("european", "african", "east asian", "south asian")


@dataclass(frozen=True)
class Attributes:
    """What N people look like, as far as strangers should suit them.

    Attributes:
        sex: `(N,)` logit: above 0 male, below 0 female, near 0 uncertain.
        age: `(N,)` years.
        skin: `(N,)` individual typology angle, degrees: 55 and more very light, -30 and less dark.
        ancestry: `(N, 4)` probabilities of `ANCESTRIES`; None where nobody looked.
    """

    sex: Tensor
    age: Tensor
    skin: Tensor
    ancestry: Tensor | None = None

    def sureness(self) -> Tensor:
        """Return how sure the sex of each is, `(N,)` in [0, 1]."""
        low, high = SURE_SEX
        sure: Tensor = ((self.sex.abs() - low) / (high - low)).clamp(0, 1)
        return sure


@dataclass(frozen=True)
class Sighting:
    """What is known of N people when they are drawn for the first time.

    Attributes:
        crops: `(N, 3, S, S)` RGB in [-1, 1].
        meshes: `(N, 468, 3)` in pixels of the frame, where they are known.
        embeddings: `(N, E)` unit, of the recogniser that we ship, where there is one.
        attributes: Sex, age, skin tone and ancestry, where somebody looked.
        leniency: How little strangers may suit for being less like: 0 as a rule, 1 where all who suit are too like, 2
            where those are as well.
    """

    crops: Tensor
    meshes: Tensor | None = None
    embeddings: Tensor | None = None
    attributes: Attributes | None = None
    leniency: int = 0


class FaceModel(nn.Module, ABC):
    """A network that turns aligned crops of faces into crops of other people's.

    The latents in between are the caller's to smooth over time. A model holds no state of a stream.

    Args:
        config: A frozen dataclass of JSON values, tuples and dataclasses.
        template: How its crops are aligned.
    """

    kind: ClassVar[str]  # names the class in a checkpoint
    config: DataclassInstance
    template: Template

    def __init__(self, config: DataclassInstance, template: Template = DEFAULT_TEMPLATE) -> None:
        super().__init__()
        self.config = config
        self.template = template

    @property
    @abstractmethod
    def crop_size(self) -> int:
        """S, the side of a crop in pixels."""

    @abstractmethod
    def _encode(self, crops: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor: ...

    @abstractmethod
    def _generate(self, latents: Tensor) -> Tensor: ...

    @property
    def identity_size(self) -> int:
        """k, how many coordinates of unit variance tell who somebody is; 0 in a model without strangers."""
        return 0

    def identity_coordinates(self, sighting: Sighting) -> Tensor:
        """Return what `models.privacy` releases of each person, `(N, k)`.

        Args:
            sighting: Of N people.

        Raises:
            ValueError: If it lacks what the model reads identity from.
        """
        raise NotImplementedError(f"a {self.kind} model has no identity coordinates")

    def nearest_strangers(self, coordinates: Tensor) -> Tensor:
        """Return the strangers `(N,)` int64 whose identity coordinates are nearest to `(N, k)` released ones."""
        raise NotImplementedError(f"a {self.kind} model has no strangers")

    def pseudonyms(self, sighting: Sighting, seeds: Tensor) -> Tensor:
        """Return which stranger each person becomes, `(N,)` int64; all zeros from a model without strangers.

        Args:
            sighting: Of N people, or of one.
            seeds: `(N,)` non-negative int64, one per person and key.
        """
        return torch.zeros_like(seeds)

    def foretold(self, sighting: Sighting, pseudonyms: Tensor) -> Tensor | None:
        """Return a number for each of `(N,)` strangers, `(N,)`, greater for who will be more like a person once drawn.

        None where nothing tells.

        Args:
            sighting: Of one person.
            pseudonyms: `(N,)` int64.
        """
        return None

    def lookalikes(self, pseudonyms: Tensor) -> Tensor:
        """Return a number for each of `(N,)` strangers, `(N,)`, the same for those who look much alike."""
        return pseudonyms

    def reshape(self, meshes: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        """Return the meshes `(N, 468, 3)` to draw the new faces on; the same from a model that leaves shape alone.

        Args:
            meshes: `(N, 468, 3)` of the person, in any unit.
            beta, pseudonyms: As for `encode`.
        """
        return meshes

    def encode(self, crops: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        """Return latents `(N, L, D)` of faces that are no longer those in `crops`.

        Args:
            crops: `(N, 3, S, S)` RGB in [-1, 1].
            beta: `(N,)` in [0, 1], how like the person the new face may be (Private-Encoder, eq. 3); 0 is the most
                private.
            pseudonyms: `(N,)` int64 from `pseudonyms`: the same number, the same new person.

        Raises:
            ValueError: If a shape is wrong or beta leaves [0, 1].
        """
        self._check_crops(crops)
        count = len(crops)
        if beta.shape != (count,) or not ((beta >= 0) & (beta <= 1)).all():
            raise ValueError(f"beta must be ({count},) in [0, 1], got {tuple(beta.shape)}: {beta.tolist()}")
        if pseudonyms.shape != (count,) or pseudonyms.dtype != torch.int64:
            raise ValueError(f"pseudonyms must be ({count},) int64, got {tuple(pseudonyms.shape)} {pseudonyms.dtype}")
        return self._encode(crops, beta, pseudonyms)

    def generate(self, latents: Tensor) -> Tensor:
        """Return the crops `(N, 3, S, S)` RGB in [-1, 1] of `latents` `(N, L, D)`.

        Raises:
            ValueError: If `latents` has another number of dimensions.
        """
        if latents.ndim != 3:
            raise ValueError(f"latents must be (N, L, D), got {tuple(latents.shape)}")
        return self._generate(latents).clamp(-1, 1)

    def carried(self, made: Tensor, latents: Tensor, new: Tensor) -> Tensor | None:
        """Return nearly what `generate` returns for latents near others, at a fraction of the time, or None.

        Args:
            made: `(3, S, S)`, what `generate` returned for `latents`.
            latents: `(L, D)`.
            new: `(L, D)`; where they are too far from `latents` for the model to tell, the answer is None.
        """
        return None

    def settle(self) -> None:
        """Make ready what is faster where the model is now; its weights do not change any more."""
        return

    def _check_crops(self, crops: Tensor) -> None:
        size = self.crop_size
        if crops.ndim != 4 or crops.shape[1:] != (3, size, size):
            raise ValueError(f"crops must be (N, 3, {size}, {size}), got {tuple(crops.shape)}")

    def save(self, path: Path | str) -> None:
        """Write configuration, template and weights to one file, which `models.registry` reads."""
        template, config = dataclasses.asdict(self.template), dataclasses.asdict(self.config)
        write_checkpoint(Checkpoint(self.kind, config, template, self.state_dict()), path)


def prepare(model: AnyModule, device: torch.device | str) -> AnyModule:
    """Return `model` itself, on `device`, frozen and laid out for inference.

    Filters are laid out channels last, which the rest of a convolutional network takes over. Measured on one core
    of a Xeon with avx512_bf16, milliseconds for four faces, as built, channels last, and that under bf16 autocast:

        128 px generator, up to 128 channels     56     32     51
        256 px generator, up to 128 channels    162    116    183
        64 px encoder, up to 128 channels        22     19     31

    So everything stays float32. On a GPU convolutions then use TF32: half precision's mantissa, without its overflow.
    """
    model.to(device).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    if isinstance(model, FaceModel):
        model.settle()
    return model
