"""The arrows between the rooms, as docs/design.md draws them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SEES = {
    "errors": set(),
    "workspace": {"errors"},
    "imagery": {"errors", "workspace"},
    "models": {"errors", "workspace", "imagery"},
    "tiles": {"errors", "workspace", "imagery", "models"},
    "demo": {"errors", "workspace", "imagery", "models", "tiles"},
}
_STAGE = {"errors", "workspace", "imagery", "models", "tiles", "demo"}
SEES |= dict.fromkeys(("labeling", "training", "inference"), _STAGE)
SEES["server"] = _STAGE | {"labeling", "training", "inference"}
SEES["ui"] = SEES["pages"] = SEES["server"] | {"server", "ui"}
SEES["app"] = SEES["ui"] | {"pages"}
ROOMS = set(SEES)
SHOWS = {"streamlit", "folium", "leafmap", "streamlit_folium"}


def modules() -> list[Path]:
    return [
        path for room in SEES for path in ([ROOT / f"{room}.py"] if (ROOT / f"{room}.py").exists() else sorted((ROOT / room).rglob("*.py")))
    ]


def imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_what_stands_to_its_left(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    names = imported_names(path)
    assert names & ROOMS <= SEES[room] | {room}
    if room not in {"app", "ui", "pages"}:
        assert not names & SHOWS


def test_the_walk_found_the_rooms() -> None:
    found = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in modules()}
    assert found == ROOMS


@pytest.mark.parametrize("path", sorted((ROOT / "pages").glob("*.py")), ids=lambda p: p.name)
def test_pages_do_not_load_torch_into_the_server(path: Path) -> None:
    """Torch in the server's process slows every click; training and prediction run in processes of their own."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    code = "\n".join([*imports, "import sys", "assert 'torch' not in sys.modules"])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_only_a_training_that_is_shared_loads_lightning() -> None:
    """It takes seconds: the app never needs it, and a training in one process does not either."""
    loads = [p.relative_to(ROOT).as_posix() for p in modules() if any(n.startswith("lightning") for n in imported_names(p))]
    assert loads == ["training/processes.py"]
    code = "import sys, training.fit, training.run, ui.training_form; assert not any('lightning' in name for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
