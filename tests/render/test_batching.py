"""Several threads share one network: each gets the rows that are its own."""

import threading
import time

import pytest
import torch

from models.face_model import prepare
from models.registry import load_face_model
from streamer.render.batching import Batcher, batched
from tests.end_to_end.patience import PATIENCE_SECONDS


def test_calls_that_come_together_run_together_and_get_their_own_rows() -> None:
    sizes = []

    def double(rows: torch.Tensor) -> torch.Tensor:
        sizes.append(len(rows))
        end = time.monotonic() + PATIENCE_SECONDS
        while len(sizes) == 1 and len(batcher._waiting) < 11 and time.monotonic() < end:
            time.sleep(0.001)
        return 2 * rows

    batcher, found = Batcher(double), {}

    def ask(n: int) -> None:
        found[n] = batcher(torch.full((1 + n % 2, 3), float(n)))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(12):
        assert torch.equal(found[n], torch.full((1 + n % 2, 3), 2.0 * n))
    assert sum(sizes) == 18
    assert len(sizes) < 12


def test_a_batch_is_no_larger_than_it_may_be() -> None:
    sizes = []

    def same(rows: torch.Tensor) -> torch.Tensor:
        sizes.append(len(rows))
        time.sleep(0.02)
        return rows

    batcher = Batcher(same, max_rows=4)
    threads = [threading.Thread(target=batcher, args=(torch.zeros(2, 1),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(sizes) <= 4


def test_calls_of_other_shapes_and_failures_stay_apart() -> None:
    def fail_on_two(rows: torch.Tensor) -> torch.Tensor:
        time.sleep(0.01)
        if rows.shape[1] == 2:
            raise FloatingPointError
        return rows

    batcher, failed = Batcher(fail_on_two), []

    def ask(width: int) -> None:
        try:
            assert batcher(torch.ones(1, width)).shape == (1, width)
        except FloatingPointError:
            failed.append(width)

    threads = [threading.Thread(target=ask, args=(1 + n % 3,)) for n in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [2, 2, 2]


def test_a_batched_model_gives_what_the_model_gives() -> None:
    model = prepare(load_face_model("linear-refined"), "cpu")
    shared = batched(model)
    crops = torch.rand(2, 3, model.crop_size, model.crop_size) * 2 - 1
    with torch.inference_mode():
        latents = model.encode(crops, torch.zeros(2), torch.zeros(2, dtype=torch.long))
        assert torch.equal(shared.encode(crops, torch.zeros(2), torch.zeros(2, dtype=torch.long)), latents)
        assert torch.equal(shared.generate(latents), model.generate(latents))
    assert shared.crop_size == model.crop_size
    with pytest.raises(AttributeError):
        _ = shared.nothing
