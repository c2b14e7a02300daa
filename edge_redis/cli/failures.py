"""Errors as one sentence with advice, and their exit codes."""

from __future__ import annotations

import os
import re
from typing import Final

from edge_redis.cli import exit_codes
from edge_redis.errors import (
    ChecksumMismatchError,
    EdgeRedisError,
    InvalidArgumentError,
    InvalidTypeError,
    StoreError,
)

_PREFIX: Final = re.compile(r"^(?:[a-z]+/[a-z_]+|[A-Z]+): ")
"""The script or command whose error it is."""

_URL_SECRET: Final = re.compile(r"(\w+://[^:/@\s]*):[^@\s]+@")
_CONNECTION: Final = re.compile(r"\bError (?P<number>\d+) connecting to (?P<server>\S+?)\. (?P<reason>.*?)\.?$")

_ADVICE: Final = (
    ("HELLO must be called", "the server needs a password: name a file with --password-file, or put it in the URL"),
    ("NOAUTH", "the server needs a password: name a file with --password-file, or put it in the URL"),
    ("Authentication required", "the server needs a password: name a file with --password-file, or put it in the URL"),
    ("WRONGPASS", "the server refuses the user name or password: check the URL, --password-file and the server's ACL"),
    (
        "invalid username-password pair",
        "the server refuses the user name or password: check the URL or --password-file",
    ),
    ("DB index is out of range", "the server has no database of this number: change the number at the end of the URL"),
    ("WRONG_VERSION_NUMBER", "the server does not speak TLS on this port: use redis:// instead of rediss://"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the server's certificate is not trusted: name its CA with ?ssl_ca_certs=FILE in the URL",
    ),
    ("unknown command 'evalsha'", "this server has no Lua: with fakeredis, pip install 'edge-redis[fake]'"),
    ("unknown command `evalsha", "this server has no Lua: with fakeredis, pip install 'edge-redis[fake]'"),
)
"""Parts of a server's or library's message, and the sentence that replaces it."""


def describe(error: BaseException) -> str:
    """Return an error as one line, without secrets."""
    text = " ".join(_PREFIX.sub("", str(error) or type(error).__name__).split())
    for part, sentence in _ADVICE:
        if part.lower() in text.lower():
            return sentence
    connection = _CONNECTION.search(text)
    if connection:
        # asyncio says "Connect call failed" of every error.
        is_vague = connection["reason"].startswith("Connect call failed")
        reason = os.strerror(int(connection["number"])) if is_vague else connection["reason"]
        return f"cannot reach {connection['server']}: {reason}; is the server running, and its URL right?"
    return _URL_SECRET.sub(r"\1:***@", text)


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error."""
    if isinstance(error, (InvalidArgumentError, InvalidTypeError)):
        return exit_codes.USAGE
    if isinstance(error, StoreError):
        return exit_codes.UNAVAILABLE
    if isinstance(error, (EdgeRedisError, ChecksumMismatchError)):
        return exit_codes.FINDING
    return exit_codes.UNAVAILABLE if isinstance(error, OSError) else exit_codes.FINDING
