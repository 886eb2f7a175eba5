import math

import pytest

from streamer.evaluate.figures import Figure
from streamer.evaluate.report.claims import chance_of, claims, in_short, is_chance, not_claimed, written

NAN = math.nan
NOBODY = {
    "match_rate.dlib": Figure(0.0, 0.0, 0.017, 213),
    "match_rate.identity": Figure(0.0, 0.0, 0.017, 213),
    "match_rate_any": Figure(0.0, 0.0, 0.017, 213),
    "match_rate_any_chance": Figure(0.002, 0.0, 0.0094, 213),
}


def test_a_page_may_claim_what_was_counted_with_its_interval_chance_and_floor():
    assert claims(NOBODY) == [
        "0 of 213 faces are recognised as the person they were by any of 2 recognisers: "
        "0 % (95 % interval 0 % to 1.7 %). That is not told apart from chance: chance is 0.426 of 213 (0.2 %), "
        "and luck alone reaches 0.94 %. "
        "With 0 of 213 faces nothing less than 1.7 % can be claimed."
    ]


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
        "leak_rate": Figure(3.0, 1.0, 9.0, 4000),
        "parrot.ours_same_key": Figure(0.5, 0.2, 0.8, 6),
        "hog": Figure(1.0, 0.7, 1.0, 8),
    }
    said = claims(figures)
    assert said[0].startswith("A search through all originals with dlib has the right person as its first hit for ")
    assert "2 of 8 faces: 25 % (95 % interval 10 % to 50 %). Chance is 1 of 8 (12.5 %)." in said[0]
    assert said[1].startswith("Of 10,000 faces in single frames, 3 are left uncovered: 95 % interval 1 to 9, of 4,000 ")
    assert said[2].startswith("Parrot, an attacker who learns")
    assert "names 3 of 6 people in our output, with the key in hand: 50 % (95 % interval 20 % to 80 %)." in said[2]
    assert said[3].startswith("Another detector still finds a face in 8 of 8: 100 %")
    assert claims(dict.fromkeys(figures, Figure(NAN, note="needs more"))) == []


def test_in_short_a_reader_is_told_whether_faces_are_recognised_named_or_uncovered():
    by = "faces are recognised by any of 2 recognisers"
    chance = "by chance it would be 0.4, too near to tell apart"
    short = f"0 of 213 {by}; {chance}; these are too few faces to claim less than 1.7 %."
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
    assert chance_of("parrot.blur", figures) is None
    assert chance_of("match_rate.dlib", figures) is None  # not known
    assert [name for name in ("rank1_chance", "parrot_chance.ours", "rank1.dlib") if is_chance(name)] == [
        "rank1_chance",
        "parrot_chance.ours",
    ]
