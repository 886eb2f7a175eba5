"""Puts together the stages that one stream needs, of what an anonymizer was loaded with. torch loads only then."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from models.privacy import GaussianMechanism, PrivacyAccountant
from streamer.faces.center_face import CenterFace
from streamer.faces.small_faces import Search
from streamer.pipeline.loading import Networks
from streamer.pipeline.turns import Turns
from streamer.settings import Settings
from streamer.types import KnownPerson

if TYPE_CHECKING:
    from models.face_model import FaceModel
    from models.texture_model import TextureModel
    from streamer.consent.filter import ConsentContext, ConsentFilter
    from streamer.render.drawer import Drawer
    from streamer.render.guard import Guard
    from streamer.render.traits import TraitReader


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """What is loaded once and shared by all streams, from any thread.

    Attributes:
        networks: Returns them once they are loaded; raises what loading them raised.
        draws: Whether faces are drawn, not only covered.
        keeping: Who stays visible.
        key: What strangers follow from.
        mechanism: Of differential privacy; None without epsilon.
        accountant: What that has cost.
        search: What is looked for small faces, and was found.
        turns: What streams take turns with.
    """

    networks: Callable[[], Networks]
    draws: bool
    keeping: ConsentContext | None
    key: bytes
    mechanism: GaussianMechanism | None
    accountant: PrivacyAccountant
    search: Search
    turns: Turns


def drawer_of(loaded: Loaded, known: Sequence[KnownPerson] = (), *, is_live: bool = False) -> Drawer[Any] | None:
    """Return what draws faces, where there is a model; those who are `known` as the strangers fixed for them.

    Where it `is_live`, strangers are chosen in less time, if the model allows it.
    """
    networks = loaded.networks()
    model, device = networks.model, networks.device
    if model is None or device is None:
        return None
    from streamer.render.draw import FaceDrawer
    from streamer.render.pseudonym import Pseudonyms
    from streamer.render.textures.painted_draw import PaintedFaceDrawer

    pseudonyms = Pseudonyms(
        model,
        device,
        key=loaded.key,
        recognizer=networks.recognizer if model.identity_size else None,
        reranker=networks.reranker,
        mechanism=loaded.mechanism,
        accountant=loaded.accountant,
        known=known,
        is_live=is_live,
    )
    if model.kind == "textures":
        from streamer.faces.fine_mesh import FineMesh
        from streamer.render.textures.texture_draw import TextureDrawer

        textures = cast("TextureModel", model)  # by its kind: one that many threads share is wrapped
        return TextureDrawer(textures, device, pseudonyms=pseudonyms, network=FineMesh(loaded.turns.fine_meshes))
    drawer = PaintedFaceDrawer if model.template.around == "filled" else FaceDrawer
    return drawer(model, device, pseudonyms=pseudonyms)


def keeper_of(loaded: Loaded) -> ConsentFilter | None:
    """Return what knows who agreed to be seen, where somebody did; to be closed with what draws."""
    if loaded.keeping is None:
        return None
    from streamer.consent.filter import ConsentFilter

    return ConsentFilter(loaded.keeping, CenterFace(loaded.turns.small_faces))


def guard_of(loaded: Loaded) -> Guard | None:
    """Return what compares drawn faces with the person; nothing under a mechanism, whose promise it would break."""
    networks = loaded.networks()
    if networks.recognizer is None or networks.device is None or loaded.mechanism is not None:
        return None
    from streamer.render.guard import Guard

    return Guard(networks.recognizer, networks.device, networks.reranker)


def traits_of(loaded: Loaded) -> TraitReader | None:
    """Return what tells of which sex, age and skin tone faces are; nothing under a mechanism, which they bypass."""
    networks = loaded.networks()
    if networks.attributes is None or networks.device is None or loaded.mechanism is not None:
        return None
    from streamer.render.traits import TraitReader

    return TraitReader(networks.attributes, networks.device)


def mechanism_of(model: FaceModel | None, settings: Settings) -> GaussianMechanism | None:
    """Return the mechanism of the settings' epsilon; coordinates of unit variance are clipped to their mean norm."""
    if model is None or settings.epsilon is None:
        return None
    if not model.identity_size:
        raise ValueError(f"epsilon needs a model that knows what identity is; a {model.kind} model does not")
    return GaussianMechanism(settings.epsilon, settings.delta, bound=math.sqrt(model.identity_size))
