"""Replace the faces of one picture: python examples/picture.py photo.jpg safe.png."""

import sys

import cv2

from streamer import Anonymizer


def main(source: str, sink: str) -> None:
    """Read `source`, write `sink`."""
    picture = cv2.imread(source)
    if picture is None:
        sys.exit(f"cannot read {source}: is it a picture?")
    cv2.imwrite(sink, Anonymizer.load().image(picture, order="bgr"))


if __name__ == "__main__":
    main(*sys.argv[1:])
