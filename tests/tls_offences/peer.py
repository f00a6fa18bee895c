#!/usr/bin/env python3
"""A TLS client or server that breaks the rules once, by tlslite-ng, and tells what it is told. Each line of its
input is a version, an offence, and `late` where the answer is; each line of its output is what came back: the number
of an alert, `close` for close_notify, `end` for a FIN without any, `reset`, `served` where the connection goes on;
` reset` stands behind an alert that an RST followed.

    peer.py client HOST CERT KEY      a line of input has a port in front
    peer.py server CERT KEY           prints its port first
"""

import socket
import sys

import offences
from tlslite.api import HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey
from tlslite.errors import TLSAbruptCloseError, TLSError, TLSRemoteAlert
from tlslite.messages import Message

VERSIONS = {"1.0": (3, 1), "1.1": (3, 2), "1.2": (3, 3), "1.3": (3, 4)}
# Far more than an answer takes.
PATIENCE = 20
ALERT, HANDSHAKE, DATA = 21, 22, 23


class Committed(Exception):
    """The offence is out."""


class Offender(TLSConnection):
    """Goes through a handshake until the moment of its offence."""

    def __init__(self, stream, offence, version, late):
        super().__init__(stream)
        self.late = late
        self.offence = offence
        self.stream = stream
        self.offered = version
        self.went = []
        self.committed = False

    def commits(self, message):
        """Whether this message, which is about to be sent, is where the offence is; it is committed then."""
        kind = offences.name(message)
        if kind not in self.offence.at(self):
            self.went.append(message)
            return False
        if self.offence.goes_on:
            self.offence.commit(self, message)
            self.committed = True
            return False
        if self._buffer:
            self.record(HANDSHAKE, self._buffer)
            self._buffer = bytearray()
        self.sock.flush()
        self.sock.buffer_writes = False
        self.offence.commit(self, message)
        raise Committed

    def _sendMsg(self, msg, randomizeFirstBlock=True, update_hashes=True):
        if update_hashes:
            self.commits(msg)
        yield from super()._sendMsg(msg, randomizeFirstBlock, update_hashes)

    def _queue_message(self, msg):
        self.commits(msg)
        super()._queue_message(msg)

    def _shutdown(self, resumable):
        """The keys are needed, though the handshake has ended by an exception."""

    def record(self, kind, content):
        """A record as they are due, encrypted or not, whatever is in it."""
        try:
            for _ in self._recordLayer.sendRecord(Message(kind, bytearray(content))):
                pass
        except OSError:
            # What the other side has said before it closed is there to be read.
            pass

    def sealed(self, kind, content):
        """The bytes of such a record, which is not sent."""
        caught = bytearray()

        class Catcher:
            def send(self, data):
                caught.extend(data)
                return len(data)

        layer = self._recordLayer._recordSocket
        before, layer.sock = layer.sock, Catcher()
        self.record(kind, content)
        layer.sock = before
        return caught

    def plain(self, kind, content, version=(3, 3)):
        """A record that is not encrypted."""
        header = bytes([kind, *version]) + len(content).to_bytes(2, "big")
        self.raw(header + bytes(content))

    def raw(self, content):
        try:
            self.stream.sendall(bytes(content))
        except OSError:
            pass

    def is_13(self):
        return self.offered == (3, 4)

    def listens_to_handshake(self):
        """A server of TLS 1.3 has the keys of the client's handshake, and does not use them yet."""
        self._changeReadState()

    def hears(self):
        """What comes back."""
        if self.late:
            # The other side keeps silent for a time: it has noticed by the next line.
            print("committed", flush=True)
            sys.stdin.readline()
            return "told" if self.holds_alert() else "late"
        try:
            for result in self.records():
                kind, content = result
                if kind == ALERT:
                    said = self.told(bytes(content))
                    # What is only a warning goes on.
                    return said if said in ("100", "close") else said + self.after()
                if kind == DATA:
                    return "served"
        except ConnectionResetError:
            return "reset"
        except TimeoutError:
            return "nothing"
        except TLSError as error:
            return "end" if "Abrupt" in type(error).__name__ else f"? {error!r}"

    def holds_alert(self):
        """Whether an alert, or the end, is there to be read; tickets may be."""
        self.stream.setblocking(False)
        there = bytes(self.sock._read_buffer)
        try:
            while more := self.stream.recv(65536):
                there += more
            return True
        except BlockingIOError:
            pass
        while there:
            length = int.from_bytes(there[3:5], "big")
            # In TLS 1.3 nothing else is so short: itself, its type, a tag.
            if there[0] == ALERT or (there[0] == DATA and length == 2 + 1 + 16):
                return True
            there = there[5 + length :]
        return False

    def records(self):
        while True:
            for result in self._recordLayer.recvRecord():
                if result not in (0, 1):
                    header, parser = result
                    yield header.type, parser.bytes

    def told(self, alert):
        level, description = alert[0], alert[1]
        if description == 0:
            return "close"
        return str(description) if level == 2 or description == 100 else f"{description} (warning)"

    def after(self):
        """What follows an alert."""
        try:
            while self.stream.recv(65536):
                pass
            return ""
        except ConnectionResetError:
            return " reset"
        except TimeoutError:
            return " open"


def settings(version):
    found = HandshakeSettings()
    found.minVersion = found.maxVersion = VERSIONS[version]
    found.versions = [v for v in found.versions if v <= found.maxVersion]
    found.minKeySize = 1024
    found.cipherNames = ["aes128gcm", "aes128"]
    found.keyExchangeNames = ["ecdhe_rsa", "ecdhe_ecdsa"]
    found.macNames = ["sha", "sha256", "aead"]
    found.eccCurves = ["secp256r1"]
    found.keyShares = ["secp256r1"]
    found.useEncryptThenMAC = False
    found.certificate_compression_send = found.certificate_compression_receive = []
    return found


def pair(cert, key):
    chain = X509CertChain()
    with open(cert, encoding="ascii") as file:
        chain.parsePemList(file.read())
    with open(key, encoding="ascii") as file:
        return chain, parsePEMKey(file.read(), private=True, implementations=["python"])


def tried(offender, shake):
    """The outcome of one offence. Where it is not told yet, a line of input says when to look."""
    try:
        if "start" in offender.offence.at(offender):
            offender.offence.commit(offender, None)
            raise Committed
        shake(offender)
        if not offender.committed:
            if "done" not in offender.offence.at(offender):
                return "no occasion"
            offender.offence.commit(offender, None)
        offender.record(DATA, b"ping")
        return offender.hears()
    except Committed:
        return offender.hears()
    except TLSRemoteAlert as alert:
        return offender.told(bytes([alert.level, alert.description])) + offender.after()
    except (TLSAbruptCloseError, ConnectionError) as error:
        return "reset" if isinstance(error, ConnectionResetError) else "end"
    except TimeoutError:
        return "nothing"
    except Exception as error:
        # tlslite's own, about what it has changed itself.
        return f"? {error!r}"


def client(host, cert, key):
    chain, private = pair(cert, key)
    for line in iter(sys.stdin.readline, ""):
        port, version, offence, late = line.rstrip("\n").split("\t")
        stream = socket.create_connection((host, int(port)), timeout=PATIENCE)
        offender = Offender(stream, offences.CLIENT[offence], VERSIONS[version], late == "late")

        def shake(offender):
            shown = (chain, private) if offender.offence.shows else (None, None)
            offender.handshakeClientCert(
                *shown, settings=settings(version), serverName="localhost"
            )

        print(tried(offender, shake), flush=True)
        stream.close()


def server(cert, key):
    chain, private = pair(cert, key)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    for line in iter(sys.stdin.readline, ""):
        version, offence, late = line.rstrip("\n").split("\t")
        stream, _ = listener.accept()
        stream.settimeout(PATIENCE)
        offender = Offender(stream, offences.SERVER[offence], VERSIONS[version], late == "late")

        def shake(offender):
            offender.handshakeServer(
                certChain=chain, privateKey=private, settings=settings(version)
            )

        print(tried(offender, shake), flush=True)
        stream.close()


if sys.argv[1] == "client":
    client(*sys.argv[2:])
else:
    server(*sys.argv[2:])
