"""What is measured: the origin itself, our peers, the sketch of our hot road, and us."""

from __future__ import annotations

import json
import os
import shlex
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path

from . import app, client
from .processes import BenchError, Server, Servers, free_port

#: The large files the origin serves, in bytes: at /bulk, and at /gibibyte.
BULK_BYTES = 100_000_000
GIBIBYTE = 1 << 30
#: Where the greeting is.
GREETING_PATH = "/"

_NGINX = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr crit;
{user}
events {{ worker_connections 8192; }}
http {{
    access_log off;
    server_tokens off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    default_type application/octet-stream;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{servers}
}}
"""

_ORIGIN = """\
    server {{
        listen 127.0.0.1:{port};
        location = / {{ default_type text/plain; return 200 "{greeting}"; }}
        location = /bulk {{ root {directory}; open_file_cache max=4; }}
        location = /gibibyte {{ root {directory}; open_file_cache max=4; }}
    }}
"""

# Streaming both ways, as a tunnel does: bodies are neither collected nor spilled to disk.
_HOP = """\
    upstream next {{ server {to}; keepalive 512; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port}{tls};
        location / {{
            proxy_pass {scheme}://next;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
        }}
    }}
"""


@dataclass
class Tools:
    """Where the programs are; a peer that is absent is None."""

    nginx: str
    us: str | None = None
    sketch: str | None = None
    rathole: str | None = None


@dataclass
class Running:
    """A subject that answers: where callers reach it, and what runs between them and the origin."""

    address: client.Address
    between: list[Server] = field(default_factory=list)
    #: What its certificate is trusted by, where callers speak HTTPS.
    tls: ssl.SSLContext | None = None


class Direct:
    """No one between: the origin, and the ceiling of this machine and this load generator."""

    key = "direct"
    label = "origin itself"

    def start(self, owner: Servers, tools: Tools, origin: int) -> Running:
        """There is nothing to start."""
        return Running(("127.0.0.1", origin))


class NginxNginx:
    """Two reverse proxies with keep-alive connections between them and to the origin, one worker each."""

    key = "nginx"
    label = "nginx → nginx"

    def start(self, owner: Servers, tools: Tools, origin: int) -> Running:
        """Starts the hop beside the origin, then the public one."""
        inner_port, outer_port = free_port(), free_port()
        inner = start_hop(owner, tools, "nginx receiver side", inner_port, f"http://127.0.0.1:{origin}")
        outer = start_hop(owner, tools, "nginx gateway side", outer_port, f"http://127.0.0.1:{inner_port}")
        return Running(("127.0.0.1", outer_port), [outer, inner])


class Sketch:
    """The hot road in one file, without the features; one thread a process, one tunnel."""

    key = "sketch"
    label = "the sketch"

    def start(self, owner: Servers, tools: Tools, origin: int) -> Running:
        """The gateway opens its public port only when its tunnel is there, so the order is fixed."""
        assert tools.sketch is not None
        public, tunnel = free_port(), free_port()
        single = {"ST": "1"}
        gateway = owner.start(
            "sketch gateway", [tools.sketch, "gateway", f"127.0.0.1:{public}", f"127.0.0.1:{tunnel}", "1"], single
        )
        gateway.wait_listening(tunnel)
        receiver = owner.start(
            "sketch receiver",
            [tools.sketch, "receiver", f"ws://127.0.0.1:{tunnel}/", f"http://127.0.0.1:{origin}", "1"],
            single,
        )
        gateway.wait_listening(public)
        return Running(("127.0.0.1", public), [gateway, receiver])


class Rathole:
    """rathole 0.5 over TCP with its defaults: it copies bytes and knows nothing of HTTP."""

    key = "rathole"
    label = "rathole"

    def start(self, owner: Servers, tools: Tools, origin: int) -> Running:
        """Writes both configurations and starts the server, then the client."""
        assert tools.rathole is not None
        public, tunnel = free_port(), free_port()
        server_file = owner.directory / f"rathole-server-{public}.toml"
        server_file.write_text(
            f'[server]\nbind_addr = "127.0.0.1:{tunnel}"\ndefault_token = "bench"\n'
            f'[server.services.http]\nbind_addr = "127.0.0.1:{public}"\n'
        )
        client_file = owner.directory / f"rathole-client-{public}.toml"
        client_file.write_text(
            f'[client]\nremote_addr = "127.0.0.1:{tunnel}"\ndefault_token = "bench"\n'
            f'[client.services.http]\nlocal_addr = "127.0.0.1:{origin}"\n'
        )
        gateway = owner.start("rathole server", [tools.rathole, "--server", str(server_file)])
        gateway.wait_listening(tunnel)
        receiver = owner.start("rathole client", [tools.rathole, "--client", str(client_file)])
        gateway.wait_listening(public)
        return Running(("127.0.0.1", public), [gateway, receiver])


class Us:
    """anp-proxy: a gateway and a receiver with their default configuration."""

    key = "us"
    label = "anp-proxy"

    def start(self, owner: Servers, tools: Tools, origin: int) -> Running:
        """Starts both on ports of their own choice, read from their logs."""
        assert tools.us is not None
        gateway, public, tunnel = start_gateway(owner, tools.us, environment_args("ANP_BENCH_GATEWAY_ARGS"))
        receiver = start_receiver(owner, tools.us, tunnel, origin, environment_args("ANP_BENCH_RECEIVER_ARGS"))
        return Running(("127.0.0.1", public), [gateway, receiver])


Subject = Direct | NginxNginx | Sketch | Rathole | Us
SUBJECTS: list[Subject] = [Direct(), NginxNginx(), Rathole(), Sketch(), Us()]


def start_nginx(owner: Servers, tools: Tools, name: str, port: int, servers: str) -> Server:
    """Starts one nginx with one worker and waits until it listens."""
    directory = owner.directory / f"nginx-{port}"
    directory.mkdir()
    # A worker of root's nginx runs as nobody otherwise, and cannot read the temporary directory.
    user = "user root;" if os.geteuid() == 0 else ""
    config = directory / "nginx.conf"
    config.write_text(_NGINX.format(directory=directory, user=user, servers=servers))
    server = owner.start(name, [tools.nginx, "-e", "stderr", "-p", str(directory), "-c", str(config)])
    server.wait_listening(port)
    return server


def start_hop(
    owner: Servers, tools: Tools, name: str, port: int, to: str, tls: tuple[Path, Path] | None = None
) -> Server:
    """Starts a reverse proxy in front of `to`, a URL without a path; `tls` are a certificate and its key."""
    scheme, _, address = to.partition("://")
    listens = ""
    if tls is not None:
        listens = f" ssl; ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]}; ssl_session_cache shared:tls:1m"
    return start_nginx(owner, tools, name, port, _HOP.format(port=port, to=address, scheme=scheme, tls=listens))


def start_origin(owner: Servers, tools: Tools) -> int:
    """The nginx origin: the greeting at /, the large files at their paths. Returns its port."""
    port = free_port()
    for name, length in (("bulk", BULK_BYTES), ("gibibyte", GIBIBYTE)):
        with (owner.directory / name).open("wb") as file:
            for block in app.pattern(length):
                file.write(block)
    servers = _ORIGIN.format(port=port, greeting=app.GREETING.decode(), directory=owner.directory)
    start_nginx(owner, tools, "nginx origin", port, servers)
    return port


def start_sink(owner: Servers) -> int:
    """The origin of uploads: reads bodies and answers how long they were. Returns its port."""
    home = str(Path(__file__).resolve().parents[1])
    server = owner.start("upload sink", [sys.executable, "-m", "harness.app"], {"PYTHONPATH": home})
    return int(str(server.wait_until("its port", lambda: server.log.read_text().strip())))


def start_gateway(
    owner: Servers, binary: str, args: list[str], listen: int = 0, tunnel: int = 0
) -> tuple[Server, int, int]:
    """Starts our gateway. Returns it, its public port and its tunnel port."""
    listeners = ["--listen", f"127.0.0.1:{listen}", "--tunnel-listen", f"127.0.0.1:{tunnel}"]
    server = owner.start("gateway", [binary, "gateway", *listeners, "--log-format", "json", *args])
    public_port = _listener_port(server, "public")
    return server, public_port, _listener_port(server, "tunnel")


def start_receiver(
    owner: Servers,
    binary: str,
    tunnel: int,
    origin: int,
    args: list[str],
    scheme: str = "ws",
    host: str = "127.0.0.1",
) -> Server:
    """Starts our receiver and waits until its first tunnel is ready."""
    roads = ["--gateway", f"{scheme}://{host}:{tunnel}", "--to", f"http://127.0.0.1:{origin}"]
    server = owner.start("receiver", [binary, "receiver", *roads, "--log-format", "json", *args])
    server.wait_until("a ready tunnel", lambda: _log_line(server, {"message": "tunnel ready"}))
    return server


def environment_args(variable: str) -> list[str]:
    """Further arguments from an environment variable, split as a shell does."""
    return shlex.split(os.environ.get(variable, ""))


def _listener_port(server: Server, listener: str) -> int:
    line = server.wait_until(
        f"the {listener} listener", lambda: _log_line(server, {"message": "listening", "listener": listener})
    )
    assert isinstance(line, dict)
    return int(str(line["address"]).rpartition(":")[2])


def _log_line(server: Server, wanted: dict[str, str]) -> dict[str, object] | None:
    """The first JSON log line with these values, fields at the top or under `fields`."""
    for text in server.log.read_text(errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            line |= line.get("fields") or {}
            if all(line.get(name) == value for name, value in wanted.items()):
                return line
    return None


def check_answering(running: Running) -> None:
    """Waits until the greeting comes back through the subject."""
    if running.between:
        running.between[-1].wait_until(
            "the right answer to GET /",
            lambda: client.is_answering(running.address, GREETING_PATH, app.GREETING, running.tls),
        )
    elif not client.is_answering(running.address, GREETING_PATH, app.GREETING, running.tls):
        raise BenchError("the origin does not answer GET / as it should")
