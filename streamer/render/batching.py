"""Lets several streams share one network: what they ask at the same time runs as one batch.

Whoever asks first runs at once, alone; those who ask meanwhile wait for that and run together. So nobody waits longer
than for the batch that is running, and who is alone does not wait at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, cast

import torch
from torch import Tensor

from models.face_model import FaceModel

Job = tuple[tuple[Tensor, ...], Future[Tensor]]


class Batcher:
    """Makes one call of many.

    Args:
        call: Takes tensors with N rows each and returns one with N rows; a row does not depend on the others.
        max_rows: In one call, unless a single caller has more.
    """

    def __init__(self, call: Callable[..., Tensor], max_rows: int = 32) -> None:
        self._call, self._max_rows = call, max_rows
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._is_running = False

    def __call__(self, *tensors: Tensor) -> Tensor:
        """Return the rows that belong to `tensors`.

        Raises:
            Exception: Whatever the call raised, for all that were in it.
        """
        mine: Future[Tensor] = Future()
        with self._changed:
            self._waiting.append((tensors, mine))
        while not mine.done():
            with self._changed:
                self._changed.wait_for(lambda: mine.done() or not self._is_running)
                if mine.done():
                    break
                batch, self._is_running = self._take(), True
            try:
                self._run(batch)
            finally:
                with self._changed:
                    self._is_running = False
                    self._changed.notify_all()
        return mine.result()

    def _take(self) -> list[Job]:
        """Return those who wait and have the same shape, the first of them first."""
        shapes = [tuple(t.shape[1:] for t in tensors) for tensors, _ in self._waiting]
        batch: list[Job] = []
        rows = 0
        for shape, job in zip(shapes, list(self._waiting), strict=True):
            rows += len(job[0][0])
            if shape == shapes[0] and (not batch or rows <= self._max_rows):
                batch.append(job)
        self._waiting = [job for job in self._waiting if not any(job is taken for taken in batch)]
        return batch

    def _run(self, batch: list[Job]) -> None:
        try:
            made = self._call(*(torch.cat(parts) for parts in zip(*(tensors for tensors, _ in batch), strict=True)))
            counts = [len(tensors[0]) for tensors, _ in batch]
            for (_, future), rows in zip(batch, torch.split(made, counts), strict=True):
                future.set_result(rows)
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)


class _Batched:
    """A model whose two networks are asked in batches."""

    def __init__(self, model: FaceModel) -> None:
        self._model = model
        self.encode, self.generate = Batcher(model.encode), Batcher(model.generate)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the model has
        return getattr(self._model, name)


def batched(model: FaceModel) -> FaceModel:
    """Return `model` for many threads, which is asked in batches."""
    return cast(FaceModel, _Batched(model))
