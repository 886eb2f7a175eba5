"""How long a test waits for what must come: never what it proves, so as long as the slowest machine may need."""

PATIENCE_SECONDS = 300.0  # costs nothing but where something hangs
