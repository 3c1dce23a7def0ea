"""Large bodies arrive whole, and pass through without being held."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from harness import client
from harness.app import pattern, pattern_digest

from .setup import GIB, Bench, Finding, Promise, Tunnel, expect, growth

#: Bodies on their way at once.
_AT_ONCE = 8
#: MiB that the windows of a tunnel may grow by, all together (ANPX section 4), and a little.
_WINDOWS_MIB = 64 + 16


def _download(bench: Bench, query: str) -> Finding:
    tunnel = bench.tunnel()
    tunnel.warm_up()
    before = tunnel.resident_kib()
    seconds, total, digest = client.download(tunnel.address, f"/bytes?n={GIB}{query}", digest=True)
    expect(total == GIB and digest == pattern_digest(GIB), "the download's checksum is wrong")
    return growth(tunnel.peak_kib() - before, 32, f", checksum equal, {total / seconds / 1e6:.0f} MB/s")


def _download_with_length(bench: Bench) -> Finding:
    return _download(bench, "")


def _download_chunked(bench: Bench) -> Finding:
    return _download(bench, "&chunked=1")


def _upload(bench: Bench) -> Finding:
    tunnel = bench.tunnel()
    tunnel.warm_up()
    before = tunnel.resident_kib()
    seconds, answer = client.upload(tunnel.address, "/count?digest=1", pattern(GIB), GIB)
    expect(answer.decode() == f"{GIB} {pattern_digest(GIB)}", "the upload's checksum at the app is wrong")
    return growth(tunnel.peak_kib() - before, 32, f", checksum equal, {GIB / seconds / 1e6:.0f} MB/s")


def _downloads(tunnel: Tunnel, _: int) -> str:
    return client.download(tunnel.address, f"/bytes?n={GIB}", digest=True)[2]


def _uploads(tunnel: Tunnel, _: int) -> str:
    answer = client.upload(tunnel.address, "/count?digest=1", pattern(GIB), GIB)[1]
    return answer.decode().removeprefix(f"{GIB} ")


def _many(bench: Bench) -> Finding:
    """One way after the other, so that the checksums' own work does not hide what is held."""
    tunnel = bench.tunnel()
    tunnel.warm_up()
    before = tunnel.resident_kib()
    wanted = pattern_digest(GIB)
    ways: list[Callable[[Tunnel, int], str]] = [_downloads, _uploads]
    with ThreadPoolExecutor(_AT_ONCE) as callers:
        for way in ways:
            digests = list(callers.map(way, [tunnel] * _AT_ONCE, range(_AT_ONCE)))
            expect(digests == [wanted] * _AT_ONCE, "a checksum is wrong")
    return growth(tunnel.peak_kib() - before, _WINDOWS_MIB, ", all checksums equal")


PROMISES = [
    Promise(
        "download-1gib",
        "A 1 GiB download is checksum-equal; gateway and receiver together grow by less than 32 MiB",
        _download_with_length,
    ),
    Promise("download-1gib-chunked", "The same without a content-length", _download_chunked),
    Promise(
        "upload-1gib",
        "A 1 GiB upload is checksum-equal; gateway and receiver together grow by less than 32 MiB",
        _upload,
    ),
    Promise(
        "eight-gib-at-once",
        f"{_AT_ONCE} downloads of 1 GiB at once, then as many uploads, are checksum-equal; gateway and receiver"
        f" together grow by at most what their windows may, and 16 MiB: {_WINDOWS_MIB} MiB",
        _many,
    ),
]
