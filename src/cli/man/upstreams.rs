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
}
