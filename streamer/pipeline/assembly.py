"""Puts together the stages that one stream needs, of what an anonymizer was loaded with. torch loads only then."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from models.privacy import GaussianMechanism
from streamer.settings import Settings

if TYPE_CHECKING:
    from models.face_model import FaceModel
    from models.texture_model import TextureModel
    from streamer.consent.filter import Keeper, Keeping
    from streamer.pipeline.anonymizer import Anonymizer
    from streamer.render.drawer import Drawer
    from streamer.render.guard import Guard
    from streamer.render.traits import TraitReader


def drawer_of(anonymizer: Anonymizer) -> Drawer[Any] | None:
    """Return what draws faces, where there is a model."""
    if anonymizer.model is None or anonymizer.device is None:
        return None
    from streamer.render.draw import FaceDrawer
    from streamer.render.pseudonym import Pseudonyms

    pseudonyms = Pseudonyms(
        anonymizer.model,
        anonymizer.device,
        key=anonymizer.key,
        recognizer=anonymizer.recognizer if anonymizer.model.identity_size else None,
        mechanism=anonymizer.mechanism,
        accountant=anonymizer.accountant,
    )
    if anonymizer.model.kind == "textures":
        from streamer.faces.fine_mesh import FineMesh
        from streamer.render.textures.texture_draw import TextureDrawer

        model = cast("TextureModel", anonymizer.model)  # by its kind: one that many threads share is wrapped
        return TextureDrawer(model, anonymizer.device, pseudonyms=pseudonyms, network=FineMesh())
    return FaceDrawer(anonymizer.model, anonymizer.device, pseudonyms=pseudonyms)


def keeper_of(keeping: Keeping | None) -> Keeper | None:
    """Return what knows who agreed to be seen, where somebody did."""
    if keeping is None:
        return None
    from streamer.consent.filter import Keeper

    return Keeper(keeping)


def guard_of(anonymizer: Anonymizer) -> Guard | None:
    """Return what compares drawn faces with the person; nothing under a mechanism, whose promise it would break."""
    if anonymizer.recognizer is None or anonymizer.device is None or anonymizer.mechanism is not None:
        return None
    from streamer.render.guard import Guard

    return Guard(anonymizer.recognizer, anonymizer.device)


def traits_of(anonymizer: Anonymizer) -> TraitReader | None:
    """Return what tells of which sex, age and skin tone faces are; nothing under a mechanism, which they bypass."""
    if anonymizer.attributes is None or anonymizer.device is None or anonymizer.mechanism is not None:
        return None
    from streamer.render.traits import TraitReader

    return TraitReader(anonymizer.attributes, anonymizer.device)


def mechanism_of(model: FaceModel | None, settings: Settings) -> GaussianMechanism | None:
    """Return the mechanism of the settings' epsilon; coordinates of unit variance are clipped to their mean norm."""
    if model is None or settings.epsilon is None:
        return None
    if not model.identity_size:
        raise ValueError(f"epsilon needs a model that knows what identity is; a {model.kind} model does not")
    return GaussianMechanism(settings.epsilon, settings.delta, bound=math.sqrt(model.identity_size))
