"""The consent list: what it opens for whom, and that an edited entry opens for nobody."""

import base64
import stat
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from streamer.consent.entries import Consent, ConsentList, RecognizerId, read_consents, seal, write_consents
from streamer.errors import SinkError, SourceError
from streamer.types import Floats

KEY = bytes(range(32))
MADE_WITH = RecognizerId("identity", "ab" * 32)
TODAY = date(2026, 11, 25)
ANN = Consent("Ann", TODAY, date(2027, 1, 31), (), MADE_WITH)
EMBEDDING = np.array([0.6, 0.0, -0.8], np.float32)


def saved(path: Path, *consents: Consent, embedding: Floats = EMBEDDING) -> Path:
    write_consents(path, [seal(consent, embedding, KEY) for consent in consents])
    return path


def load(path: Path, *, key: bytes = KEY, camera: str | None = None, today: date = TODAY) -> ConsentList:
    return ConsentList.load(path, key=key, camera=camera, today=today, recognizer=MADE_WITH)


def test_who_is_enrolled_is_read_back_exactly(tmp_path: Path):
    (ann,) = load(saved(tmp_path / "list", ANN)).people
    assert (ann.name, ann.expires) == ("Ann", date(2027, 1, 31))
    assert (ann.embedding == EMBEDDING).all()


def test_the_list_is_plain_toml_without_the_embedding(tmp_path: Path):
    path = saved(tmp_path / "list", replace(ANN, cameras=("door", 'the "hall"')))
    (entry,) = read_consents(path)
    assert entry.cameras == ("door", 'the "hall"')
    text = path.read_text()
    assert "expires = 2027-01-31\n" in text
    assert base64.b64encode(EMBEDDING.tobytes()).decode() not in text


def test_the_embedding_is_aes_256_gcm_under_a_key_derived_from_the_key_file(tmp_path: Path):
    (entry,) = read_consents(saved(tmp_path / "list", ANN))
    key = HKDF(SHA256(), 32, salt=None, info=b"veil consent list 1").derive(KEY)
    bound = f'["Ann", "2026-11-25", "2027-01-31", [], "identity", "{"ab" * 32}"]'.encode()
    plain = AESGCM(key).decrypt(entry.sealed[:12], entry.sealed[12:], bound)
    assert plain == np.array([0.6, 0.0, -0.8], "<f4").tobytes()


def test_the_same_person_is_never_encrypted_alike():
    assert seal(ANN, EMBEDDING, KEY).sealed != seal(ANN, EMBEDDING, KEY).sealed


def test_only_the_owner_can_read_the_list(tmp_path: Path):
    assert stat.S_IMODE(saved(tmp_path / "list", ANN).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('name = "Ann"', 'name = "Bob"'),
        ("enrolled = 2026-11-25", "enrolled = 2026-11-24"),
        ("expires = 2027-01-31", "expires = 2037-01-31"),
        ('    "door",\n', '    "door",\n    "hall",\n'),
        ('    "door",\n', ""),
        ('recognizer = "identity"', 'recognizer = "other"'),
    ],
)
def test_an_entry_that_was_edited_does_not_open(tmp_path: Path, before: str, after: str):
    path = saved(tmp_path / "list", replace(ANN, cameras=("door",)))
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(SourceError, match="does not open: it was edited"):
        load(path, camera="door")


@given(at=st.integers(0, 39), bit=st.integers(0, 7))
def test_no_bit_of_the_ciphertext_can_be_changed(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int):
    sealed = bytearray(seal(ANN, EMBEDDING, KEY).sealed)
    assert len(sealed) == 12 + 12 + 16  # nonce, three floats, tag
    sealed[at] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped"
    write_consents(path, [replace(ANN, sealed=bytes(sealed))])
    with pytest.raises(SourceError, match="does not open"):
        load(path)


def test_another_key_opens_nothing(tmp_path: Path):
    with pytest.raises(SourceError, match="the key is another"):
        load(saved(tmp_path / "list", ANN), key=bytes(32))


@pytest.mark.parametrize(
    ("today", "reason"),
    [
        (date(2027, 1, 31), ""),
        (date(2027, 2, 1), "expired on 2027-01-31"),
        (TODAY, ""),
        (TODAY - timedelta(days=1), "begins on 2026-11-25 only; is the clock right?"),
    ],
)
def test_a_consent_holds_from_its_first_day_to_its_last(tmp_path: Path, today: date, reason: str):
    loaded = load(saved(tmp_path / "list", ANN), today=today)
    assert [person.name for person in loaded.people] == ([] if reason else ["Ann"])
    assert loaded.left_out == ({"Ann": reason} if reason else {})


@pytest.mark.parametrize(("camera", "holds"), [("door", True), ("hall", True), ("Door", False), (None, False)])
def test_a_consent_for_cameras_holds_for_no_other(tmp_path: Path, camera: str | None, holds: bool):
    path = saved(tmp_path / "list", replace(ANN, cameras=("door", "hall")))
    assert bool(load(path, camera=camera).people) == holds


def test_a_consent_for_every_camera_holds_for_each(tmp_path: Path):
    assert load(saved(tmp_path / "list", ANN), camera="door").people


def test_an_expired_entry_is_not_even_decrypted(tmp_path: Path):
    path = saved(tmp_path / "list", ANN)
    assert load(path, key=bytes(32), today=date(2030, 1, 1)).people == ()  # the key does not open it


def test_what_another_recognizer_knows_is_left_out(tmp_path: Path):
    path = saved(tmp_path / "list", replace(ANN, recognizer=RecognizerId("identity", "cd" * 32)))
    assert "enrol anew" in load(path).left_out["Ann"]


def test_no_log_and_no_repr_shows_an_embedding(tmp_path: Path):
    loaded = load(saved(tmp_path / "list", ANN))
    assert "0.6" not in repr(loaded)
    assert "sealed" not in repr(read_consents(tmp_path / "list"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[[person]\n", "no TOML"),
        ("\x00", "no TOML"),
        ("[person]\nname = 1\n", "something else"),
        ("title = 'x'\n", "something else"),
        ("[[person]]\nname = 'Ann'\n", "entry 1: lacks 'recognizer'"),
        ("ANN", "Ann is there twice"),
        ("DATE", "a date is none"),
        ("CAMERA", "a text is none"),
        ("BASE64", "entry 1: "),
    ],
)
def test_what_is_no_list_is_said_in_one_line(tmp_path: Path, content: str, says: str):
    text = saved(tmp_path / "list", ANN).read_text()
    edits = {
        "ANN": text + text,
        "DATE": text.replace("2027-01-31", "2027-01-31T12:00:00"),
        "CAMERA": text.replace("cameras = []", "cameras = 'door'"),
        "BASE64": text.replace('embedding = "', 'embedding = "*'),
    }
    (tmp_path / "list").write_text(edits.get(content, content))
    with pytest.raises(SourceError, match=says) as caught:
        load(tmp_path / "list")
    assert "\n" not in str(caught.value)


def test_a_list_that_cannot_be_read_or_written_is_named(tmp_path: Path):
    with pytest.raises(SourceError, match="nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(SinkError, match="cannot write"):
        write_consents(tmp_path / "no" / "list", [])


def test_a_list_that_cannot_be_replaced_stays_and_leaves_no_partial(tmp_path: Path):
    (tmp_path / "list").mkdir()
    with pytest.raises(SinkError, match="cannot write"):
        write_consents(tmp_path / "list", [ANN])
    assert [path.name for path in tmp_path.iterdir()] == ["list"]


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x1bb"])
def test_a_name_must_be_printable(name: str):
    with pytest.raises(ValueError, match="printable"):
        replace(ANN, name=name)


def test_a_consent_cannot_end_before_it_begins():
    with pytest.raises(ValueError, match="before it begins"):
        replace(ANN, expires=TODAY - timedelta(days=1))


@pytest.mark.parametrize("embedding", [np.zeros(3), np.full(3, np.nan), np.eye(3), np.ones(3)])
def test_only_a_unit_vector_is_sealed(embedding: Floats):
    with pytest.raises(ValueError, match="unit vector"):
        seal(ANN, embedding.astype(np.float32), KEY)


@pytest.mark.slow
@given(st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable() and bool(text.strip())))
def test_any_printable_name_survives_the_list(tmp_path_factory: pytest.TempPathFactory, name: str):
    path = tmp_path_factory.getbasetemp() / "named"
    write_consents(path, [replace(ANN, name=name, cameras=(name,))])
    assert [(entry.name, entry.cameras) for entry in read_consents(path)] == [(name, (name,))]
