"""Replace the faces of a video and say how each was covered: python examples/video.py clip.mp4 safe.mp4."""

import sys
from collections import Counter

from streamer import Anonymizer, StreamerError, open_sink, open_source, protect


def main(source_path: str, sink_path: str) -> None:
    """Read `source_path`, write `sink_path`; a failed run leaves no output."""
    covered: Counter[str] = Counter()
    with open_source(source_path) as source, open_sink(sink_path, source.info) as sink:
        anonymizer = Anonymizer.load(beta=0.0, device="auto")
        for frame in protect(source, anonymizer):
            sink.write(frame)
            covered.update(face.tier for face in frame.faces)
    print(f"{sink_path}: {dict(covered)}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except StreamerError as error:
        sys.exit(str(error))
