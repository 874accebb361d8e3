"""Where the app's own routes lie beside Streamlit's."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from server.routes import all_routes
from workspace.settings import settings_from_environment


@pytest.mark.parametrize(("base_path", "prefix"), [("", ""), ("terra", "/terra"), ("/one/two/", "/one/two")])
def test_a_base_path_holds_our_routes_and_leaves_streamlit_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base_path: str, prefix: str):
    monkeypatch.setenv("TERRATUNE_DATA", str(tmp_path))
    (tmp_path / "canvas.js").write_text("// a script")
    ours = all_routes(settings_from_environment(), assets=tmp_path, base_path=base_path)
    streamlits = Route(f"{prefix}/_stcore/health", lambda request: PlainTextResponse("ok"))
    client = TestClient(Starlette(routes=[*ours, streamlits]))
    assert client.get(f"{prefix}/_stcore/health").text == "ok"
    assert client.get(f"{prefix}/assets/canvas.js").text == "// a script"
    assert client.get(f"{prefix}/api/forged/labels").status_code == 403
    assert client.get(f"{prefix}/tiles/forged/raster.a/1/1/1").status_code == 403
    assert client.put(f"{prefix}/api/forged/labels").status_code == 405
