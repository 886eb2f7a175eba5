"""The report on paper, as a browser prints it."""

import asyncio
import base64
import math
import re
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.evaluate.figures import Figure, Findings, HashedFile, Problem, Specimen
from streamer.evaluate.report.report import html
from streamer.evaluate.report.thresholds import check, read_thresholds
from tests.end_to_end.browser import Chromium, needs_chromium

EXAMPLE = Path(__file__).parents[2] / "examples" / "thresholds.toml"
BY_RECOGNIZER = (
    "match_rate match_rate_own_group de_identify_rate de_identify_rate_chance similarity nearness nearest rank1 rank5 "
    "threshold delta"
)
OTHERS = (
    "mse ssim frechet.identity kernel.identity hog found landmarks pose gaze eyes mouth expression match_rate_any "
    "pairing pose.kept gaze.kept eyes.kept mouth.kept expression.kept"
)
COUNTED = ("match_rate.dlib", "match_rate.identity", "match_rate_any", "rank1.dlib", "rank1.identity")
CHANCES = ("match_rate_chance", "match_rate_any_chance", "rank1_chance", "rank5_chance")
UNMEASURED = ("tar_before", "eer_before", "tar_after", "eer_after")


def findings() -> Findings:
    """Return what two recognisers say of 200 photos, thresholds that hold, are broken, and are not settled."""
    named = [f"{stem}.{recognizer}" for stem, recognizer in product(BY_RECOGNIZER.split(), ("dlib", "identity"))]
    wide = Figure(0.975, 0.00943, 0.98912, 200)
    figures = dict.fromkeys([*named, *OTHERS.split(), *CHANCES], wide)
    figures |= {"match_rate.dlib": Figure(0.975, 0.943, 0.989, 200), "ssim": Figure(0.908, 0.905, 0.911, 200)}
    figures |= {"hog": Figure(0.975, 0.943, 0.989, 199)}
    why = Figure(math.nan, note="needs several photos of one person")
    figures |= {f"{stem}.{each}": why for stem, each in product(UNMEASURED, ("dlib", "identity"))}
    face = cv2.imencode(".png", np.full((256, 256, 3), 250, np.uint8))[1].tobytes()
    says = "dlib 0.876, identity -0.192; structure kept 0.864; expression moved 0.0146"
    files = tuple(HashedFile(f"lfw/Somebody_{n:04d}.jpg", "0" * 64, f"pixels {'1' * 64}") for n in range(200))
    return Findings(
        "Photos, and what veil makes of them",
        figures,
        problems=tuple(Problem(what, (files[0].name,)) for what in ("no output", "no face found", "cannot be read")),
        worst=tuple(Specimen(file.name, says, face, face) for file in files[:12]),
        settings={f"setting {n}": "dlib-bin 20.0.1.post1, scikit-image 0.26.0" for n in range(12)},
        files=files,
        counted={name: tuple(file.name for file in files[::7]) for name in COUNTED},
    )


@pytest.mark.slow
@needs_chromium
def test_a_report_on_200_photos_takes_four_pages_with_all_kinds_of_verdicts(chromium: Chromium, tmp_path: Path):
    found = findings()
    gate = read_thresholds(EXAMPLE, "images")
    verdict = check(found.figures, gate.thresholds, "examples/thresholds.toml", gate.sha256)
    assert verdict.broken
    assert verdict.unsettled
    report = tmp_path / "report.html"
    report.write_text(html(found, verdict, faces_shown=False), encoding="utf-8")

    async def printed() -> bytes:
        async with chromium.page() as page:
            await page.go(report.as_uri())
            return base64.b64decode((await page.do("Page.printToPDF", printBackground=True))["data"])

    assert len(re.findall(rb"/Type\s*/Page\b", asyncio.run(printed()))) == 4
