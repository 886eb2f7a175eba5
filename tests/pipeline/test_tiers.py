"""A worse cover comes at once, a better one after a while."""

import numpy as np
import pytest

from streamer.pipeline.tiers import (
    BEFORE_FOUND,
    FADE_SECONDS,
    HELD_BACK,
    HOLD_SECONDS,
    LIVE_HOLD_SECONDS,
    LONGEST_HOLD_SECONDS,
    OVERLOAD,
    OVERLOAD_HOLD_SECONDS,
    PROOF_SECONDS,
    SETTLED_SECONDS,
    STEADYING,
    TOO_ALIKE,
    Choice,
    TierLadder,
)

STEP = 1 / 50


def tiers(reasons: list[str], *, starts_scene: bool = True, step: float = STEP) -> list[Choice]:
    ladder = TierLadder()
    return [asked(ladder, r, seconds=n * step, starts_scene=starts_scene and n == 0) for n, r in enumerate(reasons)]


def asked(ladder: TierLadder, reason: str, *, seconds: float, starts_scene: bool) -> Choice:
    """What a track is to get, and gets."""
    choices = ladder.choose({1: reason}, "mosaic", seconds=seconds, starts_scene=starts_scene)
    ladder.record(choices, seconds)
    return choices[1]


def test_a_face_that_opens_a_scene_is_drawn_in_full_at_once():
    assert tiers([""]) == [Choice("generated", "", 1.0)]


def test_a_face_that_comes_later_fades_in():
    opacities = [choice.opacity for choice in tiers([""] * 21, starts_scene=False)]
    assert opacities[0] == 0
    assert opacities[5] == pytest.approx(5 * STEP / FADE_SECONDS)
    assert opacities[-1] == 1


def test_a_reason_covers_at_once_and_its_end_waits():
    choices = tiers(["", "turned"] + [""] * 20)
    assert choices[1] == Choice("mosaic", "turned")
    held = round(HOLD_SECONDS / STEP)
    assert [choice.reason for choice in choices[2 : 1 + held]] == [STEADYING] * (held - 1)
    assert choices[2 + held].tier == "generated"
    assert choices[2 + held].opacity < 1


def test_whom_no_stranger_hides_is_tried_ever_less_often():
    ladder, tried = TierLadder(), []
    for n in range(20_000):
        seconds = n * STEP
        choices = ladder.choose({1: ""}, "mosaic", seconds=seconds, starts_scene=n == 0)
        if choices[1].tier == "generated":
            tried.append(seconds)
            choices = {1: Choice("mosaic", TOO_ALIKE)}
        ladder.record(choices, seconds)
    pauses = np.diff(tried)
    assert pauses[0] == pytest.approx(HOLD_SECONDS, abs=2 * STEP)
    np.testing.assert_allclose(pauses[1:7] / pauses[:6], 2.0, rtol=0.1)
    assert pauses[-1] == pytest.approx(LONGEST_HOLD_SECONDS, abs=2 * STEP)


def test_a_flickering_reason_does_not_flicker_on_screen():
    choices = tiers(["", "turned", "", ""] * 20)[1:]
    assert {choice.tier for choice in choices} == {"mosaic"}


def test_a_face_covered_before_it_was_found_fades_in_without_waiting():
    choices = tiers([BEFORE_FOUND, BEFORE_FOUND, ""])
    assert [choice.tier for choice in choices] == ["mosaic", "mosaic", "generated"]
    assert choices[-1].opacity == 0


def test_the_hold_does_not_depend_on_the_frame_rate():
    for rate in (10, 25, 60):
        ladder = TierLadder()
        asked(ladder, "turned", seconds=0.0, starts_scene=True)
        back = next(
            n for n in range(100) if asked(ladder, "", seconds=n / rate, starts_scene=False).tier == "generated"
        )
        assert HOLD_SECONDS <= back / rate < HOLD_SECONDS + 1 / rate + 1e-9


def test_a_face_for_which_there_was_no_time_changes_only_every_few_seconds_and_ever_less_often():
    times = [n * STEP for n in range(round(60 / STEP))]
    ladder = TierLadder()
    chosen = [
        asked(ladder, OVERLOAD if n % 25 == 24 else "", seconds=at, starts_scene=n == 0) for n, at in enumerate(times)
    ]  # for half a second it could be drawn, again and again
    assert {choice.reason for choice in chosen} == {"", OVERLOAD, HELD_BACK}
    turns = [at for at, one, last in zip(times[1:], chosen[1:], chosen, strict=False) if one.tier != last.tier]
    covered, drawn = turns[::2], turns[1::2]
    assert all(later - at > OVERLOAD_HOLD_SECONDS for at, later in zip(covered, drawn, strict=False))
    assert len(turns) <= 8


def shown(choices: list[Choice]) -> list[bool]:
    """Whether a drawn face is seen in each frame."""
    return [choice.tier == "generated" and choice.opacity > 0 for choice in choices]


def test_a_face_for_which_there_was_no_time_is_drawn_under_its_cover_before_it_is_seen():
    ladder = TierLadder()
    times = [n * STEP for n in range(round(8 / STEP))]
    chosen = [asked(ladder, OVERLOAD if at == 0 else "", seconds=at, starts_scene=False) for at in times]
    drawn = next(at for at, one in zip(times, chosen, strict=True) if one.tier == "generated")
    seen = next(at for at, one in zip(times, chosen, strict=True) if one.tier == "generated" and one.opacity > 0)
    assert seen - drawn == pytest.approx(PROOF_SECONDS, abs=1.5 * STEP)
    hidden = [one for one in chosen if one.tier == "generated" and one.opacity == 0 and one.reason]
    assert {one.reason for one in hidden} == {HELD_BACK}
    assert chosen[-1] == Choice("generated", "", 1.0)


def test_a_face_for_which_there_is_no_time_after_all_is_never_seen_in_between():
    ladder, chosen = TierLadder(), []
    for n in range(round(60 / STEP)):  # half a second of drawing is more than there is time for
        drawn = [one.tier == "generated" for one in chosen[-25:]]
        reason = OVERLOAD if n == 0 or (len(drawn) == 25 and all(drawn)) else ""
        chosen.append(asked(ladder, reason, seconds=n * STEP, starts_scene=False))
    assert any(one.tier == "generated" for one in chosen)
    assert not any(shown(chosen))


def test_what_is_watched_live_changes_every_few_seconds_only_whatever_the_reason():
    for is_live, most in ((True, 10), (False, 200)):
        ladder, chosen = TierLadder(is_live=is_live), []
        for n in range(round(60 / STEP)):  # every other half second it turns away
            reason = "turned" if n // 25 % 2 else ""
            choices = ladder.choose({1: reason}, "mosaic", seconds=n * STEP, starts_scene=n == 0)
            ladder.record(choices, n * STEP)
            chosen.append(choices[1])
        turns = sum(one != last for one, last in zip(shown(chosen)[1:], shown(chosen), strict=False))
        assert 1 <= turns <= most
        assert is_live or turns > 50


def test_a_live_face_waits_ever_longer_and_is_covered_at_once_each_time():
    ladder, at, waits = TierLadder(is_live=True), 0.0, []
    for _ in range(6):
        asked(ladder, "", seconds=at, starts_scene=True)
        asked(ladder, "", seconds=at + FADE_SECONDS, starts_scene=False)
        at += 1.0
        assert asked(ladder, "turned", seconds=at, starts_scene=False) == Choice("mosaic", "turned")
        began = at
        while asked(ladder, "", seconds=at, starts_scene=False).tier != "generated":
            at += STEP
        waits.append(at - began)
    expected = [min(LIVE_HOLD_SECONDS * 2**n, LONGEST_HOLD_SECONDS) for n in range(6)]
    assert waits == pytest.approx(expected, abs=2 * STEP)
    for seconds in (0.0, FADE_SECONDS, SETTLED_SECONDS + 1):
        assert asked(ladder, "", seconds=at + seconds, starts_scene=False).tier == "generated"
    at += SETTLED_SECONDS + 2
    asked(ladder, "turned", seconds=at, starts_scene=False)
    assert asked(ladder, "", seconds=at + LIVE_HOLD_SECONDS + STEP, starts_scene=False).tier == "generated"


def test_another_reason_meanwhile_does_not_end_the_wait():
    ladder = TierLadder()
    for reason, at in (("", 0.0), (OVERLOAD, 0.1), ("turned", 0.2)):
        asked(ladder, reason, seconds=at, starts_scene=at == 0.0)
    assert asked(ladder, "", seconds=1.0, starts_scene=False).reason == HELD_BACK
    assert asked(ladder, "", seconds=0.2 + OVERLOAD_HOLD_SECONDS, starts_scene=False).tier == "generated"


def test_tracks_do_not_hold_each_other():
    choices = TierLadder().choose({1: "turned", 2: ""}, "solid", seconds=0.0, starts_scene=True)
    assert {track: choice.tier for track, choice in choices.items()} == {1: "solid", 2: "generated"}


def test_who_is_gone_is_forgotten():
    ladder = TierLadder()
    asked(ladder, "turned", seconds=0.0, starts_scene=True)
    ladder.record({}, 0.0)
    assert asked(ladder, "", seconds=0.0, starts_scene=True).tier == "generated"


def test_to_ask_changes_nothing():
    ladder = TierLadder()
    asked(ladder, "", seconds=0.0, starts_scene=True)
    for reason in ("turned", ""):
        choices = ladder.choose({1: reason, 2: ""}, "solid", seconds=0.1, starts_scene=False)
    assert choices == {1: Choice("generated", "", 1.0), 2: Choice("generated", "", 0.0)}


def test_what_was_planned_and_not_done_counts_as_covered():
    ladder = TierLadder()
    assert ladder.choose({1: ""}, "solid", seconds=0.0, starts_scene=True)[1].tier == "generated"
    ladder.record({1: Choice("solid", "model failed")}, 0.0)
    assert ladder.choose({1: ""}, "solid", seconds=HOLD_SECONDS / 2, starts_scene=False)[1].reason == STEADYING
