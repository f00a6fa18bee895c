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
}
