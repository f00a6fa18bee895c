"""Mail servers with the capabilities of every provider of the table, and an old program for each.

    providers.py CERTIFICATE KEY: prints the ports of its servers, one line each: KIND PORT, where KIND is the
    protocol, how TLS begins and how a program logs in, as smtp-ssl-plain. Then it reads lines of

        smtp|pop3|imap HOST PORT KIND USER ADDRESS, with a tab between them,

    until an empty one, and for each logs in there in plain, as an old program does, through what stands before
    the servers: sends a mail to ADDRESS, or fetches one. Each server takes a password within TLS alone. It prints
    what failed, then `done`, and ends with its input.
"""

import base64
import concurrent.futures
import hashlib
import hmac
import imaplib
import poplib
import smtplib
import socketserver
import ssl
import sys
import threading

PASSWORD = "an app password"
MAIL = "Subject: to {}\r\n\r\n..dots\r\nend\r\n"
CHALLENGE = b"<1.2@test>"

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
# The address of each mail that was sent.
sent = set()


def hmac_of(password):
    return hmac.new(password.encode(), CHALLENGE, hashlib.md5).hexdigest()


class Server(socketserver.StreamRequestHandler):
    """What the servers share: lines, TLS, and logins."""

    kind = ""

    def handle(self):
        self.secure = False
        self.user = None
        if "-ssl-" in self.kind:
            self.start_tls()
        try:
            self.serve()
            # The program goes first: what it says after its last command must not meet a closed socket.
            self.rfile.read()
        except (OSError, EOFError):
            pass

    def start_tls(self):
        self.request = context.wrap_socket(self.request, server_side=True)
        self.rfile = self.request.makefile("rb")
        self.secure = True

    def say(self, line):
        self.request.sendall(line.encode() + b"\r\n")

    def line(self):
        line = self.rfile.readline()
        if not line:
            raise EOFError
        return line.decode().rstrip("\r\n")

    def may_log_in(self, how):
        return self.secure and self.kind.endswith(how)

    def asked(self, challenge):
        self.say(challenge)
        return base64.b64decode(self.line()).decode()

    def cram_md5(self, prefix):
        user, _, answer = self.asked(prefix + base64.b64encode(CHALLENGE).decode()).rpartition(" ")
        return self.log_in(user, PASSWORD if answer == hmac_of(PASSWORD) else "")

    def log_in(self, user, password):
        self.user = user if password == PASSWORD else None
        return self.user is not None


class Smtp(Server):
    def serve(self):
        self.say("220 test ESMTP")
        while True:
            line = self.line()
            word = line.split(" ")[0].upper()
            if word == "EHLO":
                self.say("250-test")
                if not self.secure:
                    self.say("250-STARTTLS")
                elif self.kind.endswith("cram-md5"):
                    self.say("250-AUTH CRAM-MD5")
                else:
                    self.say("250-AUTH PLAIN LOGIN")
                self.say("250 8BITMIME")
            elif word == "STARTTLS":
                self.say("220 go ahead")
                self.start_tls()
            elif word == "AUTH":
                self.say("235 in" if self.auth(line.split(" ")[1:]) else "535 no")
            elif word == "DATA" and self.user:
                self.say("354 go ahead")
                mail = []
                while (text := self.line()) != ".":
                    mail.append(text)
                sent.add(mail[0].split(" ")[2])
                self.say("250 taken")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 well" if self.user else "530 log in first")

    def auth(self, words):
        if words[0] == "CRAM-MD5" and self.may_log_in("cram-md5"):
            return self.cram_md5("334 ")
        if not self.may_log_in("plain"):
            return False
        if words[0] == "LOGIN":
            user = base64.b64decode(words[1]).decode() if words[1:] else self.asked("334 VXNlcm5hbWU6")
            return self.log_in(user, self.asked("334 UGFzc3dvcmQ6"))
        _, user, password = base64.b64decode(words[1]).decode().split("\0")
        return self.log_in(user, password)


class Pop3(Server):
    def serve(self):
        self.say("+OK test")
        user = ""
        while True:
            word, _, rest = self.line().partition(" ")
            word = word.upper()
            if word == "CAPA":
                self.say("+OK")
                self.say("UIDL" if self.secure else "STLS")
                self.say(".")
            elif word == "STLS":
                self.say("+OK go ahead")
                self.start_tls()
            elif word == "USER":
                user = rest
                self.say("+OK" if self.may_log_in("plain") else "-ERR not so")
            elif word == "PASS":
                self.say("+OK" if self.log_in(user, rest) else "-ERR no")
            elif word == "AUTH" and self.may_log_in("cram-md5"):
                self.say("+OK" if self.cram_md5("+ ") else "-ERR no")
            elif word == "RETR" and self.user:
                self.say("+OK")
                for text in MAIL.format(self.user).splitlines():
                    self.say("." + text if text.startswith(".") else text)
                self.say(".")
            elif word == "QUIT":
                self.say("+OK")
                return
            else:
                self.say("+OK 1 50" if self.user else "-ERR log in first")


class Imap(Server):
    def serve(self):
        self.say("* OK test")
        while True:
            tag, _, line = self.line().partition(" ")
            word, _, rest = line.partition(" ")
            word = word.upper()
            if word == "CAPABILITY":
                more = "" if self.secure else " STARTTLS LOGINDISABLED"
                self.say("* CAPABILITY IMAP4rev1" + more)
            elif word == "STARTTLS":
                self.say(tag + " OK go ahead")
                self.start_tls()
                continue
            elif word == "LOGIN" and self.may_log_in("plain"):
                user, _, password = rest.partition(" ")
                if not self.log_in(user.strip('"'), password.strip('"')):
                    self.say(tag + " NO no")
                    continue
            elif word == "AUTHENTICATE" and self.may_log_in("cram-md5"):
                if not self.cram_md5("+ "):
                    self.say(tag + " NO no")
                    continue
            elif word == "SELECT" and self.user:
                self.say("* 1 EXISTS")
            elif word == "FETCH" and self.user:
                mail = MAIL.format(self.user)
                self.say("* 1 FETCH (RFC822 {%d}\r\n%s)" % (len(mail), mail))
            elif word == "LOGOUT":
                self.say("* BYE")
                self.say(tag + " OK done")
                return
            elif not self.user:
                self.say(tag + " BAD log in first")
                continue
            self.say(tag + " OK done")


class Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


def smtp(host, port, kind, user, password, address):
    with smtplib.SMTP(host, port, timeout=60) as program:
        program.login(user, password)
        program.sendmail(address, [address], MAIL.format(address))
    if address not in sent:
        raise ValueError("the mail is not there")


def pop3(host, port, kind, user, password, address):
    program = poplib.POP3(host, port, timeout=60)
    if kind.endswith("cram-md5"):
        challenge = program._shortcmd("AUTH CRAM-MD5")
        if base64.b64decode(challenge.split(b" ")[1]) != CHALLENGE:
            raise ValueError("another challenge")
        answer = base64.b64encode(f"{user} {hmac_of(password)}".encode()).decode()
        program._shortcmd(answer)
    else:
        program.user(user)
        program.pass_(password)
    _, lines, _ = program.retr(1)
    if lines != MAIL.format(user).encode().splitlines():
        raise ValueError(lines)
    program.quit()


def imap(host, port, kind, user, password, address):
    program = imaplib.IMAP4(host, port, timeout=60)
    if kind.endswith("cram-md5"):
        program.login_cram_md5(user, password)
    else:
        program.login(user, password)
    program.select()
    _, found = program.fetch("1", "(RFC822)")
    if found[0][1] != MAIL.format(user).encode():
        raise ValueError(found)
    program.logout()


def run(line):
    mail, host, port, kind, user, address = line.split("\t")
    try:
        {"smtp": smtp, "pop3": pop3, "imap": imap}[mail](host, int(port), kind, user, PASSWORD, address)
        return None
    except Exception as error:
        return f"{line}: {error!r}"


def main():
    for name, handler in (("smtp", Smtp), ("pop3", Pop3), ("imap", Imap)):
        for tls in ("ssl", "starttls"):
            for login in ("plain", "cram-md5"):
                kind = f"{name}-{tls}-{login}"
                listener = Listener(("127.0.0.1", 0), type(kind, (handler,), {"kind": kind}))
                threading.Thread(target=listener.serve_forever, daemon=True).start()
                print(kind, listener.server_address[1])
    print("ready", flush=True)
    lines = []
    while line := sys.stdin.readline().rstrip("\n"):
        lines.append(line)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for failure in pool.map(run, lines):
            if failure:
                print(failure)
    print("done", flush=True)
    sys.stdin.read()


main()
