from __future__ import annotations

import stat
import time

import pytest

from server import tokens
from server.tokens import issue_token, project_of_token


def test_a_token_names_its_project(tmp_path):
    token = issue_token(tmp_path, "roads-2024", 60)
    assert project_of_token(tmp_path, token) == "roads-2024"
    assert not set(token) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


def test_forged_damaged_and_foreign_tokens_name_nothing(tmp_path):
    token = issue_token(tmp_path / "a", "x", 60)
    payload, signature = token.split(".")
    other = issue_token(tmp_path / "a", "y", 60)
    for bad in (
        "",
        ".",
        "a.b",
        token[:-2],
        token + "A",
        f"{other.split('.')[0]}.{signature}",
        f"{payload}.",
        token.replace(".", ""),
        "ü.é",
        "a.b.c",
    ):
        assert project_of_token(tmp_path / "a", bad) is None, bad
    assert project_of_token(tmp_path / "b", token) is None


def test_a_token_expires(tmp_path, monkeypatch):
    now = time.time()
    token = issue_token(tmp_path, "x", 60)
    monkeypatch.setattr(tokens.time, "time", lambda: now + 59)
    assert project_of_token(tmp_path, token) == "x"
    monkeypatch.setattr(tokens.time, "time", lambda: now + 121)
    assert project_of_token(tmp_path, token) is None


def test_the_secret_is_private_and_survives_a_restart(tmp_path):
    token = issue_token(tmp_path, "x", 60)
    secret = tmp_path / tokens.SECRET_NAME
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    tokens._secret.cache_clear()
    assert project_of_token(tmp_path, token) == "x"
    assert [p.name for p in tmp_path.iterdir()] == [tokens.SECRET_NAME]


def test_a_token_must_be_valid_for_some_time(tmp_path):
    with pytest.raises(ValueError, match="some time"):
        issue_token(tmp_path, "x", 0)


def test_a_full_disk_leaves_no_half_a_secret(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tokens.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        issue_token(tmp_path, "p1")
    assert list(tmp_path.iterdir()) == []
