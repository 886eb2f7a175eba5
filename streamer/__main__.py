"""`python -m streamer` is `veil`."""

import sys
from pathlib import Path

# `-m` looks for modules in the working directory first: a folder called `models` there would be taken for ours.
if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parent.parent:
    del sys.path[0]

from streamer.cli.main import main

main()
