//! Black-box tests of the program: one file for each promise, each test's name a sentence.
//!
//! They start the real binary with a real configuration and talk to it over loopback. With
//! `PROGRAM_UNDER_TEST=/usr/bin/stunnel4` they start that program instead, to check that a test asks
//! for what stunnel does; tests of what only adit promises are then skipped.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "in what tests share, as in tests"
)]

mod support;

mod accept_auto;
mod accept_clients;
mod accept_proxy;
mod add;
mod admission;
mod advice;
mod alpn;
mod audit;
mod backend_offers;
mod bad_input;
mod both_ends;
mod bounded_memory;
mod ca;
mod cert_watch;
mod chat;
mod cipher_order;
mod command_line;
mod config_errors;
mod containers;
mod control;
mod counters;
mod databases;
mod dialogues_of_stunnel;
mod diff_stunnel;
mod differences;
mod directories;
mod encrypted_keys;
mod examples;
mod failover;
mod failures;
mod first_byte;
mod happy_eyeballs;
mod health_checks;
mod hold;
mod ident;
mod inetd;
mod keys_in_memory;
mod libwrap;
mod limits;
mod listen_in;
mod log_formats;
mod log_repeats;
mod logins;
mod logs;
mod mail_programs;
mod mail_servers;
mod metrics;
mod more_machines;
mod moved_addresses;
mod must_staple;
mod names;
mod network;
mod oauth;
mod ocsp;
mod ocsp_old_tls;
mod old_generations;
mod old_mail;
mod old_tls;
mod old_workers;
mod older_kernels;
mod orders;
mod other_dialogues;
mod postgres;
mod privileges;
mod probes;
mod programs;
mod programs_beside;
mod proofs;
mod proxies;
mod proxy_headers;
mod psk;
mod published_files;
mod readme;
mod redirect;
mod relay_plain_and_tls;
mod reload;
mod remedies;
mod resumption;
mod revocation;
mod security_level;
mod server_names;
mod signature_algorithms;
mod socket_options;
mod socks;
mod spares;
mod standing_still;
mod stapling;
mod start_and_stop;
mod starttls;
mod status;
mod stunnel_compat;
mod subject_checks;
mod supervision;
mod systemd;
mod taken_addresses;
mod taken_over;
mod tls_offences;
mod transparent;
mod upgrade;
mod verification;
