"""Predictions for `hifd` (PyPI), which scores privacy and use in one number: its JSON schema, version 1.0.

Written are embeddings, landmarks and gaze. Age, sex, ethnicity and expression are left to estimators of others: our
own choose the strangers that are drawn, and are no judges of them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamer.errors import SinkError
from streamer.evaluate.images.before_after import Judged, Original
from streamer.evaluate.measures.recognizers import Recognizer
from streamer.evaluate.measures.utility import Expression
from streamer.types import Floats

SCHEMA = "1.0"
ORIGINAL, METHODS = "original", "methods"  # folders
EYE_OVER_EYEBALL = 2.5  # width of an eye between its corners, 30 mm, over the radius of the eyeball, 12 mm
GAZE, LANDMARKS = "mediapipe-iris-and-pose", "mediapipe-mesh"
# Landmarks and gaze of a face that is lost: hifd scores them 0. One left out would not count: who loses all, gains.
LOST = np.zeros((5, 2), np.float32), np.zeros(3, np.float32)

Predictions = dict[str, dict[str, Any]]  # payload by photo


class HifdExport:
    """Collects predictions of photos and outputs, and writes them. They hold embeddings of real faces."""

    def __init__(self, folder: Path, method: str, recognizers: Sequence[Recognizer]) -> None:
        """Take where to write, what the method is called there, and the recognisers that look at the photos."""
        self._folder, self._method, self._recognizers = folder, method, tuple(recognizers)
        self._names: list[str] = []
        self._before: dict[str, list[Floats]] = defaultdict(list)
        self._after: dict[str, list[Floats]] = defaultdict(list)
        self._seen: dict[tuple[str, str], Predictions] = defaultdict(dict)  # by task and source

    def add(self, original: Original, output: object, judged: Judged) -> None:
        """Take a photo; where no face was found in its output, that counts as no agreement in landmarks and gaze."""
        name = original.photo.name
        self._names.append(name)
        for recognizer in self._recognizers:
            self._before[recognizer.name].append(original.embeddings[recognizer.name])
            self._after[recognizer.name].append(judged.embeddings[recognizer.name])
        self._see(ORIGINAL, name, original.face.landmarks, gaze_direction(original.expression))
        if judged.points is None or judged.expression is None:
            self._see("deid", name, *LOST)
        else:
            self._see("deid", name, judged.points, gaze_direction(judged.expression))

    def write(self) -> None:
        """Write all; what the folder holds of other methods stays, and is listed beside.

        Raises:
            SinkError: If it cannot be written.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # as secret as the photos
            for task, source, estimator, predictions in self._predictions():
                _write(self._file(task, source, estimator), _envelope(task, source, estimator, predictions))
            methods = sorted(path.name for path in (self._folder / METHODS).iterdir() if path.is_dir())
            listed = [{"name": name, "base_path": f"{METHODS}/{name}"} for name in methods]
            _write(self._folder / "methods.yaml", {"original": {"base_path": ORIGINAL}, "methods": listed})
            _write(self._folder / "estimators.yaml", {"tasks": self._tasks()})
        except OSError as error:
            raise SinkError(f"cannot write {error.filename}: {error.strerror}; choose another folder") from error

    def _see(self, source: str, name: str, points: Floats, gaze: Floats) -> None:
        corners = points[:, :2].tolist()
        self._seen["landmark", source][name] = {
            "points": corners,
            "left_eye_center": corners[0],
            "right_eye_center": corners[1],
        }
        self._seen["gaze", source][name] = {"direction": gaze.tolist()}

    def _predictions(self) -> list[tuple[str, str, str, Predictions]]:
        """Return task, source, estimator and predictions of every file."""
        estimators = {"landmark": LANDMARKS, "gaze": GAZE}
        found = [(task, source, estimators[task], seen) for (task, source), seen in self._seen.items()]
        for recognizer in self._recognizers:
            originals = np.stack(self._before[recognizer.name])
            for source, rows in ((ORIGINAL, originals), ("deid", np.stack(self._after[recognizer.name]))):
                embeddings = recognizer.centered(rows, originals=originals).tolist()
                payloads = {n: {"embedding": row} for n, row in zip(self._names, embeddings, strict=True)}
                found.append(("face_embedding", source, recognizer.name, payloads))
        return found

    def _tasks(self) -> Mapping[str, Any]:
        names = {"face_embedding": [r.name for r in self._recognizers], "landmark": [LANDMARKS], "gaze": [GAZE]}
        return {task: {"estimators": [_listed(task, name) for name in each]} for task, each in names.items()}

    def _file(self, task: str, source: str, estimator: str) -> Path:
        base = self._folder / (ORIGINAL if source == ORIGINAL else f"{METHODS}/{self._method}")
        return base / task / f"{estimator}.json"


def gaze_direction(expression: Expression) -> Floats:
    """Return where the eyes look, `(3,)` of length 1: right, down, and away from the camera.

    The head's yaw and pitch, and those of the eyeballs in it: an iris that lies s widths of the eye from its middle
    turned by asin(2.5 s).
    """
    roll = np.radians(expression.pose[2])
    level = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]) @ expression.gaze
    right, down = np.arcsin(np.clip(EYE_OVER_EYEBALL * level, -1, 1))
    yaw, pitch = np.radians(expression.pose[0]) + right, np.radians(expression.pose[1]) - down
    return np.asarray([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), -np.cos(yaw) * np.cos(pitch)])


def _listed(task: str, estimator: str) -> Mapping[str, str]:
    file = f"{task}/{estimator}.json"
    return {"name": estimator, "orig_json": file, "deid_json": file}


def _envelope(task: str, source: str, estimator: str, predictions: Predictions) -> dict[str, Any]:
    head = {"task": task, "source": source, "estimator": estimator, "schema_version": SCHEMA}
    return head | {"predictions": predictions}


def _write(path: Path, content: object) -> None:
    """Write JSON, which YAML reads as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
