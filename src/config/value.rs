//! Values that options of several kinds share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Where a value was written: a file and its line, an `ADIT_*` variable, or a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The file's path as it was named, or `environment variable ADIT_X`, or `flag --x`.
    pub place: Arc<str>,
    /// The line, from 1; 0 where there is none (environment, flags).
    pub line: u32,
    /// The line as it was written, for messages; a secret's value is blotted out.
    pub text: Arc<str>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.place),
            line => write!(f, "{}:{line}", self.place),
        }
    }
}

/// Where each option that was given was written, by its canonical name (`CAfile`). An option that
/// may be repeated has a place for each time, in order. `""` is the section's own line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Origins(BTreeMap<&'static str, Vec<Origin>>);

impl Origins {
    /// None given.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds the place where `option` was given (again).
    pub(crate) fn insert(&mut self, option: &'static str, origin: Origin) {
        self.0.entry(option).or_default().push(origin);
    }

    /// Forgets that `option` was given.
    pub(super) fn remove(&mut self, option: &str) {
        self.0.remove(option);
    }

    /// Where the value that counts was given: the last place.
    pub(crate) fn get(&self, option: &str) -> Option<&Origin> {
        self.all(option).last()
    }

    /// Every place where `option` was given, in order: the n-th `accept` stands at index n.
    pub(crate) fn all(&self, option: &str) -> &[Origin] {
        self.0.get(option).map_or(&[], Vec::as_slice)
    }

    /// Where the section begins; `None` in the global part.
    pub(crate) fn section(&self) -> Option<&Origin> {
        self.get("")
    }

    /// Whether `option` was given at all.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.0.contains_key(option)
    }
}
