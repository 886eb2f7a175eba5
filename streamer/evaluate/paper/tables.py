"""`veil evaluate tables`: the paper's tables and figures, of our own output and the classics, on any data set."""

from __future__ import annotations

import time
from pathlib import Path

from models.checkpoint import file_sha256, weights_path
from models.checkpoint_errors import CheckpointError
from streamer.errors import StreamerError
from streamer.evaluate.figures import Findings
from streamer.evaluate.images.photos import find_photos
from streamer.evaluate.measures.inception_features import load_inception
from streamer.evaluate.measures.recognizers import load_recognizers
from streamer.evaluate.paper.galleries import all_faces, drawn_faces
from streamer.evaluate.paper.paper_charts import paper_charts
from streamer.evaluate.paper.paper_tables import paper_tables
from streamer.evaluate.paper.study import SEED, Progress, Sizes, Study, papers_sizes, run_study, sample
from streamer.evaluate.paper.workers import Ours, Setup, hired
from streamer.evaluate.report.provenance import versions
from streamer.evaluate.report.publish import write_tables
from streamer.pipeline.anonymizer import Anonymizer

__all__ = ["evaluate_tables", "write_tables"]

UNMEASURED = ".kept"  # of expressions: they are too large to bring back from the processes


def evaluate_tables(
    data: Path,
    setup: Setup,
    *,
    progress: Progress,
    sizes: Sizes | None = None,
    limit: int | None = None,
    workers: int = 2,
    show_faces: bool = False,
) -> Findings:
    """Return the paper's Tables 1 to 6 and Figures 3 to 9 on the photos of `data` (Zhao et al. 2022, section 4).

    Of CelebA 20,000 photos are drawn and of FFHQ 10,000, as in the paper; elsewhere 150, which takes two processes of
    a core each five minutes. Figures 6, 8 and 9 of the paper show faces; here they show drawn faces alone.

    Args:
        data: Photos, see `find_photos`.
        setup: Our weights, and the recognisers, of which the first finds the strengths.
        progress: Called with what is being done, how much of it is, and of how much.
        sizes: How many photos; None for the above.
        limit: At most this many photos for the tables, and in proportion fewer for the rest.
        workers: Processes, each of one thread.
        show_faces: Whether the gallery shows originals and weakly hidden faces too.

    Raises:
        SourceError: If there is no photo to measure.
        StreamerError: If weights or a recogniser cannot be used, or a process was ended.
    """
    started = time.monotonic()
    every = find_photos(data)
    sizes = sizes or papers_sizes(every)
    sizes = sizes if limit is None else sizes.at_most(limit)
    photos = sample(every, sizes.tables)
    recognizers = load_recognizers(setup.recognizers)
    _try_out(setup)
    with hired(setup, workers) as crew:
        study = run_study(crew, photos, recognizers, sizes=sizes, progress=progress)
        faces = [*drawn_faces(crew, photos), *([all_faces(crew, photos, study)] if show_faces else [])]
    return Findings(
        "The tables and figures of Private-Encoder, measured again",
        {name: figure for name, figure in study.figures[Ours(0.0)].items() if not name.endswith(UNMEASURED)},
        paper_tables(study),
        (*paper_charts(study, recognizers[0]), *faces),
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
