"""Writes CenterFace as its authors published it in TFLite's format, for XNNPACK; `benchmarks.center_face_int8` goes on.

    python -m benchmarks.center_face_model centerface_bnmerged.onnx float32.tflite

The numbers are the authors'; batch normalisation is folded into the layers before it. The network is turned by 180
degrees, with every kernel of it, and so pictures must be: the authors pad one pixel on each side, but at a stride of
two TFLite pads below and to the right alone, which is the same for a network that stands on its head.
"""

from __future__ import annotations

import argparse
import hashlib
import struct
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mediapipe.tasks.metadata import schema_py_generated as tfl

from streamer.faces.center_face_graphs import BASE

ORIGINAL = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"  # sha256
FLOAT = 1  # of ONNX
HEADS = ("536", "538", "539", "540")  # logit of the heat, size, offset, landmarks: one convolution in ours
# Operations of TFLite, by the name of their options.
CODES = {"Conv2D": "CONV_2D", "DepthwiseConv2D": "DEPTHWISE_CONV_2D", "DepthToSpace": "DEPTH_TO_SPACE", "Add": "ADD"}


class Network:
    """A network of TFLite while it is put together."""

    def __init__(self) -> None:
        self._graph, self._model = tfl.SubGraphT(), tfl.ModelT()
        self._graph.tensors, self._graph.operators = [], []
        self._model.buffers, self._model.operatorCodes = [tfl.BufferT()], []
        self._kinds: dict[str, int] = {}

    def tensor(self, shape: tuple[int, ...], values: np.ndarray | None = None) -> int:
        """Return a new tensor, a constant if it has values."""
        tensor = tfl.TensorT()
        tensor.shape, tensor.type, tensor.buffer = list(shape), tfl.TensorType.FLOAT32, 0
        if values is not None:
            buffer = tfl.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
            self._model.buffers.append(buffer)
            tensor.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def shape(self, tensor: int) -> tuple[int, int, int]:
        """Return height, width and channels of what an operation gives."""
        _, height, width, channels = self._graph.tensors[tensor].shape
        return height, width, channels

    def add(self, kind: str, inputs: list[int], shape: tuple[int, int, int], options: dict[str, int]) -> int:
        """Return the output of a new operation, of this height, width and channels."""
        operator, output = tfl.OperatorT(), self.tensor((1, *shape))
        operator.opcodeIndex, operator.inputs, operator.outputs = self._kind(kind), inputs, [output]
        operator.builtinOptionsType = getattr(tfl.BuiltinOptions, f"{kind}Options")
        operator.builtinOptions = getattr(tfl, f"{kind}OptionsT")()
        for name, value in options.items():
            setattr(operator.builtinOptions, name, value)
        self._graph.operators.append(operator)
        return output

    def _kind(self, kind: str) -> int:
        if kind not in self._kinds:
            self._kinds[kind] = len(self._kinds)
            code = tfl.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = getattr(tfl.BuiltinOperator, CODES[kind])
            code.version = 1
            self._model.operatorCodes.append(code)
        return self._kinds[kind]

    def convolution(self, x: int, kernel: np.ndarray, bias: np.ndarray, *, stride: int = 1, relu: bool = False) -> int:
        """Return a convolution with a kernel `(out, in, h, w)`; with `(out, 1, h, w)` each channel is for itself."""
        height, width, channels = self.shape(x)
        is_deep = kernel.shape[1] < channels
        turned = kernel[:, :, ::-1, ::-1].transpose((1, 2, 3, 0) if is_deep else (0, 2, 3, 1))
        none, rectified = tfl.ActivationFunctionType.NONE, tfl.ActivationFunctionType.RELU
        options = {"padding": tfl.Padding.SAME, "strideW": stride, "strideH": stride, "dilationWFactor": 1}
        options |= {"dilationHFactor": 1, "fusedActivationFunction": rectified if relu else none}
        return self.add(
            "DepthwiseConv2D" if is_deep else "Conv2D",
            [x, self.tensor(turned.shape, turned), self.tensor(bias.shape, bias)],
            (height // stride, width // stride, len(bias)),
            options | ({"depthMultiplier": 1} if is_deep else {}),
        )

    def enlarged(self, x: int, kernel: np.ndarray, bias: np.ndarray) -> int:
        """Return a transposed convolution `(in, out, 2, 2)` of stride 2, rectified: channels laid out in space."""
        (height, width, inputs), outputs = self.shape(x), kernel.shape[1]
        deep = kernel[:, :, ::-1, ::-1].transpose(2, 3, 1, 0).reshape(4 * outputs, inputs, 1, 1)
        four = self.convolution(x, deep, np.tile(bias, 4), relu=True)
        return self.add("DepthToSpace", [four], (2 * height, 2 * width, outputs), {"blockSize": 2})

    def file(self, x: int, output: int) -> bytes:
        """Return the network that makes `output` of `x`."""
        self._graph.inputs, self._graph.outputs = [x], [output]
        self._model.version, self._model.subgraphs = 3, [self._graph]
        builder = tfl.flatbuffers.Builder(1 << 23)
        builder.Finish(self._model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


@dataclass
class Node:
    """An operation of ONNX."""

    kind: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]


def read_onnx(data: bytes) -> tuple[list[Node], dict[str, np.ndarray]]:
    """Return the operations and the constants of an ONNX file; the numbers of fields are those of onnx.proto."""
    graph = _message(_message(data)[7][0])
    constants = {}
    for tensor in map(_message, graph[5]):
        if tensor[2] == [FLOAT]:
            constants[tensor[8][0].decode()] = np.array(_floats(tensor)).reshape(tensor.get(1, []))
    return [_node(_message(node)) for node in graph[1]], constants


def _floats(tensor: dict[int, list[Any]]) -> np.ndarray:
    if 9 in tensor:
        return np.frombuffer(tensor[9][0], np.float32)
    packed = [np.frombuffer(one, np.float32) if isinstance(one, bytes) else one for one in tensor[4]]
    return np.hstack(packed).astype(np.float32)


def _node(fields: dict[int, list[Any]]) -> Node:
    attributes = {}
    for one in map(_message, fields.get(5, [])):
        attributes[one[1][0].decode()] = one[2][0] if 2 in one else one.get(3, one.get(8))
    return Node(fields[4][0].decode(), [name.decode() for name in fields[1]], fields[2][0].decode(), attributes)


def _message(data: bytes) -> dict[int, list[Any]]:
    """Return the fields of a message of Protocol Buffers, by number."""
    fields, at = defaultdict[int, list[Any]](list), 0
    while at < len(data):
        key, at = _whole(data, at)
        if key & 7 == 0:
            value, at = _whole(data, at)
        elif key & 7 == 5:
            value, at = struct.unpack_from("<f", data, at)[0], at + 4
        else:
            length, at = _whole(data, at)
            value, at = data[at : at + length], at + length
        fields[key >> 3].append(value)
    return dict(fields)


def _whole(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] & 128:
        value, shift, at = value | (data[at] & 127) << shift, shift + 7, at + 1
    return value | data[at] << shift, at + 1


def converted(nodes: list[Node], constants: dict[str, np.ndarray]) -> bytes:
    """Return the network of TFLite, for pictures of `BASE`."""
    normalised = {node.inputs[0]: node for node in nodes if node.kind == "BatchNormalization"}
    rectified = {node.inputs[0]: node.output for node in nodes if node.kind == "Relu"}
    network = Network()
    x = network.tensor((1, *BASE, 3))
    made = {nodes[0].inputs[0]: x}
    for node in nodes:
        inputs = [made[name] for name in node.inputs if name in made]
        if node.kind == "Conv" and node.output not in HEADS:
            kernel, bias = (constants[name] for name in node.inputs[1:])
            end, stride = rectified.get(node.output), node.attributes["strides"][0]
            made[end or node.output] = network.convolution(inputs[0], kernel, bias, stride=stride, relu=bool(end))
        elif node.kind == "ConvTranspose":
            norm = normalised[node.output]
            made[rectified[norm.output]] = network.enlarged(inputs[0], *_folded(node, norm, constants))
        elif node.kind == "Add":
            made[node.output] = network.add("Add", inputs, network.shape(inputs[0]), {})
    heads = sorted((node for node in nodes if node.output in HEADS), key=lambda node: HEADS.index(node.output))
    kernel, bias = (np.concatenate([constants[node.inputs[n]] for node in heads]) for n in (1, 2))
    return network.file(x, network.convolution(made[heads[0].inputs[0]], kernel, bias))


def _folded(node: Node, norm: Node, constants: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel `(in, out, 2, 2)` and the bias of a layer with the normalisation after it."""
    gain, shift, mean, variance = (constants[name] for name in norm.inputs[1:])
    scale = gain / np.sqrt(variance + norm.attributes["epsilon"])
    return constants[node.inputs[1]] * scale[None, :, None, None], shift - mean * scale


def main() -> None:
    """Convert a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    data = arguments.original.read_bytes()
    if hashlib.sha256(data).hexdigest() != ORIGINAL:
        raise SystemExit(f"{arguments.original} is not the file that this was written for")
    made = converted(*read_onnx(data))
    arguments.out.write_bytes(made)
    print(f"{arguments.out}: {len(made)} bytes, sha256 {hashlib.sha256(made).hexdigest()}")


if __name__ == "__main__":
    main()
