"""The first default model: a linear appearance model with identity directions, and a convolutional refiner.

Encoder and decoder of the linear part are one matrix product each (Turk and Pentland 1991, on crops in which every
pixel is the same spot of a face, as in Cootes et al. 2001, Active Appearance Models). A few directions of its latent
space carry identity; their coordinates are replaced by a stranger's, the others pass. Knows nothing of training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.face_model import FaceModel, Sighting, Template
from models.face_shape import FaceShape
from models.onnx_graph import OnnxGraph
from models.unets.unet import SLOPE, ResidualBlock, ResidualBlocks, active, double

if TYPE_CHECKING:
    from models.cpu_network import CpuNetwork


@dataclass(frozen=True)
class LinearRefinedConfig:
    """Sizes of the model.

    Attributes:
        crop_size: Pixels, the side of a crop.
        linear_size: Pixels, the side at which the linear part works; crop_size is a multiple of it.
        linear_values: Pixels inside the mask at that size, times three.
        components: K, principal components kept.
        identity_directions: k, how many directions of the K carry identity.
        shape_directions: How many directions of the mesh do.
        strangers: B, identities to choose from.
        embedding: E, values of the recogniser's embedding that is foretold from a latent.
        attributes: Values read from a face to find strangers that suit it (sex, age, lightness of the skin).
        widths: Channels of the refiner at linear_size, half and a quarter of it.
        detail: The same at crop_size.
    """

    crop_size: int = 128
    linear_size: int = 64
    linear_values: int = 8370
    components: int = 320
    identity_directions: int = 126
    shape_directions: int = 24
    strangers: int = 6144
    embedding: int = 128
    attributes: int = 3
    widths: tuple[int, int, int] = (32, 64, 96)
    detail: int = 24


POOL = 64  # strangers that suit and are little like the person; of more, some suit too little
CANDIDATES = 24  # of those, unlike each other, of which the seed chooses: who is unlike one person resembles the rest
KEPT = 0.6  # of what does not tell identity linearly: some of it does, and less of it leaves a more typical face
NEAR = 2.0  # distance of latents of unit variance, within which what the refiner adds hardly changes
SUITING = 0.07  # cosine that a step of one deviation away from the person's sex, age and lightness is worth
CONTRADICTING = 0.5  # the same of a stranger of another sex or age, as a classifier tells them, who is often right
CLEAR_SEX = 0.5  # deviations of the linear one, from which on strangers look it
YEARS = 1.46, -5.22  # slope over log(5 + years), and offset, of the linear age of 184 people of UTKFace, in deviations
OTHER_AGE = 1.0  # deviations off in it that nobody minds


class LinearRefined(FaceModel):
    """Linear appearance model, strangers, and refiner behind the interface of `FaceModel`; L = 1, D = K."""

    kind: ClassVar[str] = "linear-refined"
    config: LinearRefinedConfig

    inside: Tensor  # (linear_size, linear_size) bool: where the mesh is
    mean: Tensor  # (P,)
    basis: Tensor  # (K, P), rows orthonormal
    deviation: Tensor  # (K,), of the coordinates; latents are divided by it
    identity: Tensor  # (k, K), rows orthonormal, in the space of latents: where identity is read
    recognition: Tensor  # (K, E), latents to the embedding that a recogniser would give
    strangers: Tensor  # (B, K), what a stranger adds to a face without identity
    attribute_weight: Tensor  # (A, K), latents to attributes of unit variance
    stranger_attributes: Tensor  # (B, A)
    stranger_embeddings: Tensor  # (B, E), unit, of each stranger facing the camera, less the mean of all

    def __init__(self, config: LinearRefinedConfig, template: Template) -> None:
        super().__init__(config, template)
        size, values = config.linear_size, config.linear_values
        shapes: dict[str, tuple[int, ...]] = {
            "mean": (values,),
            "basis": (config.components, values),
            "deviation": (config.components,),
            "identity": (config.identity_directions, config.components),
            "recognition": (config.components, config.embedding),
            "strangers": (config.strangers, config.components),
            "attribute_weight": (config.attributes, config.components),
            "stranger_attributes": (config.strangers, config.attributes),
            "stranger_embeddings": (config.strangers, config.embedding),
        }
        self.register_buffer("inside", torch.zeros(size, size, dtype=torch.bool))
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.shape = FaceShape(config.shape_directions, config.strangers, config.embedding)
        self.refiner = Refiner(size, config.crop_size, config.widths, config.detail)
        self._on_cpu: CpuNetwork | None = None

    def settle(self) -> None:
        """Let OpenCV run the refiner, where this is on the CPU."""
        from models.cpu_network import CpuNetwork

        is_on_cpu = self.mean.device.type == "cpu"
        self._on_cpu = CpuNetwork(self.refiner.file(self.config.linear_size)) if is_on_cpu else None

    @property
    def crop_size(self) -> int:
        """Pixels, the side of a crop."""
        return self.config.crop_size

    @property
    def identity_size(self) -> int:
        """k, how many coordinates of unit variance tell who somebody is."""
        return self.config.identity_directions

    def identity_coordinates(self, sighting: Sighting) -> Tensor:
        """Return where each person lies along the identity directions, `(N, k)`, by their crops."""
        return self.project(sighting.crops) @ self.identity.T

    def nearest_strangers(self, coordinates: Tensor) -> Tensor:
        """Return the strangers `(N,)` int64 whose identity coordinates are nearest to `(N, k)` released ones."""
        # By direction: noise is longer than any stranger, and by distance the outlying ones would win too often.
        return (coordinates @ F.normalize(self.strangers @ self.identity.T, dim=1).T).argmax(dim=1)

    def pseudonyms(self, sighting: Sighting, seeds: Tensor) -> Tensor:
        """Return which stranger each person becomes, `(N,)` int64: one that suits, and is not taken for the person.

        Args:
            sighting: Of N people; without meshes and embeddings it is foretold from appearance alone who is like whom.
            seeds: `(N,)` non-negative int64, one per person and key; or any number for one person.
        """
        latents = self.project(sighting.crops)
        attributes = latents @ self.attribute_weight.T  # (N, A)
        misfit = torch.cdist(attributes, self.stranger_attributes)  # (N, B)
        unsuited = self._likeness(latents, sighting) + SUITING * misfit + CONTRADICTING * self._contradiction(sighting)
        pools = unsuited.topk(min(POOL, len(self.strangers)), largest=False).indices  # best first
        apart = [pool[spread_out(self.stranger_embeddings[pool], CANDIDATES)] for pool in pools]
        apart = apart * len(seeds) if len(apart) == 1 else apart
        return torch.stack([candidates[seed % len(candidates)] for candidates, seed in zip(apart, seeds, strict=True)])

    def _contradiction(self, sighting: Sighting) -> Tensor:
        """Return how surely each stranger is of another sex or age than each person, `(N, B)` in [0, 2]."""
        female, old = self.stranger_attributes[:, :2].T
        if sighting.attributes is None:
            return torch.zeros(len(sighting.crops), len(female), device=female.device)
        sex, years = sighting.attributes.sex[:, None], sighting.attributes.age[:, None]
        sure = sighting.attributes.sureness()[:, None]
        apart = (old - YEARS[0] * torch.log(years + 5) - YEARS[1]).abs()
        contradiction: Tensor = sure * (CLEAR_SEX + sex.sign() * female).clamp(0, 1) + (apart - OTHER_AGE).clamp(0, 1)
        return contradiction

    def _likeness(self, latents: Tensor, sighting: Sighting) -> Tensor:
        """Return how like each person it would be to be each stranger, `(N, B)`: cosines, or the mean of two.

        Foretold linearly, of the person and of them as each stranger; and as the recogniser sees person and stranger.
        """
        person = latents @ self.recognition  # (N, E)
        kept = KEPT * self.without_identity(latents)
        become = (kept @ self.recognition)[:, None] + self.strangers @ self.recognition
        if sighting.meshes is not None:
            person = person + self.shape.coordinates(sighting.meshes) @ self.shape.recognition
            become = become + self.shape.strangers @ self.shape.recognition
        foretold = F.cosine_similarity(become, person[:, None], dim=2)
        if sighting.embeddings is None:
            return foretold
        return (foretold + sighting.embeddings @ self.stranger_embeddings.T) / 2

    def reshape(self, meshes: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        """Return the meshes `(N, 468, 3)` to draw the new faces on (`FaceShape`)."""
        reshaped: Tensor = self.shape(meshes, beta, pseudonyms)
        return reshaped

    def project(self, crops: Tensor) -> Tensor:
        """Return the person's own whitened coordinates `(N, K)`: no privacy yet."""
        small = F.avg_pool2d(crops.float(), self.config.crop_size // self.config.linear_size)
        values = small.permute(0, 2, 3, 1)[:, self.inside].flatten(1)  # (N, P)
        return (values - self.mean) @ self.basis.T / self.deviation

    def without_identity(self, latents: Tensor) -> Tensor:
        """Return `(N, K)` latents whose identity coordinates are 0."""
        return latents - latents @ self.identity.T @ self.identity

    def _encode(self, crops: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        return self.replace_identity(self.project(crops), beta, pseudonyms)[:, None]  # (N, 1, K)

    def replace_identity(self, latents: Tensor, beta: Tensor, pseudonyms: Tensor) -> Tensor:
        """Return `(N, K)` latents between the person's own (beta 1) and a stranger's (beta 0).

        At beta 0 nothing of the person along the identity directions is left; of the rest `KEPT` passes.
        """
        others = KEPT * self.without_identity(latents) + self.strangers[pseudonyms]
        return torch.lerp(others, latents, beta[:, None])

    def decode(self, latents: Tensor) -> Tensor:
        """Return the linear picture `(N, 3, linear_size, linear_size)` of `(N, K)` latents; 0 outside the mask."""
        return self._picture(self.mean + (latents * self.deviation) @ self.basis)

    def _picture(self, values: Tensor) -> Tensor:
        """Return `(N, P)` values as pictures `(N, 3, linear_size, linear_size)`; 0 outside the mask."""
        size = self.config.linear_size
        picture = values.new_zeros(len(values), size, size, 3)
        picture[:, self.inside] = values.view(len(values), -1, 3)
        return picture.permute(0, 3, 1, 2)

    def carried(self, made: Tensor, latents: Tensor, new: Tensor) -> Tensor | None:
        """See `FaceModel.carried`: only the linear picture is made anew.

        What the refiner adds changes a quarter as fast. Within `NEAR` it is off by .3 grey levels on average, in one
        value of a hundred by 2.3, and of three to five frames of a video one or two are further away.
        """
        change = new - latents
        if not change.norm() <= NEAR:  # also where it is no number
            return None
        moved = enlarged(self._picture((change * self.deviation) @ self.basis), self.refiner.scale)[0]
        return (made + moved).clamp(-1, 1)

    def _generate(self, latents: Tensor) -> Tensor:
        picture = self.decode(latents[:, 0])
        if self._on_cpu is not None and not picture.requires_grad:
            return self._on_cpu(picture)
        refined: Tensor = self.refiner(picture)
        return refined


def spread_out(embeddings: Tensor, count: int) -> Tensor:
    """Return the indices of `count` of `(N, E)` unit embeddings, or of all, that are little alike.

    The first, then each time the one farthest from all before it, by the cosine (Gonzalez 1985).
    """
    chosen = torch.zeros(min(count, len(embeddings)), dtype=torch.int64, device=embeddings.device)
    nearest = embeddings @ embeddings[0]  # of those chosen, how alike the most alike is
    nearest[0] = torch.inf
    for n in range(1, len(chosen)):
        chosen[n] = nearest.argmin()
        nearest = torch.maximum(nearest, embeddings @ embeddings[chosen[n]])
        nearest[chosen[n]] = torch.inf
    return chosen


def enlarged(pictures: Tensor, scale: int) -> Tensor:
    """Return pictures `scale` times as wide and high."""
    return F.interpolate(pictures, scale_factor=float(scale), mode="bilinear", align_corners=False)


class Refiner(nn.Module):
    """A small U-Net from the linear picture to the photo at twice its size; the identity map at initialisation.

    Crops are aligned to the pixel, so a learned constant per place lets it put lashes and lips where they belong.
    """

    PLACE_CHANNELS = 8

    def __init__(self, size: int, output_size: int, widths: tuple[int, int, int], detail: int) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.scale = output_size // size
        self.place = nn.Parameter(0.1 * torch.randn(1, self.PLACE_CHANNELS, size, size))
        self.enter = nn.Conv2d(3 + self.PLACE_CHANNELS, fine, 3, padding=1)
        self.fine_in = ResidualBlock(fine)
        self.down1 = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.middle_in = ResidualBlocks(middle, 2)
        self.down2 = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.coarse = ResidualBlocks(coarse, 3)
        self.up2 = nn.Conv2d(coarse, middle, 3, padding=1)
        self.middle_out = ResidualBlock(middle)
        self.up1 = nn.Conv2d(middle, fine, 3, padding=1)
        self.fine_out = ResidualBlock(fine)
        self.detail = nn.Conv2d(fine, detail, 3, padding=1)
        self.to_rgb = nn.Conv2d(detail, 3, 3, padding=1)
        with torch.no_grad():
            self.to_rgb.weight.zero_()
            self.to_rgb.bias = nn.Parameter(torch.zeros(3))

    def forward(self, picture: Tensor) -> Tensor:
        """Return `(N, 3, output_size, output_size)` from `(N, 3, size, size)`, not clamped."""
        place = self.place.expand(len(picture), -1, -1, -1)
        fine = self.fine_in(self.enter(torch.cat([picture, place], dim=1)))
        middle = self.middle_in(self.down1(fine))
        coarse = self.coarse(self.down2(middle))
        middle = self.middle_out(middle + self.up2(double(coarse)))
        fine = self.fine_out(fine + self.up1(double(middle)))
        detail = active(self.detail(double(fine)))
        made: Tensor = enlarged(picture, self.scale) + self.to_rgb(detail)
        return made

    def file(self, size: int) -> bytes:
        """Return the ONNX file of what `forward` does with a picture whose side is `size` pixels."""
        graph = OnnxGraph()
        entered = graph.conv(graph.joined("input", graph.constant(self.place)), self.enter)
        fine = self.fine_in.written(graph, entered)
        middle = self.middle_in.written(graph, graph.conv(fine, self.down1))
        coarse = self.coarse.written(graph, graph.conv(middle, self.down2))
        middle = self.middle_out.written(graph, graph.add(middle, graph.conv(graph.enlarged(coarse, 2.0), self.up2)))
        fine = self.fine_out.written(graph, graph.add(fine, graph.conv(graph.enlarged(middle, 2.0), self.up1)))
        detail = graph.leaky_relu(graph.conv(graph.enlarged(fine, 2.0), self.detail), SLOPE)
        made = graph.add(graph.enlarged("input", float(self.scale)), graph.conv(detail, self.to_rgb))
        large = size * self.scale
        return graph.file((1, 3, size, size), made, (1, 3, large, large))
