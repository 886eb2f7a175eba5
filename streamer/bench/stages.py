"""What each stage of the pipeline takes: time within its functions, less that within those of other stages."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

STAGES = ("decode", "detect", "mesh", "track", "conceal", "light", "draw", "blend", "guard", "encode", "rest")

# Where each stage is entered: module, then the attributes that lead to a function, as the pipeline calls it.
ENTRANCES = {
    "detect": (
        ("streamer.faces.detect", "_scanned"),
        ("streamer.faces.small_faces", "SmallFaces", "in_frame"),
    ),
    "mesh": (
        ("streamer.faces.detect", "FaceDetector", "_fit"),
        ("streamer.faces.detect", "FaceDetector", "meshes"),
        ("streamer.faces.fine_mesh", "FineMesh", "__call__"),
    ),
    "track": (("streamer.faces.track", "FaceTracker", "update"),),
    "conceal": (("streamer.pipeline.renderer", "Renderer", "_conceal"),),
    "light": (
        ("streamer.render.blend", "relight"),
        ("streamer.render.blend", "match_rim"),
        ("streamer.render.textures.light", "LightReader", "__call__"),
    ),
    "draw": (
        ("streamer.render.draw", "FaceDrawer", "draw"),
        ("streamer.render.textures.texture_draw", "TextureDrawer", "draw"),
        ("streamer.render.traits", "TraitReader", "__call__"),
    ),
    "blend": (("streamer.render.draw", "paste"), ("streamer.render.textures.paint", "blend")),
    "guard": (("streamer.render.guard", "Guard", "check"),),
}

# What is done side by side, and what takes its place for it to be done in turn.
IN_TURN = (
    ("streamer.faces.small_faces", "beside", lambda there, here: (there(), here())),
    ("streamer.pipeline.stream", "BUSY_ROUNDS", math.inf),
)


class StageClock:
    """Seconds of each stage, frame by frame: on the wall, and of the processor, all threads together.

    Everything must happen in one thread and frame after frame, or stages that run side by side are counted twice.
    """

    def __init__(self) -> None:
        self.frames: list[dict[str, tuple[float, float]]] = []
        self._now: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._inner: list[list[float]] = []

    @contextmanager
    def within(self, stage: str) -> Iterator[None]:
        """Count what happens meanwhile for `stage`, but for what is counted for another one within."""
        self._inner.append([0.0, 0.0])
        start = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            spent = time.perf_counter() - start[0], time.process_time() - start[1]
            inner = self._inner.pop()
            for n in range(2):
                self._now[stage][n] += spent[n] - inner[n]
                if self._inner:
                    self._inner[-1][n] += spent[n]

    def end_frame(self) -> None:
        """Begin the next frame."""
        self.frames.append({stage: (wall, cpu) for stage, (wall, cpu) in self._now.items()})
        self._now.clear()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count what the functions in `ENTRANCES` do meanwhile; what is done side by side is done in turn."""
        replaced: list[tuple[Any, str, Any]] = []
        try:
            for module, name, instead in IN_TURN:
                owner: Any = import_module(module)
                replaced.append((owner, name, getattr(owner, name)))
                setattr(owner, name, instead)
            for stage, places in ENTRANCES.items():
                for module, *path, name in places:
                    owner = import_module(module)
                    for part in path:
                        owner = getattr(owner, part)
                    call = getattr(owner, name)
                    replaced.append((owner, name, call))
                    setattr(owner, name, self._counted(stage, call))
            yield
        finally:
            for owner, name, call in reversed(replaced):
                setattr(owner, name, call)

    def _counted(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - of whatever it wraps
            with self.within(stage):
                return call(*arguments, **named)

        return counted
