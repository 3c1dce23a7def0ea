"""Large bodies arrive whole, and pass through without being held."""

from __future__ import annotations

from harness import client
from harness.app import pattern, pattern_digest

from .setup import GIB, Bench, Finding, Promise, expect, growth


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
]
