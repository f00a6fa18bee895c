//! `keeperUser`, `keeperDirectory`: where the accounts of `adit login` are kept, and by which user.

use std::path::PathBuf;

use super::global::Global;
use super::option::{Fault, given};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeeperOptions {
    /// Whose process it is, where root starts it.
    pub user: String,
    /// The folder of the accounts, which belongs to that user alone.
    pub directory: PathBuf,
}

impl Default for KeeperOptions {
    /// What packages make.
    fn default() -> Self {
        KeeperOptions {
            user: USER.to_owned(),
            directory: DIRECTORY.into(),
        }
    }
}

pub(super) const USER: &str = "adit-keeper";
pub(super) const DIRECTORY: &str = "/var/lib/adit/keeper";

pub(super) fn set_user(global: &mut Global, value: &str) -> Result<(), Fault> {
    global.keeper.user = given(value)?;
    Ok(())
}

pub(super) fn set_directory(global: &mut Global, value: &str) -> Result<(), Fault> {
    let path = PathBuf::from(given(value)?);
    if !path.is_absolute() {
        return Err(Fault::new("the path is relative").help("write it from / on"));
    }
    global.keeper.directory = path;
    Ok(())
}
