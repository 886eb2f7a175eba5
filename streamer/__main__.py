"""`python -m streamer` is `veil`."""

from streamer.cli import main

main()
