//! Whether a start could bind its addresses now: for `adit check`. It binds without listening, and an
//! address that the running adit holds counts as free.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::Uid;

use super::bind_error::BindError;
use super::holder;
use super::{listeners, metrics};
use crate::config::{Config, Diagnostic, Global, Service, Severity, diagnostic_at};
use crate::ipc::words::Accept;

/// A warning for each address that could not be bound now; `running` is the supervisor of the adit
/// that runs with this configuration. No error: what stands in the way may be gone by the start.
pub(crate) fn missing(
    config: &Config,
    accept: &[Vec<Accept>],
    running: Option<u32>,
) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = metrics_missing(&config.global, running)
        .into_iter()
        .collect();
    for (service, addresses) in config.services.iter().zip(accept) {
        for address in addresses {
            let Err(error) = try_one(service, address) else {
                continue;
            };
            // Ports below 1024 are tried by root alone.
            let root = Uid::effective().is_root();
            let tells_nothing = error.raw_os_error() == Some(libc::EACCES) && !root;
            let error = BindError::of(address, &error);
            if tells_nothing || running.is_some_and(|process| error.is_held_by(process)) {
                continue;
            }
            let text = format!(
                "Service [{}]: a start could not bind {}",
                service.name,
                error.text()
            );
            let diagnostic = diagnostic_at(&service.origins, "accept", text).help(error.remedy());
            found.push(Diagnostic {
                severity: Severity::Warning,
                ..diagnostic
            });
        }
    }
    found
}

fn metrics_missing(global: &Global, running: Option<u32>) -> Option<Diagnostic> {
    let error = metrics::try_address(global.metrics.as_ref()?, running).err()?;
    let text = format!("a start could not bind metrics to {}", error.text());
    let diagnostic = diagnostic_at(&global.origins, "metrics", text).help(error.remedy());
    Some(Diagnostic {
        severity: Severity::Warning,
        ..diagnostic
    })
}

fn try_one(service: &Service, address: &Accept) -> io::Result<()> {
    match address {
        Accept::Tcp(tcp) if tcp.port() != 0 => listeners::bound(service, address, *tcp).map(drop),
        Accept::Unix(path) => try_unix(path),
        Accept::Tcp(_) | Accept::Passed(_) => Ok(()),
    }
}

/// A socket that is left over would be replaced.
fn try_unix(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.file_type().is_socket() && holder::of_unix(path).is_none() => Ok(()),
        Ok(_) => Err(Errno::EADDRINUSE.into()),
        Err(_) => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            fs::metadata(folder).map(drop)
        }
    }
}
