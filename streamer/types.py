"""The values that travel between stages: frames, faces, tracks, reports. Knows no stage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import InitVar, dataclass, field
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from streamer.settings import Settings

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)

Mode = Literal["generate", "cover"]
Cover = Literal["solid", "mosaic"]
Codec = Literal["auto", "h264", "hevc", "vp9", "av1"]
Policy = Literal["balanced", "strict"]
Tier = Literal["kept", "generated", "mosaic", "solid", "frame"]


def read_only(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """Return a view of `array` that cannot be written to; whoever holds `array` itself still can."""
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture, upright, at its exact time.

    Attributes:
        image: `(H, W, 3)` uint8 RGB, already rotated for display; read-only.
        index: Position in the source, from 0.
        pts: Presentation time in units of `time_base`.
        time_base: Seconds per tick.
        is_context: Whether it is searched only for what it tells of the frames around it, and is not written.
        is_letterboxed: Whether it came in another shape than the first, so that what it shows lies elsewhere.
        is_first: Whether somebody else sends from here on, in a picture of another shape.
        is_damaged: Whether a part of it was lost, and guessed: no face can be found in it for sure.
        is_own: Whether nobody will write to the memory of `image`. Otherwise it is copied: cameras fill the same again
            while a frame is still held back, and faces would be covered where they were.
    """

    image: Image = field(repr=False)
    index: int
    pts: int
    time_base: Fraction
    is_context: bool = False
    is_letterboxed: bool = False
    is_first: bool = False
    is_damaged: bool = False
    is_own: InitVar[bool] = False

    def __post_init__(self, is_own: bool) -> None:
        object.__setattr__(self, "image", read_only(self.image if is_own else self.image.copy()))

    @property
    def seconds(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detected face in pixels of the full frame.

    Attributes:
        box: `(4,)` float32 `x1, y1, x2, y2`; brow to chin, ear to ear; may reach outside the frame.
        landmarks: `(5, 2)` float32: eye, eye, nose tip, mouth corner, mouth corner; image-left first.
        mesh: `(468, 3)` float32 MediaPipe face mesh, or None where no mesh could be fitted.
            x and y in pixels; z in the same unit, smaller is nearer to the camera.
        score: Detector confidence in [0, 1].
        hides: Whether something was found in its place that may be another face, and is not among the image's faces.
        is_verified: Whether two unlike networks agree that it is a face.
        crop: `(2, 3)` float32: the similarity from the input of the mesh's network to the frame that it was fitted in.
    """

    box: Floats
    landmarks: Floats = field(repr=False)
    mesh: Floats | None = field(repr=False)
    score: float
    hides: bool = False
    is_verified: bool = False
    crop: Floats | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", read_only(self.box))
        object.__setattr__(self, "landmarks", read_only(self.landmarks))
        if self.mesh is not None:
            object.__setattr__(self, "mesh", read_only(self.mesh))

    @property
    def size(self) -> float:
        """Longer side of the box in pixels."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))


@dataclass(frozen=True, slots=True)
class Traits:
    """What a face looks like, as far as several looks agree; see `models.attributes.attributes.Attributes`.

    Attributes:
        sex: Logit: above 0 male, below 0 female.
        age: Years.
        skin: Individual typology angle, degrees.
        ancestry: Probability of each of `ANCESTRIES`.
    """

    sex: float
    age: float
    skin: float
    ancestry: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Track:
    """A face followed through time.

    Attributes:
        id: Unique in a stream and never reused, from 1; below 0 where somebody who ran may have been, who is no track.
        face: Where the face is now; where it is not seen, predicted and grown, and without mesh, unless it was seen
            a moment before and a moment after (`streamer.pipeline.lookahead`).
        missed_seconds: Seconds since the detector last confirmed it; 0.0 when seen in this frame; less than 0 before
            it was first seen: minus the seconds until then.
        is_confirmed: Whether it is a face, as far as is known yet; one that is not is covered only if it becomes so.
        hides: Whether another face lies at its place, or did so around this moment, that is covered only together with
            it: then it must not stay visible, whoever it is.
        traits: What the face looks like; None where nobody looked.
    """

    id: int
    face: Face
    missed_seconds: float
    is_confirmed: bool = True
    hides: bool = False
    traits: Traits | None = None


@dataclass(frozen=True, slots=True, eq=False)
class KnownPerson:
    """Somebody of whom it is known before a stream begins whom they become.

    Attributes:
        embedding: `(D,)` float32, unit, of the recogniser that ships. It identifies: it is never logged or written.
        stranger: Whom they become, as of `models.face_model.FaceModel.pseudonyms`.
        looks: In how many frames they were seen.
    """

    embedding: Floats = field(repr=False)
    stranger: int
    looks: int = 1


@dataclass(frozen=True, slots=True)
class TrackedFrame:
    """A frame that was searched, and where its faces are.

    Attributes:
        frame: The frame itself, uncovered.
        tracks: By id; empty where the search failed.
        starts_scene: Whether a new scene begins here: nothing before it tells where its faces are.
        failed: Why the whole frame is to be covered, or "".
        asked: What was to be done when the frame came; None where that cannot change.
    """

    frame: Frame
    tracks: tuple[Track, ...]
    starts_scene: bool
    failed: str = ""
    asked: Settings | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FaceReport:
    """How one face of one frame was covered.

    Attributes:
        track_id: The track it belongs to; below 0 where somebody who ran may have been.
        tier: What replaced it; "kept" is what was not replaced, because the person agreed.
        reason: Why it is covered ("" where it is not): "small", "turned", "coasting", "no mesh", ...
        box: `(4,)` float32 `x1, y1, x2, y2` in pixels.
    """

    track_id: int
    tier: Tier
    reason: str
    box: Floats


@dataclass(frozen=True, slots=True)
class GuardReport:
    """How like their persons drawn faces were to our recogniser; reports of successive frames add up.

    Attributes:
        compared: Faces that were compared with the person they replace.
        escalated: Those that were too alike: they became somebody else, and were covered if that did not help.
        highest: The highest likeness among the others, a cosine; -1 where there were none.
    """

    compared: int = 0
    escalated: int = 0
    highest: float = -1.0

    def __add__(self, later: GuardReport) -> GuardReport:
        return GuardReport(
            self.compared + later.compared, self.escalated + later.escalated, max(self.highest, later.highest)
        )


@dataclass(frozen=True, slots=True, eq=False)
class SafeFrame:
    """A frame with no real face but of those who agreed. Only `streamer.pipeline.stream` makes one (a test checks).

    Attributes:
        image: `(H, W, 3)` uint8 RGB; read-only.
        index, pts, time_base: As in `Frame`.
        faces: One report per face; empty when none was found.
        failed: One line saying why the whole frame was covered, or "".
        guard: What was compared in this frame.
    """

    image: Image = field(repr=False)
    index: int
    pts: int
    time_base: Fraction
    faces: tuple[FaceReport, ...] = ()
    failed: str = ""
    guard: GuardReport = GuardReport()

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", read_only(self.image))

    @property
    def seconds(self) -> float:
        """Presentation time in seconds."""
        return float(self.pts * self.time_base)

    def _repr_png_(self) -> bytes:
        """Return the picture as PNG, for a notebook; a `Frame`, which holds real faces, shows none."""
        import cv2

        return cv2.imencode(".png", self.image[..., ::-1])[1].tobytes()


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a recording, in seconds since its start; `end` None for its end, which is not in it otherwise."""

    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < (math.inf if self.end is None else self.end):
            raise ValueError(f"a part of a recording must begin before it ends, got {self.start:g} to {self.end} s")


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a source knows before its first frame.

    Attributes:
        width, height: Pixels of the upright picture.
        rate: Average frames per second, or None when unknown.
        time_base: Unit of the pts.
        frame_count: Frames to come, or None when unknown (live, or not stored).
        color_primaries, color_trc, colorspace, color_range: FFmpeg's numbers, 2 (range: 0) when unspecified.
        sample_aspect_ratio: Width of a pixel over its height; not 1 in anamorphic video.
        names: File name of each frame by its index, where the source is pictures; empty for video.
        is_live: Whether frames come at their own pace, and are dropped when nobody is ready for them.
        notes: What was done to every picture before it was searched, in words.
        spans: The parts of the recording that come, in seconds since its start; empty for all of it.
        pause: Seconds between two of them.
    """

    width: int
    height: int
    rate: Fraction | None
    time_base: Fraction
    frame_count: int | None
    color_primaries: int = 2
    color_trc: int = 2
    colorspace: int = 2
    color_range: int = 0
    sample_aspect_ratio: Fraction = Fraction(1)
    names: tuple[str, ...] = ()
    is_live: bool = False
    notes: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    pause: float = 0.0


class Source(Protocol):
    """Frames in order. Opening has happened; leaving the context closes it."""

    @property
    def info(self) -> VideoInfo:
        """Known from the start."""
        ...

    @property
    def corrupt_packets(self) -> int:
        """What could not be read or decoded so far."""
        ...

    @property
    def audio_streams(self) -> int:
        """How many it has."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def __iter__(self) -> Iterator[Frame]: ...


class Sink(Protocol):
    """Takes safe frames in order; leaving the context completes the output, or with an exception removes it."""

    @property
    def audio_packets(self) -> int:
        """Packets of sound copied so far, or made in another voice."""
        ...

    @property
    def audio_failures(self) -> tuple[str, ...]:
        """Why sound ended before its end, of each stream that did."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def write(self, frame: SafeFrame) -> None:
        """Take one frame; its index and pts increase."""
        ...
