"""Replace the faces of one picture: python examples/picture.py photo.jpg safe.png."""

import sys

import cv2

from streamer import Anonymizer


def main(source: str, sink: str) -> None:
    """Read `source`, write `sink`."""
    picture = cv2.imread(source)
    if picture is None:
        sys.exit(f"cannot read {source}: is it a picture?")
    anonymizer = Anonymizer.load()
    safe = anonymizer.image(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    cv2.imwrite(sink, cv2.cvtColor(safe, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main(*sys.argv[1:])
