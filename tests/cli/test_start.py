"""What a run loads: covering needs none of what draws."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clips import picture

COVER = """
import json, sys
from streamer.cli.main import app
app(["run", *sys.argv[1:], "--mode", "cover", "--json"], standalone_mode=False)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
RUNTIME = """
from streamer.faces.networks import FaceNetworks
FaceNetworks(least_score=0.5).close()
import sys
early = {"matplotlib.pyplot", "jax", "sounddevice"} & sys.modules.keys()
import mediapipe
print(early, hasattr(mediapipe, "nothing"), mediapipe.__version__, mediapipe.solutions.face_mesh.FaceMesh.__name__)
"""


def output_of(code: str, *arguments: str | Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], check=True, text=True, stdout=subprocess.PIPE
    )
    return done.stdout.splitlines()


def test_covering_loads_no_networks_charts_or_servers(clip: Callable[..., Path], tmp_path: Path):
    path = clip(pictures=[picture(index) for index in range(3)], pts=range(3))
    report, loaded = map(json.loads, output_of(COVER, path, tmp_path / "out.mp4"))
    assert report["frames"] == 3
    heavy = {"torch", "matplotlib", "jax", "scipy", "sounddevice", "aiohttp", "aiortc", "fsspec", "ray", "cryptography"}
    assert {"mediapipe", "av"} <= set(loaded)
    assert heavy & set(loaded) == set()


def test_whoever_else_uses_mediapipe_in_the_process_finds_all_of_it():
    assert output_of(RUNTIME) == ["set() False 0.10.21 FaceMesh"]


@pytest.mark.slow
def test_the_faces_of_a_run_in_a_process_of_its_own_are_found(portrait_clip: Path, tmp_path: Path):
    report = json.loads(output_of(COVER, portrait_clip, tmp_path / "out.mp4")[0])
    assert report["covered"]["mosaic"]["mode"] >= 9
    assert report["frames"] == 12
