"""Runs MediaPipe's face detectors and its face mesh, in one graph; knows neither frames nor faces."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from streamer.errors import AnonymizerError
from streamer.faces.mediapipe_runtime import load_mediapipe
from streamer.types import Image

LANES = 2  # copies of the full range and mesh models that work at the same time
MESH_SIDE = 192  # pixels; input of the mesh model
DETECTOR = """
input_stream: "{input}" output_stream: "{output}"
node {{ calculator: "FaceDetection{reach}RangeCpu" input_stream: "IMAGE:{input}" output_stream: "DETECTIONS:{output}"
  node_options {{ [type.googleapis.com/mediapipe.FaceDetectionOptions] {{ min_score_thresh: {score} }} }} }}
"""
# MediaPipe's FaceLandmarkCpu without its gate, so that presence comes out as a number and points as plain floats.
MESH = """
input_stream: "crop{n}" output_stream: "points{n}" output_stream: "presence{n}"
node {{ calculator: "TensorConverterCalculator" input_stream: "IMAGE:crop{n}" output_stream: "TENSORS:pixels{n}"
  options {{ [mediapipe.TensorConverterCalculatorOptions.ext] {{
    output_tensor_float_range {{ min: 0 max: 1 }} }} }} }}
node {{ calculator: "InferenceCalculator" input_stream: "TENSORS:pixels{n}" output_stream: "TENSORS:both{n}"
  options {{ [mediapipe.InferenceCalculatorOptions.ext] {{
    model_path: "mediapipe/modules/face_landmark/face_landmark.tflite" delegate {{ xnnpack {{}} }} }} }} }}
node {{ calculator: "SplitTensorVectorCalculator" input_stream: "both{n}" output_stream: ["mesh{n}", "flag{n}"]
  options {{ [mediapipe.SplitVectorCalculatorOptions.ext] {{ ranges {{ end: 1 }} ranges {{ begin: 1 end: 2 }} }} }} }}
node {{ calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:mesh{n}" output_stream: "FLOATS:points{n}" }}
node {{ calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:flag{n}" output_stream: "FLOAT:presence{n}"
  options {{ [mediapipe.TensorsToFloatsCalculatorOptions.ext] {{ activation: SIGMOID }} }} }}
"""
STARTUP_NOISE = (b"inference_feedback_manager", b"XNNPACK delegate", b"absl::InitializeLog")
_stderr_lock = threading.Lock()


class FaceNetworks:
    """One running graph with all networks; inputs of different streams are worked on at the same time.

    For one thread at a time. What failed once may fail for good: it is to be closed, and a new one made.

    Args:
        least_score: What a detection must reach.

    Raises:
        AnonymizerError: When MediaPipe does not start.
    """

    def __init__(self, *, least_score: float) -> None:
        load_mediapipe()  # takes a moment, which `import streamer.faces.networks` must not
        from mediapipe.python import packet_getter
        from mediapipe.python._framework_bindings import calculator_graph

        text = DETECTOR.format(input="short", output="near", reach="Short", score=least_score)
        self._getters: dict[str, Callable[[object], Any]] = {"near": packet_getter.get_proto_list}
        for n in range(LANES):
            text += DETECTOR.format(input=f"full{n}", output=f"faces{n}", reach="Full", score=least_score)
            text += MESH.format(n=n)
            self._getters |= {f"faces{n}": packet_getter.get_proto_list, f"presence{n}": packet_getter.get_float}
            self._getters[f"points{n}"] = packet_getter.get_float_list
        self._outputs = {"short": ["near"]} | {f"full{n}": [f"faces{n}"] for n in range(LANES)}
        self._outputs |= {f"crop{n}": [f"points{n}", f"presence{n}"] for n in range(LANES)}
        self._clock = 0
        self._packets: list[tuple[str, Any]] = []
        packets = self._packets  # MediaPipe keeps what it calls, and would keep this object alive with it
        with without_startup_noise(), as_anonymizer_error("start"):
            self._graph: Any = calculator_graph.CalculatorGraph(graph_config=text)
            for name in self._getters:
                # With bounds: an empty packet says that there was nothing, none at all that there was no answer.
                self._graph.observe_output_stream(name, lambda name, packet: packets.append((name, packet)), True)
            self._graph.start_run({})
            self._graph.wait_until_idle()

    def run(self, inputs: Iterable[tuple[str, Image]]) -> dict[tuple[str, int], Any]:
        """Return the outputs by `(stream, n)`, for the n-th image of the stream that they come from.

        Raises:
            AnonymizerError: When MediaPipe fails, an image is left without an answer, or this is closed.
        """
        from mediapipe.python import packet_creator
        from mediapipe.python._framework_bindings import image_frame

        if self._graph is None:
            raise AnonymizerError("the face detector is closed")
        self._packets.clear()
        first, sent = self._clock, Counter[str]()
        with as_anonymizer_error("run"):
            for stream, image in inputs:
                frame = image_frame.ImageFrame(image_format=image_frame.ImageFormat.SRGB, data=image)
                packet = packet_creator.create_image_frame(frame).at(first + sent[stream])
                self._graph.add_packet_to_input_stream(stream=stream, packet=packet)
                sent[stream] += 1
            self._clock += max(sent.values(), default=0)
            self._graph.wait_until_idle()
        packets = [(name, packet.timestamp.value - first, packet) for name, packet in self._packets]
        settled = {name: n for name, n, _ in packets}  # of each output the last: in order, so those before are, too
        if any(settled.get(name, -1) < count - 1 for stream, count in sent.items() for name in self._outputs[stream]):
            raise AnonymizerError("MediaPipe left a picture without an answer")  # as if no face were in it
        return {(name, n): self._getters[name](p) for name, n, p in packets if not p.is_empty()}

    def close(self) -> None:
        """Stop the graph and free it."""
        graph, self._graph = self._graph, None
        if graph is not None:
            with as_anonymizer_error("stop"):
                graph.close()


class LastingNetworks:
    """`FaceNetworks` that are made anew after they failed; for one thread at a time.

    Args:
        least_score: As theirs.

    Raises:
        AnonymizerError: When MediaPipe does not start.
    """

    def __init__(self, *, least_score: float) -> None:
        self._least_score = least_score
        self._networks: FaceNetworks | None = FaceNetworks(least_score=least_score)

    @contextmanager
    def running(self) -> Iterator[FaceNetworks]:
        """Lend the networks; they are thrown away if they, or who has them, fail meanwhile."""
        networks = self._networks = self._networks or FaceNetworks(least_score=self._least_score)
        try:
            yield networks
        except BaseException:  # an interrupt as well: what it left behind would answer for the next image
            self.close()
            raise

    def close(self) -> None:
        """Stop the graph and free it."""
        networks, self._networks = self._networks, None
        if networks is not None:
            with suppress(Exception):  # a graph that failed says so once more
                networks.close()


@contextmanager
def as_anonymizer_error(verb: str) -> Iterator[None]:
    """Raise what MediaPipe raises as `AnonymizerError`; `verb` says what it did not do."""
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        raise AnonymizerError(f"MediaPipe did not {verb}: {str(error).splitlines()[0]}") from error


@contextmanager
def without_startup_noise() -> Iterator[None]:
    """Drop the lines that MediaPipe's C++ writes to stderr at every start; every other line is written afterwards."""
    with _stderr_lock:
        sys.stderr.flush()
        stderr, (caught, into) = os.dup(2), os.pipe()  # no file: a run writes nothing that it was not asked for
        os.set_blocking(into, False)  # what does not fit is lost, not waited for
        try:
            os.dup2(into, 2)
            os.close(into)
            yield
        finally:
            os.dup2(stderr, 2)
            os.set_blocking(caught, False)  # the end is not waited for: a process begun meanwhile holds it back
            with os.fdopen(caught, "rb", buffering=0) as noise:
                lines = (noise.readall() or b"").splitlines(keepends=True)
            os.write(stderr, b"".join(line for line in lines if not any(word in line for word in STARTUP_NOISE)))
            os.close(stderr)
