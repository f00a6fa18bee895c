//! `PSKsecrets` and `PSKidentity`: what they mean for the other options of a service. Never in here: the
//! file with the keys.

use super::checks::{Faults, Meant};
use super::diagnostic::Severity;
use super::service::{Service, TlsVersion};

/// The suites of TLS 1.3 whose hash is SHA-256, which is the one that pre-shared keys are used with.
pub(crate) const SUITES: [&str; 2] = ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];

/// Brings versions and suites in line: pre-shared keys are of TLS 1.3, which a service without a certificate
/// then speaks alone, and a client in any case. Comes after the limits of versions are known. `identity`: the
/// section itself gave one; as a default for every service it counts where it has a use.
pub(super) fn limit(service: &mut Service, identity: bool, meant: &Meant, faults: &mut Faults) {
    if service.tls.psk_secrets.is_none() {
        if identity && !meant.contains("PSKsecrets") && !service.origins.has("PSKsecrets") {
            let text = "`PSKidentity` has no effect without `PSKsecrets`";
            let help = "`PSKsecrets = FILE` names the file with its key";
            faults.push(Severity::Note, "PSKidentity", text, help);
        }
        return;
    }
    if identity && !service.client && !meant.contains("client") {
        let text = "PSK identity is ignored in the server mode";
        let help = "a server takes each identity that is in the file of `PSKsecrets`";
        faults.push(Severity::Note, "PSKidentity", text, help);
    }
    if service
        .tls
        .version_max
        .is_some_and(|max| max < TlsVersion::V1_3)
    {
        let mut limits = ["sslVersionMax", "sslVersion", "options"].into_iter();
        let option = limits.find(|option| service.origins.has(option));
        faults.error(
            option.unwrap_or("PSKsecrets"),
            "`PSKsecrets` needs TLS 1.3, which is left out here",
            "adit has no PSK suites of TLS 1.2: let both sides speak TLS 1.3 (`sslVersionMax = TLSv1.3`)",
        );
        return;
    }
    let suites = service.tls.ciphersuites.as_deref();
    if suites.is_some_and(|list| !list.split(':').any(|name| SUITES.contains(&name.trim()))) {
        faults.error(
            "ciphersuites",
            "`PSKsecrets` needs a suite of TLS 1.3 with SHA-256, and this list has none",
            &format!("add {}", SUITES.join(" or ")),
        );
    }
    let certificate = service.tls.cert.is_some() || meant.contains("cert");
    if service.client || !certificate {
        service.tls.version_min = Some(TlsVersion::V1_3);
    }
}
