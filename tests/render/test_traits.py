"""Several looks at a track tell what it is; held-back frames get the newest; privacy bypasses nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.attributes.attributes import AttributeNet
from models.face_model import ANCESTRIES, Attributes
from streamer.pipeline.lookahead import LookAhead
from streamer.render.traits import LOOK_SECONDS, LOOKS, MAX_LOOKS, TraitReader
from streamer.types import Face, Track, Traits
from tests.pipeline.test_lookahead import seen

CPU = torch.device("cpu")
EUROPEAN = (1.0, 0.0, 0.0, 0.0)
IMAGE = np.zeros((100, 100, 3), np.uint8)
LANDMARKS = np.array([[30, 40], [60, 40], [45, 58], [33, 75], [57, 75]], np.float32)


class ByTurns(AttributeNet):
    """Says of each look how many there were before."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[int] = []

    def forward(self, crops: torch.Tensor) -> Attributes:
        values = torch.arange(len(crops)).float() + sum(self.looks)
        self.looks.append(len(crops))
        return Attributes(values, values, values, values[:, None].expand(-1, len(ANCESTRIES)))


def track(number: int, *, size: float = 90.0, missed: float = 0.0, mesh: bool = True) -> Track:
    box = np.array([5, 5, 5 + size, 5 + size], np.float32)
    return Track(number, Face(box, LANDMARKS, np.zeros((468, 3), np.float32) if mesh else None, 0.9), missed)


@pytest.fixture
def network() -> ByTurns:
    return ByTurns()


@pytest.fixture
def read(network: ByTurns) -> TraitReader:
    return TraitReader(network, CPU)


def test_a_track_is_looked_at_a_few_times_and_then_stands(read: TraitReader, network: ByTurns):
    ages = []
    for n in range(40):
        described = read(IMAGE, [track(1)], n * LOOK_SECONDS / 2)[0].traits
        assert described
        ages.append(described.age)
    assert network.looks == [1] * LOOKS
    assert ages[:4] == [0, 0, 0.5, 0.5]  # every second frame
    assert ages[-1] == pytest.approx(sum(range(LOOKS)) / LOOKS)


def test_newcomers_are_looked_at_at_once_and_others_a_few_at_a_time(read: TraitReader, network: ByTurns):
    crowd = [track(n) for n in range(5)]
    assert all(one.traits for one in read(IMAGE, crowd, 0.0))
    read(IMAGE, crowd, LOOK_SECONDS)
    assert network.looks == [5, MAX_LOOKS]


@pytest.mark.parametrize("unseen", [track(1, size=20), track(1, missed=0.2), track(1, mesh=False)])
def test_what_cannot_be_drawn_is_not_looked_at(read: TraitReader, network: ByTurns, unseen: Track):
    assert read(IMAGE, [unseen], 0.0)[0].traits is None
    assert not network.looks


def test_a_track_keeps_what_was_seen_while_it_is_lost_and_nothing_is_kept_of_one_that_ended(
    read: TraitReader, network: ByTurns
):
    first = read(IMAGE, [track(1)], 0.0)[0].traits
    assert read(IMAGE, [track(1, missed=0.2)], 0.2)[0].traits == first
    read(IMAGE, [], 0.3)
    assert read(IMAGE, [track(1)], 0.32)[0].traits == Traits(1, 1, 1, (1, 1, 1, 1))
    read.forget()
    assert read(IMAGE, [track(1)], 0.33)[0].traits == Traits(2, 2, 2, (2, 2, 2, 2))


def test_a_held_back_frame_gets_what_later_looks_told():
    frames = [seen(n, [replace(track(1), traits=Traits(0.0, float(n), 0.0, EUROPEAN))]) for n in range(10)]
    released = list(LookAhead(0.2, "balanced")(frames))
    assert [frame.tracks[0].traits for frame in released[:3]] == [
        Traits(0.0, age, 0.0, EUROPEAN) for age in (5.0, 6.0, 7.0)
    ]
