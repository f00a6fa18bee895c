"""An old mail program: it speaks no TLS, and knows what `adit add` told it to type.

It reads lines of

    smtp|pop3|imap HOST PORT USER PASSWORD ADDRESS, with a tab between them,

and for each logs in there as Outlook Express does (AUTH LOGIN, USER and PASS, LOGIN): sends a mail to ADDRESS, or
fetches the one that is there. It prints each line that failed, and why.
"""

import concurrent.futures
import imaplib
import poplib
import smtplib
import sys

MAIL = "Subject: to {}\r\n\r\n..dots\r\nend\r\n"


def smtp(host, port, user, password, address):
    with smtplib.SMTP(host, port, timeout=60) as program:
        program.user, program.password = user, password
        program.ehlo()
        program.auth("LOGIN", program.auth_login, initial_response_ok=False)
        if refused := program.sendmail(address, [address], MAIL.format(address)):
            raise ValueError(refused)


def pop3(host, port, user, password, _address):
    program = poplib.POP3(host, port, timeout=60)
    program.user(user)
    program.pass_(password)
    _, lines, _ = program.retr(1)
    if lines != MAIL.format(user).encode().splitlines():
        raise ValueError(lines)
    program.quit()


def imap(host, port, user, password, _address):
    program = imaplib.IMAP4(host, port, timeout=60)
    program.login(user, password)
    program.select()
    _, found = program.fetch("1", "(RFC822)")
    if found[0][1] != MAIL.format(user).encode():
        raise ValueError(found)
    program.logout()


def run(line):
    mail, host, port, user, password, address = line.split("\t")
    try:
        {"smtp": smtp, "pop3": pop3, "imap": imap}[mail](host, int(port), user, password, address)
        return None
    except Exception as error:
        return f"{line}: {error!r}"


with concurrent.futures.ThreadPoolExecutor(8) as pool:
    for failure in pool.map(run, sys.stdin.read().splitlines()):
        if failure:
            print(failure)
