"""C2PA manifests: signed by a key of ours, read back by the reader of its makers, and broken by any change."""

import datetime
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from typer.testing import CliRunner

from streamer import SinkError, open_sink
from streamer.cli import main as cli
from streamer.sinks.marks.credentials import ALTERED, Credentials
from streamer.sinks.marks.mark import SOURCE_TYPE
from streamer.types import Frame, VideoInfo
from tests.clips import picture
from tests.sinks.marks.test_mark import frames, write_picture, write_video

c2pa = pytest.importorskip("c2pa", reason="the extra mark is not installed")


def certificate(name: str, key: EllipticCurvePrivateKey, *, by: EllipticCurvePrivateKey, issuer: str) -> bytes:
    """A certificate of `name`; of an authority where that signs itself."""
    is_authority, now = name == issuer, datetime.datetime.now(datetime.UTC)
    names = [
        x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"), x509.NameAttribute(NameOID.COMMON_NAME, each)]
        )
        for each in (name, issuer)
    ]
    usage = x509.KeyUsage(not is_authority, False, False, False, False, is_authority, is_authority, False, False)
    made = (
        x509.CertificateBuilder(issuer_name=names[1], subject_name=names[0], public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if not is_authority:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return made.sign(by, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the files of a key and of its certificate with that of its authority."""
    folder = tmp_path_factory.mktemp("identity")
    authority, key = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    chain = certificate("us", key, by=authority, issuer="root") + certificate(
        "root", authority, by=authority, issuer="root"
    )
    (folder / "chain.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "key.pem", folder / "chain.pem"


def manifest_of(path: Path) -> dict[str, Any]:
    """What the manifest of a file says, and under "state" whether it is sound."""
    with c2pa.Reader(path) as reader:
        store = json.loads(reader.json())
    return store["manifests"][store["active_manifest"]] | {"state": store["validation_state"]}


def source_type(path: Path) -> str:
    manifest = manifest_of(path)
    assert manifest["state"] == "Valid"  # not "Trusted": nobody knows the authority of a test
    (actions,) = (each for each in manifest["assertions"] if each["label"].startswith("c2pa.actions"))
    return str(actions["data"]["actions"][0]["digitalSourceType"])


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize(("tier", "said"), [("generated", SOURCE_TYPE), ("mosaic", ALTERED)])
def test_a_picture_is_signed(identity: tuple[Path, Path], tmp_path: Path, suffix: str, tier: str, said: str):
    path = tmp_path / f"safe.{suffix}"
    write_picture(path, tier, credentials=Credentials(*identity))  # type: ignore[arg-type]
    assert source_type(path) == said
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_video_is_signed_and_a_changed_byte_shows(
    identity: tuple[Path, Path], clip: Callable[..., Path], tmp_path: Path, suffix: str
):
    path = tmp_path / f"safe.{suffix}"
    write_video(path, clip(), credentials=Credentials(*identity))  # type: ignore[arg-type]
    assert source_type(path) == SOURCE_TYPE
    data = bytearray(path.read_bytes())
    data[data.index(b"mdat") + 200] ^= 1
    path.write_bytes(data)
    assert manifest_of(path)["state"] == "Invalid"


def test_a_manifest_names_the_audit_log(identity: tuple[Path, Path], clip: Callable[..., Path], tmp_path: Path):
    import hashlib

    key, chain = identity
    options = ("--audit", tmp_path / "log.jsonl", "--mark-key", key, "--mark-cert", chain, "--mode", "cover")
    done = CliRunner().invoke(cli.app, list(map(str, ("run", clip(), tmp_path / "safe.mp4", *options))))
    assert done.exit_code == 0, done.stderr
    (audit,) = (e for e in manifest_of(tmp_path / "safe.mp4")["assertions"] if e["label"] == "org.veil.audit")
    lines = (tmp_path / "log.jsonl").read_bytes().splitlines()
    assert audit["data"]["last_line_sha256"] in {hashlib.sha256(line).hexdigest() for line in lines}
    assert source_type(tmp_path / "safe.mp4") == ALTERED


@pytest.mark.parametrize("suffix", ["mkv", "webm", "bmp"])
def test_what_holds_no_manifest_is_refused_before_the_work(
    identity: tuple[Path, Path], clip: Callable[..., Path], tmp_path: Path, suffix: str
):
    write = write_picture if suffix == "bmp" else lambda path, **options: write_video(path, clip(), **options)
    with pytest.raises(SinkError, match=f"{suffix} holds no C2PA manifest"):
        write(tmp_path / f"safe.{suffix}", credentials=Credentials(*identity))  # type: ignore[operator]
    assert not list(tmp_path.glob("safe*"))


def test_a_key_of_another_certificate_is_refused(identity: tuple[Path, Path], tmp_path: Path):
    other = generate_private_key(SECP256R1())
    (tmp_path / "key.pem").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SinkError, match="is not of the key"):
        Credentials(tmp_path / "key.pem", identity[1])
    with pytest.raises(SinkError, match="no private key"):
        Credentials(identity[1], identity[1])
    with pytest.raises(SinkError, match="cannot read"):
        Credentials(tmp_path / "gone.pem", identity[1])


@pytest.mark.parametrize("options", [("--mark-key", "k"), ("--mark-cert", "c"), ("--mark-key", "k", "--no-mark")])
def test_half_an_identity_is_wrong_usage(clip: Callable[..., Path], tmp_path: Path, options: tuple[str, ...]):
    done = CliRunner().invoke(cli.app, ["run", str(clip()), str(tmp_path / "safe.mp4"), "--mode", "cover", *options])
    assert done.exit_code == 2
    assert "--mark-key" in done.stderr


def test_a_folder_is_refused_for_one_picture_before_the_work(identity: tuple[Path, Path], tmp_path: Path):
    info = VideoInfo(64, 48, None, Fraction(1), 2, names=("a.png", "b.bmp"))
    with pytest.raises(SinkError, match="bmp holds no C2PA manifest"):
        open_sink(tmp_path / "safe", info, credentials=Credentials(*identity))


def test_the_pictures_of_a_folder_are_signed_each_for_itself(identity: tuple[Path, Path], tmp_path: Path):
    info = VideoInfo(64, 48, None, Fraction(1), 2, names=("a.png", "b.jpg"))
    pictures = [Frame(picture(n), n, n, Fraction(1)) for n in range(2)]
    with open_sink(tmp_path / "safe", info, credentials=Credentials(*identity)) as sink:
        sink.write(*frames(pictures[:1], "generated"))
        sink.write(*frames(pictures[1:], "solid"))
    assert source_type(tmp_path / "safe" / "a.png") == SOURCE_TYPE
    assert source_type(tmp_path / "safe" / "b.jpg") == ALTERED
