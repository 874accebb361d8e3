"""The Dockerfile's steps, performed one by one in an empty directory (no Docker engine needed)."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, rest) for each line of a Dockerfile."""
    text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in lines]


class Image:
    """A directory that stands for the image's file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workdir = folder
        self.ran_as: list[str] = []
        shims = folder / "shims"
        shims.mkdir()
        for name in ("useradd", "chown"):  # they would change this machine; what they were asked is noted
            shim = shims / name
            shim.write_text(f'#!/bin/sh\necho {name} "$@" >> {folder}/asked\n')
            shim.chmod(shim.stat().st_mode | stat.S_IEXEC)
        subprocess.run([sys.executable, "-m", "venv", folder / "python"], check=True)
        keep = {
            k: v
            for k, v in os.environ.items()
            if k in {"HOME", "LANG", "SSL_CERT_FILE", "UV_CACHE_DIR", "XDG_CACHE_HOME"} or k.startswith(("PIP_", "UV_", "http", "HTTP"))
        }
        self.env = {**keep, "PATH": f"{shims}:{folder}/python/bin:/usr/bin:/bin"}

    def inside(self, text: str) -> str:
        """The same with the image's absolute paths below our directory."""
        return re.sub(r"(?<![\w.:/])/(app|data)\b", rf"{self.folder}/\1", text)

    def env_line(self, rest: str) -> None:
        for name, value in re.findall(r"(\w+)=(\S+)", rest):
            self.env[name] = self.inside(value)
        self.env["UV_LINK_MODE"] = "hardlink"  # only quicker

    def copy(self, rest: str, ignored: list[str]) -> None:
        *sources, target = rest.split()
        goal = (self.workdir / target).resolve()
        tracked = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
        )
        for name in tracked.stdout.splitlines():
            wanted = "." in sources or name in sources
            if (
                wanted
                and not any(fnmatch.fnmatch(name, pattern) or name.split("/")[0] == pattern for pattern in ignored)
                and (ROOT / name).exists()
            ):
                (goal / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, goal / name)

    def run(self, rest: str) -> None:
        command = self.inside(re.sub(r"--mount=\S+\s", "", rest))
        subprocess.run(["sh", "-c", command], cwd=self.workdir, env=self.env, check=True, capture_output=True, timeout=900)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    built = Image(tmp_path_factory.mktemp("image"))
    ignored = [line for line in (ROOT / ".dockerignore").read_text().split() if "**" not in line]
    for instruction, rest in instructions(ROOT / "Dockerfile"):
        match instruction:
            case "ENV":
                built.env_line(rest)
            case "WORKDIR":
                built.workdir = Path(built.inside(rest))
                built.workdir.mkdir(parents=True)
            case "COPY":
                built.copy(rest, ignored)
            case "RUN":
                built.run(rest)
            case "USER":
                built.ran_as.append(rest)
            case "FROM" | "VOLUME" | "EXPOSE" | "HEALTHCHECK" | "CMD":
                pass
            case _:
                raise AssertionError(f"this test does not know {instruction}")
    yield built
    shutil.rmtree(built.folder, ignore_errors=True)


def test_the_image_serves_the_app_and_its_health_check_passes(image: Image) -> None:
    steps = dict(instructions(ROOT / "Dockerfile"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [part.replace("8501", port).replace("0.0.0.0", "127.0.0.1") for part in json.loads(steps["CMD"])]
    health = [part.replace("8501", port) for part in json.loads(steps["HEALTHCHECK"].split("CMD", 1)[1])]
    server = subprocess.Popen(
        command,
        cwd=image.workdir,
        env=image.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        executable=shutil.which(command[0], path=image.env["PATH"]),
    )
    try:
        deadline = time.monotonic() + 90
        while subprocess.run(health, env=image.env, capture_output=True, executable=f"{image.folder}/python/bin/python").returncode != 0:
            assert server.poll() is None, server.stdout.read().decode()[-2000:]
            assert time.monotonic() < deadline, "the health check never passed"
            time.sleep(0.5)
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        assert httpx.get(f"http://127.0.0.1:{port}/assets/canvas.js").status_code == 200
    finally:
        server.terminate()
        server.wait(20)


def test_the_image_runs_as_nobody_special_and_leaves_tests_out(image: Image) -> None:
    assert image.ran_as == ["terratune"]
    assert "chown terratune" in (image.folder / "asked").read_text()
    assert not (image.workdir / "tests").exists()
    assert (image.workdir / "models" / "bundles" / "paved-roads-starter" / "card.json").exists()


def test_compose_publishes_one_port_and_keeps_the_workspace() -> None:
    text = (ROOT / "compose.yaml").read_text()
    assert text.count('"8501:8501"') == 1
    assert "workspace:/data" in text
