import math

import pytest

from streamer.evaluate.figures import Figure
from streamer.evaluate.report.claims import (
    chance_of,
    claims,
    counts_explained,
    in_short,
    is_chance,
    may_be_claimed,
    not_claimed,
    reservations,
    written,
)
from streamer.evaluate.report.which import in_ranges, named

NAN = math.nan
NOBODY = {
    "match_rate.dlib": Figure(0.0, 0.0, 0.017, 213),
    "match_rate.identity": Figure(0.0, 0.0, 0.017, 213),
    "match_rate_any": Figure(0.0, 0.0, 0.017, 213),
    "match_rate_any_chance": Figure(0.002, 0.0, 0.0094, 213),
}


NEAR = {
    "nearness.dlib": Figure(0.07, 0.03, 0.1, 213),
    "nearness.identity": Figure(0.01, -0.02, 0.05, 213),
    "de_identify_rate.identity": Figure(0.45, 0.4, 0.5, 213),
    "de_identify_rate_chance.identity": Figure(0.5, 0.43, 0.57, 213),
}
LINKED = {"pairing": Figure(1.0, 0.98, 1.0, 213), "pairing_chance": Figure(1 / 213, 0.0, 0.014, 213)}


def test_what_was_counted_stands_with_its_interval_chance_and_who_looked():
    assert claims(NOBODY) == [
        "0 of 213 faces are recognised as the person they were by dlib or identity (Veil's own recogniser): "
        "0 % (95 % interval 0 % to 1.7 %). That is not told apart from chance: chance is 0.426 of 213 (0.2 %), "
        "and luck alone reaches 0.94 %. dlib is a public recogniser that Veil was never trained with. identity is "
        "Veil's own, and Veil chooses its strangers by it: of Veil's output it is no independent proof."
    ]


def test_a_page_may_claim_the_upper_end_of_the_interval_also_as_people_and_nothing_where_faces_are_recognised():
    said = may_be_claimed(NOBODY)
    assert "at most 1.7 % (3 to 4 of 213) are recognised by dlib or identity (Veil's own recogniser), with 95 %" in said
    assert "does not say that nobody is recognised" in said
    assert "on average they do" not in said
    assert "nor that they say nothing of the person: on average they do." in may_be_claimed({**NOBODY, **NEAR})
    assert may_be_claimed({**NOBODY, "match_rate_any": Figure(0.5, 0.4, 0.6, 213)}) == ""
    found = {"rank1.dlib": Figure(0.5, 0.4, 0.6, 213), "rank1_chance": Figure(0.005, 0.0, 0.02, 213)}
    assert may_be_claimed({**NOBODY, **found}) == ""
    assert may_be_claimed({"match_rate_any": NOBODY["match_rate_any"]}) == ""  # chance is not known


def test_outputs_that_are_on_average_more_like_their_person_are_said_to_be_whoever_is_recognised():
    said = next(line for line in claims({**NOBODY, **NEAR}) if line.startswith("On average"))
    head = "On average outputs are measurably more like their person than strangers are: by dlib 0.07 (0.03 to 0.1)"
    assert said.startswith(f"{head} and not told apart from strangers: by identity 0.01 (-0.02 to 0.05), where")
    assert "0 is as alike as two strangers and 1 is recognised" in said
    assert "(by dlib)" in reservations({**NOBODY, **NEAR})
    fewer = {**NEAR, "de_identify_rate.identity": Figure(0.42, 0.36, 0.49, 213)}
    assert "(by dlib, identity)" in reservations({**NOBODY, **fewer})  # fewer are unlike than of strangers
    none = {"nearness.dlib": Figure(0.01, -0.03, 0.04, 213)}
    assert "On average outputs are not told apart from strangers: by dlib 0.01" in claims({**NOBODY, **none})[1]
    assert reservations({**NOBODY, **none}) == ""
    assert reservations({**NOBODY, **NEAR, "match_rate_any": Figure(1.0, 0.9, 1.0, 213)}) == ""  # the alarm says it all


def test_outputs_that_their_surroundings_link_to_their_originals_are_said_to_be_in_all_three_places():
    figures = {**NOBODY, **LINKED}
    assert reservations(figures) == "But 213 of 213 are linked to their original by background."
    said = next(line for line in claims(figures) if line.startswith("Linked by surroundings"))
    assert "213 of 213 outputs are matched to their own original by background" in said
    assert "That is more than chance" in said
    assert any("Surroundings link outputs to their originals" in limit for limit in not_claimed(figures))
    mixed = {**figures, "pairing": Figure(0.01, 0.0, 0.02, 213)}
    assert reservations(mixed) == ""
    assert not any("Surroundings link" in limit for limit in not_claimed(mixed))


def test_a_control_is_told_or_missed():
    known = {"tar_before.dlib": Figure(0.9, 0.8, 0.95, 50)}
    said = "Control: of pairs of unaltered photos of one person are taken for one person by dlib 90 % (95 % interval"
    assert claims({**NOBODY, **known})[-1].startswith(said)
    assert not any(limit.startswith("A control") for limit in not_claimed({**NOBODY, **known}))
    unknown = {"tar_before.dlib": Figure(NAN, note="needs several photos of one person")}
    assert not any(line.startswith("Control") for line in claims({**NOBODY, **unknown}))
    assert not_claimed({**NOBODY, **unknown})[0].startswith("A control: how often the recognisers know these people")


def test_a_leak_is_said_to_be_more_than_chance_and_one_recogniser_is_named():
    leak = {"match_rate.dlib": Figure(1.0), "match_rate_any": Figure(0.5, 0.4, 0.6, 100)}
    said = claims({**leak, "match_rate_any_chance": Figure(0.001, 0.0, 0.01, 100)})[0]
    assert said.startswith("50 of 100 faces are recognised as the person they were by dlib: 50 %")
    assert "That is more than chance: chance is 0.1 of 100 (0.1 %), and luck alone reaches 1 %." in said
    assert "can be claimed" not in said
    assert "Chance is not known" in claims(leak)[0]


def test_more_than_chance_is_more_than_what_guesses_reach_by_luck():
    lucky = {"parrot.ours": Figure(0.15, 0.08, 0.3, 60), "parrot_chance.ours": Figure(0.1, 0.02, 0.15, 60)}
    assert "not told apart from chance" in claims(lucky)[0]
    assert "more than chance:" in claims({**lucky, "parrot.ours": Figure(0.16, 0.08, 0.3, 60)})[0]


def test_beside_our_output_stand_what_hair_gives_away_and_a_target_that_must_be_broken():
    covers = ("blur_strong", "blur_weak", "solid", "ours_same_key", "ours")
    said = claims({f"parrot.{cover}": Figure(0.5, 0.2, 0.8, 6) for cover in covers})
    told = ("in our output:", "with the key in hand:", "by hair, outline and surroundings alone", "through a weak blur")
    assert [words in line for words, line in zip(told, said, strict=True)] == [True] * 4


def test_every_question_has_a_sentence_and_what_was_not_measured_has_none():
    figures = {
        "rank1.dlib": Figure(0.25, 0.1, 0.5, 8),
        "rank1_chance": Figure(0.125),
        "rank5.dlib": Figure(0.5, 0.2, 0.8, 8),
        "leak_rate": Figure(3.0, 1.0, 9.0, 4000),
        "parrot.ours_same_key": Figure(0.5, 0.2, 0.8, 6),
        "hog": Figure(1.0, 0.7, 1.0, 8),
    }
    said = claims(figures)
    assert said[0].startswith(
        "A search by dlib through all 8 originals has the right person first for 2 of 8 faces: 25 %"
    )
    assert "(95 % interval 10 % to 50 %). Chance is 1 of 8 (12.5 %)." in said[0]
    assert "Among the first five for 4 of 8: 50 % (95 % interval 20 % to 80 %)." in said[0]
    assert said[1].startswith("Of 10,000 faces in single frames, 3 are left uncovered: 95 % interval 1 to 9, of 4,000 ")
    assert said[2].startswith("Parrot, an attacker who learns")
    assert "names 3 of 6 people in our output, with the key in hand: 50 % (95 % interval 20 % to 80 %)." in said[2]
    assert said[3].startswith("Usefulness: of 8 originals in which another detector (dlib's HOG) finds a face,")
    assert "it finds one in 8 outputs: 100 %" in said[3]
    assert claims(dict.fromkeys(figures, Figure(NAN, note="needs more"))) == []


def test_in_short_a_reader_is_told_whether_faces_are_recognised_named_or_uncovered():
    by = "faces are recognised by dlib or identity (Veil's own recogniser)"
    limit = "Of such faces up to 1.7 % may be, with 95 % certainty: 3 to 4 of 213."
    short = f"0 of 213 {by}; by chance it would be 0.4. {limit}"
    assert in_short(NOBODY) == short
    alarm = "do not call these pictures anonymous."
    leak = {**NOBODY, "match_rate_any": Figure(0.5, 0.4, 0.6, 100)}
    assert in_short(leak) == f"50 of 100 {by}, more than by chance: {alarm}"
    few = {"match_rate.dlib": Figure(0.0, 0.0, 0.5, 4), "match_rate_any": Figure(0.0, 0.0, 0.5, 4)}
    assert in_short(few) == "0 of 4 faces are recognised by dlib; how many would be by chance is not known."
    searched = {"rank1.a": Figure(1.0, 0.5, 1.0, 4), "rank1_chance": Figure(0.25, 0.0, 0.75, 4)}
    found = "and a search finds the right people more often than by chance"
    assert in_short({**few, **searched}) == f"0 of 4 faces are recognised by dlib, {found}: {alarm}"
    assert in_short({"leak_rate": Figure(3.0)}) == "3 of 10,000 faces in single frames are left uncovered."
    assert in_short({"ssim": Figure(0.8)}) == ""


def test_in_short_the_strongest_attacker_above_chance_is_named():
    chances = {f"{attack}_chance.ours": Figure(0.1, 0.0, 0.2, 60) for attack in ("parrot", "linking")}
    tame = {"parrot.ours": Figure(0.1, 0.0, 0.2, 60), "linking.ours": Figure(0.2, 0.1, 0.3, 60), **chances}
    assert in_short(tame) == "No attacker names more people in our output than by chance."
    wild = {**tame, "parrot.ours": Figure(0.3, 0.2, 0.4, 60), "linking.ours": Figure(0.5, 0.4, 0.6, 60)}
    assert in_short(wild) == "Linking names 30 of 60 people in our output, more than by chance."


def test_why_a_figure_is_taken_over_fewer_faces_is_told_with_both_counts():
    figures = {"found": Figure(0.99, 0.9, 1.0, 100), "hog": Figure(1.0, 0.9, 1.0, 98)}
    lost = "In 1 of 100 outputs no face is found: what eyes, nose, mouth and head do is taken over the other 99."
    unseen = "Of 100 originals the other detector finds no face in 2; for it, the rest count."
    assert counts_explained(figures) == [lost, unseen]
    assert claims(figures) == [
        "Usefulness: of 98 originals in which another detector (dlib's HOG) finds a face, it finds one in 98 outputs: "
        "100 % (95 % interval 90 % to 100 %)."
    ]
    nobody = counts_explained({"found": Figure(0.0, 0.0, 0.1, 100), "hog": Figure(0.0, 0.0, 0.1, 100)})
    assert nobody[0].endswith("no face is found: what eyes, nose, mouth and head do could not be measured.")
    assert counts_explained({"found": Figure(1.0, 0.9, 1.0, 100), "hog": Figure(1.0, 0.9, 1.0, 100)}) == []
    assert counts_explained({"ssim": Figure(0.8)}) == []


def test_files_are_told_in_ranges_and_in_a_sentence_only_if_they_are_few():
    assert in_ranges([9, 3, 1, 2, 7, 8]) == "1 to 3, 7 to 9"
    assert in_ranges([1, 2, 4]) == "1, 2, 4"
    assert (named([]), named([7]), named([1, 2])) == ("", " (file 7)", " (files 1, 2)")
    assert (named(range(1, 11)), named(range(1, 12))) == (" (files 1 to 10)", "")


def test_what_no_other_command_has_measured_may_not_be_claimed():
    assert any("veil evaluate attack" in limit for limit in not_claimed(NOBODY))
    assert not any("veil evaluate attack" in limit for limit in not_claimed({"parrot.ours": Figure(0.1)}))
    assert not any("veil evaluate video" in limit for limit in not_claimed({"leak_rate": Figure(0.0)}))


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("rank1.dlib", 0.0188, "1.88 %"),
        ("rank1_chance", 0.005, "0.5 %"),
        ("rank1.dlib", 0.000883, "0.09 %"),
        ("rank1.dlib", 0.00002, "0.002 %"),
        ("mse", 0.0188, "0.0188"),
        ("leak_rate", 3.0, "3"),
        ("parrot_ahead.ours", 0.5, "50 %"),
        ("parrot_over_solid.ours", 0.5, "0.5"),
    ],
)
def test_shares_are_written_in_per_cent_and_nothing_else_is(name: str, value: float, text: str):
    assert written(name, value) == text


def test_the_chance_of_a_figure_is_its_own_or_that_of_its_kind():
    figures = {"rank1_chance": Figure(0.1), "parrot_chance.ours": Figure(0.2), "match_rate_chance": Figure(NAN)}
    assert chance_of("rank1.dlib", figures) == Figure(0.1)
    assert chance_of("parrot.ours", figures) == Figure(0.2)
    assert chance_of("match_rate_own_group.dlib", {"match_rate_chance": Figure(0.001)}) == Figure(0.001)
    assert chance_of("similarity.dlib", {"delta.dlib": Figure(-0.01)}) == Figure(-0.01)
    assert chance_of("parrot.blur", figures) is None
    assert chance_of("match_rate.dlib", figures) is None  # not known
    assert [name for name in ("rank1_chance", "parrot_chance.ours", "rank1.dlib") if is_chance(name)] == [
        "rank1_chance",
        "parrot_chance.ours",
    ]
