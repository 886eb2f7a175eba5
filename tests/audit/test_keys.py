"""Keys in PEM files: made once, readable by their owner only, and refused with a reason where they are none."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from streamer.audit.keys import create_signing_key, load_public_key, load_signing_key, public_bytes, public_pem
from streamer.errors import SinkError, SourceError


def test_a_new_key_signs_what_its_public_half_verifies(tmp_path: Path):
    public = create_signing_key(tmp_path / "key")
    (tmp_path / "public").write_text(public_pem(public))
    signature = load_signing_key(tmp_path / "key").sign(b"yes")
    load_public_key(tmp_path / "public").verify(signature, b"yes")  # raises if it does not
    assert len(public_bytes(public)) == 32


def test_only_the_owner_can_read_a_key(tmp_path: Path):
    create_signing_key(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_key_is_never_replaced(tmp_path: Path):
    (tmp_path / "key").write_text("mine")
    with pytest.raises(SinkError, match="never replaced"):
        create_signing_key(tmp_path / "key")
    assert (tmp_path / "key").read_text() == "mine"


def test_a_key_that_cannot_be_written_is_said(tmp_path: Path):
    with pytest.raises(SinkError, match="No such file"):
        create_signing_key(tmp_path / "no" / "key")


def private(key: Ed25519PrivateKey, passphrase: bytes) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))


OF_ANOTHER_KIND = generate_private_key(SECP256R1())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"nothing", "no private key in PEM"),
        (private(Ed25519PrivateKey.generate(), b"word"), "needs a passphrase"),
        (OF_ANOTHER_KIND.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "not an Ed25519 key"),
        (None, "cannot read the key"),
    ],
    ids=["nonsense", "encrypted", "another kind", "missing"],
)
def test_what_is_no_private_key_is_refused_with_the_reason(tmp_path: Path, content: bytes | None, says: str):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(SourceError, match=says):
        load_signing_key(tmp_path / "key")


def test_what_is_no_public_key_is_refused_with_the_reason(tmp_path: Path):
    create_signing_key(tmp_path / "private")
    with pytest.raises(SourceError, match="no public key in PEM"):
        load_public_key(tmp_path / "private")
    (tmp_path / "other").write_text(public_pem(OF_ANOTHER_KIND.public_key()))  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="not an Ed25519 key"):
        load_public_key(tmp_path / "other")
    with pytest.raises(SourceError, match="cannot read"):
        load_public_key(tmp_path / "nowhere")
