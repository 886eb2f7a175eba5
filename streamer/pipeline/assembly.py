"""Puts together the stages that one stream needs, of what an anonymizer was loaded with. torch loads only then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from models.privacy import GaussianMechanism, PrivacyAccountant
from streamer.faces.small_faces import Search
from streamer.pipeline.turns import Turns
from streamer.settings import Settings
from streamer.types import KnownPerson

if TYPE_CHECKING:
    import torch

    from models.attributes.attributes import AttributeNet
    from models.face_model import FaceModel
    from models.identity.recognizer import FaceRecognizer
    from models.texture_model import TextureModel
    from streamer.consent.filter import ConsentContext, ConsentFilter
    from streamer.render.drawer import Drawer
    from streamer.render.guard import Guard
    from streamer.render.traits import TraitReader


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """What was loaded once and is shared by all streams, from any thread.

    Attributes:
        model: What draws faces; None where they are only covered.
        device: Where networks run; None where there are none.
        recognizer: Ours, which chooses strangers and guards.
        reranker: Another one of ours, which says whom of those tried on a person is least like; None where none are.
        keeping: Who stays visible.
        attributes: What tells sex, age and skin tone.
        key: What strangers follow from.
        mechanism: Of differential privacy; None without epsilon.
        accountant: What that has cost.
        search: What is looked for small faces, and was found.
        turns: What streams take turns with.
    """

    model: FaceModel | None
    device: torch.device | None
    recognizer: FaceRecognizer | None
    reranker: FaceRecognizer | None
    keeping: ConsentContext | None
    attributes: AttributeNet | None
    key: bytes
    mechanism: GaussianMechanism | None
    accountant: PrivacyAccountant
    search: Search
    turns: Turns


def tries_strangers_on(model: FaceModel) -> bool:
    """Return whether several strangers are drawn on a person, of whom the least like is taken."""
    return model.kind == "textures" or model.template.around == "filled"


def drawer_of(loaded: Loaded, known: Sequence[KnownPerson] = ()) -> Drawer[Any] | None:
    """Return what draws faces, where there is a model; those who are `known` as the strangers fixed for them."""
    if loaded.model is None or loaded.device is None:
        return None
    from streamer.render.draw import FaceDrawer
    from streamer.render.pseudonym import Pseudonyms
    from streamer.render.textures.painted_draw import PaintedFaceDrawer

    pseudonyms = Pseudonyms(
        loaded.model,
        loaded.device,
        key=loaded.key,
        recognizer=loaded.recognizer if loaded.model.identity_size else None,
        reranker=loaded.reranker,
        mechanism=loaded.mechanism,
        accountant=loaded.accountant,
        known=known,
    )
    if loaded.model.kind == "textures":
        from streamer.faces.fine_mesh import FineMesh
        from streamer.render.textures.texture_draw import TextureDrawer

        model = cast("TextureModel", loaded.model)  # by its kind: one that many threads share is wrapped
        return TextureDrawer(model, loaded.device, pseudonyms=pseudonyms, network=FineMesh(loaded.turns.fine_meshes))
    drawer = PaintedFaceDrawer if loaded.model.template.around == "filled" else FaceDrawer
    return drawer(loaded.model, loaded.device, pseudonyms=pseudonyms)


def keeper_of(keeping: ConsentContext | None) -> ConsentFilter | None:
    """Return what knows who agreed to be seen, where somebody did."""
    if keeping is None:
        return None
    from streamer.consent.filter import ConsentFilter

    return ConsentFilter(keeping)


def guard_of(loaded: Loaded) -> Guard | None:
    """Return what compares drawn faces with the person; nothing under a mechanism, whose promise it would break."""
    if loaded.recognizer is None or loaded.device is None or loaded.mechanism is not None:
        return None
    from streamer.render.guard import Guard

    return Guard(loaded.recognizer, loaded.device)


def traits_of(loaded: Loaded) -> TraitReader | None:
    """Return what tells of which sex, age and skin tone faces are; nothing under a mechanism, which they bypass."""
    if loaded.attributes is None or loaded.device is None or loaded.mechanism is not None:
        return None
    from streamer.render.traits import TraitReader

    return TraitReader(loaded.attributes, loaded.device)


def mechanism_of(model: FaceModel | None, settings: Settings) -> GaussianMechanism | None:
    """Return the mechanism of the settings' epsilon; coordinates of unit variance are clipped to their mean norm."""
    if model is None or settings.epsilon is None:
        return None
    if not model.identity_size:
        raise ValueError(f"epsilon needs a model that knows what identity is; a {model.kind} model does not")
    return GaussianMechanism(settings.epsilon, settings.delta, bound=math.sqrt(model.identity_size))
