"""Show a webcam without faces, until Q: python examples/webcam.py 0. Of a file, write: webcam.py clip.mp4 safe.mp4."""

import sys

import cv2

from streamer import Anonymizer, share_cores


def main(source: str, sink: str = "") -> None:
    """Take frames with OpenCV, and show them, or write them to `sink`."""
    share_cores()
    camera = cv2.VideoCapture(int(source) if source.isdigit() else source)
    if not camera.isOpened():
        sys.exit(f"cannot open {source}")
    size = (int(camera.get(cv2.CAP_PROP_FRAME_WIDTH)), int(camera.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    rate = camera.get(cv2.CAP_PROP_FPS) or 30
    writer = cv2.VideoWriter(sink, cv2.VideoWriter.fourcc(*"mp4v"), rate, size) if sink else None
    count = 0
    with Anonymizer.load() as anonymizer, anonymizer.stream(order="bgr") as stream:
        while (read := camera.read())[0]:
            safe = stream(read[1], seconds=count / rate if writer else None)  # without times it goes by the clock
            count += 1
            if writer:
                writer.write(safe)
            elif cv2.imshow("safe", safe) or cv2.waitKey(1) == ord("q"):
                break
    camera.release()
    if writer:
        writer.release()


if __name__ == "__main__":
    main(*sys.argv[1:])
