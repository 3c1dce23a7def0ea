"""A certificate authority of the bench, by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .processes import BenchError, tool

#: The host that certificates are for.
NAME = "localhost"
_EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """Issues certificates for `localhost` into a directory; `file` is what to trust."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._openssl = tool("OPENSSL", "openssl", "openssl")
        self.file = directory / "authority.pem"
        key = directory / "authority.key"
        self._run("req", "-x509", *_EC, "-days", "2", "-subj", "/CN=bench", "-keyout", key, "-out", self.file)
        names = f"subjectAltName=DNS:{NAME}\nbasicConstraints=CA:FALSE\n"
        (directory / "names").write_text(names)

    def _run(self, *args: str | Path) -> None:
        command = [self._openssl, *map(str, args)]
        done = subprocess.run(command, cwd=self._directory, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"openssl: {done.stderr.strip()}")

    def issue(self, number: int) -> tuple[Path, Path]:
        """The files of one more certificate and of its key."""
        cert, key = (self._directory / f"{number}.{end}" for end in ("pem", "key"))
        self._run("req", *_EC, "-subj", f"/CN={NAME}", "-keyout", key, "-out", "request")
        ca = ["-CA", self.file, "-CAkey", "authority.key", "-set_serial", str(number + 10)]
        self._run("x509", "-req", "-in", "request", *ca, "-days", "1", "-extfile", "names", "-out", cert)
        return cert, key
