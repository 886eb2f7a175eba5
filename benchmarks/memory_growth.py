"""Loop a clip for ten seconds and for ten minutes, run `veil run` on both, and print the peak memory of each.

python benchmarks/memory_growth.py CLIP [--mode generate|cover]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import av
from clips import run

SECONDS = (10, 600)


def main() -> None:
    """Print one line per length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--mode", choices=("generate", "cover"), default="generate")
    options = parser.parse_args()
    for seconds in SECONDS:
        with tempfile.TemporaryDirectory() as folder:
            looped, out = Path(folder) / "looped.mp4", Path(folder) / "out.mp4"
            loop(options.clip, looped, seconds)
            report, peak = run([str(looped), str(out), "--json", "--mode", options.mode])
            size = out.stat().st_size / 2**20
        print(f"{seconds} s, {report['frames']} frames: peak {peak:.0f} MiB, output {size:.1f} MiB", flush=True)


def loop(clip: Path, to: Path, seconds: float) -> None:
    """Write the video packets of `clip` again and again, until they last `seconds`."""
    with av.open(str(to), "w") as sink:
        stream, start = None, 0
        while stream is None or start * stream.time_base < seconds:
            with av.open(str(clip)) as source:
                video = source.streams.video[0]
                stream = stream or sink.add_stream_from_template(video)
                first, end = None, start
                for packet in source.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    first = packet.dts if first is None else first
                    length = packet.duration or 1
                    packet.pts, packet.dts = packet.pts - first + start, packet.dts - first + start
                    end = max(end, packet.pts + length)
                    packet.stream = stream
                    if packet.dts * video.time_base < seconds:
                        sink.mux(packet)
                start = end


if __name__ == "__main__":
    main()
