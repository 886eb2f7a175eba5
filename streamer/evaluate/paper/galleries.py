"""Pictures for the paper's figures of faces: drawn faces alone, and, for whoever asks, originals and every output."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from streamer.evaluate.figures import Chart
from streamer.evaluate.images.baselines import unchanged
from streamer.evaluate.images.photos import PhotoFile
from streamer.evaluate.paper.study import BLUR, MOSAIC, OUR_SSIM, Study
from streamer.evaluate.paper.workers import Crew, Drawn, Ours, Trial
from streamer.evaluate.report.charts import gallery
from streamer.types import Image

COLUMNS, ROWS = 8, 2
LEAST = 2  # faces that a group shows
NOT_SHOWN = ("turned ", "face ")  # groups of pose and resolution: every face is cut out alike
KINDS = ("female", "male", "age ", "skin ", "light")  # in this order: sex, age, the rest, skin, light
SHOWN_BETAS = (0.0, 0.2, 0.4, 1.0)
SPARE = 2  # photos looked at for each one shown: some are turned away and not drawn


def drawn_faces(crew: Crew, photos: Sequence[PhotoFile]) -> list[Chart]:
    """Return the drawn faces alone, the first ones and then by group; nothing of the photos around them."""
    drawn = list(crew.drawn(photos, Ours(0.0)))
    first = [face.crop for face in drawn[: COLUMNS * ROWS]]
    rows = {f"ours, beta 0 ({row + 1})": first[row * COLUMNS : (row + 1) * COLUMNS] for row in range(ROWS)}
    charts = [
        Chart(
            "Figures 6, 8 and 9. What is drawn at beta 0",
            _filled(rows),
            f"{len(first)} drawn faces, cut out of photos. The paper shows originals beside them, and blur and mosaic; "
            "we show no real face unless asked to (--show-faces).",
        )
    ]
    if groups := by_group(drawn):
        text = "; ".join(f"{group}: {len(faces)} drawn faces" for group, faces in groups.items())
        charts.append(Chart("By sex, age, skin and light. What is drawn over whom", _filled(groups), text))
    return charts


def by_group(drawn: Sequence[Drawn]) -> dict[str, list[Image]]:
    """Return up to `COLUMNS` drawn faces of each group of sex, age, skin and light, in that order."""
    groups: dict[str, list[Image]] = defaultdict(list)
    for face in drawn:
        for group in face.groups:
            if not group.startswith(NOT_SHOWN) and len(groups[group]) < COLUMNS:
                groups[group].append(face.crop)
    return {group: groups[group] for group in sorted(groups, key=_order) if len(groups[group]) >= LEAST}


def all_faces(crew: Crew, photos: Sequence[PhotoFile], study: Study) -> Chart:
    """Return originals and what every method makes of them."""
    trials: dict[str, Trial] = {"original": unchanged}
    trials |= {f"ours, beta {beta:g}": Ours(beta) for beta in SHOWN_BETAS}
    for method in (BLUR, MOSAIC):
        place = study.places[method, OUR_SSIM]
        trials |= {f"{method}, at our SSIM": place.trial} if place.trial is not None else {}
    shown = list(itertools.islice(crew.crops(photos[: SPARE * COLUMNS], trials), COLUMNS))
    return Chart(
        "Figures 6, 8 and 9, with originals. Originals and outputs",
        gallery({name: [crops[name] for crops in shown] for name in trials}),
        "REAL FACES. Originals; ours at four betas (Figures 6 and 9); blur and mosaic at our SSIM (Figure 8).",
    )


def _order(group: str) -> tuple[int, str]:
    known = [number for number, kind in enumerate(KINDS) if group.startswith(kind) or group.endswith(kind)]
    if not known:  # a column of labels of its own, such as race
        return KINDS.index("age "), f"b {group}"
    return known[0], f"a {group}"


def _filled(rows: dict[str, list[Image]]) -> bytes:
    """Return a gallery of rows of unequal length: white where a row has no more faces."""
    shown = {name: faces for name, faces in rows.items() if faces}
    if not shown:
        return gallery({"no face was drawn": [np.full((8, 8, 3), 255, np.uint8)]})
    longest = max(map(len, shown.values()))
    blank = np.full_like(next(iter(shown.values()))[0], 255)
    return gallery({name: [*faces, *[blank] * (longest - len(faces))] for name, faces in shown.items()})
