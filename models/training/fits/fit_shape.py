"""Fit `FaceShape` in closed form: where identity lies in the mesh, and the shapes of strangers."""

from __future__ import annotations

import torch
from torch import Tensor

from models.face_mesh import FACE_OVAL
from models.face_shape import FaceShape, pose_of

COMPONENTS = 60  # of the aligned meshes: 99 % of their variance
OVERSAMPLING = 10
ALIGNMENTS = 4  # rounds in which mean and poses are found in turn; the third changes nothing visible
OUTLINE_FREEDOM = 0.75  # how much of a move the outline makes: at 0 the width of the face, which identifies, would stay
FREE_DEPTH = 0.15  # of the oval's width: this far inside it a point moves in full


def fit_shape(shape: FaceShape, meshes: Tensor, *, template: Tensor, residual: Tensor, posture: Tensor) -> Tensor:
    """Fill all of `shape` but its strangers; return the coordinates `(N, k)` of the faces.

    Args:
        shape: Changed in place.
        meshes: `(N, 468, 3)`, in any unit.
        template: `(468, 2)` in the unit square: how far inside the face each point lies.
        residual: `(N, E)` embeddings, less what their appearance foretells.
        posture: `(N, P)` what identity must not take with it (`models.training.fits.fit_linear.posture`).
    """
    mean = _unit(meshes[0])
    for _ in range(ALIGNMENTS):
        aligned = _aligned(meshes, mean)
        mean = _unit(aligned.mean(dim=0))
    flat = (_aligned(meshes, mean) - mean).flatten(1)
    _, singular, basis = torch.pca_lowrank(flat, q=COMPONENTS + OVERSAMPLING, center=False, niter=3)
    basis, deviation = basis[:, :COMPONENTS], singular[:COMPONENTS] / len(flat) ** 0.5
    latents = flat @ basis / deviation  # (N, 60), white
    kept = torch.linalg.qr(ridge(latents, posture)).Q
    weight = ridge(latents, residual)
    directions = torch.linalg.svd(weight - kept @ (kept.T @ weight), full_matrices=False).U[:, : len(shape.read)]
    shape.mean.copy_(mean)
    shape.read.copy_(directions.T @ (basis / deviation).T)
    shape.write.copy_(directions.T @ (basis * deviation).T)
    shape.recognition.copy_(directions.T @ weight)
    shape.freedom.copy_(freedom(template))
    coordinates: Tensor = latents @ directions
    return coordinates


def freedom(template: Tensor) -> Tensor:
    """Return how much of a move each point makes, `(468,)`: 1 well inside the oval, `OUTLINE_FREEDOM` on it."""
    oval = template[list(FACE_OVAL)]
    edge = oval.roll(-1, 0) - oval  # (36, 2)
    along = ((template[:, None] - oval) * edge).sum(dim=2) / edge.square().sum(dim=1)  # (468, 36)
    nearest = oval + along.clamp(0, 1)[..., None] * edge
    depth = (template[:, None] - nearest).norm(dim=2).amin(dim=1)
    share = (depth / (FREE_DEPTH * (oval[:, 0].max() - oval[:, 0].min()))).clamp(max=1)
    smooth: Tensor = share.square() * (3 - 2 * share)
    free: Tensor = OUTLINE_FREEDOM + (1 - OUTLINE_FREEDOM) * smooth
    return free


def _aligned(meshes: Tensor, mean: Tensor) -> Tensor:
    centre, rotation, scale = pose_of(meshes, mean)
    aligned: Tensor = (meshes - centre) @ rotation * scale
    return aligned


def _unit(mesh: Tensor) -> Tensor:
    centred = mesh - mesh.mean(dim=0)
    unit: Tensor = centred / centred.norm()
    return unit


def ridge(latents: Tensor, targets: Tensor, penalty: float = 0.02) -> Tensor:
    """Return the `(K, D)` weights of the ridge regression from whitened `(N, K)` latents to `(N, D)` targets."""
    gram = latents.T @ latents / len(latents)
    centered = targets - targets.mean(0)
    gram.diagonal().add_(penalty)
    weights: Tensor = torch.linalg.solve(gram, latents.T @ centered / len(latents))
    return weights
