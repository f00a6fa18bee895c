//! The manual's "Servers and their addresses": how one of them is chosen, and what becomes of those that do not answer.

use super::roff::Page;

/// The section.
pub(super) fn section(page: &mut Page) {
    page.section("Servers and their addresses");
    page.text(
        "The entries of `connect` are tried one after the other, in the order that `failover` says. A name may have several addresses: these are tried side by side, \
         the two families in turn. The next begins 250 ms after the last (sooner where a name has so many that `TIMEOUTconnect` would be over), or at once if that fails; the first that connects is taken, and the others are closed. \
         `TIMEOUTconnect` is for a whole name. An address that was slower than one that began later comes last for ten minutes, in all workers, and if that one was of the other family, \
         its whole family: IPv6 that leads nowhere delays one client.",
    );
    page.paragraph(
        "Names are resolved when the configuration is loaded, every `resolveInterval` seconds from then on, and when all addresses have failed; with `delay = yes` at each connection instead. \
         New connections follow a name that moves. Where DNS does not answer, a name keeps the addresses that it had, also over a reload; an answer that there is no such name counts, and then \
         each connection asks for it. The log tells of a change on level 6, of an outage once on level 4, and of its end on level 5.",
    );
    page.paragraph(
        "With `probe` each address in `connect` is tried every so many seconds, whether there are clients or not, and a second after its first failure. A probe goes as far as adit can go without a client: it connects \
         (from `local`, with `socket`), makes the handshake in client mode without `protocol`, by the service's own certificates and checks, and with smtp, lmtp, pop3, imap, sieve, nntp and ftp, or at mail's ports, hears the greeting and \
         says QUIT or LOGOUT. With other protocols, STARTTLS included, TLS is not begun, and nothing is said to what is behind a proxy. All of it must be done within `TIMEOUTconnect`. \
         An address that fails twice in a row comes after all others until it answers; when all fail, they are tried as ever. One worker looks for all. \
         The log tells of each change (levels 3 and 5), `adit status` of those that fail, and `/health` (`metrics`) answers 503 while a service has none left. \
         No more than 30 addresses of a service can be out of use. Programs of `exec`, `redirect`, `delay = yes`, `transparent = destination` and MySQL are not probed.",
    );
}
