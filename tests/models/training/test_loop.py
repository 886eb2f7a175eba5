"""What trainers share, by a trainer of one number; two processes against one, by the real ones."""

import dataclasses
import itertools
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.training import train_encoder, train_generator, train_identity
from models.training.inputs.samples import grid, png
from models.training.loop import RunConfig, Stateful, TrainStep, average_decay, follow, update_average, write_whole
from models.training.precision import half_precision, mixed_precision
from models.training.ranks import Draws, Ranks
from models.training.train_command import main, report, to_tensorboard
from tests.end_to_end.rtsp_servers import free_port
from tests.models.training.crops import encoder_config, generator_config, identity_config

ALONE = Ranks(0, 1, torch.device("cpu"))


class Walker:
    """Adds a Gaussian number to its weight at each step."""

    data_digest = "numbers"

    def __init__(self) -> None:
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.module.weight)

    def parts(self) -> Mapping[str, Stateful]:
        return {"module": self.module}

    def train_step(self, draws: Draws) -> Mapping[str, Tensor]:
        with torch.no_grad():
            self.module.weight += draws.normal().sum()
        return {"step": torch.tensor(float(draws.step))} | ({"odd": torch.tensor(1.0)} if draws.step % 2 else {})

    def ship(self, folder: Path) -> None:
        write_whole(folder / "weight.txt", str(self.module.weight.item()).encode())

    def samples(self) -> Tensor:
        return torch.zeros(3, 2, 2, dtype=torch.uint8)


class Diverging(Walker):
    def train_step(self, draws: Draws) -> Mapping[str, Tensor]:
        return {"loss": torch.tensor(float("nan") if draws.step == 3 else 1.0)}


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig(run=tmp_path / "run", steps=10, batch=4, report_every=4)


def test_reports_come_at_multiples_of_report_every_and_at_the_end(config: RunConfig) -> None:
    steps = list(follow(Walker(), config, ALONE))
    assert [(step.step, step.images) for step in steps] == [(0, 0), (4, 16), (8, 32), (10, 40)]
    assert [step.losses.get("step") for step in steps] == [None, 1.5, 5.5, 8.5]
    assert steps[1].losses["odd"] == 1.0
    assert all(step.images_per_second > 0 for step in steps[1:])


def test_a_run_that_was_cut_between_reports_goes_on_to_the_same_end(config: RunConfig, tmp_path: Path) -> None:
    whole = Walker()
    list(follow(whole, config, ALONE))
    cut = dataclasses.replace(config, run=tmp_path / "cut", steps=6)
    list(follow(Walker(), cut, ALONE))
    resumed = Walker()
    steps = list(follow(resumed, dataclasses.replace(cut, steps=10), ALONE))
    assert [step.step for step in steps] == [6, 8, 10]
    assert torch.equal(resumed.module.weight, whole.module.weight)
    assert (tmp_path / "cut" / "weight.txt").read_text() == str(whole.module.weight.item())


def test_a_run_ends_by_itself_when_its_minutes_are_over(config: RunConfig) -> None:
    steps = list(follow(Walker(), dataclasses.replace(config, minutes=0.0), ALONE))
    assert [step.step for step in steps] == [0, 4]
    assert [step.step for step in follow(Walker(), config, ALONE)] == [4, 8, 10]


def test_samples_are_kept_when_the_run_is_saved(config: RunConfig) -> None:
    steps = list(follow(Walker(), config, ALONE))
    assert [step.samples is not None for step in steps] == [True, False, False, True]
    assert sorted(path.name for path in (config.run / "samples").iterdir()) == ["00000000.png", "00000010.png"]
    saved = list(follow(Walker(), dataclasses.replace(config, steps=20, save_minutes=0.0), ALONE))
    assert all(step.samples is not None for step in saved)


@pytest.mark.parametrize(
    ("change", "complaint"), [({"seed": 1}, "seed was 0, now 1"), ({"batch": 8}, "batch was 4, now 8")]
)
def test_a_run_of_other_settings_is_refused(config: RunConfig, change: dict[str, int], complaint: str) -> None:
    list(follow(Walker(), config, ALONE))
    with pytest.raises(ValueError, match=complaint):
        next(follow(Walker(), dataclasses.replace(config, **change), ALONE))


def test_a_run_of_other_data_is_refused(config: RunConfig) -> None:
    list(follow(Walker(), config, ALONE))
    other = Walker()
    other.data_digest = "letters"
    with pytest.raises(ValueError, match="belongs to other data"):
        next(follow(other, config, ALONE))


def test_a_damaged_state_is_named(config: RunConfig) -> None:
    config.run.mkdir()
    (config.run / "state.pt").write_bytes(b"PK damaged")
    with pytest.raises(ValueError, match=r"state\.pt is damaged"):
        next(follow(Walker(), config, ALONE))


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_its_last_state(config: RunConfig) -> None:
    with pytest.raises(ValueError, match="loss not finite before step 4"):
        list(follow(Diverging(), config, ALONE))
    assert torch.load(config.run / "state.pt", weights_only=True)["step"] == 0


def test_a_full_disk_is_told_before_the_first_step(config: RunConfig) -> None:
    config.run.mkdir()
    (config.run / "state.pt.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"run: cannot be written: No space left on device"):
        next(follow(Walker(), config, ALONE))
    assert not list(config.run.iterdir())


def test_a_run_folder_that_is_a_file_is_told_before_the_first_step(config: RunConfig) -> None:
    config.run.write_text("")
    with pytest.raises(OSError, match="run: cannot be written"):
        next(follow(Walker(), config, ALONE))


@pytest.mark.parametrize("change", [{"batch": 0}, {"report_every": 0}, {"steps": -1}, {"seed": -1}])
def test_impossible_configurations_are_refused(config: RunConfig, change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        dataclasses.replace(config, **change)


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    (tmp_path / "file.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


# Averaged weights


def test_the_average_moves_by_the_share_that_does_not_decay_and_takes_buffers_as_they_are() -> None:
    average, model = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    nn.init.constant_(average.weight, 1.0)
    nn.init.constant_(model.weight, 3.0)
    nn.init.constant_(model.running_mean, 5.0)
    update_average(average, model, 0.75)
    assert average.weight.item() == 1.5
    assert average.running_mean.item() == 5.0


def test_half_a_weight_is_gone_after_its_half_life() -> None:
    decay = average_decay(1000.0, batch=10, step=10**6)
    assert decay ** (1000 / 10) == pytest.approx(0.5)
    early = average_decay(1000.0, batch=10, step=100)  # 1000 images so far, a twentieth of them is 50
    assert early ** (50 / 10) == pytest.approx(0.5)


# Random numbers


def test_processes_share_out_the_rows_that_one_would_draw() -> None:
    whole = Draws(ALONE, batch=6, seed=3, step=7)
    parts = [Draws(Ranks(rank, 2, torch.device("cpu")), batch=6, seed=3, step=7) for rank in (0, 1)]
    for kind in ("normal", "uniform"):
        drawn = getattr(whole, kind)(2)
        assert torch.equal(torch.stack([getattr(part, kind)(2) for part in parts], dim=1).flatten(0, 1), drawn)
    drawn = whole.integers(100)
    assert torch.equal(torch.stack([part.integers(100) for part in parts], dim=1).flatten(), drawn)


def test_each_step_and_seed_draws_other_numbers_and_always_the_same() -> None:
    drawn = {
        (seed, step): tuple(Draws(ALONE, batch=3, seed=seed, step=step).normal().tolist())
        for seed, step in itertools.product((0, 1, 2**32), (0, 1))
    }
    assert len(set(drawn.values())) == 6
    assert tuple(Draws(ALONE, batch=3, seed=1, step=1).normal().tolist()) == drawn[1, 1]


# Precision


@pytest.mark.parametrize(("has_it", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_convolves_in_half_precision_only_where_it_has_it(
    has_it: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_it)
    features, filters = torch.randn(2, 8, 5, 5), torch.randn(8, 8, 3, 3)
    with mixed_precision(torch.device("cpu")):
        assert F.conv2d(features, filters).dtype == torch.float32
    with half_precision(torch.device("cpu")):
        assert F.conv2d(features, filters).dtype == expected


def test_a_recordable_trainer_prepares_steps_and_concludes_in_turn(config: RunConfig) -> None:
    class Recorded(Walker):
        seen: ClassVar[list[str]] = []

        def kind_of(self, step: int) -> bool:
            return step == 0

        def prepare(self, step: int) -> None:
            self.seen.append(f"prepare {step}")

        def conclude(self, step: int) -> None:
            self.seen.append(f"conclude {step}")

    list(follow(Recorded(), dataclasses.replace(config, steps=2), ALONE))
    assert Recorded.seen == ["prepare 0", "conclude 0", "prepare 1", "conclude 1"]


# Sample sheets


def test_a_sheet_is_filled_row_by_row_and_clipped() -> None:
    pictures = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0, 0.2]).view(6, 1, 1, 1).expand(6, 3, 1, 1)
    assert grid(pictures, 3)[0].tolist() == [[0, 0, 128], [255, 255, 153]]
    with pytest.raises(ValueError, match="6 pictures do not fill rows of 4"):
        grid(pictures, 4)


def test_the_png_is_the_picture() -> None:
    picture = torch.randint(256, (3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    decoded = cv2.imdecode(np.frombuffer(png(picture), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[..., ::-1], picture.permute(1, 2, 0).numpy())


# TensorBoard, and the trainers as programs


def two_steps() -> Iterator[TrainStep]:
    yield TrainStep(0, 0, 0.0, {}, torch.zeros(3, 2, 2, dtype=torch.uint8))
    yield TrainStep(5, 20, 2.5, {"pixel": 0.25}, None)


def test_tensorboard_gets_scalars_and_samples(tmp_path: Path) -> None:
    assert [step.step for step in to_tensorboard(two_steps(), tmp_path)] == [0, 5]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/pixel")] == [(5, 0.25)]
    assert [event.step for event in events.Images("samples")] == [0]


def test_without_tensorboard_it_says_so_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match="TensorBoard is not installed; run `pip install tensorboard`"):
        next(to_tensorboard(iter([]), tmp_path))


def test_a_report_is_one_line() -> None:
    assert [report(step) for step in two_steps()] == [
        "step 0  0 images  0.0/s",
        "step 5  20 images  2.5/s  pixel 0.25",
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProgramConfig(RunConfig):
    """A run.

    Attributes:
        data: What to read,
            at 100 % speed.
        share, rest: Of it.
    """

    data: tuple[Path, ...]
    share: float | None = None
    rest: tuple[int, int] = (1, 2)


def program(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[ProgramConfig]:
    """Run `main` with a trainer that only looks at its configuration."""
    seen: list[ProgramConfig] = []

    def train(config: ProgramConfig) -> Iterator[TrainStep]:
        seen.append(config)
        if config.seed == 9:
            raise FileNotFoundError("no\nsuch")
        return two_steps()

    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    main(ProgramConfig, train)
    return seen


def test_every_field_is_an_option_of_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["a", "b", "--run", "r", "--share", "0.5", "--rest", "3", "4", "--steps", "7", "--save-minutes", "2"]
    expected = ProgramConfig(
        data=(Path("a"), Path("b")), run=Path("r"), share=0.5, rest=(3, 4), steps=7, save_minutes=2.0
    )
    assert program(monkeypatch, *arguments) == [expected]
    assert capsys.readouterr().out.splitlines()[1] == "step 5  20 images  2.5/s  pixel 0.25"


def test_the_program_explains_its_options_in_the_words_of_the_docstring(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        program(monkeypatch, "--help")
    said = " ".join(capsys.readouterr().out.split())
    for text in (
        "What to read, at 100 % speed.",
        "--rest REST REST Of it. Default: (1, 2).",
        "--steps STEPS Last step.",
    ):
        assert text in said


def test_the_program_fails_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"^error: no such$"):
        program(monkeypatch, "a", "--run", "r", "--seed", "9")


# Two processes against one


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which each trainer took three steps, in one process and in two."""
    folder = tmp_path_factory.mktemp("ranks")
    for run in runs(folder, "one"):
        list(run)
    ports: list[int] = []
    while len(set(ports)) < 3:
        ports = [free_port() for _ in range(3)]
    torch.multiprocessing.spawn(in_two, (folder, ports), nprocs=2)
    return folder


def in_two(rank: int, folder: Path, ports: list[int]) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    for run, port in zip(runs(folder, "two"), ports, strict=True):
        os.environ["MASTER_PORT"] = str(port)  # its own: the other process may still be in the run before
        assert bool(list(run)) is (rank == 0)


def runs(folder: Path, name: str) -> list[Iterator[TrainStep]]:
    """Return a short run of each trainer, not begun."""
    shared = {"steps": 2, "batch": 8}
    generator = dataclasses.replace(generator_config(folder), run=folder / f"{name}-generator", **shared)
    encoder = dataclasses.replace(
        encoder_config(folder), run=folder / f"{name}-encoder", joint_from=1, temporal=0.5, **shared
    )
    identity = dataclasses.replace(identity_config(folder), run=folder / f"{name}-identity", **shared)
    return [train_generator.train(generator), train_encoder.train(encoder), train_identity.train(identity)]


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["generator", "encoder", "identity"])
def test_two_processes_train_what_one_does(folder: Path, trainer: str) -> None:
    one, two = (
        torch.load(folder / f"{name}-{trainer}" / "state.pt", weights_only=True)["parts"] for name in ("one", "two")
    )
    for part in (name for name in one if not name.endswith("optimizer")):
        # Adam divides by the size of a gradient: where that is all rounding, a step is lr whatever its cause.
        torch.testing.assert_close(two[part], one[part], atol=6e-3, rtol=1e-3)
        differences = [(two[part][name] - one[part][name]).float().abs().mean() for name in one[part]]
        assert max(differences) < 1e-4
