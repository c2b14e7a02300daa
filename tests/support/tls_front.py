"""A TLS server before a plain one, whose certificate can expire."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

from support.certificates import Authority, Certificate
from support.faulty_program import other_time

_POLL_SECONDS = 0.05
_HANDSHAKE_SECONDS = 10.0


class TlsFront:
    """Forwards the connections of TLS clients to a port of this machine."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._folder = tempfile.TemporaryDirectory(prefix="edge-redis-tls-")
        authority = Authority(Path(self._folder.name), "site")
        self._valid = authority.sign("server")
        self._expired = authority.sign("expired", environment=other_time("-10d"))
        self.options = urlencode({"ssl_ca_certs": str(authority.certificate)})
        """The options of a client's URL, by which it trusts this server."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._show(self._valid)
        self._round = 0
        self._is_ended = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.settimeout(_POLL_SECONDS)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ended = True
        for thread in self._threads:
            thread.join(_HANDSHAKE_SECONDS + 1)
        self._listener.close()
        self._folder.cleanup()

    @contextlib.contextmanager
    def expired(self) -> Iterator[None]:
        """Show an expired certificate to new connections; those that there are end, now and afterwards."""
        self._show(self._expired)
        self._round += 1
        try:
            yield
        finally:
            self._show(self._valid)
            self._round += 1

    def _show(self, certificate: Certificate) -> None:
        self._context.load_cert_chain(certificate.certificate, certificate.key)

    def _accept(self) -> None:
        while not self._is_ended:
            with contextlib.suppress(TimeoutError):
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, plain: socket.socket) -> None:
        began = self._round
        plain.settimeout(_HANDSHAKE_SECONDS)
        with (
            plain,
            contextlib.suppress(OSError),
            self._context.wrap_socket(plain, server_side=True) as client,
            socket.create_connection(("127.0.0.1", self._upstream), timeout=_HANDSHAKE_SECONDS) as server,
        ):
            while began == self._round and not self._is_ended:
                for source in select.select([client, server], [], [], _POLL_SECONDS)[0]:
                    data = source.recv(1 << 16)
                    while isinstance(source, ssl.SSLSocket) and source.pending():
                        data += source.recv(1 << 16)
                    if not data:
                        return
                    (server if source is client else client).sendall(data)
