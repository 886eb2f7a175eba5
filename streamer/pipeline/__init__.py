"""The heart: frames in, safe frames out, in threads."""
