"""Loads the networks of a run, at once or beside other work, such as searching the first frames."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from models.attributes.attributes import AttributeNet
    from models.face_model import FaceModel
    from models.identity.recognizer import FaceRecognizer


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """What draws faces, shared by all streams, from any thread.

    Attributes:
        model: What draws them; None where they are only covered.
        device: Where networks run; None where there are none.
        recognizer: Ours, which chooses strangers and guards.
        attributes: What tells sex, age and skin tone.
        reranker: A finer one: guards as well, and says whom of those tried on a person is least like.
    """

    model: FaceModel | None = None
    device: torch.device | None = None
    recognizer: FaceRecognizer | None = None
    attributes: AttributeNet | None = None
    reranker: FaceRecognizer | None = None


def load_networks(model: str, device: str) -> Networks:
    """Return the networks that draw with the weights of this name or path.

    Raises:
        CheckpointError: If weights are missing, damaged or of another version.
        ValueError: If there is no such device.
        AnonymizerError: If CUDA is asked for and absent.
    """
    from models.attributes.attributes import load_attributes
    from models.face_model import prepare
    from models.pretrained.imported import load_recognizer
    from models.registry import load_face_model
    from streamer.render.draw import choose_device

    place = choose_device(device)
    network = prepare(load_face_model(model, place), place)
    recognizer, attributes = prepare(load_recognizer("identity"), place), prepare(load_attributes(), place)
    reranker = prepare(load_recognizer("reranker"), place)
    return Networks(network, place, recognizer, attributes, reranker)


def in_background(load: Callable[[], Networks]) -> Callable[[], Networks]:
    """Begin `load` in a thread, and return what waits for its end: it returns or raises what `load` did.

    Python does not end before the thread: what is in the middle of loading a library would abort it.
    """
    thread = ThreadPoolExecutor(1)
    loading = thread.submit(load)
    thread.shutdown(wait=False)
    return loading.result


@contextmanager
def without_collecting() -> Iterator[None]:
    """Keep Python's collector of cycles away from what is loaded meanwhile, now and for good: nothing of it is garbage.

    It would look through all of torch a dozen times while that loads, and once more at the end.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
