"""Weights and settings as a program holds them, shared by any number of streams and pictures."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Self

import numpy as np

from models.privacy import PrivacyAccountant, new_key
from streamer.errors import AnonymizerError
from streamer.faces.small_faces import Search
from streamer.pipeline.assembly import Loaded, mechanism_of
from streamer.pipeline.loading import Networks, in_background, load_networks
from streamer.pipeline.stream import FaceAnonymizer
from streamer.pipeline.turns import Turns
from streamer.pool import Pool
from streamer.region import AnyRegion, regions_of
from streamer.settings import DEFAULT_DELAY, DEFAULT_DELTA, Settings
from streamer.types import Cover, Frame, Image, KnownPerson, Mode, Policy, SafeFrame

if TYPE_CHECKING:
    import torch

    from models.attributes.attributes import AttributeNet
    from models.face_model import FaceModel
    from models.identity.recognizer import FaceRecognizer
    from streamer.consent.filter import ConsentContext

log = logging.getLogger(__name__)

MAX_STILLS = min(4, os.cpu_count() or 1)  # single pictures at the same time; each takes a detector of its own


class Anonymizer:
    """Weights and settings, shared by any number of streams; any thread may use it at any time.

    `image` and `picture` can be called from as many threads as one likes: `MAX_STILLS` work at the same time, the
    others wait. What `frames` returns is one stream, for one thread at a time. `settings` may be replaced while others
    use it. Load it in the process that uses it, not before a fork: threads do not survive that.
    """

    def __init__(
        self,
        model: FaceModel | None,
        device: torch.device | None,
        settings: Settings,
        recognizer: FaceRecognizer | None = None,
        keeping: ConsentContext | None = None,
        attributes: AttributeNet | None = None,
        reranker: FaceRecognizer | None = None,
    ) -> None:
        """Take prepared networks and their device, without which faces are only covered, and who may stay visible.

        Raises:
            ValueError: If differential privacy is asked of a model that does not know what identity is.
        """
        key, mechanism = settings.key or new_key(), mechanism_of(model, settings)
        if mechanism and settings.key:
            log.warning("epsilon draws strangers by noise of its own; the key has no effect")
        networks, draws = (
            Networks(model, device, recognizer, attributes, reranker),
            model is not None and device is not None,
        )
        accountant, search = PrivacyAccountant(), Search(settings.min_face)
        self._loaded = Loaded(lambda: networks, draws, keeping, key, mechanism, accountant, search, Turns())
        self._settings = settings
        self._stills = Pool(self.begin_stream, limit=MAX_STILLS)
        self._keeps = False

    @property
    def model(self) -> FaceModel | None:
        """What draws faces; None where they are only covered."""
        return self._loaded.networks().model

    @property
    def device(self) -> torch.device | None:
        """Where networks run; None where there are none."""
        return self._loaded.networks().device

    @property
    def recognizer(self) -> FaceRecognizer | None:
        """What chooses strangers and guards."""
        return self._loaded.networks().recognizer

    @property
    def key(self) -> bytes:
        """What strangers follow from: a secret."""
        return self._loaded.key

    @property
    def search(self) -> Search:
        """How small faces were looked for."""
        return self._loaded.search

    @property
    def settings(self) -> Settings:
        """What is done to faces; another one counts from the next frame on, and may not change key or privacy.

        Raises:
            ValueError: If it does: who becomes whom was decided by those from the start.
        """
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        old = self._settings
        if (settings.key, settings.epsilon, settings.delta) != (old.key, old.epsilon, old.delta):
            raise ValueError("key, epsilon and delta cannot be changed; make another Anonymizer")
        self._settings = settings

    def __enter__(self) -> Self:
        """Keep what finds faces ready from one stream to the next, until this is closed."""
        if not self._keeps:
            self._keeps = True
            self._loaded.turns.join()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free what finds faces; single pictures at work are finished, later ones raise `AnonymizerError`."""
        self._stills.close()
        if self._keeps:
            self._keeps = False
            self._loaded.turns.leave()

    @property
    def privacy(self) -> str:
        """What differential privacy has been spent, in words; "" where none was asked for."""
        mechanism, accountant = self._loaded.mechanism, self._loaded.accountant
        if mechanism is None:
            return ""
        spent = accountant.spent(mechanism.delta)
        return (
            f"epsilon {mechanism.epsilon:g} a track at delta {mechanism.delta:g}, "
            f"{spent:.3g} if all {accountant.releases} tracks were one person"
        )

    @classmethod
    def load(
        cls,
        model: str = "default",
        *,
        beta: float = 0.0,
        device: str = "auto",
        mode: Mode = "generate",
        cover: Cover = "mosaic",
        key: bytes | None = None,
        epsilon: float | None = None,
        delta: float = DEFAULT_DELTA,
        policy: Policy = "balanced",
        delay_seconds: float = DEFAULT_DELAY,
        min_face: float | None = None,
        keeping: ConsentContext | None = None,
        always: Iterable[AnyRegion] = (),
        expression: float = 1.0,
    ) -> Self:
        """Load weights by name or path.

        Args:
            model: "default", a name that `veil doctor` lists, or the path of a checkpoint.
            beta, mode, cover, key, epsilon, delta, policy, delay_seconds, min_face, expression: See `Settings`.
            device: "auto", "cpu" or "cuda".
            keeping: Who stays visible (`streamer.consent.filter`).
            always: Regions that are covered in every frame, each `(x, y, width, height)` in pixels of the upright
                picture, or in percent of it: "10%,0%,25%,100%".

        Raises:
            ValueError: If a setting is out of range.
            CheckpointError: If the weights are missing, damaged or of another version.
            AnonymizerError: If CUDA is asked for and absent.
        """
        regions = regions_of(always)
        settings = Settings(
            beta, mode, cover, key, epsilon, delta, policy, delay_seconds, min_face, regions, expression
        )
        return cls.load_with(settings, model, device=device, keeping=keeping)

    @classmethod
    def load_with(
        cls, settings: Settings, model: str = "default", *, device: str = "auto", keeping: ConsentContext | None = None
    ) -> Self:
        """Load weights by name or path, for settings that were made before.

        Args:
            model, device, keeping: As of `load`.

        Raises:
            ValueError, CheckpointError, AnonymizerError: As `load`.
        """
        if settings.mode == "cover" and device in ("auto", "cpu"):
            return cls(None, None, settings, keeping=keeping)  # torch takes longer to load than a short clip to cover
        if settings.mode == "cover":
            from streamer.render.draw import choose_device

            return cls(None, choose_device(device), settings, keeping=keeping)
        made = load_networks(model, device)
        return cls(made.model, made.device, settings, made.recognizer, keeping, made.attributes, made.reranker)

    @classmethod
    def begin_loading(cls, settings: Settings, load: Callable[[], Networks]) -> Self:
        """Return one at once, whose networks load beside what comes first: reading and searching frames.

        What needs them waits. If loading fails, whatever needs them raises what `load` raised, and no frame is
        rendered.

        Args:
            settings: To draw faces, without epsilon: that depends on the model.
            load: Called in a thread of its own (`streamer.pipeline.loading.load_networks`).

        Raises:
            ValueError: If `settings` are others.
        """
        if settings.mode == "cover" or settings.epsilon is not None:
            raise ValueError("only networks that draw, and without epsilon, load in the background")
        made = cls(None, None, settings)
        made._loaded = replace(made._loaded, networks=in_background(load), draws=True)
        return made

    def with_settings(self, settings: Settings) -> Self:
        """Return another one with the same weights, and with this one's key unless `settings` has one."""
        old, made = self._loaded, self._loaded.networks()
        other = type(self)(
            made.model, made.device, settings, made.recognizer, old.keeping, made.attributes, made.reranker
        )
        other._loaded = replace(other._loaded, key=settings.key or old.key, turns=old.turns)
        return other

    def with_model(self, model: FaceModel) -> Self:
        """Return another one that differs in what draws the faces, such as a wrapper of the same weights."""
        other = self.with_settings(self._settings)
        networks = replace(other._loaded.networks(), model=model)
        other._loaded = replace(other._loaded, networks=lambda: networks, draws=networks.device is not None)
        return other

    def begin_stream(
        self, name: str | None = None, *, frame_seconds: float | None = None, known: Sequence[KnownPerson] = ()
    ) -> FaceAnonymizer:
        """Return what makes the safe frames of one stream, whose settings are this one's at any time.

        Args:
            name: As `stream` of `frames`.
            frame_seconds: Between its frames, if it is live: it then draws what it has time for.
            known: People in it whose stranger was fixed beforehand (`people_in`).

        Raises:
            ValueError: If somebody is known and epsilon was asked for, under which nobody is recognised.
        """
        if known and self._loaded.mechanism:
            raise ValueError(f"with epsilon nobody is recognised: known must be empty, got {len(known)} people")
        return FaceAnonymizer(self._loaded, lambda: self._settings, frame_seconds, stream=name, known=known)

    def people_in(self, frames: Iterable[Frame], *, stream: str) -> list[KnownPerson]:
        """Return who is seen well in a few frames of a recording, and whom each of them is to become.

        Nobody, where faces are only covered or the model has no strangers.

        Args:
            frames: In order, each of another moment.
            stream: Its name, as of `frames`.

        Raises:
            ValueError: With epsilon, as each choice would be one more release.
            AnonymizerError: If a frame could not be searched for faces.
        """
        loaded, settings = self._loaded, self._settings
        networks = loaded.networks()
        if loaded.mechanism:
            raise ValueError("with epsilon it cannot be chosen beforehand whom people become: that is a release")
        if (
            settings.mode == "cover"
            or networks.recognizer is None
            or not (networks.model and networks.model.identity_size)
        ):
            return []
        from streamer.pipeline.identification import PeopleFinder

        with closing(PeopleFinder(loaded, settings, stream)) as finder:
            for frame in frames:
                finder.look(frame)
            return finder.people()

    def image(self, picture: Image, *, stream: str | None = None) -> Image:
        """Return a copy of the `(H, W, 3)` uint8 RGB picture without its faces; for any thread.

        The same picture, under the same key, gets the same faces, whatever came before it (but not with epsilon).

        Args:
            stream: As of `frames`.

        Raises:
            ValueError: If it is no such picture.
            AnonymizerError: If it could not be searched for faces, or this is closed.
        """
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(f"a picture must be (H, W, 3) uint8 RGB, got {picture.shape} {picture.dtype}")
        safe = self.picture(Frame(picture, index=0, pts=0, time_base=Fraction(1)), stream=stream)
        if safe.failed:
            raise AnonymizerError(safe.failed)
        return safe.image.copy()  # the caller's, to draw on

    def picture(self, frame: Frame, *, stream: str | None = None) -> SafeFrame:
        """Return one frame that has nothing to do with any other; for any thread.

        Args:
            stream: As of `frames`.

        Raises:
            AnonymizerError: If this is closed, or pictures fail one after another (`FaceAnonymizer.detect`).
        """
        with self._stills.borrowed() as stills:
            return stills.still(frame, stream)

    def frames(self, frames: Iterable[Frame], *, stream: str | None = None) -> Iterator[SafeFrame]:
        """Yield the safe frames of one stream, in order, one for one, each `delay_seconds` late; for one thread.

        Args:
            frames: With their times.
            stream: Its name. Under one key and name the same pictures get the same strangers, under another name
                others. Without one, the first picture with a face to be drawn stands for it.
        """
        one = self.begin_stream(stream)
        try:
            yield from map(one.render, one.ahead(frames))
        finally:
            one.close()
