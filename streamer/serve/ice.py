"""How peers find a way to each other through NATs: none of it unless it is asked for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field

from aiortc import RTCConfiguration, RTCIceServer

VALID_SECONDS = 3600  # of a credential for TURN


@dataclass(frozen=True, slots=True)
class IceServers:
    """Servers of STUN and TURN.

    Attributes:
        stun, turn: Their addresses, "stun:host:3478", "turn:host:3478?transport=udp"; of the operator, never a peer's.
        secret: That TURN's server shares (coturn: `static-auth-secret`).
    """

    stun: tuple[str, ...] = ()
    turn: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)

    def as_list(self) -> list[dict[str, str]]:
        """Return what a browser takes as `iceServers`, with credentials that expire.

        username = expiry:random, credential = base64(HMAC-SHA1(secret, username)), as in
        draft-uberti-behave-turn-rest-00.
        """
        servers = [{"urls": url} for url in self.stun]
        if self.turn:
            username = f"{int(time.time()) + VALID_SECONDS}:{secrets.token_hex(8)}"
            digest = hmac.new(self.secret.encode(), username.encode(), hashlib.sha1).digest()
            credential = base64.b64encode(digest).decode()
            servers += [{"urls": url, "username": username, "credential": credential} for url in self.turn]
        return servers

    def configuration(self) -> RTCConfiguration:
        """Return the same for our side; without any, aiortc would ask a STUN server of its own choice."""
        return RTCConfiguration(iceServers=[RTCIceServer(**server) for server in self.as_list()])
