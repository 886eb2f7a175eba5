"""Who does the work of an archive: this process, or the actors of a Ray cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from streamer.batch.manifest import ArchiveSettings, Record
from streamer.batch.work import Work
from streamer.batch.worker import Task, Worker
from streamer.errors import StreamerError

Finished = Callable[[Task, Record], None]

RETRIES = 2  # times that a task is done again whose worker was lost; one that takes three down is at fault itself


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where Ray runs, and what of it an archive takes.

    Attributes:
        address: Of a cluster, as `ray.init` takes it; "" starts Ray on this machine, for this run.
        workers: How many actors; 0 for one for each core, or for each share of a GPU.
        cpus, gpus: What each of them takes; a share of a GPU serves several.
    """

    address: str = ""
    workers: int = 0
    cpus: float = 1.0
    gpus: float = 0.0


def run_here(
    work: Work,
    settings: ArchiveSettings,
    out: str,
    *,
    device: str,
    finished: Finished,
    detections: Path | None = None,
) -> None:
    """Do all tasks in this process, one after the other: the stages of each take the cores.

    Raises:
        StreamerError: If the weights cannot be loaded, or the manifest cannot be written.
    """
    worker = Worker(settings, out, device, detections)
    try:
        while task := work.take():
            record = worker.do(task)
            work.finish(task, record)
            finished(task, record)
    finally:
        worker.close()


def run_on_ray(
    work: Work,
    settings: ArchiveSettings,
    out: str,
    *,
    device: str,
    cluster: Cluster,
    finished: Finished,
    detections: Path | None = None,
) -> None:
    """Do all tasks by actors of Ray, which starts a lost one again and gives it its task again.

    Sources, `out` and `detections` must be at the same place for every machine of the cluster.

    Raises:
        StreamerError: As `run_here`; if Ray is not installed, or has not what is asked for.
    """
    ray = _ray()
    _connect(ray, cluster)
    try:
        count = min(cluster.workers or _places(ray, cluster), max(1, work.total))
        options = {"max_restarts": -1, "max_task_retries": RETRIES, "num_cpus": cluster.cpus, "num_gpus": cluster.gpus}
        actor = ray.remote(**options)(Worker)
        _hand_out(ray, work, [actor.remote(settings, out, device, detections) for _ in range(count)], finished)
    finally:
        ray.shutdown()


def _hand_out(ray: Any, work: Work, idle: list[Any], finished: Finished) -> None:  # noqa: ANN401
    """Give every idle actor a task, until none is left."""
    running: dict[Any, tuple[Any, Task]] = {}
    while True:
        while idle and (task := work.take()):
            worker = idle.pop()
            running[worker.do.remote(task)] = (worker, task)
        if not running:
            return
        (answer, *_), _ = ray.wait(list(running), num_returns=1)
        worker, task = running.pop(answer)
        try:
            record: Record = ray.get(answer)
        except ray.exceptions.ActorDiedError as error:
            if "creation task" in str(error):
                reason = "no worker could start: is the same Veil, with its weights, on every machine?"
                raise StreamerError(reason) from error
            record = _lost(task)
        except ray.exceptions.RayError:
            record = _lost(task)
        idle.append(worker)
        work.finish(task, record)
        finished(task, record)


def _lost(task: Task) -> Record:
    reason = f"its worker was lost {RETRIES + 1} times; is there enough memory, is the file damaged?"
    return {"kind": "failed", "name": task.name, "reason": reason}


def _ray() -> Any:  # noqa: ANN401 - a module
    try:
        import ray
    except ImportError as error:
        raise StreamerError("Ray is not installed: pip install ray") from error
    return ray


def _connect(ray: Any, cluster: Cluster) -> None:  # noqa: ANN401
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray tells its makers of every cluster otherwise
    logging.getLogger("ray").setLevel(logging.ERROR)
    here: dict[str, Any] = {"address": "local", "include_dashboard": False}
    if cluster.workers:
        here["num_cpus"] = max(1, round(cluster.workers * cluster.cpus))
    try:
        ray.init(
            **({"address": cluster.address} if cluster.address else here),
            configure_logging=False,
            log_to_driver=False,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        place = cluster.address or "on this machine"
        raise StreamerError(f"cannot reach Ray {place}: {str(error).splitlines()[0]}") from error


def _places(ray: Any, cluster: Cluster) -> int:  # noqa: ANN401
    """Return how many actors the cluster has room for."""
    there = ray.cluster_resources()
    kind: Literal["GPU", "CPU"] = "GPU" if cluster.gpus else "CPU"
    each = cluster.gpus or cluster.cpus
    count = int(there.get(kind, 0) / each)
    if not count:
        raise StreamerError(f"Ray has {there.get(kind, 0):g} {kind}s, and a worker takes {each:g}")
    return count
