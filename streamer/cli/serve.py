"""`veil serve`: builds what its options ask for, and serves until it is told to stop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from streamer.cli.failures import errors_in_one_line
from streamer.cli.jobs.values import always_of, key_of
from streamer.cores import share_cores
from streamer.errors import StreamerError
from streamer.region import Region
from streamer.settings import LEAST_FACE, LIVE_DELAY, MAX_FACE, Settings

if TYPE_CHECKING:
    from streamer.pipeline.anonymizer import Anonymizer
    from streamer.serve.access import Access
    from streamer.serve.ice import IceServers
    from streamer.serve.room import Sound
    from streamer.serve.sessions import Limits

TOKEN_VARIABLE, TURN_VARIABLE = "VEIL_TOKEN", "VEIL_TURN_SECRET"


def serve(
    host: Annotated[str, typer.Option(help="Where to listen; others than this machine need token and TLS.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"Tokens, one a line; clients must show one. Or ${TOKEN_VARIABLE}.", show_default=False),
    ] = None,
    cert: Annotated[Path | None, typer.Option(help="Certificate and chain, PEM.", show_default=False)] = None,
    key_file: Annotated[Path | None, typer.Option(help="Its private key, PEM.", show_default=False)] = None,
    self_signed: Annotated[bool, typer.Option("--self-signed", help="TLS without an authority, for a LAN.")] = False,
    origin: Annotated[
        list[str] | None, typer.Option(help="By what address browsers come; can be repeated.", show_default=False)
    ] = None,
    proxy: Annotated[
        list[str] | None, typer.Option(help="A reverse proxy whose X-Forwarded-For is true.", show_default=False)
    ] = None,
    mode: Annotated[Literal["generate", "cover"], typer.Option(help="At first; the page can change it.")] = "generate",
    beta: Annotated[float, typer.Option(min=0, max=1, help="At first; the page can change it.")] = 0.0,
    model: Annotated[str, typer.Option(help="Weights: a name that `veil doctor` lists, or a file.")] = "default",
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where the network runs.")] = "auto",
    key: Annotated[
        Path | None,
        typer.Option(
            help="A file of 32 random bytes: the same NAME of /whip/NAME, the same strangers.", show_default=False
        ),
    ] = None,
    policy: Annotated[Literal["balanced", "strict"], typer.Option(help="As of `veil run`.")] = "balanced",
    delay_ms: Annotated[float, typer.Option(min=0, max=10_000, help="Look ahead, as of `veil run`.")] = (
        1000 * LIVE_DELAY
    ),
    min_face: Annotated[
        float | None, typer.Option(min=LEAST_FACE, max=MAX_FACE, show_default="30", help="As of `veil run`.")
    ] = None,
    always: Annotated[
        list[str] | None, typer.Option(metavar="X%,Y%,W%,H%", help="As of `veil run`, for all.", show_default=False)
    ] = None,
    max_peers: Annotated[int, typer.Option(min=1, help="Who send at the same time.")] = 4,
    max_viewers: Annotated[int, typer.Option(min=0, help="Of each of them.")] = 8,
    max_minutes: Annotated[float, typer.Option(min=0, help="That one may stay; 0 for any time.")] = 0.0,
    keep_audio: Annotated[bool, typer.Option("--keep-audio", help="Send the sound back. A voice identifies.")] = False,
    voice: Annotated[bool, typer.Option("--voice", help="Send it back in another voice: not anonymous.")] = False,
    stun: Annotated[list[str] | None, typer.Option(help="stun:HOST:PORT.", show_default=False)] = None,
    turn: Annotated[
        list[str] | None, typer.Option(help=f"turn:HOST:PORT, with its secret in ${TURN_VARIABLE}.", show_default=False)
    ] = None,
    drain_seconds: Annotated[float, typer.Option(min=0, help="For those who are there, after SIGTERM.")] = 10.0,
) -> None:
    """Serve a page, WHIP and WHEP: video that is sent comes back without faces."""
    with errors_in_one_line():
        from streamer.serve.access import Access
        from streamer.serve.ice import IceServers
        from streamer.serve.room import Sound
        from streamer.serve.sessions import Limits

        if voice and keep_audio:
            raise typer.BadParameter("changes the sound that --keep-audio keeps: take one", param_hint="--voice")
        ice = IceServers(tuple(stun or ()), tuple(turn or ()), os.environ.get(TURN_VARIABLE, ""))
        if ice.turn and not ice.secret:
            raise StreamerError(f"--turn needs the secret that it shares, in ${TURN_VARIABLE}")
        tokens = _tokens(token_file)
        if self_signed and cert:
            raise typer.BadParameter("makes a certificate, where --cert gives one", param_hint="--self-signed")
        certificate: Path | Literal["self-signed"] | None = "self-signed" if self_signed else cert
        access = Access(host, port, tokens, certificate, key_file, tuple(origin or ()), tuple(proxy or ()))
        settings = Settings(
            beta, mode, key=key_of(key, "--key"), policy=policy, delay_seconds=delay_ms / 1000, min_face=min_face,
            always=_regions(always or ()),
        )  # fmt: skip
        limits = Limits(max_peers, max_viewers, max_minutes)
        sound = Sound("another voice" if voice else "kept" if keep_audio else "dropped")
        share_cores()
        anonymizer = _load(model, device, settings)
        asyncio.run(_run(access, anonymizer, ice, limits=limits, sound=sound, drain_seconds=drain_seconds))


async def _run(
    access: Access, anonymizer: Anonymizer, ice: IceServers, *, limits: Limits, sound: Sound, drain_seconds: float
) -> None:
    from streamer.serve import app
    from streamer.serve.prometheus import Metrics
    from streamer.serve.sessions import Peers

    peers = Peers(anonymizer, limits=limits, sound=sound, ice=ice, metrics=Metrics())
    await app.serve(
        access, peers, ice,
        drain_seconds=drain_seconds, on_ready=lambda port: typer.echo(f"veil serves {access.url_at(port)}"),
    )  # fmt: skip


def _tokens(file: Path | None) -> tuple[str, ...]:
    from streamer.serve.access import read_tokens

    alone = os.environ.get(TOKEN_VARIABLE)
    return read_tokens(file) if file else (alone,) if alone else ()


def _regions(values: Iterable[str]) -> tuple[Region, ...]:
    """Return regions in percent: what browsers send changes its size."""
    regions = always_of(values)
    if not all(region.is_share for region in regions):
        raise typer.BadParameter("must be in percent, as what browsers send changes its size", param_hint="--always")
    return regions


def _load(model: str, device: str, settings: Settings) -> Anonymizer:
    """Return the weights, asked in batches by all peers."""
    from models.checkpoint_errors import CheckpointError
    from streamer.pipeline.anonymizer import Anonymizer

    try:
        anonymizer = Anonymizer.load_with(settings, model, device=device)
    except CheckpointError as error:
        raise StreamerError(str(error)) from error
    if anonymizer.model is not None:
        from streamer.render.batching import batched

        return anonymizer.with_model(batched(anonymizer.model))
    return anonymizer
