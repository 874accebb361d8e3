"""A local web server to fetch weights from."""

import http.server
import threading

import pytest

asked_for: list[tuple[str, str]] = []
"""(path, Range header) of each answer, in order."""


@pytest.fixture
def site():
    """(address, files): a local web server for what is put into `files`; 'cut' names are sent short, 'norange' names always from the start."""
    files: dict[str, bytes] = {}
    asked_for.clear()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            asked = self.headers.get("Range", "")
            if asked and "norange" not in self.path:
                body = body[int(asked.removeprefix("bytes=").rstrip("-")) :]
            self.send_response(206 if asked and "norange" not in self.path else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if "cut" in self.path else body)
            asked_for.append((self.path, asked))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", files
    server.shutdown()
    server.server_close()
    thread.join()
