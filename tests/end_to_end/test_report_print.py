"""The report on paper, as a browser prints it."""

import math
import re
import subprocess
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.evaluate.figures import Figure, Findings, HashedFile, Problem, Specimen
from streamer.evaluate.report.report import html
from streamer.evaluate.report.thresholds import check, read_thresholds
from tests.end_to_end.browser import CHROMIUM, needs_chromium

EXAMPLE = Path(__file__).parents[2] / "examples" / "thresholds.toml"
BY_RECOGNIZER = "match_rate match_rate_own_group de_identify_rate similarity rank1 rank5 threshold delta frechet kernel"
OTHERS = (
    "mse ssim hog found landmarks pose gaze eyes mouth expression match_rate_any pairing "
    "pose.kept gaze.kept eyes.kept mouth.kept expression.kept"
)
CHANCES = ("match_rate_chance", "match_rate_any_chance", "rank1_chance", "rank5_chance")
UNMEASURED = ("tar_before", "eer_before", "tar_after", "eer_after")


def findings() -> Findings:
    """Return what two recognisers say of 200 photos, thresholds that hold, are broken, and are not settled."""
    named = [f"{stem}.{recognizer}" for stem, recognizer in product(BY_RECOGNIZER.split(), ("dlib", "identity"))]
    wide = Figure(0.975, 0.00943, 0.98912, 200)
    figures = dict.fromkeys([*named, *OTHERS.split(), *CHANCES], wide)
    figures |= {"match_rate.dlib": Figure(0.975, 0.943, 0.989, 200), "ssim": Figure(0.908, 0.905, 0.911, 200)}
    why = Figure(math.nan, note="needs several photos of one person")
    figures |= {f"{stem}.{each}": why for stem, each in product(UNMEASURED, ("dlib", "identity"))}
    face = cv2.imencode(".png", np.full((256, 256, 3), 250, np.uint8))[1].tobytes()
    says = "dlib: distance 0.297; identity: similarity 0.832; structure kept 0.864; expression moved 0.0146"
    files = tuple(HashedFile(f"lfw/Somebody_{n:04d}.jpg", "0" * 64, f"pixels {'1' * 64}") for n in range(200))
    return Findings(
        "Photos, and what veil makes of them",
        figures,
        problems=tuple(Problem(what, (files[0].name,)) for what in ("no output", "no face found", "cannot be read")),
        worst=tuple(Specimen(file.name, says, face, face) for file in files[:12]),
        settings={f"setting {n}": "dlib-bin 20.0.1.post1, scikit-image 0.26.0" for n in range(12)},
        files=files,
    )


@pytest.mark.slow
@needs_chromium
def test_a_report_on_200_photos_takes_four_pages_with_all_kinds_of_verdicts(tmp_path: Path):
    found = findings()
    verdict = check(found.figures, read_thresholds(EXAMPLE, "images"), "examples/thresholds.toml")
    assert verdict.broken
    assert verdict.unsettled
    page, paper = tmp_path / "report.html", tmp_path / "report.pdf"
    page.write_text(html(found, verdict, faces_shown=False), encoding="utf-8")
    assert CHROMIUM
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    print_it = [CHROMIUM, *options, "--no-pdf-header-footer", f"--print-to-pdf={paper}", page.as_uri()]
    subprocess.run(print_it, check=True, capture_output=True)
    assert len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())) == 4
