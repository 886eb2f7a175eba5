import base64
import hashlib
import itertools
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO

import cv2
import numpy as np
from rich.console import Console

from streamer.evaluate.figures import Chart, Figure, Findings, HashedFile, Problem, Specimen, Table
from streamer.evaluate.report.glossary import GLOSSARY, TOPICS, by_topic, meaning_of
from streamer.evaluate.report.report import html
from streamer.evaluate.report.summary import as_dict, summary
from streamer.evaluate.report.thresholds import Threshold, Verdict, check

HOSTILE = "<script>alert('1')</script>\"&"
EVENT = '" onerror="alert(1)'
VOID = {"meta", "img", "br", "link", "input", "hr"}


def png(grey: int) -> bytes:
    return cv2.imencode(".png", np.full((8, 8), grey, np.uint8))[1].tobytes()


def findings(text: str = "x") -> Findings:
    """Return one of everything, with `text` wherever text from outside may stand."""
    return Findings(
        f"title {text}",
        {
            "match_rate.dlib": Figure(0.002, 0.0005, 0.007, 868, text),
            "fid": Figure(math.nan, note="needs --inception"),
            f"odd {text}": Figure(3.0),
        },
        (Table(f"table {text}", ("group", text), ((text, Figure(0.5, 0.4)), ("other", text), ("none", None)), text),),
        (Chart(f"chart {text}", png(1), text),),
        (Problem(f"no face {text}", (f"lfw/{text}.jpg", "b.jpg", "c.jpg", "d.jpg")),),
        (Specimen(f"worst {text}", text, png(2), png(3)),),
        {"date": "2025-11-25", "model": text, f"key {text}": text},
    )


def verdict_on(found: Findings, text: str = "gate.toml") -> Verdict:
    thresholds = [Threshold("match_rate.dlib", most=0.01), Threshold("fid", most=40), Threshold(f"gone {text}", 0)]
    return check(found.figures, thresholds, text)


class Page(HTMLParser):
    """What a browser makes of a page: its tags with attributes, its text, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(found: Findings, verdict: Verdict | None = None, *, faces_shown: bool = False) -> Page:
    return Page(html(found, verdict or Verdict(), faces_shown=faces_shown))


def words(text: str) -> str:
    return re.sub(" ([,.:])", r"\1", " ".join(text.split()))


def test_each_printed_page_has_its_number_the_verdict_the_title_the_date_and_the_hash_of_the_report():
    files = (HashedFile("a.jpg", "0a", "0b"),)
    settings = {"date": "2025-11-25 10:00 UTC"}
    found = Findings('t";} * {x', {"rank1.dlib": Figure(0.5, 0.4, 0.6, 9)}, files=files, settings=settings)
    verdict = check(found.figures, [Threshold("rank1.dlib", most=0.01)], "x.toml")
    text = html(found, verdict, faces_shown=False)
    together = hashlib.sha256(json.dumps(as_dict(found, verdict)).encode()).hexdigest()
    foot = f"FAIL · t  x · 2025-11-25 10:00 UTC · report {together[:16]}, the first 16 of 64 digits"
    assert f'@bottom-left {{ content: "{foot}";' in text
    assert words(Page(text).text).count(together) == 2  # in full among the settings and above the signature
    later = replace(found, settings={"date": "2025-11-26"})
    assert together not in html(later, verdict, faces_shown=False)
    assert '@bottom-right { content: "page " counter(page) " of " counter(pages);' in text


def test_every_tag_is_closed_in_order():
    assert page(findings(), verdict_on(findings())).open == []


def test_text_from_outside_stays_text_wherever_it_stands():
    for text in (HOSTILE, EVENT, "{{ 7 * 7 }}"):
        found = findings(text)
        shown = page(found, verdict_on(found, text))
        allowed = {tag for tag, _ in page(findings(), verdict_on(findings())).tags}
        assert {tag for tag, _ in shown.tags} <= allowed - {"script"}
        assert not [name for _, attributes in shown.tags for name in attributes if name.startswith("on")]
        assert shown.text.count(text) >= 15  # and it is there to be read


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs():
    text = html(findings(), verdict_on(findings()), faces_shown=True)
    shown = Page(text)
    policy = next(meta["content"] for meta in shown.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert not re.search(r"https?:|url\(|@import|<script|<link|<iframe", text)
    assert {str(image["src"]).partition(",")[0] for image in shown.all("img")} == {"data:image/png;base64"}
    assert [a["href"] for a in shown.all("a")] == ["#problems"]


def test_plots_and_faces_are_inside_and_described():
    images = page(findings()).all("img")
    assert [base64.b64decode(str(image["src"]).partition(",")[2]) for image in images] == [png(2), png(3), png(1)]
    assert [image["alt"] for image in images] == ["before, landmarks", "after, landmarks", "x"]


def test_a_banner_warns_of_real_faces_only_where_they_are_shown():
    assert "This page shows real faces." in page(findings(), faces_shown=True).text
    assert "This page shows real faces." not in page(findings()).text
    assert [image["alt"] for image in page(findings(), faces_shown=True).all("img")][:2] == ["before", "after"]


def test_headings_are_in_order_and_tables_say_what_their_heads_are_of():
    shown = page(findings(), verdict_on(findings()))
    levels = [int(tag[1]) for tag, _ in shown.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert {attributes.get("scope") for attributes in shown.all("th")} == {"col", "row", "rowgroup"}


def test_the_verdict_is_on_top_and_names_what_is_broken():
    broken = words(page(findings(), verdict_on(findings())).text)
    assert "Fail Privacy: 1 of 1 thresholds hold." in broken
    assert (
        "Usefulness: 0 of 2 thresholds hold; 2 not measured, which is no pass ( Naturalness (FID) ; gone gate" in broken
    )
    assert broken.count("✗ Not measured") == 2
    assert "✗ Broken" not in broken
    assert "not measured: needs --inception" in broken
    holds = check(findings().figures, [Threshold("match_rate.dlib", most=0.01)], "gate.toml")
    assert "Pass Privacy: 1 of 1 thresholds hold." in words(page(findings(), holds).text)
    assert "No verdict No thresholds were given" in words(page(findings()).text)


def test_the_verdict_tells_privacy_from_use_which_thresholds_they_are_and_what_none_of_them_asks():
    figures = {"match_rate.a": Figure(0.5, 0.4, 0.6, 99), "rank1.a": Figure(0.0), "ssim": Figure(0.7, 0.6, 0.8, 99)}
    asked = [Threshold("match_rate.a", most=0.1), Threshold("ssim", least=0.65), Threshold("mse", most=1)]
    shown = words(page(Findings("t", figures), check(figures, asked, "gate.toml", "0a" * 32)).text)
    box = shown[shown.index("Fail Privacy") : shown.index("What was found")]
    assert "Privacy: 0 of 1 thresholds hold; 1 broken ( Recognised (a) )." in box
    assert "Usefulness: 0 of 2 thresholds hold; 1 with too few pictures to pass ( Structure kept ); 1 not" in box
    assert f"gate.toml, SHA-256 {'0a' * 32}, chosen by whoever ran this." in box
    assert "no threshold asks for: First hit in a search." in box
    table = shown[shown.index("Holds: the whole 95 % interval") : shown.index("Figures 95 % interval")]
    assert table.index("Privacy") < table.index("Recognised (a)") < table.index("Usefulness") < table.index("Structure")


def test_a_threshold_stands_beside_what_was_measured_and_its_interval():
    shown = words(page(findings(), verdict_on(findings())).text)
    assert "match_rate.dlib at most 1 % 0.2 % 0.05 % to 0.7 % no guess ✓ Holds" in shown


def test_a_figure_is_explained_once_and_an_unknown_one_not_at_all():
    found = Findings("t", {name: Figure(0.5) for name in ("rank1.a", "ssim", "rank1.b", "new.thing")})
    shown = words(page(found).text)
    assert shown.count(GLOSSARY["rank1"].sentence) == 1
    assert shown.index("(a) rank1.a") < shown.index("(b) rank1.b") < shown.index("ssim")
    assert "new.thing" in shown


def test_a_table_that_only_repeats_the_figures_is_left_out():
    repeats, tells = Table("All figures", ("figure",), (("ssim",),)), Table("Groups", ("group",), (("women",),))
    shown = page(Findings("t", {"ssim": Figure(0.7)}, (repeats, tells))).text
    assert "All figures" not in shown
    assert "Groups" in shown


def test_the_head_of_the_figures_is_repeated_on_each_printed_page_and_thresholds_stay_on_one():
    text = html(findings(), verdict_on(findings()), faces_shown=False)
    figures = text[
        text.index('<table class="figures">') : text.index("</section>", text.index('<table class="figures">'))
    ]
    assert figures.count("<thead>") == 1  # one table, so that a browser repeats it
    assert figures.count('scope="rowgroup"') == 3
    assert "thead { display: table-header-group; }" in text
    assert ".thresholds { break-inside: avoid; }" in text


def test_a_threshold_that_holds_by_luck_says_so():
    found = Findings("t", {"rank1.dlib": Figure(0.0, 0.0, 0.2, 16)})
    verdict = check(found.figures, [Threshold("rank1.dlib", most=0.01, bound="value")], "gate.toml")
    assert "Holds not for sure" in words(page(found, verdict).text)
    assert "not for sure: rank1.dlib 0 (0 to 0.2), at most 0.01 (the value alone)" in summary(found, verdict).plain


def test_too_few_photos_neither_hold_nor_break_a_threshold_and_no_page_says_pass():
    found = Findings("t", {"rank1.dlib": Figure(0.0, 0.0, 0.2, 16), "ssim": Figure(0.7)})
    verdict = check(found.figures, [Threshold("rank1.dlib", most=0.01), Threshold("ssim", least=0.5)], "gate.toml")
    shown = words(page(found, verdict).text)
    assert "Too few to pass None of 2 thresholds is broken" in shown
    assert "Privacy: 0 of 1 thresholds hold; 1 with too few pictures to pass ( First hit in a search (dlib) )." in shown
    assert "Too few to pass: the interval reaches to both sides, and more pictures are needed." in shown
    assert "at most 1 % 0 % 0 % to 20 % no guess ? Too few to pass" in shown
    assert "✗" not in shown
    assert "too few to pass: rank1.dlib, at most 0.01: 0.2 is above 0.01" in summary(found, verdict).plain
    assert as_dict(found, verdict)["verdict"] == {
        "outcome": "too few", "broken": {}, "too_few": {"rank1.dlib": "0.2 is above 0.01"},
    }  # fmt: skip


def test_chance_stands_beside_every_rank_and_in_no_row_of_its_own():
    figures = {"rank1.a": Figure(0.1, 0.05, 0.2, 50), "rank1_chance": Figure(0.02), "parrot.ours": Figure(0.5)}
    shown = words(page(Findings("t", figures | {"parrot_chance.ours": Figure(0.25)})).text)
    assert "rank1.a Share of faces for which" in shown
    assert "10 % 5 % to 20 % 2 %" in shown
    assert "50 % none 25 %" in shown
    assert "First hit: chance" not in shown


def test_a_page_opens_with_one_sentence_and_a_failed_one_speaks_of_no_claims():
    figures = {"match_rate_any": Figure(0.5, 0.4, 0.6, 100), "match_rate_any_chance": Figure(0.0, 0.0, 0.01, 100)}
    found = Findings("t", {**figures, "match_rate.dlib": figures["match_rate_any"]})
    shown = words(page(found).text)
    assert shown.index("do not call these pictures anonymous") < shown.index("What was found")
    assert "What may be claimed" not in shown
    tame = {"match_rate_any": Figure(0.0, 0.0, 0.0188, 200), "match_rate_any_chance": Figure(0.002, 0.0, 0.01, 200)}
    nobody = Findings("t", {**tame, "match_rate.dlib": tame["match_rate_any"]})
    claimed = words(page(nobody).text)
    near = {"nearness.dlib": Figure(0.07, 0.03, 0.1, 200)}
    nearer = words(page(Findings("t", {**nobody.figures, **near})).text)
    assert nearer.index("But on average outputs are measurably more like their person") < nearer.index("What may be")
    assert claimed.index("Of such faces up to") < claimed.index("What may be claimed") < claimed.index("What was found")
    failed = words(page(found, check(found.figures, [Threshold("match_rate.dlib", most=0.01)], "gate.toml")).text)
    assert failed.index("do not call these pictures anonymous") < failed.index("What was found")
    assert "What may be claimed" not in failed


def test_commands_in_sentences_are_set_as_code_and_the_count_of_a_claim_stands_out():
    text = html(findings(), Verdict(), faces_shown=False)
    assert "<code>veil evaluate video</code>" in text
    assert "`" not in Page(text).text
    found = Findings("t", {"hog": Figure(1.0, 0.7, 1.0, 8)})
    assert "<strong>Usefulness</strong>: of 8 originals" in html(found, Verdict(), faces_shown=False)


def test_what_was_not_measured_is_said_once_for_each_reason():
    nothing = {
        name: Figure(math.nan, note="needs two photos") for name in ("tar_after.a", "eer_after.a", "tar_after.b")
    }
    shown = words(page(Findings("t", nothing | {"fid": Figure(math.nan, note="needs weights")})).text)
    both = "Known from another photo afterwards ; Equal error rate afterwards: needs two photos"
    assert both in shown
    assert shown.index("What may not be claimed") < shown.index(both) < shown.index("(FID): needs weights")


def test_files_are_listed_with_hashes_and_one_hash_over_all_stands_above_the_signature():
    files = (HashedFile("lfw/b.jpg", "0a" * 32, "0b" * 32), HashedFile("lfw/a.jpg", "0c" * 32, "pixels 0d"))
    listed = f"{'0a' * 32} {'0b' * 32} lfw/b.jpg\n{'0c' * 32} pixels 0d lfw/a.jpg\n"
    found = Findings("t", {}, worst=(Specimen("lfw/a.jpg", "why", png(1), png(1)),), files=files)
    shown = words(page(found).text)
    together = hashlib.sha256(listed.encode()).hexdigest()
    signature = shown[shown.index("I have read this report") :]
    assert together in signature[:200]
    assert all(line in shown for line in listed.splitlines())
    assert "file 2 why" in shown  # under a number, for names name people
    assert "lfw/a.jpg why" in words(page(found, faces_shown=True).text)


def test_who_is_recognised_is_told_by_number_on_paper_and_by_name_on_the_page():
    files = tuple(HashedFile(f"lfw/{name}.jpg", "0a", "0b") for name in "abcdef")
    names = [file.name for file in files]
    counted = {"match_rate_any": (names[4],), "rank1.dlib": tuple(names[1:5]), "match_rate.dlib": ()}
    figures = {name: Figure(len(which) / 6, 0.0, 0.9, 6) for name, which in counted.items()}
    problem = Problem("no output", (names[0], names[5]))
    shown = words(page(Findings("t", figures, problems=(problem,), files=files, counted=counted)).text)
    assert "1 of 6 faces is recognised by dlib (file 5);" in shown
    assert "has the right person first for 4 of 6 faces (files 2 to 5)" in shown
    told = shown[shown.index("Which faces are recognised") : shown.index("Problems Nothing")]
    assert "Recognised (dlib): nobody Recognised by any: 1, file 5 Names 5: lfw/e.jpg First hit" in told
    assert "First hit in a search (dlib): 4, files 2 to 5 Names 2: lfw/b.jpg 3: lfw/c.jpg 4: lfw/d.jpg 5:" in told
    assert "no output: 2; in the list of files: 1, 6" in shown


def test_the_strangers_of_the_de_identify_rate_stand_beside_it_from_end_to_end():
    figures = {
        "de_identify_rate.a": Figure(0.44, 0.38, 0.51, 200),
        "de_identify_rate_chance.a": Figure(0.5, 0.43, 0.57),
    }
    assert "44 % 38 % to 51 % 50 % (43 % to 57 %) 200" in words(page(Findings("t", figures)).text)


def test_problems_are_counted_and_every_name_is_listed():
    shown = words(page(findings()).text)
    assert "Problems: no face x (4)." in shown
    assert "no face x: 4 Names lfw/x.jpg b.jpg c.jpg d.jpg" in shown
    nameless = Findings("t", {}, problems=(Problem("fid needs 2,049 photos, got 3", ()),))
    assert "and counted in print. fid needs 2,049 photos, got 3 How" in words(page(nameless).text)
    assert "None: everything that was given was measured." in words(page(Findings("t", {})).text)


def test_there_is_a_place_to_sign_and_it_repeats_the_verdict():
    shown = words(page(findings(), verdict_on(findings())).text)
    assert "Verdict: FAIL: 2 of 3 thresholds of gate.toml do not hold: 2 not measured." in shown
    for line in ("Purpose and case number", "Thresholds chosen by", "Name and role", "Place and date", "Signature"):
        assert line in shown


def test_a_name_means_what_its_stem_means_and_keeps_the_rest():
    assert meaning_of("similarity.dlib").title == "Likeness to the person (dlib)"
    assert meaning_of("similarity.w600k.r50").title == "Likeness to the person (w600k.r50)"
    assert meaning_of("hog").sentence == GLOSSARY["hog"].sentence
    assert (meaning_of("unheard.of").title, meaning_of("unheard.of").sentence) == ("unheard.of", "")


def test_every_meaning_has_a_topic_that_is_shown():
    assert {meaning.topic for meaning in GLOSSARY.values()} <= set(TOPICS)
    figures = {name: Figure(1.0) for name in [*GLOSSARY, "other"]}
    assert sum(len(topic.rows) for topic in by_topic(figures)) == len(figures)


def test_a_script_gets_everything_but_pictures_and_null_for_what_is_unknown():
    said = json.loads(json.dumps(as_dict(findings(), verdict_on(findings())), allow_nan=False))
    assert said["verdict"]["outcome"] == "fail"
    assert said["thresholds"] == {"source": "gate.toml", "sha256": ""}
    assert said["verdict"]["broken"]["fid"] == "not measured: needs --inception"
    assert said["figures"]["match_rate.dlib"] == {
        "value": 0.002, "low": 0.0005, "high": 0.007, "count": 868, "note": "x",
    }  # fmt: skip
    assert said["figures"]["fid"]["value"] is None
    assert said["tables"][0]["rows"][2] == ["none", ""]
    assert said["problems"][0]["names"] == ["lfw/x.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert said["worst"] == [{"name": "worst x", "why": "x"}]


def test_the_terminal_shows_figures_problems_and_last_the_verdict():
    out = StringIO()
    Console(file=out, width=80).print(summary(findings("[red]x[/red]"), verdict_on(findings())), soft_wrap=True)
    lines = out.getvalue().splitlines()
    assert lines[0] == "title [red]x[/red]"  # text, not markup
    assert "  match_rate.dlib      0.002  0.0005 to 0.007     n 868     [red]x[/red]" in lines
    assert "problem: no face [red]x[/red]: 4 (lfw/[red]x[/red].jpg, b.jpg, c.jpg, ...)" in lines
    assert lines[-1] == "FAIL: 2 of 3 thresholds of gate.toml do not hold: 2 not measured"
