"""Certificates for tests of TLS: an authority, and what it signs. Made by openssl."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest


class Certificate(NamedTuple):
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """An authority of its own, which signs certificates for this machine's loopback address."""

    def __init__(self, folder: Path, name: str) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("no openssl on PATH")
        self._folder = folder / name
        self._folder.mkdir()
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]  # Python 3.13 asks for it
        self._own = self._make("authority", "-addext", "basicConstraints=critical,CA:TRUE", *usage)
        self.certificate = self._own.certificate

    def sign(self, name: str, *, environment: Mapping[str, str] | None = None) -> Certificate:
        """Return a new certificate, good for servers and clients for two days of the environment's time."""
        authority = ["-CA", str(self._own.certificate), "-CAkey", str(self._own.key)]
        return self._make(
            name,
            *authority,
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            environment=environment,
        )

    def _make(self, name: str, *more: str, environment: Mapping[str, str] | None = None) -> Certificate:
        made = Certificate(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        files = ["-subj", f"/CN={name}", "-keyout", str(made.key), "-out", str(made.certificate)]
        command = ["openssl", "req", "-x509", *curve, *files, *more]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **(environment or {})})
        return made
