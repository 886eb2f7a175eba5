"""Count the annotated faces that stay uncovered, over clips: `veil run` by policy and delay, and deface beside it.

    python -m benchmarks.count_leaks CLIPS_FOLDER [--mode cover|generate] [--only NAME...] [--deface BIN | --no-deface]

Annotations are those of tests/truth. A face counts as uncovered when its fine detail survives
(`streamer.evaluate.measures.coverage`). In brackets is what covering too much costs
(`streamer.evaluate.video.elsewhere`): the share of the picture that was changed where no face is, and the covers in 100
frames that touch none.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np

from benchmarks.deface import CACHE, install_deface
from streamer.evaluate.measures.coverage import detail_kept
from streamer.evaluate.video.elsewhere import Elsewhere, elsewhere
from streamer.evaluate.video.frame_pairs import FramePair, OutputPairs, OwnPairs
from streamer.evaluate.video.leaks import LEAST_SIZE, FaceFrame, leak_figure
from streamer.evaluate.video.truth import TrueFace, read_truth
from streamer.pipeline.anonymizer import Anonymizer

TRUTHS = Path(__file__).parent.parent / "tests" / "truth"


@dataclass(frozen=True)
class Tried:
    """One way of covering: a policy of ours with a delay in seconds, or another tool."""

    name: str
    policy: str = ""
    delay: float = 0.0


OURS = (
    Tried("balanced, 500 ms", "balanced", 0.5),
    Tried("balanced, 100 ms", "balanced", 0.1),
    Tried("strict, 500 ms", "strict", 0.5),
    Tried("strict, 100 ms", "strict", 0.1),
)
DEFACE = Tried("deface")


def main() -> None:
    """Print a table of rates, and each leak."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("--mode", choices=("cover", "generate"), default="cover")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--deface", type=Path)
    parser.add_argument("--no-deface", action="store_true")
    parser.add_argument("--ways", nargs="*", default=[], choices=[way.name for way in (*OURS, DEFACE)])
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    clips = [clip for clip in sorted(options.clips.iterdir()) if (TRUTHS / f"{clip.stem}.json").exists()]
    clips = [clip for clip in clips if not options.only or clip.stem in options.only]
    ways = OURS if options.no_deface else (*OURS, DEFACE)
    ways = tuple(way for way in ways if not options.ways or way.name in options.ways)
    deface = None if options.no_deface else options.deface or install_deface(CACHE)
    jobs = [(clip, way, options.mode, deface) for way in ways for clip in clips]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        done = pool.map(watched, *zip(*jobs, strict=True))
        found = {}
        for (clip, way, *_), result in zip(jobs, done, strict=True):
            found[clip, way] = result
            uncovered = sum(face.uncovered for face in result[0])
            print(f"{way.name}: {clip.stem}: {uncovered} {cost(result[1])}", file=sys.stderr, flush=True)
    print_table(clips, ways, found)


def watched(clip: Path, way: Tried, mode: str, deface: Path | None) -> tuple[list[FaceFrame], list[Elsewhere]]:
    """Return every checked face-frame of at least `LEAST_SIZE`, and what was changed elsewhere in each frame."""
    truth = read_truth(TRUTHS / f"{clip.stem}.json")
    if way.policy:
        anonymizer = Anonymizer.load(mode=mode, policy=way.policy, delay_seconds=way.delay, device="cpu")
        return counted(OwnPairs(clip, anonymizer), truth.frames)
    with tempfile.TemporaryDirectory() as folder:
        source, out = clip, Path(folder) / "out.mp4"
        if clip.suffix == ".gif":
            source = Path(folder) / "in.mp4"
            rewrite(clip, source)
        subprocess.run([deface, source, "-o", out], check=True, capture_output=True)
        return counted(OutputPairs(clip, out), truth.frames)


def rewrite(gif: Path, video: Path) -> None:
    """Write an animated GIF as a near lossless video: deface takes a GIF for a single picture."""
    with av.open(gif) as source, av.open(video, "w") as sink:
        pictures = source.streams.video[0]
        stream = sink.add_stream("libx264", rate=pictures.average_rate, options={"crf": "2"})
        stream.width, stream.height, stream.pix_fmt = pictures.width, pictures.height, "yuv444p"
        for frame in source.decode(pictures):
            sink.mux(stream.encode(frame.reformat(format="yuv444p")))
        sink.mux(stream.encode())


def counted(
    pairs: Iterable[FramePair], truth: dict[int, tuple[TrueFace, ...]]
) -> tuple[list[FaceFrame], list[Elsewhere]]:
    """Return what `watched` does."""
    faces: list[FaceFrame] = []
    beside: list[Elsewhere] = []
    for pair in pairs:
        if pair.after is None or pair.before.index not in truth:
            continue
        known = truth[pair.before.index]
        for face in known:
            kept = detail_kept(pair.before.image, pair.after, face.box)
            if face.checked and face.size >= LEAST_SIZE:
                faces.append(
                    FaceFrame(pair.before.index, pair.before.seconds, face.box, face.size, face.yaw, True, kept)
                )
        beside.append(elsewhere(pair.before.image, pair.after, known))
    return faces, beside


def cost(frames: list[Elsewhere]) -> str:
    """Return the share of the picture changed where no face is, and the stray covers in 100 frames."""
    share, strays = np.mean([(frame.share, frame.strays) for frame in frames], axis=0)
    return f"({100 * share:.2f} %, {100 * strays:.0f})"


def print_table(
    clips: list[Path], ways: tuple[Tried, ...], found: dict[tuple[Path, Tried], tuple[list[FaceFrame], list[Elsewhere]]]
) -> None:
    """Print uncovered face-frames and what was covered elsewhere, by clip and way; then each leak."""
    print(f"| clip | face-frames | {' | '.join(way.name for way in ways)} |\n{'|---' * (len(ways) + 2)}|")
    for clip in clips:
        cells = [found[clip, way] for way in ways]
        row = [f"{sum(face.uncovered for face in faces)} {cost(beside)}" for faces, beside in cells]
        print(f"| {clip.stem} | {len(cells[0][0])} | {' | '.join(row)} |")
    for way in ways:
        faces = [face for clip in clips for face in found[clip, way][0]]
        beside = [frame for clip in clips for frame in found[clip, way][1]]
        uncovered = f"{sum(f.uncovered for f in faces)} of {len(faces)}, per 10,000: {leak_figure(faces)}"
        print(f"{way.name}: {uncovered}; {cost(beside)}")
        for clip in clips:
            leaks = [face for face in found[clip, way][0] if face.uncovered] if way.policy else []
            for face in leaks:
                print(f"  {clip.stem} frame {face.frame} {face.box.round()} yaw {face.yaw:.0f} kept {face.kept:.2f}")


if __name__ == "__main__":
    main()
