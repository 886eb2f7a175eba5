"""Fit the linear part of `linear-refined` in closed form: appearance, where identity lies in it, and strangers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from models.face_mesh import (
    FACE_OVAL,
    IMAGE_LEFT_EYE,
    IMAGE_LEFT_MOUTH,
    IMAGE_RIGHT_EYE,
    IMAGE_RIGHT_MOUTH,
    NOSE_TIP,
)
from models.face_model import Template
from models.identity.identity_crop import identity_crops
from models.identity.recognizer import FaceRecognizer, MobileFaceNet
from models.linear_refined import LinearRefined, LinearRefinedConfig
from models.training.fits.fit_shape import fit_shape, ridge
from models.training.inputs.dataset import FaceDataset, to_crops, unpack_valid

OVERSAMPLING = 16  # components found beyond those kept, so that the last of them are exact
HAIRLINE = 0.85  # ovals: what lies outside of it is hair, forehead and jaw, and stays the person's, hidden or not
RIM_SCALE = 1.06  # ovals: what lies outside of it is seen, whatever is drawn
RIM_NOISE = 0.55  # per value in [-1, 1]; against the prior of unit variance on each latent
MAX_POSE = 1.5  # of a donor, in standard deviations
MAX_LINES = 0.7  # of a donor: of 42 faces ranked .8 and above 18 wear glasses, of 70 up to .7 one
STRANGER_SPREAD = 1.2  # of their shapes, in those of people: more is more private, and a caricature
ALIKE = 7  # faces most like a donor, of which one is the other donor
LIGHT_CELLS = 4  # per side of the crop
LIGHT_NOISE = 0.22  # per cell's mean


def fit(
    dataset: FaceDataset,
    recognizer: MobileFaceNet,
    config: LinearRefinedConfig,
    *,
    guard: FaceRecognizer,
    rim_directions: int,
    seed: int,
) -> LinearRefined:
    """Return a model whose linear part is fitted and whose refiner is still the identity map.

    Principal components of the crops; ridge regression from the latents to the recogniser's embedding; its singular
    directions, made orthogonal to those that tell pose, expression and the rim of the face, carry the identity.

    Args:
        dataset: Prepared faces; those of UTKFace tell sex and age.
        recognizer: What identity is measured with.
        config: Sizes; `linear_values` is set by the data.
        guard: The recogniser that is at hand when a stranger is chosen.
        rim_directions: How many directions of hairline, forehead and jaw are kept from the person.
        seed: Of the choice of donors.

    Raises:
        ValueError: If the faces are too few, or too few of them can be donors.
    """
    if len(dataset) < config.components + OVERSAMPLING:
        raise ValueError(f"{len(dataset)} faces are too few to fit {config.components} components; extract more")
    torch.manual_seed(seed)
    template = Template(kind="mesh", points=tuple(map(tuple, dataset.template.tolist())))
    values, inside = linear_values(dataset, config.linear_size)
    model = LinearRefined(replace(config, linear_values=values.shape[1]), template)
    model.inside.copy_(inside)
    mean = values.mean(dim=0)
    values -= mean
    _, singular, basis = torch.pca_lowrank(values, q=config.components + OVERSAMPLING, center=False, niter=3)
    components = config.components
    model.mean.copy_(mean)
    model.basis.copy_(basis[:, :components].T)
    model.deviation.copy_(singular[:components] / len(values) ** 0.5)
    latents = values @ model.basis.T / model.deviation  # (N, K)
    pose = posture(dataset.meshes)
    embeddings = embed(dataset, recognizer)
    _fit_identity(model, latents, embeddings=embeddings, posture=pose, rim_directions=rim_directions)
    _fit_attributes(model, latents, dataset.names, lightness=(values @ _mean_row(values)))
    typical = (pose.abs().amax(dim=1) < MAX_POSE) & (bridge_lines(dataset) < MAX_LINES)
    donors = _mix_strangers(model, latents, typical=typical)
    residual = embeddings - embeddings.mean(0) - latents @ model.recognition
    meshes, points = torch.from_numpy(np.array(dataset.meshes)), torch.tensor(template.points)
    shapes = fit_shape(model.shape, meshes, template=points, residual=residual, posture=pose)
    model.shape.strangers.copy_(STRANGER_SPREAD * shapes[donors].sum(dim=1) / 2**0.5)
    model.stranger_embeddings.copy_(embed_strangers(model, guard))
    return model


def linear_values(dataset: FaceDataset, size: int) -> tuple[Tensor, Tensor]:
    """Return crops as `(N, P)` values in [-1, 1], pixels not known at their mean, and the `(size, size)` mask."""
    scale = dataset.crop_size // size
    template_inside = F.avg_pool2d(unpack_valid(dataset.valid[:512], dataset.crop_size).amax(0, keepdim=True), scale)
    inside = template_inside[0, 0] == 1
    parts, known = [], []
    for start in range(0, len(dataset), 512):
        crops = to_crops(dataset.crops[start : start + 512])
        valid = F.avg_pool2d(unpack_valid(dataset.valid[start : start + 512], dataset.crop_size), scale)
        parts.append(F.avg_pool2d(crops, scale).permute(0, 2, 3, 1)[:, inside].flatten(1))
        known.append(valid[:, 0][:, inside].ge(1).repeat_interleave(3, dim=1))
    values, mask = torch.cat(parts), torch.cat(known)
    mean = (values * mask).sum(0) / mask.sum(0).clamp(min=1)
    return torch.where(mask, values, mean), inside


def embed(dataset: FaceDataset, recognizer: MobileFaceNet) -> Tensor:
    """Return the `(N, 128)` embeddings of the dataset's photos."""
    batches = range(0, len(dataset), 64)
    with torch.no_grad():
        return torch.cat([recognizer(to_crops(dataset.photos[start : start + 64])) for start in batches])


def embed_strangers(model: LinearRefined, recognizer: FaceRecognizer) -> Tensor:
    """Return the `(B, E)` unit embeddings of the strangers as they look into the camera, less the mean of all."""
    mesh = torch.tensor(model.template.points)
    eyes = [mesh[list(eye)].mean(dim=0) for eye in (IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE)]
    five = torch.stack([*eyes, mesh[NOSE_TIP], mesh[IMAGE_LEFT_MOUTH], mesh[IMAGE_RIGHT_MOUTH]])
    template = Template("similarity", tuple((float(x), float(y)) for x, y in five))
    parts = []
    with torch.no_grad():
        average = model.without_identity(model.mean.new_zeros(1, model.config.components))
        for start in range(0, len(model.strangers), 64):
            strangers = model.strangers[start : start + 64]
            pictures = model.generate((average + strangers)[:, None])
            parts.append(recognizer(identity_crops(pictures, template)))
    embeddings = torch.cat(parts)
    return F.normalize(embeddings - embeddings.mean(0), dim=1)


def posture(meshes: npt.NDArray[Any]) -> Tensor:
    """Return what identity must not take with it, `(N, 8)` of unit variance: yaw, pitch, mouth, smile, lids, brows."""
    mesh = torch.from_numpy(np.array(meshes))

    def span(a: int, b: int) -> Tensor:
        distance: Tensor = (mesh[:, a, :2] - mesh[:, b, :2]).norm(dim=1)
        return distance

    eyes, height = span(33, 263), span(10, 152)
    yaw = (mesh[:, 454, 2] - mesh[:, 234, 2]) / span(234, 454)
    pitch = (mesh[:, 152, 2] - mesh[:, 10, 2]) / height
    spans = [span(13, 14), span(61, 291), span(159, 145), span(386, 374), span(105, 159), span(334, 386)]
    features: Tensor = torch.stack([yaw, pitch, *(value / eyes for value in spans)], dim=1)
    return (features - features.mean(0)) / features.std(0)


def bridge_lines(dataset: FaceDataset) -> Tensor:
    """Return how strong the lines across each nose are between the eyes, `(N,)`, as a rank in [0, 1]: glasses."""
    points = dataset.template * dataset.crop_size
    (left, _), (right, _), (_, top), (_, bottom) = (points[index] for index in (133, 362, 168, 6))
    height = bottom - top
    rows = slice(round(top - 1.2 * height), round(bottom + 1.6 * height))
    columns = slice(round(left + 0.6 * height), round(right - 0.6 * height))
    patches = torch.from_numpy(np.array(dataset.crops[:, rows, columns])).float().mean(dim=3)
    lines = patches.diff(dim=1).abs().mean(dim=(1, 2))
    return lines.argsort().argsort() / len(lines)


def _fit_identity(
    model: LinearRefined, latents: Tensor, *, embeddings: Tensor, posture: Tensor, rim_directions: int
) -> None:
    pixels = model.basis * model.deviation[:, None]  # (K, P)
    rim = pixels[:, _outside_oval(model, HAIRLINE).repeat_interleave(3)]
    seen = torch.linalg.svd(rim, full_matrices=False).U[:, :rim_directions]  # (K, rim_directions)
    kept = torch.linalg.qr(torch.cat([ridge(latents, posture), seen], dim=1)).Q
    model.recognition.copy_(ridge(latents, embeddings))
    weight = model.recognition - kept @ (kept.T @ model.recognition)
    directions = torch.linalg.svd(weight, full_matrices=False).U
    model.identity.copy_(directions[:, : len(model.identity)].T)


def _outside_oval(model: LinearRefined, scale: float) -> Tensor:
    """Return which pixels of the mask lie outside the face's oval scaled about its centre, `(P / 3,)`."""
    size = model.config.linear_size
    oval = torch.from_numpy(model.template.crop_points(size))[list(FACE_OVAL)]
    start = oval.mean(0) + scale * (oval - oval.mean(0))  # (36, 2)
    end = start.roll(-1, 0)
    row, column = model.inside.nonzero()[:, :, None].add(0.5).unbind(1)  # (P / 3, 1)
    crosses = (start[:, 1] > row) != (end[:, 1] > row)  # (P / 3, 36): edges that a ray to the right may meet
    where = start[:, 0] + (row - start[:, 1]) * (end[:, 0] - start[:, 0]) / (end[:, 1] - start[:, 1])
    within = (crosses & (column < where)).sum(dim=1) % 2 == 1
    return ~within


def _mean_row(values: Tensor) -> Tensor:
    return torch.full((values.shape[1],), 1.0 / values.shape[1])


def _fit_attributes(model: LinearRefined, latents: Tensor, names: list[str], *, lightness: Tensor) -> None:
    """Read lightness from the pixels, sex and age from UTK's labels, each scaled to unit variance over the latents.

    Without such labels, as in footage of one's own, strangers suit in lightness alone.
    """
    labels = [(i, Path(name).name.split("_")) for i, name in enumerate(names) if name.startswith("utk/")]
    weight = torch.zeros(latents.shape[1], 3)
    weight[:, 2:] = ridge(latents, lightness[:, None])
    if labels:
        sex = torch.tensor([float(label[1]) for _, label in labels])
        age = torch.tensor([float(label[0]) for _, label in labels]).add(5).log()
        weight[:, :2] = ridge(latents[[row for row, _ in labels]], torch.stack([sex, age], 1))
    model.attribute_weight.copy_((weight / (latents @ weight).std(0).clamp(min=1e-6)).T)


def _mix_strangers(model: LinearRefined, latents: Tensor, *, typical: Tensor) -> Tensor:
    """Make each stranger of two faces of like attributes, so that it is no real person's and as far from the mean.

    Returns `(B, 2)`, which faces they are made of.

    Donors look into the camera and wear no glasses (`typical`, `(N,)` bool); a stranger is as symmetric as a template,
    or a donor's light from the side would become a squint.
    """
    attributes = latents @ model.attribute_weight.T
    length = latents.norm(dim=1)
    rows = (typical & (length < length.quantile(0.7))).nonzero()[:, 0]
    if len(rows) <= ALIKE:
        raise ValueError(f"only {len(rows)} of {len(latents)} faces can be donors of strangers; add frontal ones")
    order = torch.randperm(len(rows))
    first = rows[order[torch.arange(len(model.strangers)) % len(rows)]]  # a few faces give to several strangers
    alike = torch.cdist(attributes[first], attributes[rows]).topk(ALIKE + 1, largest=False).indices[:, 1:]
    second = rows[alike.gather(1, torch.randint(alike.shape[1], (len(first), 1)))[:, 0]]
    mixed = (latents[first] + latents[second]) / 2**0.5
    mirrored = model.project(F.interpolate(model.decode(mixed).flip(3), size=model.crop_size))
    symmetric = (mixed + mirrored) @ model.identity.T
    symmetric *= (mixed @ model.identity.T).norm(dim=1, keepdim=True) / symmetric.norm(dim=1, keepdim=True)
    model.strangers.copy_(symmetric @ _least_seen_moves(model))
    model.stranger_attributes.copy_((attributes[first] + attributes[second]) / 2)
    return torch.stack([first, second], dim=1)


def _least_seen_moves(model: LinearRefined) -> Tensor:
    """Return `(k, K)`: the move by one along each identity coordinate, and no other, that is seen the least.

    A stranger's forehead must go on into the person's hair, and the jaw into the neck; and the paste will give the face
    the frame's light, in cells about as coarse. So of all moves that differ in what does not tell identity, those are
    taken that change the rim and the coarse light least, weighed against their length: least squares, constrained.
    """
    size = model.config.linear_size
    pixels = (model.basis * model.deviation[:, None]).view(len(model.basis), -1, 3)
    rim = _outside_oval(model, RIM_SCALE)
    row, column = model.inside.nonzero().mul(LIGHT_CELLS).div(size, rounding_mode="floor").unbind(1)
    cells = [(row * LIGHT_CELLS + column == number) & ~rim for number in range(LIGHT_CELLS**2)]
    light = [pixels[:, cell].mean(dim=1) for cell in cells if cell.sum() >= (size / LIGHT_CELLS) ** 2 / 3]
    seen = torch.cat([pixels[:, rim].flatten(1) / RIM_NOISE, *(mean / LIGHT_NOISE for mean in light)], dim=1)
    free = torch.linalg.solve(seen @ seen.T + torch.eye(len(seen)), model.identity.T)  # (K, k)
    moves: Tensor = torch.linalg.solve(model.identity @ free, free.T)
    return moves
