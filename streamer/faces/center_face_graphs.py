"""Runs CenterFace's network in MediaPipe's interpreter, a graph for each shape of input; knows nothing of faces.

XNNPACK, which MediaPipe brings along, takes three eighths of OpenCV's time, most layers in 8 bits.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from streamer.errors import AnonymizerError
from streamer.faces.mediapipe_runtime import load_mediapipe
from streamer.faces.networks import as_anonymizer_error, without_startup_noise
from streamer.types import Floats, Image

WEIGHTS = Path(__file__).parent / "weights" / "center-face.tflite"
SHA256 = "72e578daafa8ba69f38050b61d33ae6bd6bf3353fd9e729ec4a82ea239434461"
BASE = (32 * 1021, 32 * 1019)  # height and width in the file: numbers that nothing else in it is like
LEADING = struct.pack("<2i", 4, 1)  # before height, width and channels: of four numbers the first, one picture
STRIDES = (1, 2, 4, 8, 16, 32)  # pixels of input per cell of the network's layers
PARTS = (1, 2, 2, 10)  # channels of heat, size, offset, landmarks
SHAPES = 6  # of input that are kept ready: a graph with the weights each
# The caller's thread does the work, so that a graph has none of its own; XNNPACK's would turn while they wait.
GRAPH = f"""
executor {{ type: "ApplicationThreadExecutor" }}
input_stream: "picture" input_side_packet: "bytes"
node {{ calculator: "TfLiteModelCalculator" input_side_packet: "MODEL_BLOB:bytes" output_side_packet: "MODEL:model" }}
node {{ calculator: "TensorConverterCalculator" input_stream: "IMAGE:picture" output_stream: "TENSORS:pixels"
  options {{ [mediapipe.TensorConverterCalculatorOptions.ext] {{
    use_custom_normalization: true custom_div: 1 custom_sub: 0 }} }} }}
node {{ calculator: "InferenceCalculator" input_stream: "TENSORS:pixels" output_stream: "TENSORS:maps"
  input_side_packet: "MODEL:model"
  options {{ [mediapipe.InferenceCalculatorOptions.ext] {{ delegate {{ xnnpack {{ num_threads: 1 }} }} }} }} }}
node {{ calculator: "mediapipe.tasks.TensorsToSegmentationCalculator" input_stream: "TENSORS:maps"
  {" ".join(f'output_stream: "CONFIDENCE_MASK:{n}:map{n}"' for n in range(sum(PARTS)))}
  options {{ [mediapipe.tasks.TensorsToSegmentationCalculatorOptions.ext] {{
    segmenter_options {{ activation: NONE }} }} }} }}
"""


class CenterFaceGraphs:
    """The network for any shape of input; for one thread at a time.

    Raises:
        AnonymizerError: When its weights are missing or damaged.
    """

    def __init__(self) -> None:
        self._weights = _read_weights()
        self._places = _places(self._weights)
        self._graphs: OrderedDict[tuple[int, int], _Graph] = OrderedDict()

    def run(self, picture: Image) -> list[Floats]:
        """Return heat, size, offset and landmarks, `(1 or 2 or 10, h / 4, w / 4)`, of a picture `(h, w, 3)`.

        A graph that failed is thrown away.

        Raises:
            AnonymizerError: When MediaPipe fails.
        """
        height, width = shape = picture.shape[0], picture.shape[1]
        graph = self._graphs.pop(shape, None) or _Graph(_shaped(self._weights, self._places, height, width))
        try:
            # The network stands on its head, so that TFLite pads as its authors do.
            maps = graph.run(np.asarray(cv2.rotate(picture, cv2.ROTATE_180)))[:, ::-1, ::-1]
        except BaseException:  # an interrupt as well: what it left behind would answer for the next picture
            graph.close()
            raise
        self._graphs[shape] = graph
        if len(self._graphs) > SHAPES:
            self._graphs.popitem(last=False)[1].close()
        logit, *others = np.split(maps, np.cumsum(PARTS)[:-1])
        return [1 / (1 + np.exp(-logit)), *others]

    def close(self) -> None:
        """Free them."""
        while self._graphs:
            self._graphs.popitem()[1].close()


class _Graph:
    """The network for one shape of input."""

    def __init__(self, weights: bytes) -> None:
        load_mediapipe()
        from mediapipe.python import packet_creator
        from mediapipe.python._framework_bindings import calculator_graph

        self._clock = 0
        self._packets: dict[str, Any] = {}
        with without_startup_noise(), as_anonymizer_error("start"):
            self._graph: Any = calculator_graph.CalculatorGraph(graph_config=GRAPH)
            for n in range(sum(PARTS)):
                self._graph.observe_output_stream(f"map{n}", self._packets.__setitem__)
            self._graph.start_run({"bytes": packet_creator.create_string(weights)})
            self._graph.wait_until_idle()

    def run(self, picture: Image) -> Floats:
        """Return all maps, `(15, h / 4, w / 4)`."""
        from mediapipe.python import packet_creator, packet_getter
        from mediapipe.python._framework_bindings import image_frame

        frame = image_frame.ImageFrame(image_format=image_frame.ImageFormat.SRGB, data=picture)
        self._packets.clear()
        with as_anonymizer_error("run"):
            self._graph.add_packet_to_input_stream("picture", packet_creator.create_image_frame(frame).at(self._clock))
            self._clock += 1
            self._graph.wait_until_idle()
            if len(self._packets) < sum(PARTS):
                raise AnonymizerError("MediaPipe left a picture without an answer")  # as if no face were in it
            maps = [packet_getter.get_image(self._packets[f"map{n}"]).numpy_view() for n in range(sum(PARTS))]
            return np.stack(maps, dtype=np.float32).reshape(sum(PARTS), picture.shape[0] // 4, picture.shape[1] // 4)

    def close(self) -> None:
        """Free it."""
        with as_anonymizer_error("stop"):
            self._graph.close()


def _read_weights() -> bytes:
    try:
        data = WEIGHTS.read_bytes()
    except OSError as error:
        raise AnonymizerError(f"{WEIGHTS}: cannot be read; reinstall veil-stream") from error
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise AnonymizerError(f"{WEIGHTS}: sha256 does not match; reinstall veil-stream")
    return data


def _places(weights: bytes) -> list[tuple[int, int]]:
    """Return where the file says how high and wide a layer's output is, and the pixels of input per cell of it."""
    by_mark = {struct.pack("<2i", *(side // stride for side in BASE)): stride for stride in STRIDES}
    starts = (found.end() for found in re.finditer(LEADING, weights))
    return [(at, by_mark[weights[at : at + 8]]) for at in starts if weights[at : at + 8] in by_mark]


def _shaped(weights: bytes, places: Sequence[tuple[int, int]], height: int, width: int) -> bytes:
    """Return the network for pictures of this size."""
    shaped = bytearray(weights)
    for at, stride in places:
        struct.pack_into("<2i", shaped, at, height // stride, width // stride)
    return bytes(shaped)
