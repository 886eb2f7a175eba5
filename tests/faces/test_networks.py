"""The MediaPipe graph: every picture is answered or an error, and what it says at its start is not the user's."""

import os
import subprocess
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from streamer.errors import AnonymizerError
from streamer.faces import networks
from streamer.faces.networks import FaceNetworks
from streamer.types import Image

NOTHING: Image = np.zeros((96, 128, 3), np.uint8)


@pytest.fixture
def graph() -> Iterator[FaceNetworks]:
    opened = FaceNetworks(least_score=0.3)
    yield opened
    opened.close()


def test_pictures_without_a_face_are_answered_with_nothing(graph: FaceNetworks):
    for _ in range(3):
        found = graph.run([("short", NOTHING), *[(f"full{n % 2}", NOTHING) for n in range(5)]])
        assert all(value == [] for value in found.values())


def test_a_crop_is_answered_with_points_and_presence(graph: FaceNetworks):
    crop = np.zeros((192, 192, 3), np.uint8)
    found = graph.run([("crop0", crop), ("crop1", crop), ("crop0", crop)])
    assert sorted(found) == [
        ("points0", 0), ("points0", 1), ("points1", 0), ("presence0", 0), ("presence0", 1), ("presence1", 0)
    ]  # fmt: skip
    assert len(found["points1", 0]) == 3 * 468


@pytest.mark.parametrize("lost", ["near", "faces1", "presence0"])
def test_a_picture_without_an_answer_is_an_error_and_not_a_picture_without_faces(
    graph: FaceNetworks, lost: str, monkeypatch: pytest.MonkeyPatch
):
    whole = graph._graph

    class Losing:
        def add_packet_to_input_stream(self, stream: str, packet: object) -> None:
            whole.add_packet_to_input_stream(stream=stream, packet=packet)

        def wait_until_idle(self) -> None:
            whole.wait_until_idle()
            graph._packets[:] = [packet for packet in graph._packets if packet[0] != lost]

    monkeypatch.setattr(graph, "_graph", Losing())
    crop = np.zeros((192, 192, 3), np.uint8)
    with pytest.raises(AnonymizerError, match="MediaPipe left a picture without an answer"):
        graph.run([("short", NOTHING), ("full0", NOTHING), ("full1", NOTHING), ("crop0", crop)])
    monkeypatch.undo()


def test_a_failure_inside_mediapipe_is_an_anonymizer_error(graph: FaceNetworks, monkeypatch: pytest.MonkeyPatch):
    class Broken:
        def add_packet_to_input_stream(self, stream: str, packet: object) -> None:
            raise RuntimeError("calculator failed\nsecond line")

    with monkeypatch.context() as patch:
        patch.setattr(graph, "_graph", Broken())
        with pytest.raises(AnonymizerError, match=r"^MediaPipe did not run: calculator failed$"):
            graph.run([("short", NOTHING)])


def test_a_graph_that_does_not_start_is_an_anonymizer_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(networks, "DETECTOR", 'node {{ calculator: "NoSuchCalculator" }}')
    with pytest.raises(AnonymizerError, match="MediaPipe did not start"):
        FaceNetworks(least_score=0.3)


def test_a_closed_graph_is_an_anonymizer_error(graph: FaceNetworks):
    graph.close()
    with pytest.raises(AnonymizerError, match="closed"):
        graph.run([("short", NOTHING)])


def test_networks_that_nobody_closed_are_freed_with_the_last_who_knew_them():
    networks = FaceNetworks(least_score=0.3)
    networks.run([("short", NOTHING)])
    gone = weakref.ref(networks)
    del networks
    assert gone() is None


def test_starting_writes_nothing_to_stderr(capfd: pytest.CaptureFixture[str]):
    graph = FaceNetworks(least_score=0.3)
    graph.run([("short", NOTHING)])
    graph.close()
    assert capfd.readouterr().err == ""


def test_what_is_no_startup_noise_still_reaches_stderr(capfd: pytest.CaptureFixture[str]):
    with networks.without_startup_noise():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nreal trouble\n")
    assert capfd.readouterr().err == "real trouble\n"


def test_a_process_that_begins_meanwhile_is_not_waited_for(capfd: pytest.CaptureFixture[str]):
    """It has what stderr is then, for as long as it lives."""
    with networks.without_startup_noise():
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        os.write(2, b"real trouble\n")
    assert child.poll() is None
    child.communicate()
    assert capfd.readouterr().err == "real trouble\n"
