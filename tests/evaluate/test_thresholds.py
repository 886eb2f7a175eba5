import hashlib
import math
from pathlib import Path

import numpy as np
import pytest

from streamer.errors import SourceError
from streamer.evaluate.figures import Figure, rate_figure
from streamer.evaluate.report.thresholds import Threshold, Verdict, check, read_thresholds

NAN = math.nan


def read(tmp_path: Path, text: str) -> tuple[Threshold, ...]:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    return read_thresholds(path, "images").thresholds


def broken(figure: Figure, **limits: float | str) -> str:
    return check({"ssim": figure}, [Threshold("ssim", **limits)], "gate.toml").checks[0].broken


def test_a_section_is_read_in_its_order(tmp_path: Path):
    text = '[images]\n"match_rate.dlib" = { max = 0.01 }\nssim = { min = 0.6, max = 1, bound = "interval" }\n'
    assert read(tmp_path, text) == (
        Threshold("match_rate.dlib", most=0.01),
        Threshold("ssim", least=0.6, most=1.0, bound="interval"),
    )


def test_the_file_is_known_by_the_hash_of_what_was_read_and_the_verdict_keeps_it(tmp_path: Path):
    path = tmp_path / "gate.toml"
    path.write_bytes(b"[images]\r\nssim = { min = 0.6 }\r\n")
    gate = read_thresholds(path, "images")
    assert (gate.source, gate.sha256) == (str(path), hashlib.sha256(path.read_bytes()).hexdigest())
    assert check({}, gate.thresholds, gate.source, gate.sha256).sha256 == gate.sha256


def test_a_name_with_a_dot_needs_no_quotes(tmp_path: Path):
    assert read(tmp_path, "[images]\nmatch_rate.dlib = { max = 0.01 }\n") == (Threshold("match_rate.dlib", most=0.01),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[images\n", "is not TOML"),
        ("[images]\nssim = { min = .5 }\n", "write 0.01, not .01"),
        ("[image]\nssim = { min = 0.5 }\n", "unknown section [image]; did you mean 'images'?"),
        ("images = 3\n", "images must be a section"),
        ("[video]\nssim = { min = 0.5 }\n", "no thresholds under [images]"),
        ("[images]\n", "no thresholds under [images]"),
        ("[images]\nssim = { maxx = 0.5 }\n", "[images] ssim has an unknown key 'maxx'; did you mean 'max'?"),
        ("[images]\nssim = { least = 0.5 }\n", "unknown key 'least'; known are min, max, bound"),
        ("[images]\nssim = {}\n", "[images] ssim needs min or max"),
        ('[images]\nssim = { bound = "value" }\n', "needs min or max"),
        ("[images]\nssim = 0.5\n", "must be such as { max = 0.01 }, not 0.5"),
        ('[images]\nssim = { min = "0.5" }\n', "min must be a number, not '0.5'"),
        ("[images]\nssim = { min = true }\n", "min must be a number, not True"),
        ("[images]\nssim = { max = nan }\n", "max must be a number, not nan"),
        ("[images]\nssim = { max = inf }\n", "max must be a number, not inf"),
        ("[images]\nssim = { min = 0.7, max = 0.6 }\n", "min 0.7 is above max 0.6"),
        ('[images]\nssim = { min = 0.5, bound = "low" }\n', 'bound must be "auto", "value" or "interval", not \'low\''),
        ("[images]\nssim = { min = 0.5 }\n[video]\nleak_rate = { mx = 1 }\n", "[video] leak_rate has an unknown key"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, says: str, tmp_path: Path):
    with pytest.raises(SourceError, match=r"gate\.toml") as caught:
        read(tmp_path, text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path):
    path = tmp_path / "gate.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=r"cannot read the thresholds .*gate\.toml"):
        read_thresholds(path, "images")


def unsettled(figure: Figure, **limits: float | str) -> str:
    return check({"ssim": figure}, [Threshold("ssim", **limits)], "gate.toml").checks[0].unsettled


@pytest.mark.parametrize("figure", [Figure(0.5), Figure(0.5, 0.1, 0.9)])
def test_a_limit_itself_holds_and_intervals_are_not_looked_at_where_the_value_alone_counts(figure: Figure):
    for limits in ({"least": 0.5}, {"most": 0.5}):
        assert broken(figure, **limits, bound="value") == unsettled(figure, **limits, bound="value") == ""


def test_a_value_past_a_limit_is_broken():
    assert broken(Figure(0.6499), least=0.65) == "0.6499 is below 0.65"
    assert broken(Figure(0.6501), most=0.65) == "0.6501 is above 0.65"


def test_an_interval_that_reaches_past_a_limit_settles_nothing():
    figure = Figure(0.5, 0.4, 0.6)
    for bound in ("interval", "auto"):
        assert unsettled(figure, most=0.55, bound=bound) == "0.6 is above 0.55"
        assert unsettled(figure, most=0.45, bound=bound) == "0.6 is above 0.45"  # too few to say that it is broken
        assert unsettled(figure, least=0.45, bound=bound) == "0.4 is below 0.45"
        assert unsettled(figure, least=0.4, most=0.6, bound=bound) == ""
        assert broken(figure, least=0.4, most=0.6, bound=bound) == ""


def test_a_threshold_is_broken_where_all_of_the_interval_lies_past_it():
    figure = Figure(0.5, 0.4, 0.6)
    assert broken(figure, most=0.39) == "0.5 is above 0.39"
    assert broken(figure, least=0.61, bound="interval") == "0.5 is below 0.61"
    assert unsettled(figure, most=0.39) == ""


@pytest.mark.parametrize(
    ("figure", "expected"),
    [(Figure(0.0, 0.0, 0.2), True), (Figure(0.0, 0.0, 0.01), False), (Figure(0.0), False), (Figure(0.5, 0, 1), False)],
)
def test_a_limit_that_holds_by_the_value_alone_is_uncertain(figure: Figure, expected: bool):
    assert check({"rank1": figure}, [Threshold("rank1", most=0.01, bound="value")], "").checks[0].uncertain is expected


def test_what_could_not_be_measured_is_broken():
    assert broken(Figure(NAN, note="needs --inception"), most=1e9) == "not measured: needs --inception"
    assert broken(Figure(NAN), least=-1e9) == "not measured"
    assert broken(Figure(0.5), most=1.0, bound="interval") == "has no interval to check"


def test_a_figure_that_nobody_knows_is_broken():
    verdict = check({"ssim": Figure(0.7)}, [Threshold("sim", most=1.0), Threshold("leak_rate", most=1.0)], "")
    assert verdict.checks[0].broken == "no such figure; did you mean 'ssim'?"
    assert verdict.outcome == "fail"


def test_nothing_asked_is_no_pass():
    assert Verdict().outcome == "none"
    assert str(Verdict()) == "no thresholds given"


def test_the_verdict_counts_what_is_broken():
    figures = {"ssim": Figure(0.7), "mse": Figure(0.1)}
    thresholds = [Threshold("ssim", least=0.65), Threshold("mse", most=0.03)]
    assert str(check(figures, thresholds, "gate.toml")) == "FAIL: 1 of 2 thresholds of gate.toml do not hold: 1 broken"
    assert str(check(figures, thresholds[:1], "gate.toml")) == "PASS: 1 of 1 thresholds of gate.toml hold"
    unknown = check({"mse": Figure(0.1)}, thresholds, "gate.toml")
    assert str(unknown) == "FAIL: 2 of 2 thresholds of gate.toml do not hold: 1 broken, 1 not measured"
    both = check({"ssim": Figure(0.7, 0.6, 0.8), "mse": Figure(0.1)}, thresholds, "gate.toml")
    assert str(both) == "FAIL: 2 of 2 thresholds of gate.toml do not hold: 1 broken, 1 too few to pass"
    few = check({"ssim": Figure(0.7, 0.6, 0.8)}, thresholds[:1], "gate.toml")
    assert (few.outcome, str(few)) == ("too few", "TOO FEW TO PASS: 1 of 1 thresholds of gate.toml need more")


def test_the_example_is_what_the_project_promises():
    example = Path(__file__).parents[2] / "examples" / "thresholds.toml"
    assert read_thresholds(example, "images").thresholds == (
        Threshold("match_rate.dlib", most=0.03),
        Threshold("match_rate.identity", most=0.03),
        Threshold("match_rate_any", most=0.03),
        Threshold("rank1.dlib", most=0.05),
        Threshold("rank1.identity", most=0.05),
        Threshold("similarity.dlib", most=0.1),
        Threshold("mse", most=0.03),
        Threshold("ssim", least=0.65),
        Threshold("hog", least=0.95),
        Threshold("landmarks", most=0.07),
    )


@pytest.mark.parametrize(("count", "outcome"), [(200, "pass"), (60, "too few")])
def test_the_example_can_be_passed_with_two_hundred_photos_without_a_match_and_not_with_sixty(count: int, outcome: str):
    example = read_thresholds(Path(__file__).parents[2] / "examples" / "thresholds.toml", "images").thresholds
    nobody = rate_figure(np.zeros(count))
    figures = {
        each.name: nobody if "rank" in each.name or "match" in each.name else Figure(max(each.least, 0.0))
        for each in example
    }
    assert check(figures, example, "").outcome == outcome
