"""Writes convolutional networks in the ONNX format, which OpenCV reads; only the operations that ours are made of.

https://onnx.ai/onnx/repo-docs/IR.html; the numbers of fields are those of onnx.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

FLOAT, OPSET, IR_VERSION = 1, 13, 7
OF_FLOAT, OF_INT, OF_STRING, OF_INTS = 1, 2, 3, 7  # kinds of attribute


class OnnxGraph:
    """A network while it is put together: each operation returns the name of its output."""

    def __init__(self) -> None:
        self._nodes = b""
        self._constants = b""
        self._count = 0

    def constant(self, value: Tensor) -> str:
        """Return the name of a constant."""
        name, array = self._new_name(), value.detach().float().cpu().numpy()
        dims = b"".join(_integer(1, side) for side in array.shape)
        self._constants += _bytes(5, dims + _integer(2, FLOAT) + _text(8, name) + _bytes(9, array.tobytes()))
        return name

    def conv(self, features: str, layer: nn.Conv2d) -> str:
        """Return a convolution without groups."""
        assert layer.bias is not None
        pad, stride, side = int(layer.padding[0]), layer.stride[0], layer.kernel_size[0]
        inputs = features, self.constant(layer.weight), self.constant(layer.bias)
        steps = _integers("pads", [pad] * 4) + _integers("strides", [stride] * 2)
        return self._node("Conv", inputs, _integers("kernel_shape", [side] * 2) + steps)

    def leaky_relu(self, features: str, slope: float) -> str:
        """Return what is below 0 times `slope`."""
        return self._node("LeakyRelu", [features], _real("alpha", slope))

    def add(self, a: str, b: str) -> str:
        """Return the sum."""
        return self._node("Add", [a, b])

    def joined(self, a: str, b: str) -> str:
        """Return the channels of both."""
        return self._node("Concat", [a, b], _whole("axis", 1))

    def enlarged(self, features: str, scale: float) -> str:
        """Return features `scale` times as wide and high, bilinearly, as torch without `align_corners`."""
        scales = self.constant(torch.tensor([1.0, 1.0, scale, scale]))
        how = _string("mode", "linear") + _string("coordinate_transformation_mode", "half_pixel")
        return self._node("Resize", [features, "", scales], how)

    def file(self, taken: Sequence[int], output: str, made: Sequence[int]) -> bytes:
        """Return the file of the network whose input "input" has the shape `taken`, and its output the shape `made`."""
        ends = _bytes(11, _end("input", taken)) + _bytes(12, _end(output, made))
        graph = self._nodes + _text(2, "network") + self._constants + ends
        return _integer(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _integer(2, OPSET))

    def _node(self, kind: str, inputs: Sequence[str], attributes: bytes = b"") -> str:
        name = self._new_name()
        names = b"".join(_text(1, given) for given in inputs) + _text(2, name)
        self._nodes += _bytes(1, names + _text(3, name) + _text(4, kind) + attributes)
        return name

    def _new_name(self) -> str:
        self._count += 1
        return f"n{self._count}"


def _end(name: str, shape: Sequence[int]) -> bytes:
    sides = b"".join(_bytes(1, _integer(1, side)) for side in shape)
    return _text(1, name) + _bytes(2, _bytes(1, _integer(1, FLOAT) + _bytes(2, sides)))


def _integers(name: str, values: Sequence[int]) -> bytes:
    return _attribute(name, b"".join(_integer(8, value) for value in values), OF_INTS)


def _whole(name: str, value: int) -> bytes:
    return _attribute(name, _integer(3, value), OF_INT)


def _real(name: str, value: float) -> bytes:
    return _attribute(name, _varint(2 << 3 | 5) + struct.pack("<f", np.float32(value)), OF_FLOAT)


def _string(name: str, value: str) -> bytes:
    return _attribute(name, _text(4, value), OF_STRING)


def _attribute(name: str, value: bytes, kind: int) -> bytes:
    return _bytes(5, _text(1, name) + value + _integer(20, kind))


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Return a number as protobuf writes it: seven bits a byte, the low ones first."""
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
