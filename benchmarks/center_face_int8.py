"""Writes `streamer/faces/weights/center-face.tflite`, in 8 bits, from what `benchmarks.center_face_model` wrote.

    python -m benchmarks.center_face_int8 float32.tflite FACES_FOLDER center-face.tflite

Weights have a scale for each channel, what flows between layers one for each tensor, from crowds that nobody was in:
FACES_FOLDER holds `synth-*.tar` (`benchmarks/crowd_scenes.py`). The layers that lose most by it stay as they are.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from mediapipe.tasks.metadata import schema_py_generated as tfl
from torch import Tensor
from torch.nn import functional

from benchmarks.crowd_scenes import Scene, person, read_heads, shown
from streamer.types import Image

PICTURES = 100
SIZE = (640, 384)  # pixels, that of a tile of 1080p
SIZES = (10.0, 200.0)  # pixels from ear to ear
LIGHT = (0.15, 1.0)  # the darkest are those of a stage at night
# Operations of the file: the first three, the three coarse levels that the answer is put together from, and the answer.
# In 8 bits the first alone would make most of the error in heat; together they take 2 of 21 ms.
KEPT = (slice(0, 3), slice(-16, -6), slice(-1, None))
VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "ADD": 2, "DEPTH_TO_SPACE": 1, "QUANTIZE": 1, "DEQUANTIZE": 2}
NAMES = {getattr(tfl.BuiltinOperator, name): name for name in VERSIONS}
Range = tuple[float, float]


def pictures(heads: list[Image]) -> Iterator[Image]:
    """Yield crowds in all light, with faces of all sizes."""
    width, height = SIZE
    for n in range(PICTURES):
        dice = np.random.default_rng(n)
        sizes = np.exp(dice.uniform(*np.log(SIZES), int(dice.integers(1, 24))))
        people = [person(dice, dice.uniform(0, width), dice.uniform(0, height), float(size)) for size in sizes]
        scene = Scene(" " * (n % 3), width, height, tuple(people))  # the length of its name tells how much noise
        yield cv2.convertScaleAbs(next(shown(scene, heads)).image, alpha=dice.uniform(*LIGHT))


class Float32:
    """The network as it was written, run by torch, so that every layer's output can be seen.

    Args:
        model: The file, unpacked; not modified.
    """

    def __init__(self, model: tfl.ModelT) -> None:
        self._model, self._graph = model, model.subgraphs[0]
        self.operations: list[tfl.OperatorT] = self._graph.operators

    def kind(self, operation: tfl.OperatorT) -> str:
        """Return the name of what an operation does."""
        return NAMES[self._model.operatorCodes[operation.opcodeIndex].builtinCode]

    def constant(self, tensor: int) -> np.ndarray | None:
        """Return the values of a tensor; None of one that is computed."""
        data = self._model.buffers[self._graph.tensors[tensor].buffer].data
        shape = self._graph.tensors[tensor].shape
        return None if data is None else np.frombuffer(bytes(data), np.float32).reshape(shape)

    def outputs(self, picture: Image) -> dict[int, Tensor]:
        """Return what each layer makes of a picture `(H, W, 3)`: `(1, C, H, W)`, by tensor; the picture too."""
        turned = cv2.rotate(picture, cv2.ROTATE_180).transpose(2, 0, 1)[None]
        made = {int(self._graph.inputs[0]): torch.tensor(turned, dtype=torch.float32)}
        for operation in self.operations:
            made[int(operation.outputs[0])] = self._output(operation, made)
        return made

    def _output(self, operation: tfl.OperatorT, made: dict[int, Tensor]) -> Tensor:
        kind, x = self.kind(operation), made[int(operation.inputs[0])]
        if kind == "ADD":
            return x + made[int(operation.inputs[1])]
        if kind == "DEPTH_TO_SPACE":
            _, channels, height, width = x.shape
            apart = x.reshape(2, 2, channels // 4, height, width).permute(2, 3, 0, 4, 1)
            return apart.reshape(1, channels // 4, 2 * height, 2 * width)
        kernel, bias = (torch.tensor(self.constant(n)) for n in operation.inputs[1:])
        is_deep, stride = kind == "DEPTHWISE_CONV_2D", operation.builtinOptions.strideW
        kernel = kernel.permute((3, 0, 1, 2) if is_deep else (0, 3, 1, 2))
        if kernel.shape[2] == 3:
            x = functional.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        y = functional.conv2d(x, kernel, bias, stride=stride, groups=len(bias) if is_deep else 1)
        is_rectified = operation.builtinOptions.fusedActivationFunction == tfl.ActivationFunctionType.RELU
        return functional.relu(y) if is_rectified else y


def ranges(network: Float32, crowd: Iterator[Image]) -> dict[int, Range]:
    """Return the lowest and the highest value of each tensor, means over the pictures: few are as far out as any."""
    seen = defaultdict[int, list[Range]](list)
    with torch.inference_mode():
        for picture in crowd:
            for tensor, values in network.outputs(picture).items():
                seen[tensor].append((min(0.0, float(values.min())), max(0.0, float(values.max()))))
    low_high = {tensor: np.mean(ends, axis=0) for tensor, ends in seen.items()}
    for operation in network.operations:
        if network.kind(operation) == "DEPTH_TO_SPACE":  # which only moves
            low_high[int(operation.outputs[0])] = low_high[int(operation.inputs[0])]
    return {tensor: (float(low), float(high)) for tensor, (low, high) in low_high.items()}


class Int8:
    """The network while it is put together anew, tensor by tensor.

    Args:
        model: The file, unpacked; it becomes the new one.
        low_high: Of `ranges`.
    """

    def __init__(self, model: tfl.ModelT, low_high: dict[int, Range]) -> None:
        self._model, self._graph, self._ranges = model, model.subgraphs[0], low_high
        self._network = Float32(model)
        self._operations: list[tfl.OperatorT] = []
        self._float = {int(self._graph.inputs[0])}  # tensors that are there in 32 bits
        self._int8: dict[int, int] = {}  # those in 8, by their number in the old file

    def file(self) -> bytes:
        """Return the new file."""
        kept = [id(operation) for part in KEPT for operation in self._network.operations[part]]
        for operation in self._network.operations:
            (self._keep if id(operation) in kept else self._convert)(operation)
        self._graph.operators = self._operations
        self._drop_unused()
        for code in self._model.operatorCodes:
            code.version = VERSIONS[NAMES[code.builtinCode]]
        builder = tfl.flatbuffers.Builder(1 << 22)
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _keep(self, operation: tfl.OperatorT) -> None:
        for tensor in map(int, operation.inputs):
            if self._network.constant(tensor) is None and tensor not in self._float:
                self._add("DEQUANTIZE", "Dequantize", self._int8[tensor], tensor)
                self._float.add(tensor)
        self._operations.append(operation)
        self._float.add(int(operation.outputs[0]))

    def _convert(self, operation: tfl.OperatorT) -> None:
        inputs, output = [int(tensor) for tensor in operation.inputs], int(operation.outputs[0])
        operation.inputs = [self._in_int8(n) for n in inputs if self._network.constant(n) is None]
        if self._network.kind(operation).endswith("CONV_2D"):
            operation.inputs += self._weights(*inputs, axis=0 if self._network.kind(operation) == "CONV_2D" else 3)
        self._int8[output] = self._like(output)
        operation.outputs = [self._int8[output]]
        self._operations.append(operation)

    def _in_int8(self, tensor: int) -> int:
        if tensor not in self._int8:
            self._int8[tensor] = self._like(tensor)
            self._add("QUANTIZE", "Quantize", tensor, self._int8[tensor])
        return self._int8[tensor]

    def _add(self, kind: str, options: str, x: int, output: int) -> None:
        operation = tfl.OperatorT()
        operation.opcodeIndex, operation.inputs, operation.outputs = self._code(kind), [x], [output]
        operation.builtinOptionsType = getattr(tfl.BuiltinOptions, f"{options}Options")
        operation.builtinOptions = getattr(tfl, f"{options}OptionsT")()
        self._operations.append(operation)

    def _code(self, kind: str) -> int:
        codes = [NAMES[code.builtinCode] for code in self._model.operatorCodes]
        if kind not in codes:
            code = tfl.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = getattr(tfl.BuiltinOperator, kind)
            self._model.operatorCodes.append(code)
        return [*codes, kind].index(kind)

    def _like(self, tensor: int) -> int:
        """Return a new tensor in 8 bits for what an old one held."""
        scale, zero = _affine(self._ranges[tensor])
        return self._tensor(self._graph.tensors[tensor].shape, tfl.TensorType.INT8, np.array([scale]), zero=zero)

    def _weights(self, x: int, kernel: int, bias: int, *, axis: int) -> list[int]:
        """Return the kernel in 8 bits, with a scale for each channel along `axis`, and the bias in 32."""
        weights, biases = self._network.constant(kernel), self._network.constant(bias)
        assert weights is not None
        assert biases is not None
        scales = np.abs(weights).max(axis=tuple({0, 1, 2, 3} - {axis}), keepdims=True) / 127
        of_sum = scales.ravel() * _affine(self._ranges[x])[0]
        whole, sums = np.round(weights / scales).astype(np.int8), np.round(biases / of_sum).astype(np.int32)
        return [self._constant(whole, scales.ravel(), axis=axis), self._constant(sums, of_sum)]

    def _constant(self, values: np.ndarray, scales: np.ndarray, *, axis: int = 0) -> int:
        kind = {"int8": tfl.TensorType.INT8, "int32": tfl.TensorType.INT32}[values.dtype.name]
        buffer = tfl.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        return self._tensor(values.shape, kind, scales, axis=axis, buffer=len(self._model.buffers) - 1)

    def _tensor(
        self, shape: Iterable[int], kind: int, scales: np.ndarray, *, zero: int = 0, axis: int = 0, buffer: int = 0
    ) -> int:
        tensor, quantization = tfl.TensorT(), tfl.QuantizationParametersT()
        quantization.scale = scales.astype(np.float32)
        quantization.zeroPoint, quantization.quantizedDimension = np.full(len(scales), zero, np.int64), axis
        tensor.shape, tensor.type, tensor.buffer, tensor.quantization = list(shape), kind, buffer, quantization
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _drop_unused(self) -> None:
        """Leave out the tensors and weights that no operation asks for any more."""
        used = {int(n) for one in self._operations for n in (*one.inputs, *one.outputs)}
        new = {n: at for at, n in enumerate(sorted(used))}
        for one in (*self._operations, self._graph):
            one.inputs, one.outputs = ([new[int(n)] for n in ends] for ends in (one.inputs, one.outputs))
        self._graph.tensors = [self._graph.tensors[n] for n in sorted(used)]
        buffers = self._model.buffers[:1]
        for tensor in self._graph.tensors:
            if tensor.buffer:
                buffers.append(self._model.buffers[tensor.buffer])
                tensor.buffer = len(buffers) - 1
        self._model.buffers = buffers


def _affine(low_high: Range) -> tuple[float, int]:
    """Return the step and the number for zero, of the 256 from -128 on that reach from the lowest to the highest."""
    low, high = low_high
    scale = max(high - low, 1e-6) / 255
    return scale, round(-128 - low / scale)


def main() -> None:
    """Convert a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("float32", type=Path)
    parser.add_argument("faces", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    model = tfl.ModelT.InitFromPackedBuf(arguments.float32.read_bytes(), 0)
    made = Int8(model, ranges(Float32(model), pictures(read_heads(arguments.faces)))).file()
    arguments.out.write_bytes(made)
    print(f"{arguments.out}: {len(made)} bytes, sha256 {hashlib.sha256(made).hexdigest()}")


if __name__ == "__main__":
    main()
