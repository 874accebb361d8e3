"""The server: the Streamlit pages of ui/main.py with the routes of server/ on the same port. `streamlit run app.py`."""

from __future__ import annotations

import importlib
import sys
import threading
from pathlib import Path

import streamlit as st

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from server.routes import all_routes  # noqa: E402
from workspace.settings import settings_from_environment  # noqa: E402

app = st.App(
    HERE / "ui" / "main.py",
    routes=all_routes(settings_from_environment(), assets=HERE / "ui" / "assets", base_path=st.get_option("server.baseUrlPath") or ""),
)
# The map's library takes seconds to import: begun once the server answers, so that the first to open a map need not wait for all of it.
warm_up = threading.Timer(5.0, importlib.import_module, args=("leafmap.foliumap",))
warm_up.daemon = True
warm_up.start()

if __name__ == "__main__":
    app.run()
