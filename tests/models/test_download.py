import hashlib
import http.server
import threading

import pytest

from errors import DownloadError, JobCancelled
from models.download import download
from tests.models.conftest import asked_for

BODY = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(BODY).hexdigest()


def test_progress_is_told_and_the_checksum_compared(site, tmp_path):
    address, files = site
    files["/a.bin"] = b"weights" * 100_000
    seen = []
    digest = hashlib.sha256(files["/a.bin"]).hexdigest()
    download(f"{address}/a.bin", tmp_path / "a.bin", sha256=digest[:8].upper(), progress=lambda n, m: seen.append((n, m)))
    assert (tmp_path / "a.bin").read_bytes() == files["/a.bin"]
    assert seen[-1] == (700_000, 700_000)
    assert len(seen) > 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize(
    ("name", "digest", "words", "left"),
    [
        ("a.bin", "00ff", "damaged", []),
        ("cut.bin", DIGEST, "broke off", ["a.bin.part"]),
        ("none.bin", DIGEST, "404", ["a.bin.part"]),
        ("stall.bin", DIGEST, "sends nothing any more", ["a.bin.part"]),
        ("more.bin", DIGEST, "broke off", ["a.bin.part"]),
        ("less.bin", DIGEST, "damaged", []),
    ],
)
def test_a_server_that_fails_leaves_no_file_under_its_name(site, tmp_path, monkeypatch, name, digest, words, left):
    monkeypatch.setattr("models.download.TIMEOUT_S", 0.3)
    address, files = site
    for sent in ("a.bin", "cut.bin", "stall.bin", "more.bin", "less.bin"):
        files[f"/{sent}"] = BODY
    with pytest.raises(DownloadError, match=words) as caught:
        download(f"{address}/{name}", tmp_path / "a.bin", sha256=digest)
    assert caught.value.remedy
    assert [p.name for p in tmp_path.iterdir()] == left


def test_no_server_is_explained(tmp_path):
    with pytest.raises(DownloadError, match="internet"):
        download("http://127.0.0.1:9/a.bin", tmp_path / "a.bin")


@pytest.mark.parametrize("broken", ["cut", "stall"])
@pytest.mark.parametrize("digits", [8, 64])
def test_a_broken_download_goes_on_where_it_stopped(site, tmp_path, monkeypatch, broken, digits):
    monkeypatch.setattr("models.download.TIMEOUT_S", 0.3)
    address, files = site
    files[f"/{broken}.bin"] = files["/whole.bin"] = BODY
    path = tmp_path / "sam.pth"
    with pytest.raises(DownloadError):
        download(f"{address}/{broken}.bin", path, sha256=DIGEST[:digits])
    assert not path.exists()
    assert (tmp_path / "sam.pth.part").stat().st_size == len(BODY) // 2
    seen = []
    download(f"{address}/whole.bin", path, sha256=DIGEST[:digits], progress=lambda n, m: seen.append((n, m)))
    assert path.read_bytes() == BODY
    assert asked_for[-1] == ("/whole.bin", f"bytes={len(BODY) // 2}-")
    assert seen[0][0] > len(BODY) // 2 and seen[-1] == (len(BODY), len(BODY))
    assert [p.name for p in tmp_path.iterdir()] == ["sam.pth"]


def test_stopping_keeps_what_arrived(site, tmp_path):
    address, files = site
    files["/a.bin"] = BODY

    def stop(done, total):
        raise JobCancelled("Stopped as you asked.")

    with pytest.raises(JobCancelled):
        download(f"{address}/a.bin", tmp_path / "a.bin", sha256=DIGEST, progress=stop)
    assert 0 < (tmp_path / "a.bin.part").stat().st_size < len(BODY)
    before = len(asked_for)
    download(f"{address}/a.bin", tmp_path / "a.bin", sha256=DIGEST)
    assert any(part.startswith("bytes=") for _, part in asked_for[before:])
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_file_without_checksum_goes_on_only_while_it_is_the_same(site, tmp_path):
    address, files = site
    path = tmp_path / "a.bin"
    files["/marked-cut.bin"] = files["/marked.bin"] = BODY
    for changed in (False, True):
        with pytest.raises(DownloadError):
            download(f"{address}/marked-cut.bin", path)
        if changed:
            files["/marked.bin"] = b"\xff" * 1000
        download(f"{address}/marked.bin", path)
        assert path.read_bytes() == files["/marked.bin"]
        assert asked_for[-1][1] == ("" if changed else f"bytes={len(BODY) // 2}-")
    (tmp_path / "a.bin.part").write_bytes(b"of whatever")
    files["/plain.bin"] = BODY
    download(f"{address}/plain.bin", path)
    assert path.read_bytes() == BODY


def test_the_checksum_that_a_hub_publishes_is_compared(site, tmp_path):
    address, files = site
    files["/hub"], files["/linked"], files["/wrong"] = b"/linked", BODY, BODY[::-1]
    download(f"{address}/hub", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == BODY
    files["/hub"] = b"/wrong"
    with pytest.raises(DownloadError, match="damaged"):
        download(f"{address}/hub", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == BODY  # the good one stays


def test_a_server_without_ranges_sends_it_all_again(site, tmp_path):
    address, files = site
    files["/norange.bin"] = BODY
    (tmp_path / "sam.pth.part").write_bytes(BODY[:1000])
    download(f"{address}/norange.bin", tmp_path / "sam.pth", sha256=DIGEST)
    assert (tmp_path / "sam.pth").read_bytes() == BODY


def test_a_part_of_something_else_is_thrown_away(site, tmp_path):
    address, files = site
    files["/whole.bin"] = BODY
    (tmp_path / "sam.pth.part").write_bytes(b"x" * 1000)
    with pytest.raises(DownloadError, match="damaged"):
        download(f"{address}/whole.bin", tmp_path / "sam.pth", sha256=DIGEST)
    assert list(tmp_path.iterdir()) == []
    download(f"{address}/whole.bin", tmp_path / "sam.pth", sha256=DIGEST)
    assert (tmp_path / "sam.pth").read_bytes() == BODY


def test_an_error_of_the_server_keeps_the_part(site, tmp_path):
    address, _ = site
    (tmp_path / "sam.pth.part").write_bytes(BODY[:1000])
    with pytest.raises(DownloadError, match="404"):
        download(f"{address}/none.bin", tmp_path / "sam.pth", sha256=DIGEST)
    assert (tmp_path / "sam.pth.part").stat().st_size == 1000


def test_one_download_at_a_time(site, tmp_path):
    address, files = site
    files["/a.bin"] = BODY

    def second(done, total):
        download(f"{address}/a.bin", tmp_path / "a.bin", sha256=DIGEST)

    with pytest.raises(DownloadError, match="already"):
        download(f"{address}/a.bin", tmp_path / "a.bin", sha256=DIGEST, progress=second)


def test_a_mirror_folder_and_a_mirror_address_serve_instead(site, tmp_path):
    address, files = site
    elsewhere = "http://127.0.0.1:9/published/a.bin"
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "a.bin").write_bytes(BODY)
    download(elsewhere, tmp_path / "a.bin", sha256=DIGEST, mirror=str(tmp_path / "mirror"))
    assert (tmp_path / "a.bin").read_bytes() == BODY
    with pytest.raises(DownloadError, match="mirror folder"):
        download(elsewhere, tmp_path / "a.bin", sha256="00", mirror=str(tmp_path / "mirror"))
    files["/weights/b.bin"] = BODY
    download(elsewhere, tmp_path / "b.bin", sha256=DIGEST, mirror=f"{address}/weights/")
    assert (tmp_path / "b.bin").read_bytes() == BODY
    with pytest.raises(DownloadError, match="internet"):
        download(elsewhere, tmp_path / "c.bin", mirror=str(tmp_path / "mirror"))


def test_a_proxy_is_asked(tmp_path, monkeypatch):
    asked = []

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, *_):
            pass

    proxy = http.server.HTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.server_port}")
    download("http://weights.example/a.bin", tmp_path / "a.bin", sha256=DIGEST)  # a name that only the proxy knows
    proxy.shutdown()
    proxy.server_close()
    thread.join()
    assert asked == ["http://weights.example/a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_every_address_is_judged_redirects_included(site, tmp_path):
    address, files = site
    files["/hub"], files["/linked"] = b"/linked", BODY
    judged = []

    def judge(url):
        judged.append(url)
        if url.endswith("linked"):
            raise DownloadError("Not there.", "Elsewhere.")

    with pytest.raises(DownloadError, match="Not there"):
        download(f"{address}/hub", tmp_path / "a.bin", judge=judge)
    assert judged == [f"{address}/hub", f"{address}/linked"]
