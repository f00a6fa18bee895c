#!/usr/bin/env python3
"""A TLS client or server as old programs are, by tlslite-ng: what comes in on its input goes to the peer, what
the peer says to its output. The first lines on stderr tell what was negotiated.

    peer.py client HOST PORT [options]     one connection; with --again, a second that resumes the first
    peer.py timed HOST PORT [options]      up to 100 connections: prints how long the fastest first answer took
    peer.py server CERT KEY [options]      prints its port; each connection is an echo
    peer.py hello2 HOST PORT MAJOR.MINOR   an SSL 2.0 hello that offers this version: prints the answer
"""

import argparse
import socket
import struct
import sys
import threading
import time

from tlslite.api import (
    HandshakeSettings,
    Session,
    SessionCache,
    TLSConnection,
    X509CertChain,
    parsePEMKey,
)
from tlslite.errors import TLSAbruptCloseError, TLSError

VERSIONS = {"1.0": (3, 1), "1.1": (3, 2), "1.2": (3, 3), "1.3": (3, 4)}


def settings(options):
    found = HandshakeSettings()
    found.minVersion = VERSIONS[options.min or options.version]
    found.maxVersion = VERSIONS[options.version]
    # A server goes by this list, and not by the two above, where a client says which versions it speaks.
    found.versions = [
        version for version in found.versions if version <= found.maxVersion
    ]
    found.minKeySize = 1024
    found.cipherNames = options.cipher.split(",")
    found.keyExchangeNames = options.kx.split(",")
    found.macNames = ["sha", "sha256", "sha384", "md5", "aead"]
    # Neither is known to programs of that time.
    found.useEncryptThenMAC = False
    found.useExtendedMasterSecret = False
    if options.fallback:
        found.sendFallbackSCSV = True
    return found


def told(connection):
    name = connection.getVersionName()
    print(
        f"{name} {connection.getCipherName()} resumed={bool(connection.resumed)}",
        file=sys.stderr,
        flush=True,
    )


def carry_out(connection):
    """What the peer says, until it ends."""
    try:
        while True:
            data = connection.read(min=1, max=65536)
            if not data:
                return
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
    except (TLSError, OSError) as error:
        if not isinstance(error, TLSAbruptCloseError):
            print(f"reading: {error!r}", file=sys.stderr, flush=True)


def starttls(stream, protocol):
    """The words before TLS."""
    lines = stream.makefile("rb")

    def ask(words, expected):
        stream.sendall(words.encode() + b"\r\n")
        while True:
            line = lines.readline()
            if not line:
                sys.exit(f"{words}: the server is gone")
            if line[3:4] != b"-" and not line.startswith((b"* ", b"250-")):
                break
        if not line.startswith(expected.encode()):
            sys.exit(f"{words}: {line!r}")

    greeting = lines.readline()
    print(f"greeting: {greeting!r}", file=sys.stderr, flush=True)
    if protocol == "smtp":
        ask("EHLO old.example", "250")
        ask("STARTTLS", "220")
    elif protocol == "pop3":
        ask("STLS", "+OK")
    else:
        ask("a STARTTLS", "a OK")


def open_client(options, session):
    stream = socket.create_connection((options.host, options.port), timeout=60)
    if options.starttls:
        starttls(stream, options.starttls)
    connection = TLSConnection(stream)
    # Old programs send what they have to say in one piece.
    connection.handshakeClientCert(
        settings=settings(options),
        session=session,
        serverName=options.name or None,
        alpn=options.alpn and [bytearray(name, "ascii") for name in options.alpn.split(",")],
    )
    told(connection)
    return connection


def client(options):
    try:
        connection = open_client(options, None)
        if options.again:
            session = connection.session
            connection.close()
            connection = open_client(options, session)
    except (TLSError, OSError) as error:
        print(f"handshake: {error!r}", file=sys.stderr, flush=True)
        sys.exit(1)
    connection.closeSocket = False
    if options.renegotiate:
        renegotiate(connection)
    reader = threading.Thread(target=carry_out, args=[connection], daemon=True)
    reader.start()
    while data := sys.stdin.buffer.raw.read(65536):
        connection.write(data)
    if options.shut:
        # close_notify of its own, and then what the peer still says.
        for _ in connection._sendMsg(_close_notify()):
            pass
    reader.join(30)


def timed(options):
    """Nagle's algorithm is on. A busy machine slows many attempts; a stall slows all of them."""
    best = None
    session = None
    for _ in range(100):
        connection = open_client(options, session)
        began = time.monotonic()
        connection.write(b"x")
        connection.read(min=1, max=1)
        took = time.monotonic() - began
        if not options.again or connection.resumed:
            best = took if best is None else min(best, took)
        session = connection.session if options.again else None
        connection.close()
        if best is not None and best < options.enough:
            break
    print(f"fastest: {best * 1000:.3f} ms", flush=True)


def renegotiate(connection):
    """Asks for another handshake, and says what comes back."""
    from tlslite.messages import ClientHello

    hello = ClientHello().create(connection.version, bytearray(32), bytearray(0), [0x2F])
    for _ in connection._sendMsg(hello):
        pass
    for record in connection._recordLayer.recvRecord():
        if record not in (0, 1):
            header, content = record
            answer = bytes(content.bytes).hex()
            print(f"renegotiation: {header.type} {answer}", file=sys.stderr, flush=True)
            return


def _close_notify():
    from tlslite.constants import AlertDescription, AlertLevel
    from tlslite.messages import Alert

    return Alert().create(AlertDescription.close_notify, AlertLevel.warning)


def serve_one(stream, chain, key, options, cache):
    connection = TLSConnection(stream)
    try:
        connection.handshakeServer(
            certChain=chain, privateKey=key, settings=settings(options), sessionCache=cache
        )
        told(connection)
        while data := connection.read(min=1, max=65536):
            connection.write(data)
        connection.close()
    except (TLSError, OSError) as error:
        print(f"server: {error!r}", file=sys.stderr, flush=True)


def server(options):
    chain = X509CertChain()
    with open(options.cert, encoding="ascii") as file:
        chain.parsePemList(file.read())
    with open(options.key, encoding="ascii") as file:
        key = parsePEMKey(file.read(), private=True, implementations=["python"])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    cache = SessionCache()
    while True:
        stream, _ = listener.accept()
        threading.Thread(
            target=serve_one, args=[stream, chain, key, options, cache], daemon=True
        ).start()


def hello2(options):
    """RFC 5246, appendix E.2."""
    major, minor = (int(part) for part in options.offers.split("."))
    suites = bytes.fromhex("00000a 000004 000005 00002f 010080 0700c0".replace(" ", ""))
    challenge = bytes(range(16))
    body = struct.pack(">BBBHHH", 1, major, minor, len(suites), 0, len(challenge))
    body += suites + challenge
    stream = socket.create_connection((options.host, options.port), timeout=60)
    stream.sendall(struct.pack(">H", 0x8000 | len(body)) + body)
    answer = b""
    while len(answer) < 76 and (more := stream.recv(4096)):
        answer += more
    if answer[:1] == b"\x16":
        # Record header 5, message header 4, version 2, random 32, then the session id.
        at = 44 + answer[43]
        print(f"hello {answer[9]}.{answer[10]} suite {answer[at:at + 2].hex()}")
    elif answer[:1] == b"\x15":
        print(f"alert {answer[6]}")
    else:
        print(f"answer {answer.hex()}")


def main():
    parser = argparse.ArgumentParser()
    roles = parser.add_subparsers(dest="role", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--version", default="1.0")
    common.add_argument("--min")
    common.add_argument("--cipher", default="3des")
    common.add_argument("--kx", default="rsa")
    common.add_argument("--fallback", action="store_true")
    role = roles.add_parser("client", parents=[common])
    role.add_argument("host")
    role.add_argument("port", type=int)
    role.add_argument("--name")
    role.add_argument("--alpn")
    role.add_argument("--again", action="store_true")
    role.add_argument("--shut", action="store_true")
    role.add_argument("--renegotiate", action="store_true")
    role.add_argument("--starttls", choices=["smtp", "pop3", "imap"])
    role.set_defaults(run=client)
    role = roles.add_parser("timed", parents=[common])
    role.add_argument("host")
    role.add_argument("port", type=int)
    role.add_argument("--name")
    role.add_argument("--alpn")
    role.add_argument("--again", action="store_true")
    role.add_argument("--starttls", choices=["smtp", "pop3", "imap"])
    role.add_argument("--enough", type=float)
    role.set_defaults(run=timed)
    role = roles.add_parser("server", parents=[common])
    role.add_argument("cert")
    role.add_argument("key")
    role.set_defaults(run=server)
    role = roles.add_parser("hello2")
    role.add_argument("host")
    role.add_argument("port", type=int)
    role.add_argument("offers")
    role.set_defaults(run=hello2)
    options = parser.parse_args()
    options.run(options)


main()
