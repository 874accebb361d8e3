import hashlib

import pytest

from errors import DownloadError
from models.download import download, download_resumable


def test_download_reports_progress_and_checks(site, tmp_path):
    address, files = site
    files["/a.bin"] = b"weights" * 100_000
    seen = []
    download(
        f"{address}/a.bin",
        tmp_path / "a.bin",
        sha256=hashlib.sha256(files["/a.bin"]).hexdigest(),
        progress=lambda n, m: seen.append((n, m)),
    )
    assert (tmp_path / "a.bin").read_bytes() == files["/a.bin"]
    assert seen[-1] == (700_000, 700_000)
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("path", "digest", "words"), [("/a.bin", "00ff", "damaged"), ("/cut.bin", "", "fetched|broke off"), ("/none.bin", "", "404")]
)
def test_a_bad_download_leaves_nothing(site, tmp_path, path, digest, words):
    address, files = site
    files["/a.bin"] = files["/cut.bin"] = b"weights" * 1000
    with pytest.raises(DownloadError, match=words) as caught:
        download(f"{address}{path}", tmp_path / "a.bin", sha256=digest)
    assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_no_server_is_explained(tmp_path):
    with pytest.raises(DownloadError, match="internet"):
        download("http://127.0.0.1:9/a.bin", tmp_path / "a.bin")


BODY = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(BODY).hexdigest()


def test_a_broken_download_goes_on_where_it_stopped(site, tmp_path):
    address, files = site
    files["/cut.bin"] = files["/whole.bin"] = BODY
    path = tmp_path / "sam.pth"
    with pytest.raises(DownloadError, match=r"fetched|broke off"):
        download_resumable(f"{address}/cut.bin", path, sha256=DIGEST)
    assert not path.exists()
    assert (tmp_path / "sam.pth.part").stat().st_size == len(BODY) // 2
    seen = []
    download_resumable(f"{address}/whole.bin", path, sha256=DIGEST, progress=lambda n, m: seen.append((n, m)))
    assert path.read_bytes() == BODY
    assert seen[0][0] > len(BODY) // 2 and seen[-1] == (len(BODY), len(BODY))
    assert [p.name for p in tmp_path.iterdir()] == ["sam.pth"]


def test_a_server_without_ranges_sends_it_all_again(site, tmp_path):
    address, files = site
    files["/norange.bin"] = BODY
    (tmp_path / "sam.pth.part").write_bytes(BODY[:1000])
    download_resumable(f"{address}/norange.bin", tmp_path / "sam.pth", sha256=DIGEST)
    assert (tmp_path / "sam.pth").read_bytes() == BODY


def test_a_part_of_something_else_is_thrown_away(site, tmp_path):
    address, files = site
    files["/whole.bin"] = BODY
    (tmp_path / "sam.pth.part").write_bytes(b"x" * 1000)
    with pytest.raises(DownloadError, match="damaged"):
        download_resumable(f"{address}/whole.bin", tmp_path / "sam.pth", sha256=DIGEST)
    assert list(tmp_path.iterdir()) == []
    download_resumable(f"{address}/whole.bin", tmp_path / "sam.pth", sha256=DIGEST)
    assert (tmp_path / "sam.pth").read_bytes() == BODY


def test_an_error_of_the_server_keeps_the_part(site, tmp_path):
    address, _ = site
    (tmp_path / "sam.pth.part").write_bytes(BODY[:1000])
    with pytest.raises(DownloadError, match="404"):
        download_resumable(f"{address}/none.bin", tmp_path / "sam.pth", sha256=DIGEST)
    assert (tmp_path / "sam.pth.part").stat().st_size == 1000
