"""`veil evaluate tables`: the paper's tables and figures, of our own output and the classics, on any data set."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

from models.checkpoint import file_sha256, weights_path
from models.checkpoint_errors import CheckpointError
from streamer.errors import StreamerError
from streamer.evaluate.figures import Chart, Findings
from streamer.evaluate.images.baselines import unchanged
from streamer.evaluate.images.photos import PhotoFile, find_photos
from streamer.evaluate.measures.inception_features import load_inception
from streamer.evaluate.measures.recognizers import load_recognizers
from streamer.evaluate.paper.paper_charts import paper_charts
from streamer.evaluate.paper.paper_tables import paper_tables
from streamer.evaluate.paper.study import (
    BLUR,
    MOSAIC,
    OUR_SSIM,
    SEED,
    Progress,
    Sizes,
    Study,
    papers_sizes,
    run_study,
    sample,
)
from streamer.evaluate.paper.workers import Crew, Ours, Setup, Trial, hired
from streamer.evaluate.report.charts import gallery
from streamer.evaluate.report.provenance import versions
from streamer.evaluate.report.publish import write_tables
from streamer.pipeline.anonymizer import Anonymizer

__all__ = ["evaluate_tables", "write_tables"]

COLUMNS, ROWS = 8, 2  # of the gallery
UNMEASURED = ".kept"  # of expressions: they are too large to bring back from the processes
SHOWN_BETAS = (0.0, 0.2, 0.4, 1.0)
SPARE = 2  # photos looked at for each one shown: some are turned away and not drawn


def evaluate_tables(
    data: Path,
    setup: Setup,
    *,
    progress: Progress,
    sizes: Sizes | None = None,
    workers: int = 2,
    show_faces: bool = False,
) -> Findings:
    """Return the paper's Tables 1 to 6 and Figures 3 to 9 on the photos of `data` (Zhao et al. 2022, section 4).

    Of CelebA 20,000 photos are drawn and of FFHQ 10,000, as in the paper; elsewhere 200, which takes two processes of
    a core each about ten minutes. Figures 6, 8 and 9 of the paper show faces; here they show drawn faces alone.

    Args:
        data: Photos, see `find_photos`.
        setup: Our weights, and the recognisers, of which the first finds the strengths.
        progress: Called with what is being done, how much of it is, and of how much.
        sizes: How many photos; None for the above.
        workers: Processes, each of one thread.
        show_faces: Whether the gallery shows originals and weakly hidden faces too.

    Raises:
        SourceError: If there is no photo to measure.
        StreamerError: If weights or a recogniser cannot be used, or a process was ended.
    """
    started = time.monotonic()
    every = find_photos(data)
    sizes = sizes or papers_sizes(every)
    photos = sample(every, sizes.tables)
    recognizers = load_recognizers(setup.recognizers)
    _try_out(setup)
    with hired(setup, workers) as crew:
        study = run_study(crew, photos, recognizers, sizes=sizes, progress=progress)
        faces = (_all_faces if show_faces else _drawn_faces)(crew, photos, study)
    return Findings(
        "The tables and figures of Private-Encoder, measured again",
        {name: figure for name, figure in study.figures[Ours(0.0)].items() if not name.endswith(UNMEASURED)},
        paper_tables(study),
        (*paper_charts(study, recognizers[0]), faces),
        study.problems,
        settings=_settings(data, setup, study, found=len(every), minutes=(time.monotonic() - started) / 60),
    )


def _try_out(setup: Setup) -> None:
    """Load what the processes will: an error of theirs would only say that one of them ended.

    Raises:
        StreamerError: If something cannot be used.
    """
    try:
        Anonymizer.load(setup.model, device=setup.device)
        if setup.inception:
            load_inception(setup.inception)
    except CheckpointError as error:
        raise StreamerError(str(error)) from error


def _drawn_faces(crew: Crew, photos: Sequence[PhotoFile], _: Study) -> Chart:
    """Return the drawn faces alone, and nothing of the photos that they were drawn into."""
    some = photos[: SPARE * COLUMNS * ROWS]
    faces = list(itertools.islice(crew.drawn(some, Ours(0.0)), COLUMNS * ROWS))
    rows = {f"ours, beta 0 ({row + 1})": faces[row * COLUMNS : (row + 1) * COLUMNS] for row in range(ROWS)}
    return Chart(
        "Figures 6, 8 and 9. What is drawn at beta 0",
        gallery({name: row for name, row in rows.items() if row}),
        f"{len(faces)} drawn faces, cut out of photos. The paper shows originals beside them, and blur and mosaic; "
        "we show no real face unless asked to (--show-faces).",
    )


def _all_faces(crew: Crew, photos: Sequence[PhotoFile], study: Study) -> Chart:
    """Return originals and what every method makes of them."""
    trials: dict[str, Trial] = {"original": unchanged}
    trials |= {f"ours, beta {beta:g}": Ours(beta) for beta in SHOWN_BETAS}
    for method in (BLUR, MOSAIC):
        place = study.places[method, OUR_SSIM]
        trials |= {f"{method}, at our SSIM": place.trial} if place.trial is not None else {}
    shown = list(itertools.islice(crew.crops(photos[: SPARE * COLUMNS], trials), COLUMNS))
    return Chart(
        "Figures 6, 8 and 9. Originals and outputs",
        gallery({name: [crops[name] for crops in shown] for name in trials}),
        "REAL FACES. Originals; ours at four betas (Figures 6 and 9); blur and mosaic at our SSIM (Figure 8).",
    )


def _settings(data: Path, setup: Setup, study: Study, *, found: int, minutes: float) -> dict[str, str]:
    weights = weights_path(setup.model)
    collections = sorted({groups[0] for groups in study.measured.groups})
    return {
        "data": f"{data.name}: {', '.join(collections)}",
        "photos": f"of {found}, drawn with seed {SEED}: {study.count[0]} for tables, {study.count[1]} for curves",
        "model": weights.stem,
        "model sha256": file_sha256(weights),
        "key": "fixed: the same strangers in every run" if setup.key == bytes(32) else "given",
        "recognisers": ", ".join(study.recognizers),
        "strengths": f"found by {study.recognizers[0]}",
        "minutes": f"{minutes:.1f}",
        **versions(),
    }
