"""Read parts of a file over HTTP, only ever from addresses that may be asked.

GDAL's own /vsicurl follows redirects and resolves names by itself, so a check made beforehand can be got round
(redirect or DNS rebinding to a private address). Here the connection itself is checked: the name is resolved once, every
address it has is judged, and the socket is opened to exactly that address. Redirects take the same way.
"""

from __future__ import annotations

import io
import ipaddress
import os
import socket
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore

from errors import SourceNotAllowedError, UnreadableRasterError

CHUNK_BYTES = 64 * 1024
CHUNKS_KEPT = 256
"""16 MiB for each open file."""
MAX_REDIRECTS = 3
TIMEOUT_S = 15.0
_HEADERS = [("User-Agent", "terratune"), ("Accept-Encoding", "identity")]
_TIMEOUTS = {"connect": TIMEOUT_S, "read": TIMEOUT_S, "write": TIMEOUT_S, "pool": TIMEOUT_S}


class CheckedBackend(httpcore.NetworkBackend):
    """Opens sockets only to public addresses, unless private ones are allowed."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        address = public_address(host, port, allow_private=self._allow_private)
        return self._inner.connect_tcp(address, port, timeout, local_address, socket_options)


def public_address(host: str, port: int, *, allow_private: bool) -> str:
    """The IP address to connect to for `host`.

    Raises:
        UnreadableRasterError: the name is unknown.
        SourceNotAllowedError: one of its addresses is private, loopback, link-local (cloud metadata) or otherwise not public.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UnreadableRasterError(
            f"The server {host} cannot be found.", "Check the address, and that this computer has a network."
        ) from error
    addresses = [str(entry[4][0]) for entry in found]
    if not allow_private and not all(_is_public(address) for address in addresses):
        raise SourceNotAllowedError(
            f"{host} is a private address, which this installation does not open.",
            "Use a public address, or ask the administrator to set TERRATUNE_ALLOW_PRIVATE_ADDRESSES=1.",
        )
    return addresses[0]


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
        if ip in ipaddress.ip_network("64:ff9b::/96"):
            return _is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.is_global and not ip.is_multicast


class RangeReader:
    """Fetches ranges of one remote file and keeps the last ones. Shared by the file objects that GDAL opens.

    Raises (on construction):
        SourceNotAllowedError: the address, or one it redirects to, may not be opened.
        UnreadableRasterError: no answer, an error status, or a server without range requests.
    """

    def __init__(self, url: str, *, allow_private: bool) -> None:
        refuse_scheme(url)
        self._pool = httpcore.ConnectionPool(network_backend=CheckedBackend(allow_private), max_connections=2, retries=1)
        self._lock = threading.Lock()
        self._chunks: OrderedDict[int, bytes] = OrderedDict()
        self.url = url
        self.last_error: UnreadableRasterError | None = None
        """Why the last read failed; GDAL itself only says that it did."""
        try:
            self.size = self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._pool.close()

    def _open(self) -> int:
        for _ in range(MAX_REDIRECTS + 1):
            status, headers, body = self._get(0, CHUNK_BYTES - 1)
            if status in {301, 302, 303, 307, 308} and "location" in headers:
                self.url = urljoin(self.url, headers["location"])
                refuse_scheme(self.url)
                continue
            if status == 206 and headers.get("content-range", "").rpartition("/")[2].isdigit():
                self._chunks[0] = body
                return int(headers["content-range"].rpartition("/")[2])
            if status in {200, 206}:
                raise UnreadableRasterError(
                    f"The server {self._host} can only send the whole file.",
                    "Download it and add it as an upload, or use a server with range requests.",
                )
            raise _refused(self._host, status)
        raise UnreadableRasterError(f"{self._host} redirects again and again.", "Use the address that it finally leads to.")

    def read(self, position: int, size: int) -> bytes:
        """Up to `size` bytes from `position`; fewer at the end.

        Raises:
            UnreadableRasterError: the server stopped answering.
        """
        end = min(position + size, self.size)
        if end <= position:
            return b""
        numbers = range(position // CHUNK_BYTES, (end - 1) // CHUNK_BYTES + 1)
        with self._lock:
            try:
                data = b"".join(self._chunk(number) for number in numbers)
            except UnreadableRasterError as error:
                self.last_error = error
                raise
        offset = position - numbers.start * CHUNK_BYTES
        return data[offset : offset + end - position]

    @property
    def _host(self) -> str:
        return urlsplit(self.url).hostname or "?"

    def _get(self, first: int, last: int) -> tuple[int, dict[str, str], bytes]:
        headers = [("Host", urlsplit(self.url).netloc.rpartition("@")[2]), ("Range", f"bytes={first}-{last}"), *_HEADERS]
        try:
            with self._pool.stream("GET", self.url, headers=headers, extensions={"timeout": _TIMEOUTS}) as response:
                fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
                if response.status != 206:
                    return response.status, fields, b""
                wanted, parts, held = last - first + 1, [], 0
                for part in response.iter_stream():
                    parts.append(part)
                    held += len(part)
                    if held >= wanted:
                        break
                return response.status, fields, b"".join(parts)[:wanted]
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError, ValueError) as error:
            raise UnreadableRasterError(
                f"The server {self._host} cannot be reached.", "Check the address and the network, then try again."
            ) from error

    def _chunk(self, number: int) -> bytes:
        if number in self._chunks:
            self._chunks.move_to_end(number)
            return self._chunks[number]
        first = number * CHUNK_BYTES
        last = min(first + CHUNK_BYTES, self.size) - 1
        status, _, body = self._get(first, last)
        if status != 206 or len(body) != last - first + 1:
            raise UnreadableRasterError(
                f"The server {self._host} stopped sending.", "Try again; if it lasts, download the file and upload it here."
            )
        self._chunks[number] = body
        while len(self._chunks) > CHUNKS_KEPT:
            self._chunks.popitem(last=False)
        return body


class RemoteFile(io.RawIOBase):
    """A read-only, seekable view of a remote file, as GDAL's Python plug-in wants it."""

    def __init__(self, ranges: RangeReader) -> None:
        super().__init__()
        self._ranges = ranges
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._ranges.size}[whence]
        self._position = max(0, offset + start)
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        data = self._ranges.read(self._position, self._ranges.size if size is None or size < 0 else size)
        self._position += len(data)
        return data


def refuse_scheme(url: str) -> None:
    """Only http and https, with a host.

    Raises:
        SourceNotAllowedError: anything else.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SourceNotAllowedError(
            "Only http:// and https:// addresses can be opened.", "Paste the full address of a GeoTIFF, beginning with https://."
        )


def _refused(host: str, status: int) -> UnreadableRasterError:
    """An answer other than a picture, in words."""
    if status in {404, 410}:
        return UnreadableRasterError(
            f"{host} has nothing at this address (status {status}).", "Check the address for a slip: it must lead to the picture itself."
        )
    if status in {401, 403}:
        return UnreadableRasterError(
            f"{host} does not let this picture be read (status {status}).",
            "It may ask for a login, or the link may have expired: download the picture and add it as an upload.",
        )
    return UnreadableRasterError(f"{host} answered with status {status}.", "Open the address in a browser to see what it is.")
