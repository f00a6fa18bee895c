#!/usr/bin/env python3
"""What old TLS costs adit, beside stunnel and nginx on Debian's OpenSSL at security level 0: TLS 1.0, RSA-2048,
AES128-SHA. The client has neither encrypt-then-MAC nor the extended master secret, as old programs have neither:
with them OpenSSL looks worse than it is.

    benches/run --old-tls [--rounds N] [--work FACTOR] [--peer NAMES] [--rows WORDS]

CPU time of each proxy's whole process tree. A round measures the proxies one after the other, the next round in
the reverse order; ratios are within a round, and what is told is their median.

The first byte is time as it passes, from connect to the first byte of the answer, of connections one after the
other. All proxies have a turn of some before any has the next. Direct is nginx as a web server that speaks TLS
itself: it is told and not judged, since what the proxies connect to is slower, a thread of Python's for each
connection. The client's part, which all have alike, is a good part of it.
"""

import argparse
import multiprocessing
import os
import pathlib
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings

# TLS 1.0 is what this is about.
warnings.simplefilter("ignore", DeprecationWarning)

# Numbers that Python's ssl has no names for (openssl/ssl.h).
NO_EXTENDED_MASTER_SECRET = 1 << 0
NO_ENCRYPT_THEN_MAC = 1 << 19
AT_ONCE = 32
LOADERS = 4
BULK = 400_000_000
TICK = os.sysconf("SC_CLK_TCK")

ROWS = {
    "handshake": ("full handshake", "us", 0.45),
    "resumed": ("resumed by session id", "us", 0.40),
    "down": ("bulk, the proxy encrypts", "ms/GB", 0.75),
    "up": ("bulk, the proxy decrypts", "ms/GB", 0.75),
    "idle": ("idle connection (PSS)", "KiB", None),
}

# Whether the session is resumed, and whether the client leaves Nagle's algorithm on. In a full handshake of TLS 1.0
# the client waits for the server's last words before it sends its first, so there is nothing for Nagle to keep back.
FIRST_BYTES = {
    "first": ("first byte", False, False),
    "first-resumed": ("first byte, resumed", True, False),
    "first-resumed-nagle": ("first byte, resumed, Nagle", True, True),
}
TURNS = 16
EACH = 5
# A delayed acknowledgement takes 40 ms, a connection without one far less.
STALL = 20.0


def tree(root):
    """The processes below one, and itself."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(text.rpartition(")")[2].split()[1])
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu(root):
    """Seconds of processor time that a tree has used. The clock of a process counts nanoseconds and its dead threads
    (clock_getcpuclockid(3)); of dead children there are ticks alone, a hundredth of a second each."""
    used = 0.0
    for pid in tree(root):
        try:
            used += time.clock_gettime((~pid << 3) | 2)
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        used += (int(fields[13]) + int(fields[14])) / TICK
    return used


def settled(root):
    """The same once the tree rests: what wakes up by itself takes less than a millisecond in that time."""
    before = cpu(root)
    while True:
        time.sleep(0.1)
        now = cpu(root)
        if now - before < 0.001:
            return now
        before = now


def memory(root):
    """Proportional set size of a tree, in KiB."""
    total = 0
    for pid in tree(root):
        try:
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def upstream(listener):
    """Takes a line: how much to send, or, below 0, to take before it answers with a byte; `e` echoes."""

    def serve(stream):
        try:
            with stream, stream.makefile("rb") as lines:
                line = lines.readline().strip()
                if line == b"e":
                    while data := lines.read1(65536):
                        stream.sendall(data)
                    return
                left = int(line or b"0")
                block = bytes(1 << 16)
                while left > 0:
                    stream.sendall(block[: min(left, len(block))])
                    left -= len(block)
                while left < 0:
                    left += len(lines.read1(1 << 18))
                    if left == 0:
                        stream.sendall(b"x")
        except OSError:
            pass

    while True:
        stream, _ = listener.accept()
        threading.Thread(target=serve, args=[stream], daemon=True).start()


def context():
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.check_hostname = False
    found.verify_mode = ssl.CERT_NONE
    found.minimum_version = found.maximum_version = ssl.TLSVersion.TLSv1
    found.set_ciphers("AES128-SHA:@SECLEVEL=0")
    found.options |= ssl.OP_NO_TICKET | NO_EXTENDED_MASTER_SECRET | NO_ENCRYPT_THEN_MAC
    return found


def connect(tls, port, session=None, nagle=False):
    stream = socket.create_connection(("127.0.0.1", port), timeout=60)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0 if nagle else 1)
    wrapped = tls.wrap_socket(stream, session=session)
    if wrapped.cipher()[0] != "AES128-SHA" or wrapped.version() != "TLSv1":
        raise RuntimeError(f"another work: {wrapped.version()} {wrapped.cipher()}")
    return wrapped


def close(stream):
    """Says close_notify, or OpenSSL resumes the session no more."""
    try:
        stream.unwrap()
    except ssl.SSLError:
        # nginx closes at the client's close_notify, without one of its own.
        pass
    stream.close()


def echo(stream):
    stream.sendall(b"e\nx")
    if stream.recv(1) != b"x":
        raise RuntimeError("no echo")


def shake(port, count, resume, results):
    """One loader's handshakes."""
    tls = context()
    failures = []

    def one_thread(times):
        session = None
        try:
            for _ in range(times):
                stream = connect(tls, port, session)
                echo(stream)
                if resume and session is not None and not stream.session_reused:
                    raise RuntimeError("a session was not resumed")
                session = stream.session if resume else None
                close(stream)
        except (OSError, RuntimeError) as error:
            failures.append(repr(error))

    threads = [
        threading.Thread(target=one_thread, args=[count]) for _ in range(AT_ONCE // LOADERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(failures)


def handshakes(port, each, resume):
    results = multiprocessing.Queue()
    loaders = [
        multiprocessing.Process(target=shake, args=[port, each, resume, results])
        for _ in range(LOADERS)
    ]
    for loader in loaders:
        loader.start()
    failures = [failure for _ in loaders for failure in results.get()]
    for loader in loaders:
        loader.join()
    if failures:
        raise RuntimeError(failures[0])
    return each * AT_ONCE


def carry(port, line, direction, amount):
    stream = connect(context(), port)
    stream.sendall(line)
    if direction == "down":
        left = amount
        while left > 0:
            left -= len(stream.recv(1 << 18))
    else:
        block = bytes(1 << 16)
        for _ in range(amount // len(block)):
            stream.sendall(block)
        stream.recv(1)
    stream.close()


def bulk(port, direction, amount):
    each = amount // 2 >> 16 << 16
    line = f"{each if direction == 'down' else -each}\n".encode()
    loaders = [
        multiprocessing.Process(target=carry, args=[port, line, direction, each]) for _ in range(2)
    ]
    for loader in loaders:
        loader.start()
    for loader in loaders:
        loader.join()
        if loader.exitcode:
            raise RuntimeError("a bulk connection failed")
    return each * 2


def conf(peer, folder, accept, connect_to):
    """Its configuration and its command."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    jail = folder / "jail"
    jail.mkdir(exist_ok=True)
    drop = f"chroot = {jail}\nsetuid = nobody\nsetgid = nogroup\n" if os.geteuid() == 0 else ""
    head = f"foreground = yes\npid =\ndebug = 5\n{drop}"
    service = f"accept = 127.0.0.1:{accept}\nconnect = 127.0.0.1:{connect_to}\ncert = {cert}\nkey = {key}\n"
    file = folder / peer
    if peer == "adit":
        own = f"workers = 2\nthreads = 1\ncontrol = {folder}/control\n"
        file.write_text(f"{head}{own}[old]\n{service}sslVersion = TLSv1\n")
        program = os.environ.get("ADIT_BIN", "target/release/adit")
        return [program, str(file)]
    if peer == "stunnel":
        text = "sslVersion = TLSv1\nciphers = AES128-SHA:@SECLEVEL=0\nsecurityLevel = 0\n"
        file.write_text(f"{head}[old]\n{service}{text}")
        return ["stunnel", str(file)]
    user = "user nobody nogroup;\n" if os.geteuid() == 0 else ""
    tls = (
        f"ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1;\n"
        "ssl_ciphers AES128-SHA:@SECLEVEL=0; ssl_session_cache shared:s:4m; ssl_session_tickets off;\n"
    )
    common = (
        f"{user}worker_processes 2;\ndaemon off;\npid {folder}/{peer}.pid;\n"
        f"error_log {folder}/{peer}.log;\nevents {{ worker_connections 4096; }}\n"
    )
    if peer == "direct":
        file.write_text(
            f"{common}http {{ access_log off; server {{ listen 127.0.0.1:{accept} ssl;\n{tls}"
            'location / { return 200 "m"; } } }\n'
        )
        return ["/usr/sbin/nginx", "-p", str(folder), "-c", str(file)]
    modules = "/usr/lib/nginx/modules/ngx_stream_module.so"
    load = f"load_module {modules};\n" if os.path.exists(modules) else ""
    file.write_text(
        f"{load}{common}stream {{ server {{ listen 127.0.0.1:{accept} ssl; proxy_pass 127.0.0.1:{connect_to};\n"
        f"{tls}proxy_timeout 10m; }} }}\n"
    )
    return ["/usr/sbin/nginx", "-p", str(folder), "-c", str(file)]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def start(peer, folder, connect_to):
    accept = free_port()
    log = open(folder / f"{peer}.log", "wb")
    command = conf(peer, folder, accept, connect_to)
    # ADIT_BIN would be an option to adit.
    environment = {"PATH": os.environ.get("PATH", "")}
    child = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if child.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", accept), timeout=1).close()
            return child, accept
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"{peer} does not start: {(folder / f'{peer}.log').read_text()[-600:]}")


def sample(peer, row, work, folder, connect_to):
    """One measurement on a fresh proxy."""
    child, port = start(peer, folder, connect_to)
    try:
        if row in ("handshake", "resumed"):
            resume = row == "resumed"
            handshakes(port, 4, resume)
            before = settled(child.pid)
            count = handshakes(port, max(2, int((100 if resume else 47) * work)), resume)
            return (settled(child.pid) - before) / count * 1e6
        if row in ("down", "up"):
            bulk(port, row, 10_000_000)
            before = settled(child.pid)
            amount = bulk(port, row, int(BULK * work))
            return (settled(child.pid) - before) / amount * 1e12
        tls = context()
        handshakes(port, 4, False)
        settled(child.pid)
        before = memory(child.pid)
        streams = [connect(tls, port) for _ in range(int(800 * work))]
        for stream in streams:
            echo(stream)
        # adit gives memory back some seconds after the last payload.
        time.sleep(7)
        settled(child.pid)
        grown = memory(child.pid) - before
        for stream in streams:
            stream.close()
        return grown / len(streams)
    finally:
        stop(child)


def stop(child):
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class Contender:
    """What first bytes are asked of, one connection after the other."""

    def __init__(self, name, folder, connect_to, resume, nagle):
        self.child, self.port = start(name, folder, connect_to)
        self.tls, self.session = context(), None
        self.resume, self.nagle = resume, nagle
        self.request = b"GET / HTTP/1.0\r\n\r\n" if name == "direct" else b"e\nx"
        self.turns = []

    def once(self):
        """Milliseconds from connect to the first byte."""
        began = time.perf_counter()
        stream = connect(self.tls, self.port, self.session, self.nagle)
        stream.sendall(self.request)
        if not stream.recv(1):
            raise RuntimeError("no answer")
        took = time.perf_counter() - began
        if self.session is not None and not stream.session_reused:
            raise RuntimeError("a session was not resumed")
        self.session = stream.session if self.resume else None
        close(stream)
        return took * 1e3

    def turn(self):
        self.turns.append(statistics.median(self.once() for _ in range(EACH)))


def first_byte(row, peers, options, folder, connect_to):
    """One line of the report."""
    label, resume, nagle = FIRST_BYTES[row]
    contenders = {}
    try:
        for name in ["direct", *peers]:
            contenders[name] = Contender(name, folder, connect_to, resume, nagle)
            # Both workers are to have had some.
            for _ in range(6):
                contenders[name].once()
        for turn in range(max(2, int(options.rounds * TURNS * options.work))):
            order = list(contenders.values())
            order = order[turn // 2 % len(order):] + order[: turn // 2 % len(order)]
            for contender in order if turn % 2 == 0 else reversed(order):
                contender.turn()
    finally:
        for contender in contenders.values():
            stop(contender.child)
    medians = {name: statistics.median(one.turns) for name, one in contenders.items()}
    line = f"  {label:26} {'ms':6} " + "  ".join(f"{name} {ms:.2f}" for name, ms in medians.items())
    if "adit" not in contenders:
        return line
    for name in contenders:
        if name == "adit":
            continue
        pairs = zip(contenders["adit"].turns, contenders[name].turns)
        ratio = statistics.median(a / b for a, b in pairs)
        bar = 0.05 if medians["direct"] > STALL else 1.0
        line += f"  of {name} {ratio:.2f}" + (f" (bar {bar:.2f})" if name != "direct" else "")
    return line


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=float, default=1.0)
    parser.add_argument("--peer", default="adit,stunnel,nginx")
    parser.add_argument("--rows", default="")
    options = parser.parse_args()
    peers = options.peer.split(",")
    words = [word for word in options.rows.split(",") if word]
    rows = [row for row in [*ROWS, *FIRST_BYTES] if not words or any(word in row for word in words)]
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    multiprocessing.Process(target=upstream, args=[listener], daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj",
             "/CN=localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
            check=True, stderr=subprocess.DEVNULL,
        )
        print(f"TLS 1.0, RSA-2048, AES128-SHA; {AT_ONCE} handshakes at once; median of {options.rounds}")
        for row in rows:
            if row in FIRST_BYTES:
                print(first_byte(row, peers, options, folder, listener.getsockname()[1]), flush=True)
                continue
            label, unit, bar = ROWS[row]
            samples = {peer: [] for peer in peers}
            for turn in range(options.rounds):
                for peer in peers if turn % 2 == 0 else reversed(peers):
                    samples[peer].append(
                        sample(peer, row, options.work, folder, listener.getsockname()[1])
                    )
            told = [f"{peer} {statistics.median(values):.1f}" for peer, values in samples.items()]
            line = f"  {label:26} {unit:6} " + "  ".join(told)
            if "adit" in samples and "stunnel" in samples:
                ratios = [a / s for a, s in zip(samples["adit"], samples["stunnel"])]
                line += f"  of stunnel {statistics.median(ratios):.2f}"
                if bar:
                    line += f" (bar {bar:.2f})"
            print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
