"""Cover the faces of a folder of pictures, and of the folders in it: python examples/folder.py photos safe."""

import json
import sys

from streamer import Anonymizer, open_sink, open_source


def main(source_path: str, sink_path: str) -> None:
    """Read the pictures of `source_path`, write them to the folder `sink_path`, print one JSON object a picture."""
    anonymizer = Anonymizer.load(mode="cover", cover="solid")
    with open_source(source_path, recursive=True) as source, open_sink(sink_path, source.info) as sink:
        for frame in map(anonymizer.picture, source):  # each on its own: no face is followed from one to the next
            sink.write(frame)
            boxes = [face.box.round().tolist() for face in frame.faces]
            print(json.dumps({"picture": source.info.names[frame.index], "boxes": boxes, "failed": frame.failed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
