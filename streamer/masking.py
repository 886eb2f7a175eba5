"""What may be shown of an address: never a user, a password, a key, a token or a query."""

from __future__ import annotations

import re
from itertools import pairwise

HIDDEN = "***"
ADVICE = "percent-encode what is special in its user, password or path: / %2F, ? %3F, # %23, @ %40, space %20"
KEY_CHANGES = 3  # between letters, digits and capitals: "aB3x9..." has them, "Channel-101" has not
# "rtsp:/" is what is left of "rtsp://" in a path; of any other scheme "name:/" may be prose.
_NAME = r"[a-z][a-z0-9+.-]{1,29}"  # bounded, or a long word takes the square of its length
_SCHEME = re.compile(rf"(?:{_NAME}:)?(?:{_NAME}://|(?:rtsps?|rtmps?|https?|srt|udp|whip):/)", re.I)
_AUTHORITY = re.compile(r"(?:\[[0-9a-f:.%]+\]|[^\s:@\[\]]+)?(?::\d{0,5})?", re.I)  # without a user
_PLAYED_BY_NAME = re.compile(r"/(?:(?:live|movie|series)/)?[^/]+/[^/]+/\d+(?:\.\w+)?", re.I)  # user/password/1.ts
_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[A-Za-z])|(?<=[A-Z])(?=[0-9])")
_NAMED = re.compile(
    r"\b(user(?:name)?|usr|pubuser|\w*pass(?:word|wd|phrase)?|pwd|psw|\w*token|\w*secret|\w*key|streamid|playpath)"
    r"(\s*=\s*)[^\s,;&]+",
    re.I,
)
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w+/=.~-]{6,}", re.I)
_WITHOUT_SCHEME = re.compile(r"(^|[\s/\"'(])[^\s/:@\"'(]{2,}:[^\s@]+@")  # "user:password@host", the scheme forgotten


def mask_secrets(text: str) -> str:
    """Return `text` with every secret of every URL in it replaced by `***`; names of files stay.

    Hidden are whatever stands before the last @ (a password may hold any character), queries and fragments, what
    follows a `name=` in a path, the last part of an RTMP address (a stream key), and parts of a path that look like
    keys. To hide too much is harmless, so in doubt more is hidden.
    """
    ends = [*(found.start() for found in _SCHEME.finditer(text)), len(text)]
    pieces = [text[start:end] for start, end in pairwise(ends)]
    return _mask_prose(text[: ends[0]]) + "".join(map(_mask_piece, pieces))


def encoding_advice(url: str) -> str:
    """Return what to do about a `url` whose user or password cannot be told from the rest; "" if they can."""
    scheme = _SCHEME.match(url)
    rest = url[scheme.end() :] if scheme else url
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, _, host = authority.rpartition("@")
    beyond = rest[len(authority) :]
    is_clear = _AUTHORITY.fullmatch(host) and not (user and "@" in beyond)
    return "" if is_clear and not re.search(r"\s", rest) else ADVICE


def _mask_piece(piece: str) -> str:
    """Return a URL, from its scheme on, and the prose after it without secrets."""
    found = _SCHEME.match(piece)
    assert found
    scheme, rest = found[0], piece[found.end() :]
    _, at, rest = rest.rpartition("@")
    url = re.match(r"\S*", rest)
    assert url
    # Quotes, commas and the like belong to the prose.
    shown = url[0].rstrip("\"'`,;:)]}>.")
    if "[" in shown and shown.count("[") > shown.count("]") and url[0][len(shown) :].startswith("]"):
        shown += "]"  # an address of IPv6 ends with it
    masked = scheme + (HIDDEN + "@" if at else "") + _mask_url(shown, is_rtmp="rtmp" in scheme.lower())
    return masked + _mask_prose(rest[len(shown) :])


def _mask_url(url: str, *, is_rtmp: bool) -> str:
    """Return what follows the scheme and the user of a URL, without secrets."""
    place, mark, _ = re.match(r"([^?#]*)([?#]?)(.*)", url, re.S).groups()  # type: ignore[union-attr] # takes anything
    host, slash, path = place.partition("/")
    if not _AUTHORITY.fullmatch(host):  # a colon and what is no port: the start of a password
        host = host.partition(":")[0] + ":" + HIDDEN
    tail = mark + HIDDEN if mark and url != place + mark else mark
    return host + _mask_path(slash + path, is_rtmp=is_rtmp) + tail


def _mask_path(path: str, *, is_rtmp: bool) -> str:
    before, named, _ = path.partition("=")
    if named:
        path = before[: max(before.rfind(mark) for mark in "/;,~&") + 1] + HIDDEN
    if _PLAYED_BY_NAME.fullmatch(path):
        first, _, name = path.rpartition("/")
        depth = 2 if first.count("/") == 2 else 3
        path = "/".join([*first.split("/")[: depth - 1], HIDDEN, HIDDEN, name])
    parts = path.split("/")
    if is_rtmp and len(parts) > 1:
        at = len(parts) - 1 if parts[-1] else len(parts) - 2
        parts[at] = HIDDEN if parts[at] else ""
    return "/".join(HIDDEN if _looks_like_a_key(part) else part for part in parts)


def _looks_like_a_key(part: str) -> bool:
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", part)
    letters = re.sub(r"[-_.~+%]", "", stem)
    longest = max(map(len, re.split(r"[\W_]", stem)))
    return len(letters) >= 10 and (len(_CHANGE.findall(letters)) >= KEY_CHANGES or longest > 24)


def _mask_prose(text: str) -> str:
    text = _WITHOUT_SCHEME.sub(rf"\1{HIDDEN}@", text)
    return _BEARER.sub(rf"\1 {HIDDEN}", _NAMED.sub(rf"\1\2{HIDDEN}", text))
