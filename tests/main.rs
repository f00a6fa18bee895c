//! Black-box tests of the program: one file per promise, each test's name a sentence.
//!
//! They start the real binary with a real configuration and talk to it over loopback. With
//! `ADIT_UNDER_TEST=/usr/bin/stunnel4` they start that program instead, to see that a test asks
//! for what stunnel does; what only adit promises is skipped then.

mod support;

mod mail_servers;
mod relay_plain_and_tls;
mod resumption;
mod starttls;
mod verification;
