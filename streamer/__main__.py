"""`python -m streamer` is `veil`."""

import sys
from pathlib import Path

OWN = Path(__file__).resolve().parent

# `-m` looks for modules in the working directory first: a folder called `models` there would be taken for ours.
if not sys.flags.safe_path and Path(sys.path[0]).resolve() != OWN.parent:
    del sys.path[0]

import streamer  # noqa: E402

places = [Path(place).resolve() for place in streamer.__path__]
if places != [OWN]:  # it was imported before this file, and an editable installation then gave it this file
    found = ", ".join(map(str, places))
    sys.exit(f"veil: `-m streamer` finds {found}, not {OWN}: start veil, or python -P -m streamer")

from streamer.cli.main import main  # noqa: E402

main()
