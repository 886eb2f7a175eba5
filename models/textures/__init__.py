"""Strangers as textures of people who do not exist: how they are made, chosen and kept."""

from models.textures.textures import Textures, TexturesConfig

__all__ = ["Textures", "TexturesConfig"]
