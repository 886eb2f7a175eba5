"""Where the eyes look: the place of the iris between the lids, found by MediaPipe's iris network."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from streamer.errors import AnonymizerError
from streamer.faces.mediapipe_runtime import load_mediapipe
from streamer.faces.networks import without_startup_noise
from streamer.types import Floats, Image

EYE_SIDE = 64  # pixels; input of the iris network
EYE_REACH = 2.3  # crop over width of the eye, as MediaPipe's iris graph
LEFT_EYE, RIGHT_EYE = (33, 133), (263, 362)  # outer and inner corner in the mesh; the image's left and right

GRAPH = f"""
input_stream: "eye" output_stream: "iris"
node {{ calculator: "ImageToTensorCalculator" input_stream: "IMAGE:eye" output_stream: "TENSORS:pixels"
  options {{ [mediapipe.ImageToTensorCalculatorOptions.ext] {{
    output_tensor_width: {EYE_SIDE} output_tensor_height: {EYE_SIDE}
    output_tensor_float_range {{ min: 0 max: 1 }} }} }} }}
node {{ calculator: "InferenceCalculator" input_stream: "TENSORS:pixels" output_stream: "TENSORS:both"
  options {{ [mediapipe.InferenceCalculatorOptions.ext] {{
    model_path: "mediapipe/modules/iris_landmark/iris_landmark.tflite" delegate {{ xnnpack {{}} }} }} }} }}
node {{ calculator: "SplitTensorVectorCalculator" input_stream: "both" output_stream: ["lids", "center"]
  options {{ [mediapipe.SplitVectorCalculatorOptions.ext] {{ ranges {{ end: 1 }} ranges {{ begin: 1 end: 2 }} }} }} }}
node {{ calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:center" output_stream: "FLOATS:iris" }}
"""


class GazeReader:
    """Finds irises; one per process, for one thread at a time.

    Raises:
        AnonymizerError: When MediaPipe does not start.
    """

    def __init__(self) -> None:
        load_mediapipe()
        from mediapipe.python._framework_bindings import calculator_graph

        self._clock = 0
        self._packets: list[Any] = []
        packets = self._packets  # MediaPipe keeps what it calls, and would keep this object alive with it
        try:
            with without_startup_noise():
                self._graph: Any = calculator_graph.CalculatorGraph(graph_config=GRAPH)
                self._graph.observe_output_stream("iris", lambda _, packet: packets.append(packet))
                self._graph.start_run({})
                self._graph.wait_until_idle()
        except (RuntimeError, ValueError) as error:
            raise AnonymizerError(f"MediaPipe did not start: {str(error).splitlines()[0]}") from error

    def __call__(self, image: Image, mesh: Floats) -> Floats:
        """Return where the irises lie from the middle of the corners, right and down, in widths of the eye, `(2,)`.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            mesh: `(468, 3)` of the face in it.
        """
        left = self._iris(_eye(image, mesh, LEFT_EYE))
        right = self._iris(_eye(image, mesh, RIGHT_EYE))  # mirrored: the network knows one eye only
        return np.asarray((left + right * np.array([-1, 1], np.float32)) / 2, np.float32)

    def close(self) -> None:
        """Free MediaPipe's threads and memory."""
        self._graph.close()

    def _iris(self, eye: Image) -> Floats:
        from mediapipe.python import packet_creator, packet_getter
        from mediapipe.python._framework_bindings import image_frame

        self._packets.clear()
        frame = image_frame.ImageFrame(image_format=image_frame.ImageFormat.SRGB, data=eye)
        self._graph.add_packet_to_input_stream("eye", packet_creator.create_image_frame(frame).at(self._clock))
        self._clock += 1
        self._graph.wait_until_idle()
        center = np.array(packet_getter.get_float_list(self._packets[0])[:2], np.float32)
        return np.asarray((center - EYE_SIDE / 2) / (EYE_SIDE / EYE_REACH))


def _eye(image: Image, mesh: Floats, corners: tuple[int, int]) -> Image:
    """Return the `(64, 64, 3)` crop of an eye, level, its outer corner on the left: the image's right eye mirrored."""
    outer, inner = mesh[corners[0], :2], mesh[corners[1], :2]
    across = inner - outer
    side = 1.0 if corners == LEFT_EYE else -1.0
    down = side * np.array([-across[1], across[0]])
    to_image = np.stack([across, down], axis=1) * EYE_REACH / EYE_SIDE
    start = (outer + inner) / 2 - to_image @ np.full(2, (EYE_SIDE - 1) / 2)
    transform = np.column_stack([to_image, start]).astype(np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, transform, (EYE_SIDE,) * 2, flags=flags, borderMode=cv2.BORDER_REPLICATE))
