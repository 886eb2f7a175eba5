"""A frame of a picture."""

from fractions import Fraction

from streamer.types import Frame, Image


def frame_of(image: Image, index: int = 0) -> Frame:
    return Frame(image, index, index, Fraction(1, 25))
