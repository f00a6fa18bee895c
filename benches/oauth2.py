#!/usr/bin/env python3
"""What a translated login costs adit: OAuth2 beside email-oauth2-proxy (PyPI), and `login = translate` beside
`login = pass`.

    benches/run --oauth2 [--rounds N] [--work FACTOR] [--rows WORDS] [--peer NAMES]

A program logs in by IMAP LOGIN in plain; what stands between logs in at a double of a provider, within TLS, by
XOAUTH2 with a token from a double of the token endpoint, and holds it from then on: what is measured are logins
with a token at hand, which is all of them but one an hour.

CPU time of each proxy's whole process tree, without the doubles. A round measures one after the other, the next
round in the reverse order; ratios are within a round, and what is told is their median.
"""

import argparse
import asyncio
import base64
import http.server
import json
import multiprocessing
import os
import pathlib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from old_tls import free_port, memory, settled, stop

USER, PASSWORD, TOKEN = "you@example.com", "a local password", "t" * 1800
AT_ONCE = 50
# Seconds; programs of that time waited for a minute.
PATIENCE = 60.0
# Logins of a sample: what they cost is far more than a tick of the clock by which CPU time is told.
LOGINS = {"adit": 1000, "emailproxy": 8}

ROWS = {
    "cpu": "CPU of a login by OAuth2",
    "memory": "memory after logins (PSS)",
    "at-once": f"the slowest of {AT_ONCE} logins at once",
    "translate": "CPU of a connection, translate of pass",
}


class TokenEndpoint(http.server.BaseHTTPRequestHandler):
    """Grants each request."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600, "scope": "mail"}
        answer = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def token_endpoint(port, folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), TokenEndpoint)
    server.socket = server_context(folder).wrap_socket(server.socket, server_side=True)
    server.serve_forever()


def server_context(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def serve(reader, writer):
    """IMAP, as far as a login goes: the token by XOAUTH2 in one step or two, the password by LOGIN or PLAIN."""

    async def line():
        text = await reader.readline()
        if not text:
            raise EOFError
        return text.decode().rstrip("\r\n")

    async def literal(text):
        """The line with the literals that it announces."""
        while text.endswith("}"):
            size = text.rpartition("{")[2][:-1]
            if not size.endswith("+"):
                writer.write(b"+ go on\r\n")
            taken = await reader.readexactly(int(size.rstrip("+")))
            text = text.rpartition("{")[0] + taken.decode() + await line()
        return text

    async def response(words):
        if len(words) > 1:
            return base64.b64decode(words[1]).decode()
        writer.write(b"+ \r\n")
        return base64.b64decode(await line()).decode()

    writer.write(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2] ready\r\n")
    try:
        while True:
            tag, _, text = (await line()).partition(" ")
            word, _, rest = text.partition(" ")
            word = word.upper()
            done = True
            if word == "CAPABILITY":
                writer.write(b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2\r\n")
            elif word == "LOGIN":
                rest = await literal(rest)
                done = USER in rest and PASSWORD in rest
            elif word == "AUTHENTICATE":
                given = await response(rest.split(" "))
                done = given in (f"user={USER}\1auth=Bearer {TOKEN}\1\1", f"\0{USER}\0{PASSWORD}")
            writer.write(f"{tag} {'OK done' if done else 'NO no'}\r\n".encode())
            if word == "LOGOUT":
                break
        await writer.drain()
    except (OSError, EOFError, asyncio.IncompleteReadError):
        pass
    writer.close()


def provider(port, folder):
    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=server_context(folder), backlog=512)
        await server.serve_forever()

    asyncio.run(run())


def log_in(port):
    """One login; how long it took."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as stream, stream.makefile("rb") as lines:
        if not lines.readline().startswith(b"* OK"):
            raise RuntimeError("no greeting")
        stream.sendall(f'a LOGIN "{USER}" "{PASSWORD}"\r\n'.encode())
        while not (answer := lines.readline()).startswith(b"a "):
            if not answer:
                raise RuntimeError("closed during the login")
        if not answer.startswith(b"a OK"):
            raise RuntimeError(f"refused: {answer}")
        took = time.perf_counter() - began
        stream.sendall(b"b LOGOUT\r\n")
        while lines.readline():
            pass
    return took


def at_once(port):
    """How long the slowest of many took; a login without an answer counts as all the time that there was."""
    took, failures = [], []

    def one():
        try:
            took.append(log_in(port))
        except TimeoutError:
            took.append(PATIENCE)
        except (OSError, RuntimeError) as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=one) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"{len(failures)} of {AT_ONCE}: {failures[0]}")
    return max(took)


class Proxy:
    """One that runs; its services' ports by their names, which are adit's words for `login`."""

    def __init__(self, name, folder, doubles, logins=("oauth2",)):
        self.name, self.folder, self.doubles = name, folder / name, doubles
        self.folder.mkdir(exist_ok=True)
        self.ports = {login: free_port() for login in logins}
        command, environment = self.adit() if name == "adit" else self.emailproxy()
        self.log = self.folder / "said"
        with open(self.log, "wb") as log:
            environment = {"PATH": os.environ.get("PATH", ""), **environment}
            self.child = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        try:
            for port in self.ports.values():
                self.wait_for(port)
                # The first login fetches the token, and fills caches.
                log_in(port)
        except BaseException:
            self.stop()
            raise

    def wait_for(self, port):
        until = time.monotonic() + 30
        while time.monotonic() < until and self.child.poll() is None:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
        raise RuntimeError(f"{self.name} does not start: {self.log.read_text()[-600:]}")

    def adit(self):
        program = os.environ.get("ADIT_BIN", "target/release/adit")
        jail, file = self.folder / "jail", self.folder / "adit.conf"
        jail.mkdir(exist_ok=True)
        trusted = self.folder.parent / "ca.pem"
        text = f"foreground = yes\npid =\ndebug = 5\nworkers = 2\nthreads = 1\ncontrol = {self.folder}/control\n"
        text += f"keeperDirectory = {self.folder}/keeper\n"
        if os.geteuid() == 0:
            text += f"chroot = {jail}\nsetuid = nobody\nsetgid = nogroup\nkeeperUser = daemon\n"
        text += f"client = yes\nCAfile = {trusted}\nverifyChain = yes\ncheckHost = localhost\n"
        for login, port in self.ports.items():
            text += f"[{login}]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{self.doubles['provider']}\n"
            text += f"login = {login}\nloginProtocol = imap\n" if login != "pass" else ""
        file.write_text(text)
        if "oauth2" in self.ports and not (self.folder / "keeper").exists():
            for name, content in (("password", PASSWORD), ("secret", "secret")):
                (self.folder / name).write_text(content + "\n")
            subprocess.run(
                [program, "login", USER, "--flow", "credentials", "--client-id", "bench", "--scope", "mail",
                 "--client-secret-file", self.folder / "secret", "--password-file", self.folder / "password",
                 "--ca-file", trusted, "--token-url", f"https://localhost:{self.doubles['tokens']}/token", file],
                check=True, stdout=subprocess.DEVNULL,
            )
        return [program, file], {}

    def emailproxy(self):
        file = self.folder / "emailproxy.config"
        file.write_text(
            "[Server setup]\n"
            f"[IMAP-{self.ports['oauth2']}]\nlocal_address = 127.0.0.1\n"
            f"server_address = localhost\nserver_port = {self.doubles['provider']}\n"
            "[Account setup]\n"
            f"[{USER}]\ntoken_url = https://localhost:{self.doubles['tokens']}/token\n"
            "oauth2_scope = mail\noauth2_flow = client_credentials\nclient_id = bench\nclient_secret = secret\n"
        )
        modules = os.environ["EMAILPROXY_MODULES"]
        command = [sys.executable, "-m", "emailproxy", "--no-gui", "--config-file", file]
        trusted = {"SSL_CERT_FILE": str(self.folder.parent / "ca.pem"), "PYTHONPATH": modules}
        return command, trusted | {"HOME": str(self.folder)}

    def cpu_of(self, service, count):
        """Seconds of CPU time that a login took."""
        before = settled(self.child.pid)
        for _ in range(count):
            log_in(self.ports[service])
        return (settled(self.child.pid) - before) / count

    def stop(self):
        stop(self.child)


def certificates(folder):
    extension = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    for command in (
        [*new, "-subj", "/CN=bench CA", "-keyout", "ca.key", "-out", "ca.pem"],
        [*new, "-subj", "/CN=localhost", "-addext", extension, "-addext", "basicConstraints=critical,CA:FALSE",
         "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "key.pem", "-out", "cert.pem"],
    ):
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL, cwd=folder)


def ratios(values, name, other):
    return statistics.median(a / b for a, b in zip(values[name], values[other]))


def by_oauth2(row, peers, options, folder, doubles):
    """One line of the report."""
    values = {peer: [] for peer in peers}
    for turn in range(options.rounds):
        for peer in peers if turn % 2 == 0 else reversed(peers):
            proxy = Proxy(peer, folder, doubles)
            try:
                count = max(2, int(LOGINS[peer] * options.work))
                if row == "cpu":
                    values[peer].append(proxy.cpu_of("oauth2", count) * 1e3)
                elif row == "at-once":
                    values[peer].append(at_once(proxy.ports["oauth2"]))
                else:
                    for _ in range(min(count, 50)):
                        log_in(proxy.ports["oauth2"])
                    settled(proxy.child.pid)
                    values[peer].append(memory(proxy.child.pid) / 1024)
            finally:
                proxy.stop()
    unit = {"cpu": "ms", "memory": "MiB", "at-once": "s"}[row]
    line = f"{unit:6} " + "  ".join(f"{peer} {statistics.median(of):.2f}" for peer, of in values.items())
    if row == "at-once":
        return f"{line}  (bar 1.00)"
    if len(values) == 2:
        bar = 1 / 50 if row == "cpu" else 1 / 4
        line += f"  of emailproxy {ratios(values, 'adit', 'emailproxy'):.4f} (bar {bar:.4f})"
    return line


def translated(options, folder, doubles):
    """The same of `translate`, by connections that have a login and a good-bye."""
    proxy = Proxy("adit", folder, doubles, ("pass", "translate"))
    values = {"pass": [], "translate": []}
    try:
        for turn in range(max(3, options.rounds)):
            for service in values if turn % 2 == 0 else reversed(values):
                count = max(20, int(LOGINS["adit"] * options.work))
                values[service].append(proxy.cpu_of(service, count) * 1e6)
    finally:
        proxy.stop()
    line = "us     " + "  ".join(f"{service} {statistics.median(of):.0f}" for service, of in values.items())
    return f"{line}  of pass {ratios(values, 'translate', 'pass'):.3f} (bar 1.150)"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=float, default=1.0)
    parser.add_argument("--peer", default="adit,emailproxy")
    parser.add_argument("--rows", default="")
    options = parser.parse_args()
    peers = options.peer.split(",")
    words = [word for word in options.rows.split(",") if word]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        certificates(folder)
        doubles = {"provider": free_port(), "tokens": free_port()}
        for serving, port in ((provider, doubles["provider"]), (token_endpoint, doubles["tokens"])):
            multiprocessing.Process(target=serving, args=[port, folder], daemon=True).start()
        for row, label in ROWS.items():
            if words and not any(word in row for word in words):
                continue
            if row == "translate":
                told = translated(options, folder, doubles)
            else:
                told = by_oauth2(row, peers, options, folder, doubles)
            print(f"  {label:42} {told}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
