//! stunnel's options that adit does not serve: without effect here, or refused.

use super::idle;
use super::option::{OptionDef, Scope, Verdict};

const RANDOM: &str = "the kernel seeds the random numbers";
const WINDOWS: &str = "it is for the Windows version";
const ENGINE: &str =
    "adit's TLS library has no engines and no providers; give certificates and keys as files";

/// An option that is accepted and does nothing.
const fn note(
    name: &'static str,
    scope: Scope,
    syntax: &'static str,
    doc: &'static str,
    why: &'static str,
) -> OptionDef {
    OptionDef::new(name, scope, syntax, doc).verdict(Verdict::NoEffect(why))
}

/// An option that will never be served, or not by this build.
const fn refused(
    name: &'static str,
    scope: Scope,
    syntax: &'static str,
    doc: &'static str,
    why: &'static str,
) -> OptionDef {
    OptionDef::new(name, scope, syntax, doc).verdict(Verdict::Refused(why))
}

use Scope::{Global, Service};

/// The table.
#[rustfmt::skip]
pub(super) static OPTIONS: &[OptionDef] = &[
    // Without effect.
    note("compression", Global, "deflate | zlib", "compression by TLS", "TLS compression leaks secrets and is gone from TLS 1.3"),
    note("EGD", Global, "EGD_PATH", "socket of an entropy gathering daemon", RANDOM),
    note("RNDbytes", Global, "BYTES", "bytes to read from seed files", RANDOM),
    note("RNDfile", Global, "FILE", "file with random seed data", RANDOM),
    note("RNDoverwrite", Global, "yes | no", "write new random data to the seed files", RANDOM),
    note("iconActive", Global, "ICON_FILE", "icon for established connections", WINDOWS),
    note("iconError", Global, "ICON_FILE", "icon for a configuration that is not valid", WINDOWS),
    note("iconIdle", Global, "ICON_FILE", "icon for no connection", WINDOWS),
    note("taskbar", Global, "yes | no", "the icon in the task bar", WINDOWS),
    note("renegotiation", Service, "yes | no", "TLS renegotiation", "adit never renegotiates, in either setting"),
    note("stack", Service, "BYTES", "stack size of a connection's thread", "a connection has no thread of its own"),
    // Refused.
    refused("engine", Global, "auto | ENGINE_ID", "cryptographic engine", ENGINE),
    refused("engineCtrl", Global, "COMMAND[:PARAMETER]", "command for the engine", ENGINE).secret(),
    refused("engineDefault", Global, "TASK_LIST", "tasks of the engine", ENGINE),
    refused("provider", Global, "PROVIDER_ID", "OpenSSL provider", ENGINE),
    refused("providerParameter", Global, "PROVIDER_ID:PARAMETER=VALUE", "parameter of a provider", ENGINE).secret(),
    refused("CAengine", Service, "CERT_ID", "trusted certificates from an engine", ENGINE),
    refused("CAstore", Service, "URI", "trusted certificates from a store", ENGINE),
    refused("engineId", Service, "ENGINE_ID", "engine of the service", ENGINE),
    refused("engineNum", Service, "NUMBER", "engine of the service by number", ENGINE),
    refused("sessiond", Service, "HOST:PORT", "network cache of sessions", "the sessiond protocol is extinct; sessions resume on every worker without it").idle(idle::empty),
];
