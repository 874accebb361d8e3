from __future__ import annotations

import pytest

from errors import SourceNotAllowedError
from imagery.sources import allowed_path, allowed_url, rasters_below
from workspace.settings import Settings


@pytest.fixture
def settings(tmp_path):
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    return Settings(tmp_path / "data", (root,), False, 10**9, "cpu")


def test_rasters_below_lists_pictures_only(settings):
    root = settings.imagery_roots[0]
    for name in ("b.TIF", "a.png", "a.txt", ".hidden.tif", "deep/c.jp2"):
        (root / name).touch()
    assert [p.relative_to(root).as_posix() for p in rasters_below(settings.imagery_roots)] == ["a.png", "b.TIF", "deep/c.jp2"]
    assert rasters_below([root / "none"]) == []


def test_links_out_of_the_root_are_refused(settings, tmp_path):
    outside = tmp_path / "outside.tif"
    outside.touch()
    link = settings.imagery_roots[0] / "link.tif"
    link.symlink_to(outside)
    inside = settings.imagery_roots[0] / "inside.tif"
    inside.touch()
    assert allowed_path(inside, settings) == inside
    for path in (link, outside, settings.imagery_roots[0] / ".." / "outside.tif"):
        with pytest.raises(SourceNotAllowedError):
            allowed_path(path, settings)


def test_without_roots_nothing_is_allowed(tmp_path):
    with pytest.raises(SourceNotAllowedError, match="TERRATUNE_IMAGERY_ROOTS"):
        allowed_path(tmp_path / "a.tif", Settings(tmp_path, (), False, 1, "cpu"))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/a.tif",
        "/vsicurl/http://example.org/a.tif",
        "http:///a.tif",
        "http://127.0.0.1/a.tif",
        "http://localhost:8501/a.tif",
        "http://10.1.2.3/a.tif",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/a.tif",
        "http://[::ffff:192.168.0.1]/a.tif",
        "http://[64:ff9b::a00:1]/a.tif",
        "http://0x7f000001/a.tif",
        "http://2130706433/a.tif",
        "http://0.0.0.0/a.tif",
        "http://user:secret@93.184.216.34/a.tif",
        "http://93.184.216.34:99999/a.tif",
    ],
)
def test_addresses_that_are_not_opened(url, settings):
    with pytest.raises(SourceNotAllowedError):
        allowed_url(url, settings)


def test_public_addresses_are_tidied(settings):
    assert allowed_url("  https://93.184.216.34/a.tif?sig=1#x ", settings) == "https://93.184.216.34/a.tif?sig=1"
