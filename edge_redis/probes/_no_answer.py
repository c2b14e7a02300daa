"""The error of a node that does not answer a probe as it should."""

from __future__ import annotations

import ssl


class NoAnswerError(Exception):
    """A node does not answer, or not as expected. The message says why; the error stays within a probe."""


def explain(error: Exception) -> str:
    """Return why a connection failed, in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
