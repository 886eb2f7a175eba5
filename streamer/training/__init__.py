"""Prepares photos and videos as training data, and makes textures of them."""
