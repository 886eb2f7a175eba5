"""Steps of a training recorded once and played again on a GPU, which else waits for Python between its kernels.

Measured on an H100, batches of 64 at 128 px: 293 ms a step of the encoder, of which the GPU computed 96.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from models.training.ranks import Draws

WARM_UP = 3  # steps of a kind before it is recorded: optimisers and libraries have made what they keep


@runtime_checkable
class Recordable(Protocol):
    """A trainer whose step is the same kernels again and again."""

    def kind_of(self, step: int) -> Hashable:
        """Return what `train_step` does at `step`: the same for all steps that run the same kernels."""
        ...

    def prepare(self, step: int) -> None:
        """Do what must be done before a step once in a while; not recorded."""
        ...

    def train_step(self, draws: Draws) -> Mapping[str, Tensor]:
        """Take a step by kernels alone: nothing that waits for the GPU, or brings numbers to it."""
        ...

    def conclude(self, step: int) -> None:
        """Do what follows a step, and may differ from one to the next; not recorded."""
        ...


def take_step(trainer: Recordable, draws: Draws) -> Mapping[str, Tensor]:
    """Take a step as it is written."""
    trainer.prepare(draws.step)
    losses = trainer.train_step(draws)
    trainer.conclude(draws.step)
    return losses


class StepGraphs:
    """Takes the steps of one trainer; each kind as a CUDA graph once it has been met often enough.

    Args:
        trainer: On the GPU.
        draws: Returns the random numbers of a step, all from the generator that it is given.
    """

    def __init__(self, trainer: Recordable, draws: Callable[[int, torch.Generator], Draws]) -> None:
        self._trainer, self._draws = trainer, draws
        self._generator = torch.Generator("cuda")
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._met: Counter[Hashable] = Counter()
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Mapping[str, Tensor]]] = {}

    def take(self, step: int) -> Mapping[str, Tensor]:
        """Take a step; return its losses."""
        kind = self._trainer.kind_of(step)
        self._trainer.prepare(step)
        draws = self._draws(step, self._generator)
        self._met[kind] += 1
        if self._met[kind] <= WARM_UP:
            losses = self._warm_up(draws)
        else:
            if kind not in self._graphs:
                self._graphs[kind] = self._recorded(draws)
            graph, recorded = self._graphs[kind]
            graph.replay()
            losses = {name: value.clone() for name, value in recorded.items()}
        self._trainer.conclude(step)
        return losses

    def _warm_up(self, draws: Draws) -> Mapping[str, Tensor]:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            losses = self._trainer.train_step(draws)
        torch.cuda.current_stream().wait_stream(self._stream)
        return {name: value.detach() for name, value in losses.items()}

    def _recorded(self, draws: Draws) -> tuple[torch.cuda.CUDAGraph, Mapping[str, Tensor]]:
        """Record a step without taking it."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        with torch.cuda.graph(graph, stream=self._stream):
            losses = {name: value.detach() for name, value in self._trainer.train_step(draws).items()}
        return graph, losses
