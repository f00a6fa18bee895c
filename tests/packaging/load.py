#!/usr/bin/env python3
"""What uses a relay while it is upgraded: clients that connect in a loop, one that stays, and the TLS
server behind the relay, which echoes.

    load.py PORT SERVER-PORT CERTIFICATE KEY REPORT

Runs until TERM, then writes to REPORT, a line each: how many connections were served, were refused, were
cut, had another answer than was sent; and how many lines the one that stayed has carried, and in how many
connections: 1 is good.
"""

import signal
import socket
import ssl
import sys
import threading
import time

CONNECT_TIMEOUT = 20
CLIENTS = 3

port, server_port = int(sys.argv[1]), int(sys.argv[2])
certificate, key, report = sys.argv[3:]
stop = threading.Event()
lock = threading.Lock()
counts = dict.fromkeys(["served", "refused", "cut", "wrong", "lines", "stayed"], 0)
said = []


def count(what, why=None):
    with lock:
        counts[what] += 1
        if why is not None and len(said) < 20:
            said.append(f"{what}: {why}")


def echo(connection):
    try:
        with connection:
            while data := connection.recv(4096):
                connection.sendall(data)
    except OSError:
        pass


def serve(listener):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def one(plain):
        try:
            echo(context.wrap_socket(plain, server_side=True))
        except OSError:
            plain.close()

    while True:
        threading.Thread(target=one, args=[listener.accept()[0]], daemon=True).start()


def ask(connection, line):
    """Whether the line came back."""
    connection.sendall(line)
    answer = b""
    while len(answer) < len(line):
        more = connection.recv(4096)
        if not more:
            raise ConnectionError(f"end of file after {len(answer)} of {len(line)} bytes")
        answer += more
    if answer != line:
        count("wrong", answer)


def connect():
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=CONNECT_TIMEOUT)
    except OSError as error:
        count("refused", error)
        return None


def loop(number):
    turn = 0
    while not stop.is_set():
        turn += 1
        connection = connect()
        if connection is None:
            continue
        try:
            with connection:
                ask(connection, b"client %d, connection %d\n" % (number, turn))
            count("served")
        except OSError as error:
            count("cut", error)
        # Connections all the time, but not all of the processor for them.
        time.sleep(0.002)


def stay():
    while not stop.is_set():
        connection = connect()
        if connection is None:
            continue
        count("stayed")
        try:
            with connection:
                while not stop.is_set():
                    ask(connection, b"line %d\n" % counts["lines"])
                    count("lines")
                    time.sleep(0.01)
        except OSError as error:
            count("cut", error)


signal.signal(signal.SIGTERM, lambda *_: stop.set())
server = socket.create_server(("127.0.0.1", server_port), backlog=128)
threading.Thread(target=serve, args=[server], daemon=True).start()
clients = [threading.Thread(target=loop, args=[n]) for n in range(CLIENTS)]
clients.append(threading.Thread(target=stay))
for client in clients:
    client.start()
# Python runs a signal's handler only when its main thread wakes up, and a wait without an end may miss that.
while not stop.wait(0.2):
    pass
for client in clients:
    client.join()
with open(report, "w", encoding="utf-8") as file:
    for what, number in counts.items():
        print(what, number, file=file)
    print(*said, sep="\n", file=file)
