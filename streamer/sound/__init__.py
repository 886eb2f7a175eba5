"""Sound that is not dropped: in another voice, and as late as the picture."""
