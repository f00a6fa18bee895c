"""The offences: at which message each is committed, and how. What is said of them, and what is due for them, is in
docs/tls-alerts.md. `start` is before the first message, `done` behind the handshake."""

from tlslite.constants import HandshakeType
from tlslite.extensions import TLSExtension

ALERT, HANDSHAKE, DATA, CCS = 21, 22, 23, 20
# Extensions.
NAME, GROUPS, SIGNATURES, PSK, VERSIONS, PSK_MODES, KEY_SHARE = 0, 10, 13, 41, 43, 45, 51
# Groups.
P256, X25519 = 23, 29

KINDS = {
    HandshakeType.client_hello: "hello",
    HandshakeType.server_hello: "hello",
    HandshakeType.encrypted_extensions: "extensions",
    HandshakeType.certificate: "certificate",
    HandshakeType.server_key_exchange: "exchange",
    HandshakeType.client_key_exchange: "exchange",
    HandshakeType.certificate_verify: "verify",
    HandshakeType.server_hello_done: "hello done",
    HandshakeType.finished: "finished",
}


def name(message):
    """The name of a message."""
    if message.contentType == CCS:
        return "ccs"
    if message.contentType == HANDSHAKE:
        return KINDS.get(message.write()[0])
    return None


class Offence:
    """`goes_on`: the message is only changed, and the handshake goes on. `shows`: a client has a certificate."""

    def __init__(self, moment, commit, goes_on=False, shows=True):
        self.moment = moment
        self._commit = commit
        self.goes_on = goes_on
        self.shows = shows

    def at(self, peer):
        """Names of messages, the first of which is the occasion."""
        if self.moment != "middle":
            return {self.moment}
        # Within the handshake, where a record is encrypted if this version does that.
        if peer._client:
            return {"finished"} if peer.is_13() else {"exchange"}
        return {"extensions"} if peer.is_13() else {"certificate"}

    def commit(self, peer, message):
        self._commit(peer, message)
        if self.moment == "exchange" and not peer._client:
            # What is wrong with it is looked at behind the last message of this flight.
            peer.record(HANDSHAKE, b"\x0e\0\0\0")
        if self.goes_on or peer._client or not peer.is_13():
            return
        if self.moment not in ("start", "hello", "done"):
            peer.listens_to_handshake()


def message(kind, body):
    return bytes([kind]) + len(body).to_bytes(3, "big") + bytes(body)


def hello(change):
    """A hello, changed."""
    return Offence("hello", lambda _, whole: change(whole), goes_on=True)


def bytes_changed(change):
    """The same, by its bytes: what `change` makes of the body."""

    def commit(peer, whole):
        content = bytes(whole.write())
        peer.record(HANDSHAKE, message(content[0], change(bytearray(content[4:]))))

    return commit


def record(kind, content):
    return lambda peer, _: peer.record(kind, content)


def plain(kind, content, version=(3, 3)):
    return lambda peer, _: peer.plain(kind, content, version)


def behind_ping(commit):
    """After it the connection goes on, for a peer that puts up with it."""

    def both(peer, whole):
        commit(peer, whole)
        peer.record(DATA, b"ping")

    return both


def flip(body):
    body[-1] ^= 1
    return body


def with_extension(kind, content, at_end=True):
    def change(hello):
        extension = TLSExtension(extType=kind).create(bytearray(content))
        hello.extensions.insert(len(hello.extensions) if at_end else 0, extension)

    return change


def without(*kinds):
    def change(hello):
        hello.extensions = [e for e in hello.extensions if e.extType not in kinds]

    return change


def instead(kind, content):
    def change(hello):
        without(kind)(hello)
        with_extension(kind, content)(hello)

    return change


def twice(hello):
    hello.extensions.append(hello.extensions[0])


def field(name, value):
    def change(hello):
        setattr(hello, name, value)

    return change


def share(group, key):
    return group.to_bytes(2, "big") + len(key).to_bytes(2, "big") + bytes(key)


def shares(*each):
    content = b"".join(each)
    return len(content).to_bytes(2, "big") + content


def all_of(*changes):
    def change(message):
        for each in changes:
            each(message)

    return change


PSK_OFFER = b"\0\x0a\0\x04abcd\0\0\0\0" + b"\0\x21\x20" + bytes(32)
OFF_THE_CURVE = b"\x04" + bytes(31) + b"\x05" + bytes(31) + b"\x07"


def flipped_bit(kind, content):
    """An encrypted record with a wrong bit."""

    def commit(peer, whole):
        sealed = peer.sealed(kind, content if whole is None else whole.write())
        sealed[-1] ^= 1
        peer.raw(sealed)

    return commit


def in_two(between):
    """A message in two records, and something between them."""

    def commit(peer, whole):
        content = bytes(whole.write())
        peer.record(HANDSHAKE, content[:2])
        between(peer)
        peer.record(HANDSHAKE, content[2:])

    return commit


def trailing(body):
    return body + b"\0"


def shorter(body):
    return body[:-3]


def many_empty(peer, _):
    for _ in range(40):
        peer.record(DATA, b"")


def much_behind(kind, content):
    """An offence with much behind it that nothing reads."""

    def commit(peer, _):
        peer.plain(kind, content)
        # What was sent so far must be answered all the same.
        for _ in range(16):
            peer.plain(DATA, bytes(16384))

    return commit


def second_hello(peer, _):
    for went in peer.went:
        if name(went) == "hello":
            peer.record(HANDSHAKE, went.write())
            return


def hello_within(peer, _):
    """A wish for another handshake."""
    second_hello(peer, _)


def key_update(body):
    return record(HANDSHAKE, message(24, body))


HELLO = HandshakeType.client_hello

# What either side can do.
BOTH = {
    "type zero": Offence("middle", plain(0, b"x")),
    "empty handshake record": Offence("middle", record(HANDSHAKE, b""), goes_on=True),
    "empty data record": Offence("middle", plain(DATA, b"")),
    "data in plain": Offence("middle", plain(DATA, b"GET / HTTP/1.0\r\n\r\n")),
    "empty alert": Offence("middle", record(ALERT, b"")),
    "alert of one byte": Offence("middle", record(ALERT, b"\x02")),
    "alert of three bytes": Offence("middle", record(ALERT, b"\x02\x28\x00")),
    "unknown message": Offence("middle", record(HANDSHAKE, message(99, b"x"))),
    "long message": Offence("middle", record(HANDSHAKE, b"\x0b\x7f\xff\xff" + bytes(1000))),
    "record of 16385 bytes": Offence("middle", lambda peer, _: longer(peer)),
    "record beyond any": Offence("middle", plain(HANDSHAKE, bytes(17000), (3, 3))),
    "record cut by another": Offence("middle", in_two(lambda peer: peer.record(ALERT, b"\x01\x5a"))),
    "key update in the handshake": Offence("middle", key_update(b"\0")),
    "change cipher spec of two": Offence("middle", plain(CCS, b"\x02")),
    "long change cipher spec": Offence("middle", plain(CCS, b"\x01\x01")),
    "change cipher spec too early": Offence("middle", lambda peer, _: early(peer)),
    "much behind an offence": Offence("middle", much_behind(0, b"x")),
    "wrong finished": Offence("finished", bytes_changed(flip)),
    "short finished": Offence("finished", bytes_changed(lambda body: body[:-1])),
    "finished with more": Offence("finished", bytes_changed(trailing)),
    "finished in plain": Offence("finished", lambda peer, m: peer.plain(HANDSHAKE, m.write())),
    "flipped bit in finished": Offence("finished", flipped_bit(HANDSHAKE, b"")),
    "message behind finished": Offence(
        "finished", lambda peer, m: peer.record(HANDSHAKE, bytes(m.write()) + b"\x18\0\0")
    ),
    # Behind the handshake.
    "flipped bit": Offence("done", flipped_bit(DATA, b"ping")),
    "type zero behind": Offence("done", plain(0, b"x")),
    "handshake in plain": Offence("done", plain(HANDSHAKE, message(20, bytes(32)))),
    "data in plain behind": Offence("done", plain(DATA, b"GET / HTTP/1.0\r\n\r\n")),
    "alert in plain": Offence("done", plain(ALERT, b"\x02\x28")),
    "empty handshake record behind": Offence("done", record(HANDSHAKE, b"")),
    "empty alert behind": Offence("done", record(ALERT, b"")),
    "alert of one byte behind": Offence("done", record(ALERT, b"\x02")),
    "alert of three bytes behind": Offence("done", record(ALERT, b"\x02\x28\x00")),
    "warning behind": Offence("done", behind_ping(record(ALERT, b"\x01\x5a"))),
    "unknown message behind": Offence("done", record(HANDSHAKE, message(99, b"x"))),
    "long message behind": Offence("done", record(HANDSHAKE, b"\x04\x7f\xff\xff" + bytes(1000))),
    "finished again": Offence("done", record(HANDSHAKE, message(20, bytes(32)))),
    "record of 16385 bytes behind": Offence("done", lambda peer, _: longer(peer, DATA)),
    "record beyond any behind": Offence("done", plain(DATA, bytes(20000))),
    "change cipher spec behind": Offence("done", behind_ping(plain(CCS, b"\x01"))),
    "hello behind": Offence("done", hello_within),
    "key update with a 2": Offence("done", key_update(b"\x02")),
    "empty key update": Offence("done", key_update(b"")),
    "key update of two bytes": Offence("done", key_update(b"\0\0")),
    "key update with more behind": Offence(
        "done", record(HANDSHAKE, message(24, b"\0") + message(24, b"\0"))
    ),
    "key update cut by data": Offence(
        "done", lambda peer, _: (peer.record(HANDSHAKE, b"\x18\0"), peer.record(DATA, b"ping"))
    ),
    "padding alone": Offence("done", lambda peer, _: peer.record(0, b"")),
    "empty records without end": Offence("done", many_empty),
}


def longer(peer, kind=HANDSHAKE):
    peer._recordLayer.tls13record = peer.is_13()
    if kind == HANDSHAKE and not peer.is_13():
        peer.plain(kind, b"\x0b\0\x40\x10" + bytes(16381))
    else:
        peer.record(kind, b"\x0b\0\x40\x10" + bytes(16381))


def early(peer):
    """Up to TLS 1.2 it comes in place of a message; in TLS 1.3, encrypted, nowhere."""
    if peer.is_13():
        peer.record(CCS, b"\x01")
    else:
        peer.plain(CCS, b"\x01")


CLIENT = {
    **BOTH,
    "type zero first": Offence("start", plain(0, b"x", (3, 1))),
    "data first": Offence("start", plain(DATA, b"x", (3, 1))),
    "empty record first": Offence("start", plain(HANDSHAKE, b"", (3, 1))),
    "change cipher spec first": Offence("start", plain(CCS, b"\x01", (3, 1))),
    "finished first": Offence("start", plain(HANDSHAKE, message(20, bytes(12)), (3, 1))),
    "no hello": Offence("start", plain(HANDSHAKE, message(99, bytes(12)), (3, 1))),
    "hello beyond 64 KiB": Offence("hello", lambda peer, m: huge(peer, m)),
    "trailing bytes": Offence("hello", bytes_changed(trailing)),
    "cut hello": Offence("hello", bytes_changed(shorter)),
    "extensions beyond the message": Offence("hello", bytes_changed(lambda body: body[:60])),
    "session id of 33 bytes": hello(field("session_id", bytearray(33))),
    "compression": hello(field("compression_methods", [1, 0])),
    "no compression method": hello(field("compression_methods", [])),
    "not without compression": hello(field("compression_methods", [1])),
    "no suite": hello(field("cipher_suites", [])),
    "unknown suites": hello(field("cipher_suites", [0x5A5A])),
    "fallback": hello(lambda m: m.cipher_suites.append(0x5600)),
    "SSL 3.0": hello(lambda m: older(m, (3, 0))),
    "TLS 1.1": hello(lambda m: older(m, (3, 2))),
    "unknown versions": hello(instead(VERSIONS, b"\x02\x05\x05")),
    "empty versions": hello(instead(VERSIONS, b"\x00")),
    "extension twice": hello(twice),
    "no signature algorithms": hello(without(SIGNATURES)),
    "empty signature algorithms": hello(instead(SIGNATURES, b"\0\0")),
    "unknown signature algorithms": hello(instead(SIGNATURES, b"\0\2\x5a\x5a")),
    "no key share": hello(without(KEY_SHARE)),
    "no groups": hello(without(GROUPS)),
    "neither key share nor groups": hello(without(GROUPS, KEY_SHARE)),
    "unknown groups": hello(all_of(instead(GROUPS, b"\0\2\x5a\x5a"), instead(KEY_SHARE, b"\0\0"))),
    "key share off the curve": hello(instead(KEY_SHARE, shares(share(P256, OFF_THE_CURVE)))),
    "short key share": hello(instead(KEY_SHARE, shares(share(P256, bytes(5))))),
    "key share twice": hello(
        instead(KEY_SHARE, shares(share(P256, OFF_THE_CURVE), share(P256, OFF_THE_CURVE)))
    ),
    "x25519 of zeros": hello(
        all_of(
            instead(GROUPS, b"\0\2\0\x1d"),
            instead(KEY_SHARE, shares(share(X25519, bytes(32)))),
        )
    ),
    "empty server name": hello(instead(NAME, b"\0\0")),
    "server name with a zero": hello(instead(NAME, b"\0\x06\0\0\x03a\0b")),
    "pre-shared key not last": hello(with_extension(PSK, PSK_OFFER, False)),
    "pre-shared key without modes": hello(all_of(without(PSK_MODES), with_extension(PSK, PSK_OFFER))),
    "second hello": Offence("middle", second_hello),
    "exchange off the curve": Offence(
        "exchange", bytes_changed(lambda body: bytes([len(OFF_THE_CURVE)]) + OFF_THE_CURVE)
    ),
    "empty exchange": Offence("exchange", bytes_changed(lambda body: b"")),
    "exchange with more": Offence("exchange", bytes_changed(trailing)),
    "wrong certificate verify": Offence("verify", lambda _, m: flip(m.signature), goes_on=True),
    "no certificate": Offence("certificate", lambda peer, m: None, goes_on=True, shows=False),
    "ticket from a client": Offence("done", record(HANDSHAKE, message(4, bytes(13)))),
    "hello without key share, twice": Offence("hello", lambda peer, m: retried(peer, m)),
}


def older(hello, version):
    hello.client_version = version
    without(VERSIONS)(hello)


def huge(peer, hello):
    """A valid hello but for its length: unknown suites and an unknown extension."""
    hello.cipher_suites += [0x5A5A] * 20000
    with_extension(0x5A5A, bytes(40000), False)(hello)
    content = bytes(hello.write())
    for start in range(0, len(content), 16000):
        peer.record(HANDSHAKE, content[start : start + 16000])


def retried(peer, hello):
    """A hello with no usable key share, and the same once more though another was asked for."""
    without(KEY_SHARE)(hello)
    with_extension(KEY_SHARE, b"\0\0")(hello)
    peer.record(HANDSHAKE, hello.write())
    peer.record(HANDSHAKE, hello.write())


SERVER = {
    **BOTH,
    "no hello": Offence("hello", lambda peer, m: peer.record(HANDSHAKE, message(20, bytes(12)))),
    "trailing bytes": Offence("hello", bytes_changed(trailing)),
    "cut hello": Offence("hello", bytes_changed(shorter)),
    "unknown version": hello(lambda m: set_version(m, (3, 5))),
    "SSL 3.0": hello(lambda m: set_version(m, (3, 0))),
    "unknown versions": hello(instead(VERSIONS, b"\x05\x05")),
    "session id not echoed": hello(field("session_id", bytearray(b"x" * 32))),
    "session id of 33 bytes": hello(field("session_id", bytearray(33))),
    "compression": hello(field("compression_method", 1)),
    "unknown suites": hello(field("cipher_suite", 0x5A5A)),
    "extension twice": hello(twice),
    "extension unasked": hello(with_extension(0x5A5A, b"")),
    "key share off the curve": hello(instead(KEY_SHARE, share(P256, OFF_THE_CURVE))),
    "short key share": hello(instead(KEY_SHARE, share(P256, bytes(5)))),
    "key share beyond the groups": hello(instead(KEY_SHARE, share(0x5A5A, bytes(32)))),
    "no key share": hello(without(KEY_SHARE)),
    "pre-shared key unasked": hello(with_extension(PSK, b"\0\0")),
    "downgrade mark": hello(field("random", bytearray(24) + bytearray(b"DOWNGRD\x01"))),
    "second hello": Offence("middle", second_hello),
    "extensions unasked": Offence(
        "extensions", lambda peer, _: peer.record(HANDSHAKE, message(8, b"\0\4\x5a\x5a\0\0"))
    ),
    "extensions in plain": Offence("extensions", lambda peer, m: peer.plain(HANDSHAKE, m.write())),
    "no extensions": Offence("extensions", lambda peer, _: peer.record(HANDSHAKE, message(8, b""))),
    "empty certificate": Offence("certificate", lambda peer, m: no_certificate(peer)),
    "broken certificate": Offence("certificate", lambda peer, m: broken_certificate(peer)),
    "certificate skipped": Offence("certificate", lambda peer, m: skipped(peer)),
    "wrong certificate verify": Offence("verify", bytes_changed(flip)),
    "unasked algorithm of certificate verify": Offence(
        "verify", bytes_changed(lambda body: b"\x02\x01" + body[2:])
    ),
    "exchange off the curve": Offence("exchange", bytes_changed(lambda body: body[:4] + OFF_THE_CURVE + body[69:])),
    "exchange with an unknown group": Offence("exchange", bytes_changed(lambda body: b"\x03\x5a\x5a" + body[3:])),
    "wrong signature of the exchange": Offence("exchange", bytes_changed(flip)),
    "exchange with more": Offence("exchange", bytes_changed(trailing)),
    "hello request behind": Offence("done", record(HANDSHAKE, message(0, b""))),
    "empty ticket": Offence("done", record(HANDSHAKE, message(4, b""))),
    "client's message": Offence("middle", record(HANDSHAKE, message(16, b"\x01\x01"))),
}


def set_version(hello, version):
    hello.server_version = version
    without(VERSIONS)(hello)


def no_certificate(peer):
    peer.record(HANDSHAKE, message(11, b"\0\0\0\0" if peer.is_13() else b"\0\0\0"))
    if peer.is_13():
        peer.record(HANDSHAKE, message(15, b"\x08\x04\0\1x"))
    else:
        peer.record(HANDSHAKE, message(12, b"\x03\0\x17\x41" + OFF_THE_CURVE + b"\x08\x04\0\1x"))
        peer.record(HANDSHAKE, message(14, b""))


def broken_certificate(peer):
    body = b"\0\0\0\6\0\0\1x\0\0" if peer.is_13() else b"\0\0\4\0\0\1x"
    peer.record(HANDSHAKE, message(11, body))
    if peer.is_13():
        peer.record(HANDSHAKE, message(15, b"\x08\x04\0\1x"))
    else:
        peer.record(HANDSHAKE, message(12, b"\x03\0\x17\x41" + OFF_THE_CURVE + b"\x08\x04\0\1x"))
        peer.record(HANDSHAKE, message(14, b""))


def skipped(peer):
    peer.record(HANDSHAKE, message(20, bytes(32)) if peer.is_13() else message(14, b""))
