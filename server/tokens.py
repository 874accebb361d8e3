"""Signed, expiring names for a project, carried in the addresses of tiles and of the API.

Streamlit's own routes know who is logged in; ours stand beside them, so every address proves itself:
``<payload>.<signature>``, both URL-safe base64 without padding. The payload is ``[project id, expiry as Unix time]``,
the signature HMAC-SHA256 (RFC 2104) over it with a secret that lies in the data folder and survives restarts.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import functools
import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path

SECRET_NAME = "secret.key"
SECRET_BYTES = 32
DAY_S = 86_400


def issue_token(data_folder: Path, project_id: str, valid_s: int = DAY_S) -> str:
    """A token that names `project_id` for at least `valid_s` seconds.

    Expiry is rounded up to a whole `valid_s`, so that pages rendered minutes apart carry the same address and the
    browser's cache of tiles stays good.

    Args:
        data_folder: `Settings.data_folder`; the secret is made there on first use.
        project_id: `Project.id`.
        valid_s: Shortest validity, in seconds; the longest is twice that.
    """
    if valid_s <= 0:
        raise ValueError(f"A token must be valid for some time, not {valid_s} s.")
    expiry = (int(time.time()) // valid_s + 2) * valid_s
    payload = json.dumps([project_id, expiry], separators=(",", ":")).encode()
    return f"{_encode(payload)}.{_encode(_signature(data_folder, payload))}"


def project_of_token(data_folder: Path, token: str) -> str | None:
    """The project id that a token names; None when it is forged, damaged or expired."""
    try:
        payload, signature = (_decode(part) for part in token.split("."))
    except (ValueError, binascii.Error):
        return None
    if not hmac.compare_digest(signature, _signature(data_folder, payload)):
        return None
    project_id, expiry = json.loads(payload)
    return str(project_id) if time.time() < expiry else None


def _signature(data_folder: Path, payload: bytes) -> bytes:
    return hmac.new(_secret(data_folder / SECRET_NAME), payload, hashlib.sha256).digest()


@functools.lru_cache(maxsize=8)
def _secret(path: Path) -> bytes:
    """Read the secret; make it first (mode 0600) where there is none. Two processes starting at once agree on one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    if not path.exists():
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(SECRET_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)  # fails where another process was first: its secret is then the one
        finally:
            draft.unlink(missing_ok=True)
    secret = path.read_bytes()
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"{path.name} is too short to sign with; delete it and a new one is made.")
    return secret


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
