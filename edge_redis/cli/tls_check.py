"""Tries TLS with a server before a command does: the client library would wait and try again, and say less."""

from __future__ import annotations

import ssl
from pathlib import Path
from socket import create_connection, socket
from typing import Final
from urllib.parse import parse_qs, urlsplit

from edge_redis.errors import InvalidArgumentError, StoreUnavailableError
from edge_redis.settings import Settings

_SECONDS: Final = 1.5
_REPLY_BYTES: Final = 64


def require_tls(server: Settings) -> None:
    """Make a TLS connection to a server named by rediss:// and ask it for a reply, within two seconds.

    Since TLS 1.3 a server refuses a client's certificate only after the handshake. Trust in the server's certificate
    is left to the client library.

    Raises:
        InvalidArgumentError: the files of the client's certificate cannot be used.
        StoreUnavailableError: the server cannot be reached, does not speak TLS, or refuses the client's certificate.

    """
    parts = urlsplit(server.url or "")
    if parts.scheme != "rediss":
        return
    host, port = parts.hostname or "localhost", parts.port or 6379
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    given = {name: getattr(server, name) for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")}
    context = _client_context(options | {name: str(path) for name, path in given.items() if path is not None})
    try:
        raw = create_connection((host, port), _SECONDS)
    except OSError as error:
        raise StoreUnavailableError(
            f"cannot reach {host}:{port}: {error.strerror or error}; is the server running, and its URL right?"
        ) from error
    with raw:
        _ask(raw, context, host, port)


def _client_context(options: dict[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = options.get("ssl_certfile"), options.get("ssl_keyfile")
    for path in (certificate, key, options.get("ssl_ca_certs")):
        if path is not None and not Path(path).is_file():
            raise InvalidArgumentError(f"the file {path}, which the connection needs, is not there")
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key, options.get("ssl_password"))
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgumentError(f"the certificate {certificate} and its key cannot be used: {error}") from error
    return context


def _ask(raw: socket, context: ssl.SSLContext, host: str, port: int) -> None:
    has_handshake = False
    try:
        with context.wrap_socket(raw, server_hostname=host) as secured:
            has_handshake = True
            secured.sendall(b"PING\r\n")
            reply = secured.recv(_REPLY_BYTES)
    except OSError as error:  # among them ssl.SSLError and TimeoutError
        if has_handshake or "alert" in str(error).lower():
            raise _make_certificate_error(host, port) from error
        raise StoreUnavailableError(
            f"{host}:{port} does not speak TLS: use redis:// in place of rediss://, or name its TLS port"
        ) from error
    if not reply:
        raise _make_certificate_error(host, port)


def _make_certificate_error(host: str, port: int) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"{host}:{port} wants a client certificate that it trusts: name one in the URL,"
        " ?ssl_certfile=FILE&ssl_keyfile=FILE"
    )
