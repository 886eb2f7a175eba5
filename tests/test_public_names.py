import subprocess
import sys

import pytest

import streamer


def test_public_names_are_these():
    assert streamer.__all__ == [
        "Anonymizer",
        "AnonymizerError",
        "Frame",
        "SafeFrame",
        "SinkError",
        "SourceError",
        "StreamerError",
        "open_sink",
        "open_source",
        "protect",
        "share_cores",
    ]


@pytest.mark.parametrize("name", streamer.__all__)
def test_every_public_name_is_there_and_documented(name: str):
    thing = getattr(streamer, name)
    assert thing.__name__ == name
    assert thing.__doc__
    assert name in dir(streamer)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'Anonymiser'"):
        streamer.Anonymiser  # noqa: B018


def test_importing_streamer_loads_nothing_heavy():
    heavy = {"torch", "cv2", "av", "mediapipe", "numpy"}
    code = f"import sys, streamer; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
