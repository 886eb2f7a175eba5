"""Writes annotations as `streamer.evaluate.video.truth` reads them."""

import json
import math
from pathlib import Path

from streamer.evaluate.video.truth import COLUMNS, TrueFace, Truth


def write_truth(truth: Truth, path: Path) -> None:
    """Write annotations as JSON, boxes to the pixel and yaw to the degree; an older file is replaced."""
    head = {"clip": truth.clip, "sha256": truth.sha256, "width": truth.width, "height": truth.height}
    rows = [_row(index, face) for index in sorted(truth.frames) for face in truth.frames[index]]
    lines = [f'"{key}": {json.dumps(value)}' for key, value in head.items()]
    lines += [f'"frames": {json.dumps(sorted(truth.frames))}', f'"columns": {json.dumps(COLUMNS)}']
    faces = ",\n  ".join(json.dumps(row) for row in rows)  # a line each, so that a change shows what it changes
    path.write_text("{" + ",\n ".join([*lines, f'"faces": [\n  {faces}]']) + "}\n")


def _row(index: int, face: TrueFace) -> list[int | None]:
    yaw = None if math.isnan(face.yaw) else round(face.yaw)
    return [index, *(round(float(v)) for v in face.box), yaw, int(face.checked)]
