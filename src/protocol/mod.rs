//! What is said before, between and after TLS, sans-IO: one file a protocol; and what first words
//! reveal. No socket, no clock: events in, actions out. Never in here: I/O, TLS.
#![forbid(unsafe_code)]

mod cifs;
mod claim;
mod commands;
mod connect;
mod connect_login;
mod error;
mod ftp;
mod hold;
pub(crate) mod ident;
mod imap;
mod io;
mod irc;
mod ldap;
mod login;
mod look;
mod mysql;
mod nntp;
mod ntlm;
mod offering;
mod offers;
mod opening;
mod pgsql;
mod pop3;
pub(crate) mod probing;
mod proxy;
mod script;
mod sieve;
mod smtp;
mod smtp_login;
mod socks;
mod socks_client;
#[cfg(test)]
mod tests;
mod xml;
mod xmpp;
mod xmpp_error;
mod xmpp_features;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{Authentication, DialogueOptions, MailProtocol, Protocol, Reception};
use crate::helper::{TokenAnswer, TokenQuestion};
use crate::incidents::Diagnosis;

pub(crate) use cifs::CifsError;
#[cfg(fuzzing)]
pub(crate) use claim::fuzz as fuzz_claims;
pub(crate) use claim::{Claim, NoHeader, Who, begins_so as begins_with_claim, read as read_claim};
pub(crate) use connect_login::NtlmError;
pub(crate) use error::{Awaited, ProtocolError, usual_ports};
pub(crate) use ldap::LdapError;
pub(crate) use login::LoginError;
use look::{Look, Then};
pub(crate) use mysql::MysqlError;
#[cfg(fuzzing)]
pub(crate) use ntlm::fuzz as ntlm_fuzz;
pub(crate) use offers::Offers;
pub(crate) use opening::{Opening, OwnTls, greeting};
pub(crate) use pgsql::PgsqlError;
pub(crate) use proxy::{Introduction, Secured, Shown};
use script::{offer, script};
pub(crate) use socks::SocksError;
pub(crate) use socks_client::RefusedBySocks;
pub(crate) use xmpp_error::XmppError;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Accepted: the client.
    Front,
    /// Connected: the server.
    Back,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Front => "client",
            Side::Back => "server",
        })
    }
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// The dialogue begins; given once, first.
    Start,
    /// Bytes came in from an end.
    Bytes(Side, &'a [u8]),
    /// An end will send no more.
    Eof(Side),
    /// The timer that was asked for ran out.
    Timer,
    /// The connection that was asked for is made, from this address.
    Connected(Option<SocketAddr>),
    /// It cannot be made.
    Unreachable(Unreachable),
    /// The question is answered: the name's addresses, none if it has none.
    Answer(&'a [IpAddr]),
    /// The question is answered: by a token, or why there is none.
    Token(&'a TokenAnswer),
}

/// Where a client asks to be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// An address.
    Address(SocketAddr),
    /// A name, to be resolved on our side, and a port.
    Name(String, u16),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Address(address) => address.fmt(f),
            Target::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// Why a connection cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// The service does not connect there.
    Forbidden,
    /// The name does not resolve.
    NoSuchName,
    /// ENETUNREACH
    Network,
    /// EHOSTUNREACH
    Host,
    /// ECONNREFUSED
    Refused,
    /// It took longer than TIMEOUTconnect.
    TimedOut,
    /// Anything else.
    Other,
}

/// What a dialogue needs to know from the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// The addresses of a name.
    Addresses(String),
    /// A token to log in with.
    Token(TokenQuestion),
}

/// What to do, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Write these bytes to that end.
    Send(Side, Vec<u8>),
    /// Give an `Event::Timer` after this long; a new one replaces it.
    Timer(Duration),
    /// Write a log line (level, text). Never payload.
    Log(u8, String),
    /// Keep what went wrong, though the dialogue goes on. The log is told by itself.
    Failed(Box<Diagnosis>),
    /// Connect the back there, before the session goes on; `Event::Connected` or `Event::Unreachable` tells
    /// how that went.
    Connect(Target),
    /// Leave the server, and connect it anew, with TLS, before the session goes on: as of [`Action::Connect`].
    ConnectAnew,
    /// Give an `Event::Answer` to this.
    Ask(Question),
    /// The program calls itself so: the server is to hear it once it is there.
    Named(Vec<u8>),
}

/// How the dialogue stands after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It goes on.
    More,
    /// Its part is over: the next stage begins.
    Next,
    /// Its part is over, as the client begins TLS: the handshake with it comes before the next stage.
    Tls,
    /// The client took its leave politely (QUIT, LOGOUT) before TLS: carry out the actions, then
    /// close both ends without a reset. No error.
    End,
}

/// A line may be this long, in bytes, its end not counted. RFC 5321 asks for 512, RFC 9051
/// suggests 8192.
pub(crate) const LINE_MAX: usize = 8 * 1024;
/// What one end may have said ahead of its turn, in bytes.
pub(crate) const AHEAD_MAX: usize = 64 * 1024;
/// A reply of the server may be this long, in bytes, in any number of lines: it is taken line by line.
pub(crate) const REPLY_MAX: usize = 1 << 20;
/// A client may give this many commands before the one that starts TLS.
pub(crate) const COMMANDS_MAX: u16 = 64;
/// How long a server-mode service waits for a client that begins with TLS at once, before it
/// speaks plain; stunnel's 200 ms.
pub(crate) const DIRECT_TLS_WAIT: Duration = Duration::from_millis(200);

/// How long a service with `acceptTLS = auto` waits, from its acceptance on, for a client that begins with
/// TLS at once, before a server that speaks first is heard. A wrong guess fails the client. Hence longer than
/// [`DIRECT_TLS_WAIT`]: TCP sends a hello that is lost in a LAN again after 200 ms at the earliest (Linux:
/// TCP_RTO_MIN), and old machines are slow. Connecting to a provider takes a good part of it anyway.
pub(crate) const HELLO_WAIT: Duration = Duration::from_millis(500);

/// A dialogue with one end or both, from `Event::Start` to `Progress::Next`.
pub(crate) trait Dialogue: fmt::Debug + Send {
    /// Takes an event and pushes what to do to `out`; that is to be carried out in order, also
    /// when an error is returned: a client that still speaks plain is told before it is cut.
    ///
    /// # Errors
    /// The first offence of either end. The dialogue is over then; feeding it again, as after
    /// `Next` or `Tls`, gives [`ProtocolError::Over`].
    fn feed(&mut self, event: Event<'_>, out: &mut Vec<Action>) -> Result<Progress, ProtocolError>;

    /// Gives back what an end said and the dialogue did not use. With STARTTLS that is, on the side of
    /// TLS, nothing unless no plain word was exchanged with it at all (a client that begins with TLS at
    /// once).
    fn take_rest(&mut self, side: Side) -> Vec<u8>;

    /// Whether it takes what an end says. One that it does not hear says it to the next stage.
    fn hears(&self, _side: Side) -> bool {
        true
    }

    /// How many bytes of an end it holds.
    #[cfg(test)]
    fn held(&self, side: Side) -> usize;
}

/// What a dialogue needs that no input gives, drawn for each connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fresh {
    /// Random bytes.
    pub random: [u8; 8],
    /// The same for a nonce of SCRAM (RFC 5802).
    pub nonce: [u8; 18],
    /// The time, in units of 100 ns since 1601 (Windows' FILETIME).
    pub time: u64,
}

impl Fresh {
    /// Whether the dialogue of `protocol` has a use for it.
    pub(crate) fn is_needed(protocol: Protocol, options: &DialogueOptions) -> bool {
        match protocol {
            Protocol::Connect => options.authentication == Some(Authentication::Ntlm),
            Protocol::Xmpp | Protocol::XmppServer => true,
            _ => false,
        }
    }
}

/// As [`begin`], where nothing needs to be fresh.
#[cfg(any(test, fuzzing))]
pub(crate) fn dialogue(
    protocol: Protocol,
    client: bool,
    options: &DialogueOptions,
) -> Box<dyn Dialogue> {
    begin(protocol, client, options, Fresh::default())
}

/// The dialogue of `protocol`, waiting for `Event::Start`. `client`: a plain client in front and a server
/// behind that speaks STARTTLS, or is reached through a proxy; otherwise the reverse.
pub(crate) fn begin(
    protocol: Protocol,
    client: bool,
    options: &DialogueOptions,
    fresh: Fresh,
) -> Box<dyn Dialogue> {
    match (protocol, client) {
        (Protocol::Smtp, true) => script(protocol, smtp::Client::new(options.host.as_deref())),
        (Protocol::Smtp, false) => script(protocol, smtp::Server::new()),
        (Protocol::Pop3, true) => script(protocol, pop3::Client::new()),
        (Protocol::Pop3, false) => script(protocol, pop3::Server::new()),
        (Protocol::Imap, true) => script(protocol, imap::Client::new()),
        (Protocol::Imap, false) => script(protocol, imap::Server::new()),
        (Protocol::Nntp, true) => script(protocol, nntp::Client::Greeting),
        (Protocol::Nntp, false) => script(protocol, nntp::Server::Greeting),
        (Protocol::Connect, _) => script(protocol, connect::Client::new(options, fresh)),
        (Protocol::Pgsql, true) => script(protocol, pgsql::Client::Request),
        (Protocol::Pgsql, false) => offer(protocol, pgsql::Server::new()),
        (Protocol::Cifs, true) => script(protocol, cifs::Client::Request),
        (Protocol::Cifs, false) => offer(protocol, cifs::Server),
        (Protocol::Mysql, true) => script(protocol, mysql::Client::Greeting),
        (Protocol::Mysql, false) => script(protocol, mysql::Server::Greeting),
        (Protocol::Lmtp, true) => script(protocol, smtp::Client::of_lmtp(options.host.as_deref())),
        (Protocol::Lmtp, false) => script(protocol, smtp::Server::greeting()),
        (Protocol::Sieve, true) => script(protocol, sieve::Client::new()),
        (Protocol::Sieve, false) => script(protocol, sieve::Server::new()),
        (Protocol::Ftp, true) => script(protocol, ftp::Client::new()),
        (Protocol::Ftp, false) => script(protocol, ftp::Server::new()),
        (Protocol::Irc, true) => script(protocol, irc::Client::Ask),
        (Protocol::Irc, false) => offer(protocol, irc::Server::default()),
        (Protocol::Xmpp | Protocol::XmppServer, true) => script(protocol, xmpp::Client::Header),
        (Protocol::Xmpp | Protocol::XmppServer, false) => offer(protocol, xmpp::Server::new(fresh)),
        (Protocol::Ldap, _) => script(protocol, ldap::Client::Request),
        (Protocol::Socks, _) => Box::new(socks::Server::new()),
        // What it has to say needs [`header`].
        (Protocol::Proxy, _) => Box::new(proxy::Header::unsaid()),
    }
}

/// Asks a SOCKS server, within TLS, to connect there.
pub(crate) fn socks_client(target: Target) -> Box<dyn Dialogue> {
    script::within(Protocol::Socks, socks_client::Client::Start(target))
}

/// The dialogue once TLS has begun; `client` as of [`begin`], `server` as of [`login()`].
pub(crate) fn within(
    protocol: Protocol,
    client: bool,
    options: &DialogueOptions,
    server: Option<&str>,
) -> Box<dyn Dialogue> {
    match protocol {
        Protocol::Mysql => script::within(protocol, mysql::Login::new(client)),
        Protocol::Sieve => script::within(protocol, sieve::Again::Ask),
        Protocol::Smtp => script::within(protocol, smtp_login::Login::new(options, server)),
        Protocol::Xmpp | Protocol::XmppServer => {
            script::within(protocol, xmpp_features::Features::Client(0))
        }
        _ => script::within(protocol, pgsql::Within::new()),
    }
}

/// Logs in for a program, within TLS; `greeted`: it has been greeted already; `by_token`: by OAuth2; `server`: its name.
pub(crate) fn login(
    mail: MailProtocol,
    by_token: bool,
    options: &DialogueOptions,
    greeted: bool,
    server: Option<&str>,
    fresh: Fresh,
) -> Box<dyn Dialogue> {
    script::within(
        mail.into(),
        login::Login::new(mail, by_token, options, greeted, server, fresh),
    )
}

/// Holds a program while there is no server: what needs none is answered, the next command waits. `Event::Unreachable`
/// tells it that its time is over. `logs_in`: adit takes its login.
pub(crate) fn held(options: &DialogueOptions, logs_in: bool) -> Box<dyn Dialogue> {
    let held = hold::Held::new(options.host.as_deref(), logs_in);
    script::within(Protocol::Smtp, held)
}

/// Hears the server's greeting where a program may be held. One that has been `greeted` is held, and EHLO gives this name
/// of it; another hears the greeting.
pub(crate) fn arrival(greeted: Option<&str>) -> Box<dyn Dialogue> {
    script::within(Protocol::Smtp, hold::Arrival::new(greeted))
}

/// The dialogue for a client that did not begin TLS, in a protocol where it may ask for something all the same.
pub(crate) fn unprotected(protocol: Protocol) -> Box<dyn Dialogue> {
    script(protocol, pgsql::Cancellation::Request)
}

/// Tells the server first of all where the client comes from.
pub(crate) fn header(
    options: &DialogueOptions,
    introduction: &Introduction<'_>,
) -> Box<dyn Dialogue> {
    Box::new(proxy::Header::new(options.proxy_version, introduction))
}

/// Looks for `wait` whether a client begins with TLS, while there is no server yet: `Progress::Tls`, or
/// `Progress::Next`.
pub(crate) fn look(wait: Duration) -> Box<dyn Dialogue> {
    Box::new(Look::new(wait, Then::Next))
}

/// The same with the server at hand; a client that does not begin with TLS is received in this way. It ends
/// with `Progress::Tls`, or with `Progress::Next` for a client that goes on in plain and may. `logs_in`: adit logs in for
/// it, so it is offered what adit can take.
pub(crate) fn receive(reception: Reception, wait: Duration, logs_in: bool) -> Box<dyn Dialogue> {
    let then = match reception {
        Reception::Offered(None) => Then::Words,
        Reception::Offered(Some(mail)) => {
            Then::Dialogue(offer(mail.into(), offering::Offering::new(mail, logs_in)))
        }
        Reception::Required(mail) => Then::Dialogue(match mail {
            MailProtocol::Smtp => offer(mail.into(), smtp::Server::greeting()),
            MailProtocol::Pop3 => offer(mail.into(), pop3::Server::without_apop(logs_in)),
            MailProtocol::Imap => offer(mail.into(), imap::Server::Greeting),
        }),
    };
    Box::new(Look::new(wait, then))
}
