//! What only the build knows and `adit -version` tells: the target, the commit, and the versions of
//! the libraries.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// The crates that a security notice may name.
const LIBRARIES: [&str; 5] = [
    "rustls",
    "rustls-webpki",
    "aws-lc-rs",
    "aws-lc-sys",
    "s2n-tls-sys",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=Cargo.lock");
    let target = env::var("TARGET").unwrap_or_default();
    // Said here too, since a library may fail to compile before this crate gets its turn.
    if !is_served() {
        println!(
            "cargo::error={}",
            include_str!("src/unserved_target.txt").trim()
        );
    }
    // Not ADIT_*: `cargo run` passes these on, and adit takes those for options.
    println!("cargo::rustc-env=BUILT_FOR={target}");
    println!("cargo::rustc-env=BUILT_WITH={}", libraries());
    println!(
        "cargo::rustc-env=BUILT_FROM={}",
        commit().unwrap_or_default()
    );
}

/// Whether adit is made for this target; as in `src/lib.rs`.
fn is_served() -> bool {
    let is = |name: &str, values: &[&str]| {
        let value = env::var(name).unwrap_or_default();
        values.contains(&&*value)
    };
    is("CARGO_CFG_TARGET_OS", &["linux"])
        && is("CARGO_CFG_TARGET_POINTER_WIDTH", &["64"])
        && is("CARGO_CFG_TARGET_ARCH", &["x86_64", "aarch64", "riscv64"])
}

/// `rustls 0.23.1, ...`, from Cargo.lock.
fn libraries() -> String {
    let lock = fs::read_to_string("Cargo.lock").unwrap_or_default();
    let packages = lock.split("[[package]]").filter_map(|package| {
        let value = |name: &str| {
            let mut lines = package.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))?;
            Some(line.trim_matches('"'))
        };
        let name = value("name")?;
        let version = value("version")?;
        LIBRARIES
            .contains(&name)
            .then(|| format!("{name} {version}"))
    });
    packages.collect::<Vec<_>>().join(", ")
}

/// The commit that a release is built from. Other builds name none, so that a commit recompiles
/// nothing; nor does a build from a source package, or from inside another project's repository.
fn commit() -> Option<String> {
    if env::var("PROFILE").as_deref() != Ok("release") {
        return None;
    }
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let here = env::var_os("CARGO_MANIFEST_DIR")?;
    if fs::canonicalize(top).ok()? != fs::canonicalize(Path::new(&here)).ok()? {
        return None;
    }
    for watched in ["bin", "src", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&[
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
        "--exclude=*",
    ])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
