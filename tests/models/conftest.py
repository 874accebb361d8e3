"""A local web server to fetch weights from."""

import hashlib
import http.server
import threading

import pytest

asked_for: list[tuple[str, str]] = []
"""(path, Range header) of each answer, in order."""
STALL_S = 1.5


@pytest.fixture
def site():
    """(address, files): a local web server for what is put into `files`.

    What a name contains decides how it is sent: 'cut' short, 'norange' always from the start, 'stall' half and then nothing, 'less' with a
    length that is too small, 'more' with one that is too large, 'marked' with an ETag of the content, 'hub' as Hugging Face does: with a
    published checksum and a redirect to another address.
    """
    files: dict[str, bytes] = {}
    asked_for.clear()
    done = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            if "hub" in self.path:
                self.send_response(302)
                self.send_header("X-Linked-ETag", f'"{hashlib.sha256(files["/linked"]).hexdigest()}"')
                self.send_header("Location", body.decode())
                self.end_headers()
                return
            asked = self.headers.get("Range", "")
            tag = f'"{len(body)}-{body[:1].hex()}"'
            if "norange" in self.path or self.headers.get("If-Range", tag) != tag:
                asked = ""
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            if "marked" in self.path:
                self.send_header("ETag", tag)
            body = body[start:]
            lie = -len(body) // 2 if "less" in self.path else len(body) if "more" in self.path else 0
            self.send_header("Content-Length", str(len(body) + lie))
            self.end_headers()
            half = "cut" in self.path or "stall" in self.path
            self.wfile.write(body[: len(body) // 2] if half else body)
            asked_for.append((self.path, asked))
            if "stall" in self.path:
                self.wfile.flush()
                done.wait(STALL_S)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", files
    done.set()
    server.shutdown()
    server.server_close()
    thread.join()
