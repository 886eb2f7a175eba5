"""Training in one process or in many: who takes which rows of a batch, and how what each finds becomes one.

A batch is the whole run's. Its random numbers are drawn whole in every process, of which each keeps its own rows, so
that two processes make of a seed what one does, but for the order in which floats are added.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """The processes of a run.

    Attributes:
        rank: Number of this one; 0 writes the files.
        size: How many there are.
        device: What this one computes on.
    """

    rank: int
    size: int
    device: torch.device

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of `values` over the processes."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.size

    def agreed(self, decision: bool) -> bool:
        """Return the decision of the first process."""
        if self.size == 1:
            return decision
        flag = torch.tensor(int(decision), device=self.device)
        dist.broadcast(flag, 0)
        return bool(flag)

    def descend(self, loss: Tensor, *optimizers: torch.optim.Optimizer) -> None:
        """Take one step of the optimisers down the mean of the processes' losses."""
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            if self.size > 1:
                self._average_gradients(optimizer)
            optimizer.step()

    def _average_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))  # one message, not hundreds
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Give this process its place among those that `torchrun` started, or a run of its own without it."""
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.backends.cudnn.benchmark = True  # shapes never change during a run
        torch.set_float32_matmul_precision("high")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks(0, 1, torch.device("cuda" if on_gpu else "cpu"))
        return
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Ranks(dist.get_rank(), size, device)
    finally:
        dist.destroy_process_group()


class Draws:
    """The random numbers of one step: a function of seed and step alone, so that a run resumes exactly.

    Every method draws for the whole batch and returns the rows of this process, first dimension `batch / ranks.size`.

    Args:
        ranks: The processes that share the batch; a process takes every `size`-th row, as groups of a
            `Discriminator` do.
        batch: B, rows of all processes together.
        seed: Of the run.
        step: Of the run, from 0.
        generator: To be seeded; a new one by default.
    """

    def __init__(
        self, ranks: Ranks, *, batch: int, seed: int, step: int, generator: torch.Generator | None = None
    ) -> None:
        self.ranks, self.batch, self.step = ranks, batch, step
        # Hashed, since a CPU's generator looks at 32 bits of its seed only.
        mixed = int(np.random.SeedSequence(seed, spawn_key=(step,)).generate_state(1)[0])
        self._generator = (generator or torch.Generator(ranks.device)).manual_seed(mixed)

    def normal(self, *shape: int) -> Tensor:
        """Return `(N, *shape)` from a unit Gaussian."""
        return self._mine(torch.randn(self.batch, *shape, generator=self._generator, device=self.ranks.device))

    def uniform(self, *shape: int) -> Tensor:
        """Return `(N, *shape)` from [0, 1)."""
        return self._mine(torch.rand(self.batch, *shape, generator=self._generator, device=self.ranks.device))

    def integers(self, end: int) -> Tensor:
        """Return `(N,)` int64 from 0 up to and without `end`."""
        rows = torch.randint(end, (self.batch,), generator=self._generator, device=self.ranks.device)
        return self._mine(rows)

    def _mine(self, drawn: Tensor) -> Tensor:
        return drawn[self.ranks.rank :: self.ranks.size]


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm by mean and variance over the batch of all processes; on any device, which torch's own is not."""

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape `(N, C, H, W)`."""
        if not self.training:
            return super().forward(features)
        mean = _mean_of_all(features.mean(dim=(0, 2, 3)))
        centered = features - mean[:, None, None]
        variance = _mean_of_all(centered.square().mean(dim=(0, 2, 3)))
        self._track(mean.detach(), variance.detach(), features[:, 0].numel() * dist.get_world_size())
        scale = (variance + self.eps).rsqrt() * self.weight
        return centered * scale[:, None, None] + self.bias[:, None, None]

    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        self.num_batches_tracked += 1


def sync_batch_norms(module: nn.Module, ranks: Ranks) -> None:
    """Make the batch norms in `module` see the batch of all processes; names and weights stay."""
    if ranks.size == 1:
        return
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            synced = SyncedBatchNorm2d(child.num_features, child.eps, child.momentum)
            synced.load_state_dict(child.state_dict())
            setattr(module, name, synced)
        else:
            sync_batch_norms(child, ranks)


class _MeanOfAll(torch.autograd.Function):
    """The mean over all processes; unlike `dist.all_reduce`, gradients flow back through it, to all of them."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        """Return the mean of all processes' `values`."""
        total = values.clone()
        dist.all_reduce(total)
        return total / dist.get_world_size()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        """Return the mean of all processes' gradients: each's value is a share of the mean that each of them used."""
        return _MeanOfAll.forward(ctx, gradient)


def _mean_of_all(values: Tensor) -> Tensor:
    mean: Tensor = _MeanOfAll.apply(values)  # type: ignore[no-untyped-call]
    return mean
