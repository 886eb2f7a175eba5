"""Sinks that show: a window, and a camera that other programs can choose."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import cv2

from streamer.errors import SinkError
from streamer.types import SafeFrame, VideoInfo

QUIT_KEYS = frozenset({ord("q"), 27})  # 27 is Escape
TITLE = "veil"
MAX_WIDTH = 960  # pixels of the window at first


class PreviewWindow:
    """A window with what is safe; for the main thread, as windowing systems want it.

    Args:
        on_quit: Called when it is closed, or Q or Escape is pressed.
    """

    audio_packets, audio_failures = 0, ()

    def __init__(self, on_quit: Callable[[], None]) -> None:
        self._on_quit = on_quit
        self._size = (0, 0)

    def __enter__(self) -> Self:
        if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
            raise SinkError("cannot open a window: there is no screen")  # OpenCV would end the process
        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise SinkError("cannot open a window: this machine has no screen, or OpenCV no windows") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cv2.destroyAllWindows()

    def write(self, frame: SafeFrame) -> None:
        """Show one frame.

        Raises:
            TypeError: If it is anything but a `SafeFrame`.
        """
        if not isinstance(frame, SafeFrame):
            raise TypeError(f"only a SafeFrame may be shown, got {type(frame).__name__}")
        height, width = frame.image.shape[:2]
        if self._size != (width, height):
            self._size = width, height
            scale = min(1.0, MAX_WIDTH / width)
            cv2.resizeWindow(TITLE, round(scale * width), round(scale * height))
        cv2.imshow(TITLE, cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
        if cv2.waitKey(1) & 0xFF in QUIT_KEYS or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            self._on_quit()


class VirtualCamera:
    """A camera for other programs, by pyvirtualcam: v4l2loopback on Linux, OBS's on macOS and Windows.

    Args:
        device: Such as "/dev/video10"; "" takes the first.
        info: Of the source.

    Raises:
        SinkError: If pyvirtualcam or its driver is missing.
    """

    audio_packets, audio_failures = 0, ()

    def __init__(self, device: str, info: VideoInfo) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise SinkError("a virtual camera needs pyvirtualcam: pip install pyvirtualcam") from error
        self._make = pyvirtualcam.Camera
        self._device, self._info = device or None, info
        self._camera: Any = None

    def __enter__(self) -> Self:
        width, height, rate = self._info.width, self._info.height, float(self._info.rate or 25)
        try:
            self._camera = self._make(width, height, rate, device=self._device, print_fps=False)
        except RuntimeError as error:  # its message names drivers and devices
            raise SinkError(f"cannot open a virtual camera: {' '.join(str(error).split())}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._camera is not None:
            self._camera.close()

    def write(self, frame: SafeFrame) -> None:
        """Show one frame.

        Raises:
            TypeError: If it is anything but a `SafeFrame`.
        """
        if not isinstance(frame, SafeFrame):
            raise TypeError(f"only a SafeFrame may be shown, got {type(frame).__name__}")
        self._camera.send(frame.image)
