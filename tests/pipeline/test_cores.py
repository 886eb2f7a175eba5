"""How cores are shared: the network gets half, numpy's threads one, and what the user said stays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.sinks.file_sink import open_sink
from streamer.types import Codec
from tests.sinks.written import INFO, frame_at

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
SHOW = "print(torch.get_num_threads(), *{i['num_threads'] for i in threadpool_info() if i['user_api'] == 'blas'})"


def shown(first: str, then: str, **environment: str) -> str:
    code = f"from threadpoolctl import threadpool_info\nfrom streamer import share_cores\n{first}\n{then}\n{SHOW}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "OPENBLAS_", "MKL_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean | environment
    )
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "then"),
    [("share_cores()", "import torch"), ("import numpy, torch", "share_cores()")],
    ids=["before torch", "after torch"],
)
def test_the_network_gets_half_of_the_cores_and_numpy_one(first: str, then: str) -> None:
    assert shown(first, then) == f"{max(1, CORES // 2)} 1"


@pytest.mark.slow
def test_what_the_user_set_stays() -> None:
    assert shown("share_cores()", "import torch", OMP_NUM_THREADS=str(CORES)) == f"{CORES} 1"


@pytest.mark.slow
def test_threads_of_the_network_sleep_while_they_wait() -> None:
    assert shown("share_cores()", "import os, torch; print(os.environ['OMP_WAIT_POLICY'])").startswith("passive")


@pytest.mark.skipif(sys.platform != "linux", reason="says nothing of its threads here")
@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1"])
def test_no_encoder_makes_threads_more_urgent_than_other_programs(codec: Codec, tmp_path: Path) -> None:
    """SVT-AV1 does where root runs it: real-time ones, and the one that opened it with all that starts from it."""
    with open_sink(tmp_path / "out.mkv", INFO, codec=codec) as sink:
        sink.write(frame_at(0))
        threads = [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
        assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_OTHER}
