//! Whole configurations, from text to what is served or said.

mod accepted;
mod admission;
mod balancers;
mod dialogue;
mod errors;
mod hold;
mod login;
mod mutations;
mod names;
mod noted;
mod probe;
mod psk;
mod quota;
mod readme;
mod served;
mod servers;
mod transparent;

use std::path::{Path, PathBuf};

use super::load::load_from;
use super::syntax::Files;
use super::*;

/// No file but the text itself.
struct NoFiles;

impl Files for NoFiles {
    fn expand(&self, _: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }

    fn read(&self, _: &Path) -> Result<Vec<u8>, String> {
        Err("No such file or directory".to_owned())
    }
}

fn sources(text: &str) -> Sources {
    Sources {
        text: Some(("test.conf".to_owned(), text.into())),
        ..Sources::default()
    }
}

fn load_text(text: &str) -> Result<Loaded, Diagnostics> {
    load_from(&sources(text), &[], 4, &NoFiles)
}

/// A configuration that is served; its warnings and notes, one line each.
#[track_caller]
fn served(text: &str) -> (Config, Vec<String>) {
    match load_text(text) {
        Ok(loaded) => {
            let said = loaded
                .diagnostics
                .iter()
                .map(|d| format!("{}: {}", d.severity, d.one_line()));
            (loaded.config, said.collect())
        }
        Err(diagnostics) => panic!("{text}\n{diagnostics}"),
    }
}

/// The errors of a configuration, one line each.
#[track_caller]
fn errors(text: &str) -> Vec<String> {
    match load_text(text) {
        Ok(_) => panic!("this is served:\n{text}"),
        Err(diagnostics) => {
            let errors = diagnostics
                .0
                .iter()
                .filter(|d| d.severity == Severity::Error);
            // Whatever is wrong, what would be right is told.
            let told =
                |error: &&Diagnostic| assert!(error.help.is_some(), "no help: {}", error.text);
            errors.inspect(told).map(Diagnostic::one_line).collect()
        }
    }
}

/// A client service that is served without a word, and `lines` besides.
fn client(lines: &str) -> String {
    format!("[s]\nclient = yes\naccept = 127.0.0.1:1\nconnect = h:2\nverifyServer = yes\n{lines}\n")
}
