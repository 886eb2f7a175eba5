"""What can go wrong with a model's files."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message is one line and names the file."""
