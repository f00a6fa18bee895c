//! PostgreSQL from Debian's package, with a database of its own in a temporary folder.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::certs::Pair;
use super::daemon::Daemon;
use super::openssl::{Tool, run};
use super::{apart, own_loopback};

/// The superuser's password; by SCRAM alone.
pub const PASSWORD: &str = "geheim";

/// The user that it runs as: it refuses root.
const NOBODY: u32 = 65534;

const BIN: &str = "usr/lib/postgresql/15/bin";

/// Where its programs are.
fn bin() -> PathBuf {
    let unpacked = apart::file(BIN);
    match unpacked.is_dir() {
        true => unpacked,
        false => Path::new("/").join(BIN),
    }
}

/// Whether it is there.
pub fn is_there() -> bool {
    bin().join("initdb").is_file()
}

/// See the module.
pub struct Postgres {
    /// Where it listens.
    pub address: SocketAddr,
    _daemon: Daemon,
    _folder: TempDir,
}

impl Postgres {
    /// With TLS by this certificate, or without. `host`: what may connect, `hostssl` or `host`.
    #[track_caller]
    pub fn start(pair: Option<&Pair>, host: &str) -> Postgres {
        let folder = tempfile::tempdir().expect("a folder");
        let here = folder.path();
        fs::set_permissions(here, fs::Permissions::from_mode(0o700)).expect("chmod");
        fs::write(here.join("password"), PASSWORD).expect("writing");
        let tls = pair.map_or(String::new(), |pair| {
            fs::copy(&pair.cert, here.join("cert")).expect("copying");
            fs::copy(&pair.key, here.join("key")).expect("copying");
            fs::set_permissions(here.join("key"), fs::Permissions::from_mode(0o600))
                .expect("chmod");
            format!(
                "ssl = on\nssl_cert_file = '{here}/cert'\nssl_key_file = '{here}/key'\n",
                here = here.display()
            )
        });
        for file in ["", "password", "cert", "key"] {
            let file = here.join(file);
            if file.exists() {
                chown(file, Some(NOBODY), Some(NOBODY)).expect("chown");
            }
        }
        let data = here.join("data");
        let made = run(Command::new(bin().join("initdb"))
            .args([
                "--no-sync",
                "--auth=scram-sha-256",
                "--username=postgres",
                "--locale=C",
            ])
            .arg(format!("--pwfile={}", here.join("password").display()))
            .arg(&data)
            .current_dir(here)
            .uid(NOBODY)
            .gid(NOBODY));
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let address = SocketAddr::from((own_loopback(), 5432));
        let conf = format!(
            "listen_addresses = '{}'\nport = 5432\nunix_socket_directories = '{}'\nfsync = off\n\
             max_connections = 20\nshared_buffers = 1MB\n{tls}",
            address.ip(),
            here.display()
        );
        let hba = format!("{host} all all 127.0.0.0/8 scram-sha-256\n");
        for (file, text) in [("postgresql.conf", conf), ("pg_hba.conf", hba)] {
            fs::write(data.join(file), text).expect("writing");
        }
        let mut command = Command::new(bin().join("postgres"));
        command
            .arg("-D")
            .arg(&data)
            .current_dir(here)
            .uid(NOBODY)
            .gid(NOBODY);
        Postgres {
            _daemon: Daemon::start("postgres", &mut command, here, address),
            address,
            _folder: folder,
        }
    }
}

/// psql for this statement, with these variables in its environment.
#[track_caller]
pub fn psql(address: SocketAddr, environment: &[(&str, &str)], statement: &str) -> Tool {
    let mut command = Command::new("psql");
    command
        .args([
            "--no-psqlrc",
            "-At",
            "-h",
            &address.ip().to_string(),
            "-p",
            &address.port().to_string(),
        ])
        .args(["-U", "postgres", "-c", statement, "postgres"])
        .env("PGPASSWORD", PASSWORD)
        .env("PGCONNECT_TIMEOUT", "30")
        .envs(environment.iter().copied());
    let mut tool = Tool::start(&mut command);
    tool.end_input();
    tool
}
