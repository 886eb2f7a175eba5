"""What our own output was made with, in words that somebody who signs can judge."""

from streamer.evaluate.report.provenance import settings_of
from streamer.pipeline.anonymizer import Anonymizer


def test_a_reader_is_told_whether_the_key_is_kept_and_that_no_key_brings_a_face_back():
    made, given = (settings_of("default", Anonymizer.load(key=key))["key"] for key in (None, bytes(32)))
    assert made.startswith("made for this run and not kept; no face can be recovered with a key")
    assert given.startswith("given; no face can be recovered with a key")
    assert "their stranger can be made again and compared" in given
    assert bytes(32).hex() not in given


def test_a_reader_is_told_which_end_of_beta_keeps_least():
    assert (
        settings_of("default", Anonymizer.load(beta=0.5))["beta"] == "0.5, where 0 keeps least of the person and 1 most"
    )
