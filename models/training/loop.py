"""What all trainers share: the loop, the run folder, exact resume, averaged weights.

A run lives in one folder: `state.pt` (everything needed to go on), what is shipped (safetensors), `samples/*.png`.
On a CPU a run that was cut ends bit for bit where one that was not does; on a GPU, but for the order in which its
kernels add.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.training.inputs.samples import png
from models.training.ranks import Draws, Ranks
from models.training.step_graphs import Recordable, StepGraphs, take_step

# May differ between the legs of a run; a run of any other difference is another run.
_SCHEDULE = frozenset({"run", "steps", "minutes", "report_every", "save_minutes"})


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every run has.

    Attributes:
        run: Folder for state, checkpoints and samples; a run found there goes on.
        steps: Last step.
        minutes: After which the run ends by itself, at the next report; to be started again.
        batch: Crops a step, of all processes together.
        seed: Of weights, order and every other chance.
        report_every: Steps between reports, over which losses are averaged.
        save_minutes: Between saves of state, checkpoints and samples; what a crash can cost.
    """

    run: Path
    steps: int = 100_000
    minutes: float = math.inf
    batch: int = 32
    seed: int = 0
    report_every: int = 50
    save_minutes: float = 5.0

    def __post_init__(self) -> None:
        if min(self.batch, self.report_every) < 1 or self.steps < 0 or self.seed < 0:
            raise ValueError(f"batch and report_every must be at least 1, steps and seed 0, got {self}")


@dataclass(frozen=True)
class TrainStep:
    """Where training is.

    Attributes:
        step: Steps taken since the run began, in all its legs.
        images: Real crops seen since then.
        images_per_second: Since the last report; 0 in the first, which says where the run takes up.
        losses: By name, averaged over the steps since the last report.
        samples: `(3, H, W)` uint8 sheet, when one was made and saved.
    """

    step: int
    images: int
    images_per_second: float
    losses: Mapping[str, float]
    samples: Tensor | None


class Stateful(Protocol):
    """A module or an optimiser."""

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Become what `state_dict` was of."""
        ...


class Trainer(Protocol):
    """Networks and optimisers of a run, and how to take one step."""

    @property
    def data_digest(self) -> str:
        """Names the data: a run goes on with the same only."""
        ...

    def parts(self) -> Mapping[str, Stateful]:
        """Return everything that changes during training, by name."""
        ...

    def train_step(self, draws: Draws) -> Mapping[str, Tensor]:
        """Take one step; return scalar losses of this process, the same names in each."""
        ...

    def ship(self, folder: Path) -> None:
        """Write the checkpoints that others can use, each whole or not at all."""
        ...

    def samples(self) -> Tensor | None:
        """Return a `(3, H, W)` uint8 sheet of what has been learnt, if it can be looked at."""
        ...


def follow(trainer: Trainer, config: RunConfig, ranks: Ranks) -> Iterator[TrainStep]:
    """Train from where the run folder stands; in the first process, yield where that is, then every report.

    Raises:
        OSError: If the folder cannot be written, at once or later.
        ValueError: If the folder holds a run of other data or another configuration, or a loss is no longer finite.
    """
    began = saved = time.monotonic()
    step = _resume(trainer, config)
    take = _taker(trainer, config, ranks)
    if ranks.rank == 0:
        yield TrainStep(step, step * config.batch, 0.0, {}, _save(trainer, config, step))
    while step < config.steps:
        reported = time.monotonic()
        last = min(config.steps, step - step % config.report_every + config.report_every)
        losses = _train_steps(take, ranks, first=step, last=last)
        now = time.monotonic()
        rate = (last - step) * config.batch / (now - reported)
        step = last
        ends = ranks.agreed(step == config.steps or now - began >= 60 * config.minutes)
        if ranks.rank == 0:
            due = ends or now - saved >= 60 * config.save_minutes
            samples = _save(trainer, config, step) if due else None
            saved = time.monotonic() if due else saved
            yield TrainStep(step, step * config.batch, rate, losses, samples)
        if ends:
            return


def _taker(trainer: Trainer, config: RunConfig, ranks: Ranks) -> Callable[[int], Mapping[str, Tensor]]:
    """Return what takes a step of this number: recorded, where there is a GPU and the trainer allows it."""

    def draws(step: int, generator: torch.Generator | None = None) -> Draws:
        return Draws(ranks, batch=config.batch, seed=config.seed, step=step, generator=generator)

    if not isinstance(trainer, Recordable):
        return lambda step: trainer.train_step(draws(step))
    if ranks.device.type == "cuda" and ranks.size == 1:
        return StepGraphs(trainer, draws).take
    return lambda step: take_step(trainer, draws(step))


def _train_steps(
    take: Callable[[int], Mapping[str, Tensor]], ranks: Ranks, *, first: int, last: int
) -> dict[str, float]:
    """Take the steps from `first` to before `last`; return the means of their losses, over all processes."""
    values: dict[str, list[Tensor]] = {}
    for step in range(first, last):
        for name, value in take(step).items():
            values.setdefault(name, []).append(value.detach())
    means = {name: float(ranks.mean(torch.stack(parts).float().mean())) for name, parts in values.items()}
    broken = [name for name, mean in means.items() if not math.isfinite(mean)]
    if broken:  # before anything is saved, so that the run's last state is still good
        raise ValueError(f"{', '.join(broken)} not finite before step {last}; start again with a lower learning rate")
    return means


def _resume(trainer: Trainer, config: RunConfig) -> int:
    """Fill `trainer` with the state in the run folder, if any; return its step."""
    path = config.run / "state.pt"
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        settings, digest, step = state["settings"], state["data"], int(state["step"])
    except Exception as error:  # torch raises many types for a bad file
        raise ValueError(f"{path} is damaged or not a run's state: {error}; choose another run folder") from error
    differing = _differences(settings, _settings(config))
    if differing:
        raise ValueError(f"{path} is of a run with other settings ({differing}); choose another run folder")
    if digest != trainer.data_digest:
        raise ValueError(f"{path} belongs to other data or networks; choose another run folder")
    for name, part in trainer.parts().items():
        part.load_state_dict(state["parts"][name])
    return step


def _save(trainer: Trainer, config: RunConfig, step: int) -> Tensor | None:
    """Write state, checkpoints and samples; return the samples."""
    state = {
        "settings": _settings(config),
        "data": trainer.data_digest,
        "step": step,
        "parts": {name: part.state_dict() for name, part in trainer.parts().items()},
    }
    content = io.BytesIO()
    torch.save(state, content)
    samples = trainer.samples()
    try:
        config.run.mkdir(parents=True, exist_ok=True)
        write_whole(config.run / "state.pt", content.getbuffer())
        trainer.ship(config.run)
        if samples is not None:
            (config.run / "samples").mkdir(exist_ok=True)
            write_whole(config.run / "samples" / f"{step:08d}.png", png(samples))
    except OSError as error:  # a full disk names no file
        raise OSError(f"{config.run}: cannot be written: {error.strerror or error}") from error
    return samples


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file that is there whole or, as before, not at all.

    Raises:
        OSError: If the disk is full, the folder missing, or writing not allowed.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _settings(config: RunConfig) -> str:
    """Return what must not change during a run, as JSON; paths may, their content is in the data's digest."""
    values = dataclasses.asdict(config)
    kept = {name: value for name, value in values.items() if name not in _SCHEDULE and not _is_path(value)}
    return json.dumps({"trainer": type(config).__name__, **kept}, sort_keys=True)


def _is_path(value: object) -> bool:
    return isinstance(value, Path) or (isinstance(value, tuple) and any(isinstance(entry, Path) for entry in value))


def _differences(before: str, now: str) -> str:
    """Return which settings differ and how, in a few words."""
    old, new = json.loads(before), json.loads(now)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return ", ".join(f"{name} was {old.get(name)}, now {new.get(name)}" for name in names)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the weights of `average` towards those of `model`, to (decay) old + (1 - decay) new; copy the buffers."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)  # one kernel, not hundreds
    for kept, current in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(current)


def average_decay(half_life: float, *, batch: int, step: int) -> float:
    """Return the decay of averaged weights that halves a weight's share in `half_life` images.

    Early in a run in a twentieth of the images so far, or the average would long be of noise (Karras et al. 2020,
    arXiv 2006.06676, appendix).
    """
    return float(0.5 ** (batch / max(min(half_life, 0.05 * batch * step), 1e-8)))
