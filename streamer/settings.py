"""What is done to faces: the choices of whoever runs it, checked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from streamer.region import Region
from streamer.types import Cover, Mode, Policy

DEFAULT_DELTA = 1e-5  # well below one over the people of any recording
COAST_SECONDS = 0.5  # a face is lost for less, by a hand or motion blur, and found as late; a person who left is gone
DEFAULT_DELAY = COAST_SECONDS  # for recordings: a face found late is covered from its first frame on
HELD_BYTES = 512 << 20  # of frames of a stream that wait to be released; larger frames wait less long
LIVE_DELAY = 0.1  # seconds, for live streams: what a conversation takes
LEAST_FACE = 8.0  # pixels; nothing is recognised in less, nor found
MAX_FACE = 200.0  # pixels; larger ones are found in any case
MAX_DELAY = 10.0  # seconds; nothing looks further ahead
KEY_BYTES = 32  # of a key, at least, as `models.privacy` has it, which is slow to load


@dataclass(frozen=True, slots=True)
class Settings:
    """What is done to faces.

    Attributes:
        beta: 0 (most private) to 1 (most like the person); Private-Encoder, eq. 3.
        mode: "generate" draws a synthetic face; "cover" stops at the cover, which is fast.
        cover: What lies under a generated face, and is shown where none is drawn.
        key: Whoever holds it gets the same strangers again; None draws one for this process.
        epsilon: Differential privacy of the identity coordinates, per track (`models.privacy`); None for strangers
            that suit the person, and come back with them.
        delta: With what chance that may fail.
        policy: "strict" also covers what may be a face, and heads that are turned away; "balanced" what is one.
        delay_seconds: How long each frame of a video is held back, so that a face found late is covered from its
            first frame on (`streamer.pipeline.lookahead`).
        min_face: Pixels from ear to ear: a face so wide is looked for everywhere (`streamer.faces.small_faces`); None
            for 20 in pictures and 30 in video.
        always: Regions that are covered in every frame, whatever is found there.
        expression: How much of the movement of faces is kept, 0 to 1, and how fast: people are known by it, too.
    """

    beta: float = 0.0
    mode: Mode = "generate"
    cover: Cover = "mosaic"
    key: bytes | None = field(default=None, repr=False)  # a secret: a log must not show it
    epsilon: float | None = None
    delta: float = DEFAULT_DELTA
    policy: Policy = "balanced"
    delay_seconds: float = DEFAULT_DELAY
    min_face: float | None = None
    always: tuple[Region, ...] = ()
    expression: float = 1.0

    def stricter(self, other: Settings) -> Settings:
        """Return these settings, with of what may change in a stream whatever shows less of the two."""
        return replace(
            self,
            beta=min(self.beta, other.beta),
            mode="cover" if "cover" in (self.mode, other.mode) else "generate",
            cover="solid" if "solid" in (self.cover, other.cover) else "mosaic",
            always=tuple(dict.fromkeys((*self.always, *other.always))),
            expression=min(self.expression, other.expression),
        )

    def __post_init__(self) -> None:
        if not 0.0 <= self.beta <= 1.0:
            raise ValueError(f"beta must be in [0, 1], got {self.beta}")
        if not 0.0 <= self.expression <= 1.0:
            raise ValueError(f"expression must be in [0, 1], got {self.expression}")
        if self.mode not in ("generate", "cover"):
            raise ValueError(f"mode must be 'generate' or 'cover', got {self.mode!r}")
        if self.cover not in ("solid", "mosaic"):
            raise ValueError(f"cover must be 'solid' or 'mosaic', got {self.cover!r}")
        if self.policy not in ("balanced", "strict"):
            raise ValueError(f"policy must be 'balanced' or 'strict', got {self.policy!r}")
        if not 0.0 <= self.delay_seconds <= MAX_DELAY:
            raise ValueError(f"a delay must be 0 to {MAX_DELAY:g} seconds, got {self.delay_seconds}")
        if self.key is not None and len(self.key) < KEY_BYTES:  # whoever guesses it knows who has become whom
            raise ValueError(f"key must be {KEY_BYTES} random bytes or more, got {len(self.key)}: secrets.token_bytes")
        if self.min_face is not None and not LEAST_FACE <= self.min_face <= MAX_FACE:
            raise ValueError(f"min_face must be {LEAST_FACE:g} to {MAX_FACE:g} pixels, got {self.min_face}")
        if self.epsilon is not None and (self.beta > 0 or self.mode == "cover"):
            raise ValueError("epsilon needs mode 'generate' and beta 0: above 0 the person shows, whatever the noise")
