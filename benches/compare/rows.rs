//! The rows of the table: which work, in which mode, in which unit, and what adit is to reach.

/// Which side of the proxy speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// TLS in front, plain behind.
    Server,
    /// Plain in front, TLS behind.
    Client,
}

/// The server certificate's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// ECDSA on P-256.
    P256,
    /// RSA of 2048 bits.
    Rsa2048,
}

/// The one TLS version that the load generator's end speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// What is done while CPU is counted; numbers are for a work factor of 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// This many connections: connect, handshake, a byte there and back, a clean close. In
    /// microseconds each.
    Handshakes(u64),
    /// This many bytes from the upstream to the client. In milliseconds per 10^9 bytes.
    Down(u64),
    /// This many bytes from the client to the upstream. In milliseconds per 10^9 bytes.
    Up(u64),
    /// Messages of 64 bytes, there and back, over 16 connections. In microseconds each.
    Echo(u64),
    /// This many connections open at once and silent: proportional set size in KiB each.
    Idle(u64),
}

/// What adit is to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// At most this part of what stunnel needs in the same run.
    OfStunnel(f64),
    /// At most this much, in the row's unit.
    AtMost(f64),
}

/// A row.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// For `--rows` and JSON.
    pub id: &'static str,
    /// For people.
    pub label: &'static str,
    /// Which side speaks TLS.
    pub mode: Mode,
    /// The TLS server's key.
    pub key: Key,
    /// The TLS version.
    pub version: Version,
    /// Every handshake must resume (`true`) or none may (`false`).
    pub resumed: bool,
    /// Client mode: the proxy checks the server's chain and name.
    pub verify: bool,
    /// What is done.
    pub work: Work,
    /// What adit is to reach.
    pub goal: Goal,
}

impl Row {
    /// The unit of its numbers.
    pub fn unit(&self) -> &'static str {
        match self.work {
            Work::Handshakes(_) => "us",
            Work::Down(_) | Work::Up(_) => "ms/GB",
            Work::Echo(_) => "us/msg",
            Work::Idle(_) => "KiB",
        }
    }
}

const HANDSHAKES: Work = Work::Handshakes(1500);
const BULK: u64 = 1_000_000_000;

const fn server(id: &'static str, label: &'static str, work: Work, goal: Goal) -> Row {
    Row {
        id,
        label,
        mode: Mode::Server,
        key: Key::P256,
        version: Version::Tls13,
        resumed: false,
        verify: false,
        work,
        goal,
    }
}

const fn client(id: &'static str, label: &'static str, work: Work, goal: Goal) -> Row {
    Row {
        mode: Mode::Client,
        ..server(id, label, work, goal)
    }
}

/// The rows of `--no-aes`.
pub const NO_AES_ROWS: &[Row] = &[
    server(
        "server-bulk-encrypt",
        "bulk, the proxy encrypts",
        Work::Down(BULK),
        NO_AES,
    ),
    server(
        "server-bulk-decrypt",
        "bulk, the proxy decrypts",
        Work::Up(BULK),
        NO_AES,
    ),
    client(
        "client-bulk-down",
        "client mode: bulk down",
        Work::Down(BULK),
        NO_AES,
    ),
    client(
        "client-bulk-up",
        "client mode: bulk up",
        Work::Up(BULK),
        NO_AES,
    ),
];
const NO_AES: Goal = Goal::OfStunnel(0.30);

/// All rows of a run that hides nothing.
pub const ROWS: &[Row] = &[
    server(
        "server-handshake-p256",
        "TLS 1.3 full handshake, P-256",
        HANDSHAKES,
        Goal::OfStunnel(0.30),
    ),
    Row {
        key: Key::Rsa2048,
        ..server(
            "server-handshake-rsa2048",
            "TLS 1.3 full handshake, RSA-2048",
            HANDSHAKES,
            Goal::OfStunnel(0.34),
        )
    },
    Row {
        version: Version::Tls12,
        ..server(
            "server-handshake-tls12",
            "TLS 1.2 full handshake, P-256",
            HANDSHAKES,
            Goal::OfStunnel(0.30),
        )
    },
    Row {
        resumed: true,
        ..server(
            "server-resumed-tls13",
            "TLS 1.3 resumed",
            HANDSHAKES,
            Goal::OfStunnel(0.37),
        )
    },
    Row {
        resumed: true,
        version: Version::Tls12,
        ..server(
            "server-resumed-tls12",
            "TLS 1.2 resumed",
            HANDSHAKES,
            Goal::OfStunnel(0.32),
        )
    },
    server(
        "server-bulk-encrypt",
        "bulk, the proxy encrypts",
        Work::Down(BULK),
        Goal::OfStunnel(0.70),
    ),
    server(
        "server-bulk-decrypt",
        "bulk, the proxy decrypts",
        Work::Up(BULK),
        Goal::OfStunnel(0.65),
    ),
    server(
        "server-echo",
        "64-byte echo, 16 connections",
        Work::Echo(32_000),
        Goal::OfStunnel(0.60),
    ),
    server(
        "server-idle",
        "idle connection (PSS)",
        Work::Idle(1000),
        Goal::AtMost(8.0),
    ),
    client(
        "client-handshake",
        "client mode: full handshake",
        HANDSHAKES,
        Goal::OfStunnel(0.34),
    ),
    Row {
        verify: true,
        ..client(
            "client-handshake-verified",
            "client mode: the same, verified",
            HANDSHAKES,
            Goal::OfStunnel(0.40),
        )
    },
    Row {
        resumed: true,
        ..client(
            "client-resumed",
            "client mode: resumed",
            HANDSHAKES,
            Goal::OfStunnel(0.45),
        )
    },
    client(
        "client-bulk-down",
        "client mode: bulk down",
        Work::Down(BULK),
        Goal::OfStunnel(0.65),
    ),
    client(
        "client-bulk-up",
        "client mode: bulk up",
        Work::Up(BULK),
        Goal::OfStunnel(0.70),
    ),
    client(
        "client-idle",
        "client mode: idle (PSS)",
        Work::Idle(1000),
        Goal::AtMost(8.0),
    ),
];
