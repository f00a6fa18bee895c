"""Mail servers with the names, ports and capabilities of every provider of the table.

    providers.py FILE: a line of FILE is a host: its name, the loopback address that the name leads to, certificate
    and key, its logins for smtp, pop3 and imap as the table has them, and the user names that it knows with a ","
    between them; apart by tabs.

It listens on the registered ports of these protocols, and on HTTPS' as a token endpoint; prints `ready`, and serves
until its input ends. Then it prints each mail that was sent, a line each: the server's name and the recipient.

How TLS begins is the port's business, not the table's (RFC 8314; RFC 3501 and 2595 for the others). A server shows
its certificate to a client that names it alone, and takes a password within TLS alone, from a user it knows.
"""

import base64
import hashlib
import hmac
import json
import socketserver
import ssl
import sys
import threading

PASSWORD = "an app password"
MAIL = "Subject: to {}\r\n\r\n..dots\r\nend\r\n"
CHALLENGE = b"<1.2@test>"
# As long as Microsoft's are.
TOKEN = "t" * 2400
PORTS = {
    443: ("tokens", True),
    465: ("smtp", True), 587: ("smtp", False),
    995: ("pop3", True), 110: ("pop3", False),
    993: ("imap", True), 143: ("imap", False),
}
# "Yes, they have SSL (not STARTTLS, not plain SMTP) on port 587" (thunderbird/autoconfig, ispdb/charter.net.xml).
TLS_ALL_THE_SAME = {("mobile.charter.net", 587)}

sent = []


class Host:
    """A provider's server."""

    def __init__(self, line):
        self.name, self.address, cert, key, smtp, pop3, imap, users = line.rstrip("\n").split("\t")
        self.logins = {"smtp": smtp.split("+"), "pop3": pop3.split("+"), "imap": imap.split("+")}
        self.users = users.split(",")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.context.sni_callback = self.named

    def named(self, _stream, name, _context):
        return None if name == self.name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


def hmac_of(password):
    return hmac.new(password.encode(), CHALLENGE, hashlib.md5).hexdigest()


class Server(socketserver.StreamRequestHandler):
    """What the servers share: lines, TLS, and logins."""

    def handle(self):
        address, port = self.request.getsockname()
        self.host = hosts[address]
        self.mail, at_once = PORTS[port]
        self.secure = False
        self.user = None
        try:
            if at_once or (self.host.name, port) in TLS_ALL_THE_SAME:
                self.start_tls()
            {"smtp": self.smtp, "pop3": self.pop3, "imap": self.imap, "tokens": self.tokens}[self.mail]()
            # The program goes first: what it says after its last command must not meet a closed socket.
            self.rfile.read()
        except (OSError, EOFError):
            pass

    def start_tls(self):
        self.request = self.host.context.wrap_socket(self.request, server_side=True)
        self.rfile = self.request.makefile("rb")
        self.secure = True

    def say(self, line):
        self.request.sendall(line.encode() + b"\r\n")

    def line(self):
        line = self.rfile.readline()
        if not line:
            raise EOFError
        return line.decode().rstrip("\r\n")

    def takes(self, login):
        return self.secure and login in self.host.logins[self.mail]

    def mechanisms(self):
        """What it shows; Microsoft's servers have no PLAIN."""
        shown = []
        if self.takes("plain"):
            shown += ["LOGIN"] if "office365" in self.host.name else ["PLAIN", "LOGIN"]
        if self.takes("cram-md5"):
            shown += ["CRAM-MD5"]
        if self.takes("oauth2"):
            shown += ["XOAUTH2"]
        return shown

    def asked(self, challenge):
        self.say(challenge)
        return base64.b64decode(self.line()).decode()

    def authenticate(self, words, prompt):
        """A login by a mechanism that it shows, with or without an initial response."""
        if words[0].upper() not in self.mechanisms():
            return False
        if words[0].upper() == "CRAM-MD5":
            user, _, answer = self.asked(prompt + base64.b64encode(CHALLENGE).decode()).rpartition(" ")
            return self.log_in(user, PASSWORD if answer == hmac_of(PASSWORD) else "")
        if words[0].upper() == "XOAUTH2":
            # In two steps alone: a token is too long for the command's line (RFC 4954, RFC 5034).
            user, _, token = ("" if words[1:] else self.asked(prompt)).partition("\1auth=Bearer ")
            return self.log_in(user.removeprefix("user="), PASSWORD if token == TOKEN + "\1\1" else "")
        first = base64.b64decode(words[1]).decode() if words[1:] else None
        if words[0].upper() == "LOGIN":
            user = first or self.asked(prompt + "VXNlcm5hbWU6")
            return self.log_in(user, self.asked(prompt + "UGFzc3dvcmQ6"))
        if words[0].upper() == "PLAIN":
            _, user, password = (first or self.asked(prompt)).split("\0")
            return self.log_in(user, password)
        return False

    def log_in(self, user, password):
        self.user = user if password == PASSWORD and user in self.host.users else None
        return self.user is not None

    def tokens(self):
        """Grants one request (RFC 6749, section 5.1)."""
        length = 0
        while line := self.line():
            name, _, value = line.partition(":")
            length = int(value) if name.lower() == "content-length" else length
        self.rfile.read(length)
        answer = json.dumps({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600})
        self.say("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close")
        self.say(f"Content-Length: {len(answer)}\r\n\r\n{answer}")

    def smtp(self):
        self.say(f"220 {self.host.name} ESMTP")
        while True:
            line = self.line()
            word = line.split(" ")[0].upper()
            if word == "EHLO":
                self.say("250-" + self.host.name)
                if not self.secure:
                    self.say("250-STARTTLS")
                elif shown := self.mechanisms():
                    self.say("250-AUTH " + " ".join(shown))
                self.say("250 8BITMIME")
            elif word == "STARTTLS" and not self.secure:
                self.say("220 go ahead")
                self.start_tls()
            elif word == "AUTH":
                self.say("235 in" if self.authenticate(line.split(" ")[1:], "334 ") else "535 no")
            elif word == "RCPT" and self.user:
                recipient = line.partition("<")[2].partition(">")[0]
                self.say("250 well")
            elif word == "DATA" and self.user:
                self.say("354 go ahead")
                while self.line() != ".":
                    pass
                sent.append((self.host.name, recipient))
                self.say("250 taken")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 well" if self.user else "530 log in first")

    def pop3(self):
        self.say("+OK " + self.host.name)
        user = ""
        while True:
            line = self.line()
            word, _, rest = line.partition(" ")
            word = word.upper()
            if word == "CAPA":
                self.say("+OK")
                self.say("UIDL" if self.secure else "STLS")
                if self.takes("plain"):
                    self.say("USER")
                if shown := self.mechanisms():
                    self.say("SASL " + " ".join(shown))
                self.say(".")
            elif word == "STLS" and not self.secure:
                self.say("+OK go ahead")
                self.start_tls()
            elif word == "USER":
                user = rest
                self.say("+OK" if self.takes("plain") else "-ERR not so")
            elif word == "PASS":
                self.say("+OK" if self.log_in(user, rest) else "-ERR no")
            elif word == "AUTH":
                self.say("+OK" if self.authenticate(line.split(" ")[1:], "+ ") else "-ERR no")
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

    def imap(self):
        self.say("* OK " + self.host.name)
        while True:
            tag, _, line = self.line().partition(" ")
            word, _, rest = line.partition(" ")
            word = word.upper()
            done = True
            if word == "CAPABILITY":
                shown = [" AUTH=" + mechanism for mechanism in self.mechanisms()]
                if not self.secure:
                    shown = [" STARTTLS"]
                if not self.takes("plain"):
                    shown += [" LOGINDISABLED"]
                self.say("* CAPABILITY IMAP4rev1" + "".join(shown))
            elif word == "STARTTLS" and not self.secure:
                self.say(tag + " OK go ahead")
                self.start_tls()
                continue
            elif word == "LOGIN" and self.takes("plain"):
                user, _, password = rest.partition(" ")
                done = self.log_in(user.strip('"'), password.strip('"'))
            elif word == "AUTHENTICATE":
                done = self.authenticate(rest.split(" "), "+ ")
            elif word == "SELECT" and self.user:
                self.say("* 1 EXISTS")
            elif word == "FETCH" and self.user:
                mail = MAIL.format(self.user)
                self.say("* 1 FETCH (RFC822 {%d}\r\n%s)" % (len(mail), mail))
            elif word == "LOGOUT":
                self.say("* BYE")
                self.say(tag + " OK done")
                return
            else:
                done = bool(self.user)
            self.say(tag + (" OK done" if done else " NO no"))


class Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request, client_address):
        # A client that breaks off is judged by what it says itself.
        pass


with open(sys.argv[1]) as lines:
    hosts = {host.address: host for host in map(Host, lines)}
for port in PORTS:
    threading.Thread(target=Listener(("0.0.0.0", port), Server).serve_forever, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
for name, recipient in sent:
    print(name, recipient)
