"""Write docs/results.md anew: the paper's tables and figures, attacks, drawn faces by group, and Veil beside deface.

    make results PHOTOS=faces                        as it is published: hours on two cores
    make results PHOTOS=faces LIMIT=20 DOCS=/tmp     a look at a few photos

Each part is a command of `veil evaluate`, shown as it is run, and is kept in the folder WORK by the hash of the
weights: a second run does what is missing. WORK holds crops and embeddings of real faces; delete it afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import PIL.Image

from benchmarks.deface import install_deface
from models.checkpoint import file_sha256, weights_path
from streamer.evaluate.figures import Figure, Table, markdown
from streamer.evaluate.images.photos import PhotoFile, find_photos, spread

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "veil"
MADE = ("photos", "model", "model sha256", "date", "veil")  # settings below the table
# What stands beside deface, of each recogniser where it ends in a dot.
COLUMNS = {
    "match_rate_any": "Recognised by any ↓",
    "rank1.": "Rank-1 ↓ ({})",
    "similarity.": "Similarity ↓ ({})",
    "ssim": "SSIM ↑",
    "found": "MediaPipe finds ↑",
    "hog": "HOG finds ↑",
    "landmarks": "Landmarks moved ↓",
    "expression": "Expression moved ↓",
}


def main() -> None:
    """Parse the command line, run what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder of folders or tars, as of veil evaluate")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="gets results.md and results/")
    parser.add_argument("--work", type=Path, default=CACHE / "results", help="keeps what is done")
    parser.add_argument("--limit", type=int, default=200, help="photos of each part; people of the attack: a third")
    parser.add_argument("--recognizer", action="append", help="as of veil evaluate; the first finds the strengths")
    parser.add_argument("--clip", action="append", default=[], help="a video of one person, for averaging and motion")
    parser.add_argument("--deface", type=Path, help="its command; default: installed in the cache folder")
    given = parser.parse_args()
    if not given.photos.exists():
        parser.error(f"{given.photos}: no such folder of photos")
    weights = weights_path("default")
    work = given.work / f"{file_sha256(weights)[:12]}-{given.limit}"
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = [word for each in given.recognizer or ("dlib", "identity") for word in ("--recognizer", each)]
    kept = ["--resume", work / "kept"]
    part(work / "tables", ["tables", "--data", given.photos, "--limit", given.limit, *kept, *options])
    clips = [word for clip in given.clip for word in ("--clip", clip)]
    people = ["--people", max(5, given.limit // 3)]
    part(work / "attack", ["attack", given.photos, *people, *clips, *kept, *options])
    beside = beside_deface(work, given.photos, given.limit, [*kept, *options], given.deface or CACHE / "deface")
    write(given.docs, beside, [work / "attack", work / "tables"])
    print(f"written: {given.docs / 'results.md'}")


def part(out: Path, arguments: Sequence[object], *, as_json: bool = False) -> Path:
    """Return the folder that `veil evaluate` wrote, now or in an earlier run that came to its end."""
    if out.is_dir():
        print(f"kept: {out}")
        return out
    half = out.with_name(f"{out.name}.partial")
    command = [sys.executable, "-m", "streamer", "evaluate", *map(str, arguments), "--out", str(half)]
    print(f"$ {shlex.join([*command, '--json'] if as_json else command)}", flush=True)
    if as_json:
        said = subprocess.run([*command, "--json"], check=True, stdout=subprocess.PIPE)
        (half / "findings.json").write_bytes(said.stdout)
    else:
        subprocess.run(command, check=True)
    half.rename(out)
    return out


def beside_deface(work: Path, photos: Path, limit: int, options: Sequence[object], deface: Path) -> Table:
    """Return what the same figures say of Veil and of deface's default, on the same photos."""
    tools = {"Veil, default": work / "ours", "deface, default": work / "deface"}
    if not all(folder.is_dir() for folder in tools.values()):
        command = deface if deface.is_file() else install_deface(deface)
        with tempfile.TemporaryDirectory() as folder:  # photos of real people: gone afterwards
            originals = unpacked(spread(find_photos(photos), limit), Path(folder) / "originals", limit)
            outputs = defaced(originals, Path(folder) / "deface", command)
            part(tools["Veil, default"], ["images", originals, *options], as_json=True)
            part(tools["deface, default"], ["images", originals, outputs, *options], as_json=True)
    return comparison({name: json.loads((folder / "findings.json").read_text()) for name, folder in tools.items()})


def unpacked(photos: Sequence[PhotoFile], folder: Path, limit: int) -> Path:
    """Return a folder of `limit` photos as files, evenly spread; none of the crops that cut the chin."""
    whole = [photo for photo in photos if not photo.margin]
    count = min(limit, len(whole))
    for photo in (whole[number * len(whole) // count] for number in range(count)):
        file = (folder / photo.name).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(photo.read()).save(file)
    return folder


def defaced(originals: Path, folder: Path, command: Path) -> Path:
    """Return a folder of what deface makes of each file; it writes beside the originals, from where they are moved."""
    files = sorted(originals.rglob("*.png"))
    subprocess.run([command, *files], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for file in files:
        made = file.with_name(f"{file.stem}_anonymized.png")
        target = folder / file.relative_to(originals)
        target.parent.mkdir(parents=True, exist_ok=True)
        made.rename(target)
    return folder


def comparison(found: dict[str, dict[str, Any]]) -> Table:
    """Return a row for each tool of what `veil evaluate images --json` said."""
    first = next(iter(found.values()))
    names = {
        name: title.format(name.partition(".")[2])
        for stem, title in COLUMNS.items()
        for name in first["figures"]
        if name == stem or (stem.endswith(".") and name.startswith(stem))
    }
    rows = [(tool, *(figure(said["figures"][name]) for name in names)) for tool, said in found.items()]
    made = "; ".join(f"{key}: {first['settings'][key]}" for key in MADE if key in first["settings"])
    return Table("Beside deface", ("Tool", *names.values()), tuple(rows), f"{made}. In brackets are 95 % intervals.")


def figure(said: dict[str, Any]) -> Figure:
    """Return a figure as JSON has it; None is not known."""
    value, low, high = (float("nan") if said[key] is None else said[key] for key in ("value", "low", "high"))
    return Figure(value, low, high, said["count"], said["note"])


def write(docs: Path, beside: Table, parts: Sequence[Path]) -> None:
    """Write results.md, and the pictures of its parts into results/; theirs of earlier runs go, other pages' stay."""
    pictures = docs / "results"
    pictures.mkdir(parents=True, exist_ok=True)
    for folder in parts:
        for old in pictures.glob(f"{folder.name}-*.png"):
            old.unlink()
        for picture in folder.glob("*.png"):
            shutil.copy(picture, pictures / f"{folder.name}-{picture.name}")
    (docs / "results.md").write_text("\n".join(_page(beside, parts)), encoding="utf-8")


def _page(beside: Table, parts: Sequence[Path]) -> Iterator[str]:
    yield "# Results\n"
    yield "`make results PHOTOS=...` writes this page; date, model, its hash and all versions stand in each part.\n"
    yield re.sub("^#", "", markdown(beside))
    for folder in parts:
        text = (folder / "tables.md").read_text(encoding="utf-8")
        text = text.replace(" (names in problems.csv)", "")
        text = re.sub(r"^#", "##", text, flags=re.MULTILINE)
        yield re.sub(r"\]\(([^)/]+\.png)\)", rf"](results/{folder.name}-\1)", text)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:  # whose command has said why
        raise SystemExit(
            f"results: {shlex.join(map(str, error.cmd))} ended with exit code {error.returncode}"
        ) from None
