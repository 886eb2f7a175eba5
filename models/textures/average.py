"""Soften donors toward others alike: what is even, soft and symmetric passes for a face, what is marked does not."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.textures.compose import compose
from models.textures.recipes import Donors
from models.textures.regions import Floats, Regions

ALIKE = 4  # others, and their mirror images, in the mean that a donor is softened toward
OWN_UPPER, OWN_LOWER, OWN_SKIN = 0.8, 0.75, 0.4  # how much of a part stays the donor's own: less is more like anybody
FINE = 0.007  # of the side: what is finer is one donor's, since a mean of it is a blur
PORES = 2.5  # deviations: what skin shows beyond is a line, a mole or a hair
MOST_PORES = 0.022  # logarithm, deviation of the fine detail of cheeks that nobody takes for a fault
FOLDS = (-0.09, 0.07)  # logarithm: how much darker and brighter than the skin around folds and cheekbones may be
FOLD = 0.02  # of the side: scale of folds
BEARD = 0.02  # logarithm: as much darker than cheeks a jaw without one is
SHAVEN = 0.6  # of what is seen on jaw and upper lip is taken out: most of it is hair
LINE_TINT = 0.02  # logarithm: how far lines in the skin may differ in tint from what is around
MOST_RED = 0.17  # logarithm, how far the tint of lips lies from that of skin
MOST_SHADOW_TINT = 0.1  # logarithm, the same of brows and sockets: red shadows are sore eyes
SEEN = 40  # pixels: at this size donors are compared
UNLIKE_SEX, YEARS, TONE = 2.0, 12.0, 25.0  # what one of the other sex costs, and what costs as much as one
LOOKS = 6.0  # what a mean difference of 1 (logarithm) costs


def softened(details: list[Floats], donors: Donors, regions: Regions) -> list[Floats]:
    """Return the details `(S, S, 3)` of all donors, each part softened toward those of others who can be used for it.

    Args:
        details: Of D donors, mended.
        donors: Which parts of them can be used, and who they are.
        regions: At S.
    """
    upper, lower, skin = (
        _parts(details, usable, _unlike(details, donors, mask), own=own)
        for usable, mask, own in (
            (donors.upper, regions.upper, OWN_UPPER),
            (donors.lower, regions.lower, OWN_LOWER),
            (donors.skin, regions.skin, OWN_SKIN),
        )
    )
    return [
        held(compose(upper.get(row, one), lower.get(row, one), skin.get(row, one), regions), regions)
        for row, one in enumerate(details)
    ]


def held(detail: Floats, regions: Regions) -> Floats:
    """Return `detail` with skin that has no dark lines, bright spots, coarse pores or beard, and unpainted lips.

    A beard is drawn where the person has one: half of one, or another's, is seen at once.
    """
    size = len(detail)
    skin, cheeks = _inward(regions.skin), regions.cheeks > 0.5
    bearded = cv2.GaussianBlur(np.maximum(regions.jaw, regions.moustache), (0, 0), 0.01 * size)
    weight = cv2.GaussianBlur(regions.skin, (0, 0), FOLD * size) + 0.05
    grey = detail.mean(axis=-1)
    around = cv2.GaussianBlur(grey * regions.skin, (0, 0), FOLD * size) / weight
    fine = grey - cv2.GaussianBlur(grey, (0, 0), FINE * size)
    deviation = max(float(fine[cheeks].std()), 1e-6)
    pores = np.clip(fine, -PORES * deviation, PORES * deviation) * min(1.0, MOST_PORES / deviation)
    dark, bright = ((1 - SHAVEN * bearded) * limit for limit in FOLDS)
    rest = grey - fine - around
    folds = np.where(rest < 0, dark * np.tanh(rest / dark), bright * np.tanh(rest / bright))
    shaven = bearded * np.clip(-around - BEARD, 0, None)
    smooth = grey + skin * (around + folds + (1 - SHAVEN * bearded) * pores - grey) + shaven
    return np.asarray(smooth[..., None] + _held_tint(detail - grey[..., None], skin, bearded, regions), np.float32)


def _held_tint(tint: Floats, skin: Floats, bearded: Floats, regions: Regions) -> Floats:
    """Return the tint `(S, S, 3)` of detail without red lines in the skin, grey jaws and painted lips."""
    broad = cv2.GaussianBlur(tint, (0, 0), FOLD * len(tint))
    tint = tint + skin[..., None] * (np.clip(tint - broad, -LINE_TINT, LINE_TINT) + broad - tint)
    tint = tint * (1 - SHAVEN * bearded[..., None])
    for mask, most in ((regions.lower, MOST_RED), (regions.upper, MOST_SHADOW_TINT)):
        length = np.linalg.norm(tint, axis=-1)
        less = most * np.tanh(length / most) / np.maximum(length, 1e-6) - 1
        tint = tint * (1 + (mask * less)[..., None])
    return np.asarray(tint, np.float32)


def _inward(mask: Floats) -> Floats:
    """Return a mask that comes in softly from its edge."""
    radius = max(1, round(0.01 * len(mask)))
    eroded = cv2.erode(mask, np.ones((2 * radius + 1,) * 2))
    return np.asarray(cv2.GaussianBlur(eroded, (0, 0), 0.6 * radius), np.float32)


def _parts(details: list[Floats], usable: npt.NDArray[np.bool_], unlike: Floats, *, own: float) -> dict[int, Floats]:
    """Return the softened details of those usable, by row."""
    rows = np.flatnonzero(usable)
    made = {}
    for row in rows:
        others = [n for n in rows[np.argsort(unlike[row, rows])] if n != row][:ALIKE]
        if not others:
            made[int(row)] = details[row]
            continue
        weights = np.exp(-(unlike[row, others] - unlike[row, others].min()))
        mean = np.tensordot(weights / weights.sum(), np.stack([details[n] for n in others]), axes=1)
        whole = (1 - own) * (mean + mean[:, ::-1]) / 2 + own * details[row]
        sigma = FINE * len(whole)
        fine = details[row] - cv2.GaussianBlur(details[row], (0, 0), sigma)
        made[int(row)] = np.asarray(cv2.GaussianBlur(whole, (0, 0), sigma) + fine, np.float32)
    return made


def _unlike(details: list[Floats], donors: Donors, mask: Floats) -> Floats:
    """Return how unlike any two donors are in a part, `(D, D)`."""
    weight = cv2.resize(mask, (SEEN, SEEN), interpolation=cv2.INTER_AREA).ravel()
    small = np.stack(
        [cv2.resize(detail.mean(axis=-1), (SEEN, SEEN), interpolation=cv2.INTER_AREA).ravel() for detail in details]
    )
    small = small * np.sqrt(weight / weight.sum())
    squares = np.square(small).sum(axis=1)
    looks = np.sqrt(np.maximum(squares[:, None] + squares - 2 * small @ small.T, 0))
    cost = LOOKS * looks + UNLIKE_SEX * np.abs(donors.female[:, None] - donors.female)
    cost += np.abs(donors.age[:, None] - donors.age) / YEARS + np.abs(donors.tone[:, None] - donors.tone) / TONE
    return np.asarray(cost, np.float32)
