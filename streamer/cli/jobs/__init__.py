"""What a run is told to do, and what it opens for it."""
