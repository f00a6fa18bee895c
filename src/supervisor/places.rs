//! Where a start would write: asked beforehand, so that everything that is missing is told at once.

use std::path::{Path, PathBuf};

use crate::config::{Diagnostic, Global, MetricsAddress, diagnostic_at};
use crate::inside::seen_from_outside;

/// Folders that a start would write into and not find. Nothing is opened: that would make files.
pub(crate) fn missing(global: &Global) -> Vec<Diagnostic> {
    let jail = global.chroot.as_deref();
    // Nothing is in a jail that is not there; that is told by itself.
    let has_jail = jail.is_none_or(Path::is_dir);
    let inside = |path: &Path| seen_from_outside(jail, path);
    // The log may be outside the jail too, where its folder is not there inside.
    let output = |path: &Path| vec![inside(path), path.to_owned()];
    let pid = |path: &Path| vec![inside(path)];
    let control = |path: &Path| vec![path.to_owned()];
    // The folder of one that is not named is made.
    let named = global.control.as_deref().filter(|_| global.names_control());
    let metrics = global.metrics.as_ref().and_then(MetricsAddress::path);
    let wanted: [(_, Option<Vec<PathBuf>>); 4] = [
        ("output", global.output.as_deref().map(output)),
        ("pid", global.pid.as_deref().map(pid)),
        ("control", named.map(control)),
        ("metrics", metrics.map(control)),
    ];
    let wanted = wanted
        .into_iter()
        .filter(|(option, _)| has_jail || matches!(*option, "control" | "metrics"));
    let missing = wanted.filter_map(|(option, places)| {
        let mut folders = places.as_deref()?.iter().filter_map(|place| place.parent());
        let last = folders.clone().next_back()?;
        // A path without a folder is in the one that adit is started in.
        let there = |folder: &Path| folder.as_os_str().is_empty() || folder.is_dir();
        let text = format!("{option}: there is no folder {}", last.display());
        let help = format!("make it: `mkdir -p {}`", last.display());
        (!folders.any(there)).then(|| diagnostic_at(&global.origins, option, text).help(help))
    });
    missing.collect()
}
