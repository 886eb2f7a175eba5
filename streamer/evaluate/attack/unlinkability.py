"""How linkable covered faces are across keys, as ISO/IEC 24745 means it: D_sys of Gomez-Barrero et al. 2018.

"General framework to evaluate unlinkability in biometric template protection systems", equations 4 to 9, with omega 1:
from how alike two outputs are, is it told whether they show one person? 0 is fully unlinkable, 1 fully linkable.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.integrate import trapezoid
from scipy.stats import gaussian_kde

from streamer.evaluate.attack.linear_map import Doubles, cosines
from streamer.evaluate.covered.evidence import Cast
from streamer.evaluate.figures import Figure

GRID = 256  # scores at which densities are compared
RESAMPLES = 100  # of the people, and shufflings: the ends of an interval are good to a tenth of its width


def linkability(views: Mapping[str, Doubles], cast: Cast, *, seed: int) -> tuple[str, Figure, Figure]:
    """Return the attempt that links best, its D_sys with an interval, and what shuffled people give.

    Few scores never have equal densities, so that D_sys of shuffled ones is above 0: nothing in their range is a link.

    Args:
        views: What is compared of all N covered photos, `(N, D)`, by attempt. No two of one person share a key.
        cast: Probes are compared with the known people's photos: mated where they show the same one.
        seed: Of resamples.
    """
    scores = {name: cosines(rows[cast.probes], rows[cast.known]) for name, rows in views.items()}
    mated = cast.owner[None, :] == np.arange(len(cast.probes))[:, None]  # (K, M)
    reached = {name: system_linkability(each[mated], each[~mated]) for name, each in scores.items()}
    name = max(reached, key=lambda name: reached[name])
    chosen, rng, count = scores[name], np.random.default_rng(seed), len(cast.probes)
    resamples = [_of_rows(chosen, mated, rng.integers(count, size=count)) for _ in range(RESAMPLES)]
    shuffled = [_of_rows(chosen, mated[rng.permutation(count)], np.arange(count)) for _ in range(RESAMPLES)]
    spread = np.percentile(resamples, (2.5, 97.5)) - np.mean(resamples)
    low, high = np.clip(reached[name] + spread, 0, 1)
    chance_low, chance_high = np.percentile(shuffled, (2.5, 97.5))
    found = Figure(reached[name], float(low), float(high), count)
    return name, found, Figure(float(np.mean(shuffled)), float(chance_low), float(chance_high), count)


def system_linkability(mated: Doubles, others: Doubles) -> float:
    """Return D_sys of the scores of mated pairs `(P,)` and of pairs of strangers `(Q,)`.

        D(s) = 2 LR(s) / (1 + LR(s)) - 1 where LR(s) = p(s | mated) / p(s | others) > 1, else 0;
        D_sys = integral of p(s | mated) D(s)

    Densities are by Gaussian kernels of Scott's width, the same for both: with widths of their own, fewer mated scores
    would be smoother than the others', which alone tells them apart.
    """
    together = np.concatenate([mated, others])
    if np.ptp(together) < 1e-9:  # all alike, as under a cover that leaves nothing
        return 0.0
    width = max(float(np.std(mated)), float(np.std(others))) * len(mated) ** -0.2
    ends = together.min() - 3 * width, together.max() + 3 * width
    grid = np.linspace(*ends, GRID)
    of_mated, of_others = (_density(scores, width, grid) for scores in (mated, others))
    share = of_mated / np.maximum(of_mated + of_others, 1e-300)  # LR / (1 + LR)
    return float(trapezoid(of_mated * np.maximum(2 * share - 1, 0), grid))


def _density(scores: Doubles, width: float, grid: Doubles) -> Doubles:
    spread = float(np.std(scores, ddof=1))
    if spread * 1e3 < width:  # a kernel of one place; gaussian_kde refuses scores without spread
        scores = scores + width * 1e-3 * np.linspace(-1, 1, len(scores))
        spread = float(np.std(scores, ddof=1))
    return np.asarray(gaussian_kde(scores, width / spread)(grid))


def _of_rows(scores: Doubles, mated: npt.NDArray[np.bool_], rows: npt.NDArray[np.int64]) -> float:
    return system_linkability(scores[rows][mated[rows]], scores[rows][~mated[rows]])
