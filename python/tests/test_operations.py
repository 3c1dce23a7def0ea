"""The way from an empty server to a public gateway, as docs/operations.md has it: its commands, one
block after the other, below a directory of the test's own. systemd is played by a script that starts
what the units say; ports are free ones."""

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import threading

import pytest

import binary

SECTION = "## From an empty server to a public gateway\n"
SERVICES = ["anp-gateway@a", "anp-gateway@b", "anp-receiver@alice", "anp-receiver@lab"]

# What needs another user, or is somebody else's part.
SHIMS = {
    "useradd": "exit 0",
    "chown": "exit 0",
    "chgrp": "exit 0",
    "curl": 'exec {curl} --noproxy "*" --silent --show-error --resolve gate.example:{public}:127.0.0.1 "$@"',
}
SYSTEMCTL = '''#!{python}
"""Starts and tells units, as systemd does."""
import os, pathlib, shlex, signal, subprocess, sys

root = pathlib.Path("{root}")
command, *rest = [word for word in sys.argv[1:] if word != "--now"]
if command == "daemon-reload":
    sys.exit()
(name,) = rest
template, instance = name.split("@")
unit = (root / "etc/systemd/system" / (template + "@.service")).read_text()
lines = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#"))
pid = root / "run" / name
if command in ("enable", "start"):
    args = shlex.split(lines["ExecStart"].replace("%i", instance))
    args = [str(root) + arg if arg.startswith("/") else arg for arg in args]
    log = open(root / "log" / name, "w")
    env = dict(os.environ, STATE_DIRECTORY=str(root / "var/lib" / lines["StateDirectory"]))
    process = subprocess.Popen(args, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
    pid.write_text(str(process.pid))
elif command == "reload":
    assert lines["ExecReload"] == "/bin/kill -HUP $MAINPID"
    os.kill(int(pid.read_text()), signal.SIGHUP)
else:
    sys.exit("unknown: " + command)
'''


def blocks():
    """The commands of the section, block by block, without the line that says on whose machine."""
    text = (binary.ROOT / "docs/operations.md").read_text()
    section = text.split(SECTION)[1].split("\n## ")[0]
    return [block.split("\n", 1)[1] for block in re.findall(r"```sh\n(.*?)```", section, re.S)]


class App:
    """Answers every request with its name, without keeping the connection."""

    def __init__(self, name):
        self.answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\nConnection: close\r\n\r\n{name}".encode()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection:
                    if connection.recv(1 << 16):
                        connection.sendall(self.answer)


class Log:
    """What a service logs, line by line, through a pipe that is there before it."""

    def __init__(self, path):
        os.mkfifo(path)
        self.path, self.lines, self.grew = path, [], threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        with open(self.path) as pipe:
            for line in pipe:
                with self.grew:
                    self.lines.append(line)
                    self.grew.notify_all()
        with self.grew:
            self.lines.append("it has ended")
            self.grew.notify_all()

    def wait(self, text):
        with self.grew:
            found = self.grew.wait_for(lambda: any(text in line for line in self.lines), binary.PATIENCE)
            assert found, f"no {text!r}: {self.lines}"


class Server:
    """An empty server below a directory."""

    def __init__(self, root):
        self.root = root
        for directory in ["bin", "run", "log", "root/anp-proxy", "usr/local/bin", "var/lib/anp-proxy"]:
            (root / directory).mkdir(parents=True)
        (root / "root/anp-proxy/anp-proxy").symlink_to(binary.PATH)
        (root / "root/anp-proxy/examples").symlink_to(binary.ROOT / "examples")
        self.apps = {name: App(name) for name in ["alice", "lab"]}
        # Held until all are known, so that they differ.
        held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        self.public, self.tunnel, self.admin = (listener.getsockname()[1] for listener in held)
        for listener in held:
            listener.close()
        self.logs = {name: Log(root / "log" / name) for name in SERVICES}
        curl = subprocess.run(["which", "curl"], check=True, capture_output=True, text=True).stdout.strip()
        python = subprocess.run(["which", "python3"], check=True, capture_output=True, text=True).stdout.strip()
        for name, text in SHIMS.items():
            self.script(name, "#!/bin/sh\n" + text.format(curl=curl, public=self.public))
        self.script("systemctl", SYSTEMCTL.format(root=root, python=python))

    def script(self, name, text):
        file = self.root / "bin" / name
        file.write_text(text)
        file.chmod(0o755)

    def here(self, block):
        """A block as it can run here: below the directory, on free ports of loopback."""
        app = self.apps["alice" if "alice.toml" in block else "lab"].port
        for before, after in [
            ("0.0.0.0:443", f"127.0.0.1:{self.public}"),
            ("0.0.0.0:8765", f"127.0.0.1:{self.tunnel}"),
            ("127.0.0.1:9000", f"127.0.0.1:{self.admin}"),
            ("https://gate.example/", f"https://gate.example:{self.public}/"),
            ("wss://gate.example:8765", f"wss://gate.example:{self.tunnel}"),
            # In place of a line in /etc/hosts.
            ('to = ["http://127.0.0.1:8000"]', f'to = ["http://127.0.0.1:{app}"]\nresolve = {{ "gate.example" = ["127.0.0.1"] }}'),
        ]:
            block = block.replace(before, after)
        return self.paths(block)

    def paths(self, text):
        """Below the directory."""
        return re.sub(r"(?<![\w/])/(etc|root|usr|var)/(anp-proxy|local|lib|systemd)", rf"{self.root}/\1/\2", text)

    def run(self, block):
        """What a block prints; it must succeed as a whole."""
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("ANP_", "HTTP_PROXY", "HTTPS_PROXY"))}
        env = {
            **kept,
            "PATH": f"{self.root}/bin:{self.root}/usr/local/bin:{os.environ['PATH']}",
            "ANP_ADMIN": f"http://127.0.0.1:{self.admin}",
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=self.root, env=env, capture_output=True,
            text=True, timeout=60, stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def shown(self):
        """The certificate that callers are shown, in DER."""
        trust = ssl.create_default_context(cafile=self.root / "etc/anp-proxy/authority.pem")
        with socket.create_connection(("127.0.0.1", self.public), binary.PATIENCE) as plain:
            with trust.wrap_socket(plain, server_hostname="gate.example") as secure:
                return secure.getpeercert(binary_form=True)

    def end(self):
        for pid in (self.root / "run").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid.read_text()), signal.SIGKILL)
        for app in self.apps.values():
            app.listener.close()


@pytest.fixture
def server(tmp_path):
    made = Server(tmp_path)
    try:
        yield made
    finally:
        made.end()


def test_the_way_to_a_public_gateway_is_as_written(server):
    steps = iter(blocks())
    told = {}

    def follow(*words):
        """Runs the next block, which has all of these words."""
        block = next(steps)
        assert all(word in block for word in words), f"another step than expected: {block}"
        told[words[0]] = server.run(server.here(block))
        return told[words[0]]

    follow("install", "useradd")
    follow("openssl", "authority.key")
    follow("did new")
    follow("token new lab")
    follow("gateway.toml", "enable --now anp-gateway@a")
    server.logs["anp-gateway@a"].wait('"listener":"admin"')
    follow("alice.toml", "enable --now anp-receiver@alice")
    server.logs["anp-receiver@alice"].wait("tunnel ready")
    follow("lab.toml", "enable --now anp-receiver@lab")
    server.logs["anp-receiver@lab"].wait("tunnel ready")
    assert follow("curl", "/alice/", "/lab/") == "alicelab"
    listed = follow("admin tunnels", "endpoint list")
    assert "token:lab" in listed and "did:wba:gate.example:alice:e1_" in listed
    assert follow("endpoint add tools", "/tools/").endswith("lab")
    follow("token new shop", "reload anp-gateway@a", "endpoint add shop")
    server.logs["anp-gateway@a"].wait("configuration reloaded")
    before = server.shown()
    follow("gate.new")
    issued = ssl.PEM_cert_to_DER_cert((server.root / "etc/anp-proxy/gate.pem").read_text())
    assert issued != before
    server.logs["anp-gateway@a"].wait("new certificate")
    assert server.shown() == issued
    follow("start anp-gateway@b")
    server.logs["anp-gateway@b"].wait('"listener":"admin"')
    server.logs["anp-gateway@a"].wait("it has ended")
    again = "curl --fail --cacert /etc/anp-proxy/authority.pem https://gate.example/lab/ https://gate.example/tools/"
    assert server.run(server.here(again)) == "lablab"
    assert next(steps, None) is None


def test_the_configuration_is_good_on_a_public_address(server):
    """As it is written, addresses and all, which the walk above has to change."""
    written = next(block for block in blocks() if "> gateway.toml" in block)
    (server.root / "etc/anp-proxy").mkdir(parents=True)
    text = written.split("<<END\n")[1].split("END\n")[0]
    text = text.replace("$alice", "did:wba:gate.example:alice").replace("$lab", "sha256:" + "A" * 43)
    (server.root / "etc/anp-proxy/gateway.toml").write_text(server.paths(text))
    check = f"{binary.PATH} config check --config {server.root}/etc/anp-proxy/gateway.toml"
    # The files it names are made on the way; they are looked at once all else is right.
    missing = server.run(f"! {check} 2>&1").splitlines()
    assert missing and all(line.endswith("No such file or directory (os error 2)") for line in missing), missing
    changed = server.paths(text).replace("[gateway.auth]\n", "[gateway.auth]\nrequired = false\n")
    (server.root / "etc/anp-proxy/gateway.toml").write_text(changed)
    assert "can be reached by strangers" in server.run(f"! {check} 2>&1")
