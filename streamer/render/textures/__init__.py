"""Draws strangers whose faces are textures on a mesh."""
