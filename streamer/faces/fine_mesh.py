"""Lips, lids and irises to the pixel, for faces that are drawn: MediaPipe's mesh with attention, in one run.

The mesh that finds faces is content with a lid that is about closed; who looks at a face is not.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import cv2
import numpy as np

from streamer.errors import AnonymizerError
from streamer.faces.mediapipe_runtime import load_mediapipe
from streamer.faces.networks import without_startup_noise
from streamer.pool import Pool, Shared
from streamer.types import Floats, Image

SIDE = 192  # pixels; input of the network
REACH = 1.5  # crop over the longer side of the face, as MediaPipe's
MESH_LIGHT, MAX_GAIN = 100.0, 4.0  # a dark face is raised to this mean grey, as the detector does
# fmt: off
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409, 78, 95, 88, 178, 87,
        14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415, 76, 77, 90, 180, 85, 16, 315, 404, 320,
        307, 306, 184, 74, 73, 72, 11, 302, 303, 304, 408, 62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42,
        41, 38, 12, 268, 271, 272, 407)
EYES = ((33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24, 23, 22, 26, 112,
         243, 247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221,
         189, 35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193),
        (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339, 254, 253, 252,
         256, 341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444,
         443, 442, 441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293,
         334, 296, 336, 285, 417))
# fmt: on
FINE = tuple(dict.fromkeys((*LIPS, *EYES[0], *EYES[1])))  # what is found anew
PARTS = (None, LIPS, *EYES, (468, 469, 470, 471, 472), (473, 474, 475, 476, 477))  # what each output tells
# The caller's thread does the work: handing it to another and back takes as long as the network.
GRAPH = f"""
executor {{ type: "ApplicationThreadExecutor" }}
input_stream: "crop"
node {{ calculator: "TfLiteCustomOpResolverCalculator" output_side_packet: "OP_RESOLVER:operations" }}
node {{ calculator: "TensorConverterCalculator" input_stream: "IMAGE:crop" output_stream: "TENSORS:pixels"
  options {{ [mediapipe.TensorConverterCalculatorOptions.ext] {{
    output_tensor_float_range {{ min: 0 max: 1 }} }} }} }}
node {{ calculator: "InferenceCalculator" input_stream: "TENSORS:pixels" output_stream: "TENSORS:all"
  input_side_packet: "OP_RESOLVER:operations"
  options {{ [mediapipe.InferenceCalculatorOptions.ext] {{
    model_path: "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite"
    delegate {{ xnnpack {{ num_threads: 1 }} }} }} }} }}
node {{ calculator: "SplitTensorVectorCalculator" input_stream: "all"
  {" ".join(f'output_stream: "tensor{n}"' for n in range(len(PARTS)))}
  options {{ [mediapipe.SplitVectorCalculatorOptions.ext] {{
    {" ".join(f"ranges {{ begin: {n} end: {n + 1} }}" for n in range(len(PARTS)))} }} }} }}
"""
for _n in range(len(PARTS)):
    GRAPH += f"""
node {{ calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:tensor{_n}" output_stream: "FLOATS:part{_n}" }}
"""


class FineGraph:
    """MediaPipe's graph; for one thread at a time. It starts when it is first asked, and anew after it failed."""

    def __init__(self) -> None:
        self._graph: Any = None
        self._clock = 0
        self._packets: dict[str, Any] = {}

    def close(self) -> None:
        """Free MediaPipe's threads and memory."""
        graph, self._graph = self._graph, None
        if graph is not None:
            with contextlib.suppress(RuntimeError, ValueError):  # one that failed says so again
                graph.close()

    def run(self, crop: Image) -> list[Floats]:
        """Return what each of `PARTS` tells of a `(192, 192, 3)` crop, flat.

        Raises:
            AnonymizerError: When MediaPipe fails.
        """
        from mediapipe.python import packet_creator, packet_getter
        from mediapipe.python._framework_bindings import image_frame

        frame = image_frame.ImageFrame(image_format=image_frame.ImageFormat.SRGB, data=crop)
        try:
            self._start()
            self._packets.clear()
            self._graph.add_packet_to_input_stream("crop", packet_creator.create_image_frame(frame).at(self._clock))
            self._clock += 1
            self._graph.wait_until_idle()
            got = [packet_getter.get_float_list(self._packets[f"part{n}"]) for n in range(len(PARTS))]
        except (RuntimeError, ValueError, KeyError, OSError) as error:
            self.close()
            raise AnonymizerError("MediaPipe did not find lids and lips") from error
        return [np.array(values, np.float32) for values in got]

    def _start(self) -> None:
        if self._graph is not None:
            return
        load_mediapipe()
        from mediapipe.python._framework_bindings import calculator_graph

        with without_startup_noise():
            self._graph, self._clock = calculator_graph.CalculatorGraph(graph_config=GRAPH), 0
            for n in range(len(PARTS)):
                self._graph.observe_output_stream(f"part{n}", self._packets.__setitem__)
            self._graph.start_run({})
            self._graph.wait_until_idle()


class FineMesh:
    """The network; for one thread at a time.

    Args:
        graphs: Shared with others; None for its own.
    """

    def __init__(self, graphs: Shared[FineGraph] | None = None) -> None:
        self._shared = graphs or Shared(FineGraph, limit=1)
        self._pool: Pool[FineGraph] | None = None  # until it is asked

    def __call__(self, image: Image, mesh: Floats) -> Floats:
        """Return `mesh` with lips and eyes anew, and the irises after it: `(478, 3)`.

        The irises are five points each, the centre and then right, top, left and bottom; image-left eye first.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            mesh: `(468, 3)` of the face in it.

        Raises:
            AnonymizerError: When MediaPipe fails.
        """
        transform = crop_to_image(mesh)
        self._pool = self._pool or self._shared.join()
        with self._pool.borrowed() as graph:
            parts = graph.run(_crop(image, transform))
        fine = np.concatenate([mesh, np.zeros((10, 3), np.float32)])
        for indices, flat in zip(PARTS[1:], parts[1:], strict=True):
            fine[list(indices), :2] = flat.reshape(-1, 2) @ transform[:, :2].T + transform[:, 2]
        fine[468:473, 2], fine[473:, 2] = mesh[list(EYES[0][:16]), 2].mean(), mesh[list(EYES[1][:16]), 2].mean()
        return np.asarray(fine, np.float32)

    def close(self) -> None:
        """Free MediaPipe's threads and memory, unless others use them."""
        if self._pool is not None:
            self._pool = None
            self._shared.leave()


def crop_to_image(mesh: Floats) -> Floats:
    """Return the `(2, 3)` similarity from the network's input to the image: eyes level, the face in its middle."""
    along = (mesh[[263, 362], :2] - mesh[[33, 133], :2]).sum(axis=0)
    along = along / max(float(np.linalg.norm(along)), 1e-6)
    axes = np.stack([along, [-along[1], along[0]]], axis=1)
    level = mesh[:, :2] @ axes
    low, high = level.min(axis=0), level.max(axis=0)
    linear = axes * (REACH * float((high - low).max()) / SIDE)
    return np.column_stack([linear, axes @ ((low + high) / 2) - linear @ np.full(2, SIDE / 2)]).astype(np.float32)


def _crop(image: Image, transform: Floats) -> Image:
    times = min(3, max(1, round(math.hypot(*transform[:, 0]))))  # a large face is averaged, or it aliases
    to_image = transform.copy()
    to_image[:, 2] += transform[:, :2].sum(axis=1) * (0.5 / times) - 0.5
    to_image[:, :2] /= times
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(image, to_image, (times * SIDE,) * 2, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    if times > 1:
        crop = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    gain = min(MAX_GAIN, max(1.0, MESH_LIGHT / max(1.0, cv2.mean(crop)[1])))
    return np.asarray(cv2.convertScaleAbs(crop, alpha=gain) if gain > 1.0 else crop)
