"""The paper's tables on five portraits, the numbers we quote of the paper, and the files that are written."""

import csv
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import pytest

from streamer.errors import SinkError, SourceError
from streamer.evaluate.figures import Chart, Figure, Findings, Problem, Table
from streamer.evaluate.images.photos import PhotoFile, find_photos
from streamer.evaluate.paper import published
from streamer.evaluate.paper.galleries import by_group
from streamer.evaluate.paper.study import Sizes, papers_sizes, sample
from streamer.evaluate.paper.tables import evaluate_tables, write_tables
from streamer.evaluate.paper.workers import Drawn, Setup

PAPER = Path(__file__).parents[4] / "shared" / "docs" / "private-encoder-paper.txt"
SETUP = Setup("default", "cpu", bytes(32), ("identity",))


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures of Grace Hopper, which matplotlib ships, and one of nobody."""
    folder = tmp_path_factory.mktemp("data") / "portraits"
    folder.mkdir()
    picture = cv2.imread(str(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"))
    picture = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    variants = {"plain": picture, "mirrored": picture[:, ::-1], "dark": picture // 2, "blue": picture[..., ::-1]}
    variants |= {"soft": cv2.GaussianBlur(picture, (0, 0), 2), "empty": np.full_like(picture, 90)}
    for n, (name, variant) in enumerate(variants.items()):  # of several sizes, or all cells of mosaics change at once
        scaled = cv2.resize(variant, None, fx=1 + 0.07 * n, fy=1 + 0.07 * n, interpolation=cv2.INTER_LINEAR)
        cv2.imwrite(str(folder / f"{name}.png"), scaled)
    return folder


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def findings(portraits: Path, kept: Path) -> Iterator[Findings]:
    told: list[tuple[str, int, int]] = []
    sizes = Sizes(tables=6, curve=6, calibration=6)
    setup = replace(SETUP, kept=kept)
    yield evaluate_tables(portraits, setup, progress=lambda *said: told.append(said), sizes=sizes, workers=1)
    done = [said for said in told if said[1] == said[2]]
    assert done == [("beta curve", 6, 6), ("strengths", 2, 2), ("tables", 6, 6)]


@pytest.mark.slow
def test_a_study_that_was_cut_off_goes_on_with_what_is_missing(portraits: Path, kept: Path, findings: Findings):
    files = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    missing = min(files)
    missing.unlink()
    setup = replace(SETUP, kept=kept)
    again = evaluate_tables(portraits, setup, progress=lambda *_: None, sizes=Sizes(6, 6, 6), workers=1)
    assert repr(again.figures) == repr(findings.figures)
    assert repr(again.tables) == repr(findings.tables)
    after = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert after.keys() == files.keys()
    assert {path for path in files if after[path] != files[path]} == {missing}


def rows_of(findings: Findings, number: int) -> dict[str, dict[str, object]]:
    table = next(table for table in findings.tables if table.title.startswith(f"Table {number}."))
    return {str(row[0]): dict(zip(table.columns, row, strict=True)) for row in table.rows}


@pytest.mark.slow
def test_each_table_has_ours_beside_blur_and_mosaic_and_the_papers_own_rows(findings: Findings):
    for number in (1, 2, 3, 4, 5):
        methods = {re.split(r" \(", name)[0] for name in rows_of(findings, number) if "paper" not in name}
        assert {"ours", "blur", "mosaic"} <= methods
        assert sum("(paper, FFHQ)" in name for name in rows_of(findings, number)) == 3
    assert sum("(paper, CelebA)" in name for name in rows_of(findings, 6)) == 4


@pytest.mark.slow
def test_blur_and_mosaic_have_the_similarity_of_the_papers_tables(findings: Findings):
    for number, wanted in enumerate(published.SIMILARITIES, start=1):
        rows = [row for name, row in rows_of(findings, number).items() if name.startswith(("blur (", "mosaic ("))]
        reached = [row["Similarity ↓ (identity)"].value for row in rows if "paper" not in row["Method"]]
        assert reached == pytest.approx([wanted, wanted], abs=0.05)  # a mosaic changes by whole cells


@pytest.mark.slow
def test_blur_and_mosaic_have_the_papers_ssim(findings: Findings):
    rows = [row for name, row in rows_of(findings, 4).items() if "whole crop" in name or "box" in name]
    assert [row["SSIM ↑"].value for row in rows] == pytest.approx([0.65, 0.65], abs=0.015)


@pytest.mark.slow
def test_fid_says_what_it_needs_and_distances_of_features_stand_beside_it(findings: Findings):
    ours = next(row for name, row in rows_of(findings, 1).items() if name.startswith("ours"))
    assert "--inception" in str(ours["FID ↓"])
    assert str(ours["Kernel ↓ (identity)"]) == "needs 20 photos, got 5"


@pytest.mark.slow
def test_our_similarity_rises_with_beta_in_figure_4(findings: Findings):
    text = next(chart.text for chart in findings.charts if chart.title.startswith("Figure 4a"))
    ours, authors = text.split("Private-Encoder")
    values = [float(value) for value in re.findall(r"[\d.]+: (-?[\d.]+\d)", ours)]
    assert len(values) == 11
    assert values[0] < 0.5 < values[-1]
    assert "0.5: 0.33" in authors


@pytest.mark.slow
def test_what_could_not_be_measured_is_named_once(findings: Findings):
    nobody = next(problem for problem in findings.problems if "no face found in the original" in problem.what)
    assert nobody.names == ("portraits/empty.png",)


@pytest.mark.slow
def test_the_gallery_shows_drawn_faces_and_white_around_them(findings: Findings):
    chart = next(chart for chart in findings.charts if "8 and 9" in chart.title)
    shown = cv2.imdecode(np.frombuffer(chart.png, np.uint8), cv2.IMREAD_COLOR)
    assert "5 drawn faces" in chart.text
    assert (shown == 255).all(axis=2).mean() > 0.4
    assert (shown[shown.shape[0] // 2] != 255).any()


def face_of(*groups: str) -> Drawn:
    return Drawn(np.full((8, 8, 3), len(groups), np.uint8), groups)


def test_drawn_faces_stand_by_sex_age_skin_and_light_and_not_by_pose():
    one = ("female", "indian", "age 13-29", "turned under 15", "face 64-128 px", "even light", "skin III, measured")
    other = ("male", "indian", "age 0-12", "turned under 15", "face over 128 px", "even light", "skin III, measured")
    groups = by_group([face_of(*one)] * 9 + [face_of(*other)] * 2 + [face_of("black")])
    assert list(groups) == ["female", "male", "age 0-12", "age 13-29", "indian", "skin III, measured", "even light"]
    assert [len(faces) for faces in groups.values()] == [8, 2, 2, 8, 8, 8, 8]


def test_a_limit_makes_all_sizes_smaller_alike():
    assert Sizes(150, curve=108, calibration=48).at_most(50) == Sizes(50, curve=36, calibration=16)
    assert Sizes(150, curve=108, calibration=48).at_most(8) == Sizes(8, curve=8, calibration=8)
    assert Sizes(150, curve=108, calibration=48).at_most(1000) == Sizes(150, curve=108, calibration=48)


@pytest.mark.slow
def test_everything_is_written_and_the_page_links_to_every_chart(findings: Findings, tmp_path: Path):
    page = write_tables(findings, tmp_path / "out")[0]
    text = page.read_text()
    assert set(re.findall(r"\]\((.+\.png)\)", text)) == {path.name for path in page.parent.glob("*.png")}
    assert len(list(page.parent.glob("table-*.csv"))) == 7
    assert findings.settings["model sha256"] in text
    with (page.parent / "problems.csv").open() as file:
        assert ["no face found in the original: not measured", "portraits/empty.png"] in list(csv.reader(file))


def test_two_tables_of_one_title_are_two_files(tmp_path: Path):
    table = Table("Same", ("a",), (("1",),))
    write_tables(Findings("x", {}, (table, table), (Chart("Same", b"png"),)), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "tables.md", "problems.csv", "same.csv", "same-2.csv", "same.png"
    }  # fmt: skip


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"file.*another folder"):
        write_tables(Findings("x", {}, problems=(Problem("y", ("z",)),)), tmp_path / "file" / "out")


@pytest.mark.slow
def test_photos_without_any_face_are_an_error_that_says_so(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((64, 64, 3), 90, np.uint8))
    with pytest.raises(SourceError, match="1: no face found"):
        evaluate_tables(tmp_path, SETUP, progress=lambda *_: None, sizes=Sizes(1, 1, 1), workers=1)


@pytest.mark.slow
def test_one_photo_is_too_few_to_find_strengths_by(portraits: Path, tmp_path: Path):
    shutil.copy(portraits / "plain.png", tmp_path)
    with pytest.raises(SourceError, match="strengths need 3 photos with a face to be found by, got 1"):
        evaluate_tables(tmp_path, Setup("default", "cpu", bytes(32), ("dlib",)), progress=lambda *_: None, workers=1)


def test_a_sample_is_the_same_every_time_and_a_smaller_one_is_its_beginning():
    photos = [PhotoFile(f"a/{n}.png", f"{n}", ("a",), Path(f"{n}.png")) for n in range(100)]
    assert sample(photos, 10) == sample(photos, 40)[:10]
    assert len({photo.name for photo in sample(photos, 40)}) == 40
    assert sample(photos, 10) != photos[:10]


def test_celeba_and_ffhq_are_sampled_as_in_the_paper(tmp_path: Path):
    for folder, name in (("img_align_celeba", "000001.jpg"), ("ffhq", "00000.png")):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / name), np.zeros((8, 8, 3), np.uint8))
    assert papers_sizes(find_photos(tmp_path / "img_align_celeba")).tables == 20_000
    assert papers_sizes(find_photos(tmp_path / "ffhq")).tables == 10_000
    assert papers_sizes(find_photos(tmp_path)).tables == 150


@pytest.mark.skipif(not PAPER.is_file(), reason="needs ../shared: the paper's text")
def test_the_numbers_we_quote_are_in_the_paper():
    text = PAPER.read_text()
    row = re.search(r"Blur\t0.12.*?\n.*?\n.*?\n", text)
    assert row is not None
    numbers = [float(each) for each in re.findall(r"\d+\.\d+", row[0])]
    names = ("blur", "mosaic", "Private-Encoder")
    assert numbers == [value for name in names for at in (0.1, 0.2, 0.4) for value in published.QUALITY[at][name]]
    for mean, deviation in published.SIMILARITY_AT_SSIM.values():
        assert f"{mean:.2f}+-{deviation:.2f}" in text
    for rate in published.DETECTION_AT_SSIM.values():
        assert f"{rate:.4f}" in text
    for mse, ssim, fid, rate in published.LEARNED.values():
        assert re.search(rf"{mse:.2f}\+-[\d.]+\t{ssim:.2f}\+-[\d.]+\t{fid:.2f}\t{rate:.4f}", text)


def test_a_quoted_figure_has_no_interval_and_shows_its_number():
    assert str(Figure(published.QUALITY[0.1]["blur"][2])) == "158"
