"""The `Anonymizer` that programs import: the pipeline's, and what saves them a loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import numpy as np

from streamer.api.forms import Order, Picture, taken_apart
from streamer.api.frame_stream import FrameStream
from streamer.errors import AnonymizerError, SourceError
from streamer.pipeline import anonymizer as pipeline
from streamer.pipeline.runner import protect
from streamer.sinks.file_sink import open_sink
from streamer.sinks.marks.credentials import Credentials
from streamer.sound.voice import Voice
from streamer.sources.address import live_address
from streamer.sources.file_source import open_source
from streamer.tally import Tally
from streamer.types import Codec, Tier

Progress = Callable[[int, int | None], None]
AnyPicture = TypeVar("AnyPicture", bound=Picture)


@dataclass(frozen=True, slots=True)
class Written:
    """What `Anonymizer.video` wrote.

    Attributes:
        path: Where.
        frames: How many.
        faces: Faces, counted once in each frame that shows them, by what replaced them.
        covered_whole: Frames of which nothing is shown, as they could not be searched.
    """

    path: Path
    frames: int
    faces: dict[Tier, int]
    covered_whole: int


class Anonymizer(pipeline.Anonymizer):
    """Weights and settings, shared by any number of threads and streams; `Anonymizer.load()` makes one.

    `image` and `images` take pictures, `stream` takes frames one by one, `video` a file; `frames`, and `protect` with
    `open_source` and `open_sink`, are for loops of your own. Load it in the process that uses it, not before a fork.
    """

    def image(self, picture: AnyPicture, *, order: Order = "rgb", stream: str | None = None) -> AnyPicture:
        """Return a copy of a picture without its faces, in the form it came in; for any thread.

        The same picture, under the same key, gets the same faces, whatever came before it (but not with epsilon).

        Args:
            picture: A uint8 array, grey `(H, W)`, colour `(H, W, 3)` or with alpha `(H, W, 4)`; or a Pillow image,
                whose copy is upright and carries nothing but pixels. Alpha is kept, and what it hides is searched too.
            order: Of an array's colours; "bgr" is OpenCV's.
            stream: As of `frames`.

        Raises:
            ValueError: If it is no such picture.
            AnonymizerError: If it could not be searched for faces, or this is closed.
        """
        given = taken_apart(picture, order)
        alpha = given.alpha
        if alpha is not None and np.ptp(alpha):  # it is a picture itself, and may show a face
            alpha = np.ascontiguousarray(super().image(np.dstack([alpha] * 3), stream=stream)[..., 1])
        return cast(AnyPicture, given.back(super().image(given.rgb, stream=stream), alpha))

    def images(
        self, pictures: Iterable[AnyPicture], *, order: Order = "rgb", stream: str | None = None
    ) -> list[AnyPicture]:
        """Return copies of pictures that have nothing to do with each other, each as of `image`; several at a time.

        Raises:
            ValueError, AnonymizerError: As `image`, for the first that fails, and says which.
        """
        if isinstance(pictures, np.ndarray) and pictures.ndim < 4 and pictures.shape[-1:] in ((3,), (4,)):
            raise ValueError("images takes several pictures: pass a list of them, or use image for one")

        def one(numbered: tuple[int, AnyPicture]) -> AnyPicture:
            number, picture = numbered
            try:
                return self.image(picture, order=order, stream=stream)
            except (ValueError, AnonymizerError) as error:
                raise type(error)(f"picture {number}: {error}") from error

        with ThreadPoolExecutor(pipeline.MAX_STILLS) as workers:
            return list(workers.map(one, enumerate(pictures)))

    def stream(self, name: str | None = None, *, order: Order = "rgb") -> FrameStream:
        """Return a stream: called with one frame it returns that frame without its faces. Close it in the end.

        Args:
            name: As of `frames`.
            order: As of `image`.
        """
        return FrameStream(self, order=order, name=name)

    def video(
        self,
        source: str | Path | int,
        sink: str | Path,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
        keep_audio: bool = False,
        voice: bool = False,
        codec: Codec = "auto",
        crf: int = 21,
        stream: str | None = None,
        start_seconds: float = 0.0,
        end_seconds: float | None = None,
        mark: bool = True,
        credentials: Credentials | None = None,
    ) -> Written:
        """Write a video file without its faces, or a folder of pictures; an error leaves no output.

        Args:
            source, start_seconds, end_seconds: As of `open_source`.
            sink, overwrite, keep_audio, codec, crf, mark, credentials: As of `open_sink`; what is only covered is not
                marked as generated.
            voice: Keep the sound in another voice, which follows from key and `stream`. Others hear who it is less
                easily; it is not anonymous.
            progress: Called after each frame with how many are done, and how many there are, or None.
            stream: As of `frames`.

        Raises:
            SourceError: If it cannot be read, or has no end.
            SinkError: If it cannot be written.
            AnonymizerError: If it cannot be made anonymous.
            ValueError: If a setting is out of range.
        """
        if isinstance(source, int):  # as OpenCV has it
            source = str(source)
        if isinstance(source, str) and live_address(source) is not None:
            raise SourceError(f"{source.partition(':')[0]}: is live; use protect() with open_source() and open_sink()")
        tally = Tally()
        with (
            open_source(source, start_seconds=start_seconds, end_seconds=end_seconds) as opened,
            open_sink(
                sink, opened.info,
                source_path=source, keep_audio=keep_audio,
                voice=Voice.of(self.settings.key, stream or "") if voice else None,
                codec=codec, crf=crf, overwrite=overwrite,
                mark=mark and self.settings.mode == "generate", credentials=credentials,
            ) as written,
            closing(protect(opened, self, stream=stream)) as frames,
        ):  # fmt: skip
            for frame in frames:
                written.write(frame)
                tally += Tally.of(frame)
                if progress:
                    progress(tally.frames, opened.info.frame_count)
        return Written(Path(sink), tally.frames, tally.tiers, tally.whole)
