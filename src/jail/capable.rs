//! A life outside the jail with one capability: CAP_NET_RAW, for the binder. IP_TRANSPARENT needs that or
//! CAP_NET_ADMIN, which could change the machine's network; a sandbox leaves this one nothing else to do. Never in
//! here: another capability.

use super::capabilities::{
    CapabilityData, capabilities, drop_bounding_set, prctl, set_capabilities,
};
use super::{Bare, JailError, OutsidePlan, call, prove_closed};
use crate::process::OneThread;

/// CAP_NET_RAW of capabilities(7), as a bit of the first word.
const NET_RAW: u32 = 1 << 13;

/// Proof that [`OutsidePlan::enter_with_net_raw`] succeeded and was verified: the process is not root, has this
/// capability and no other, and cannot gain more.
#[derive(Debug)]
pub(crate) struct Capable(());

impl OutsidePlan {
    /// Whether there is a CAP_NET_RAW to keep.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn can_keep_net_raw(&self) -> Result<(), JailError> {
        let [first, _] = capabilities()?;
        match first.permitted & NET_RAW {
            0 => Err(JailError::NoNetRaw),
            _ => Ok(()),
        }
    }

    /// As [`OutsidePlan::enter`], but for CAP_NET_RAW.
    ///
    /// # Errors
    /// As [`OutsidePlan::enter`].
    pub(crate) fn enter_with_net_raw(self, _: &OneThread) -> Result<Bare<Capable>, JailError> {
        let plan = self.0;
        let keep = |yes: bool| {
            prctl(libc::PR_SET_KEEPCAPS, yes.into()).map_err(call("prctl(PR_SET_KEEPCAPS)"))
        };
        if plan.privileged {
            plan.change_root_and_groups()?;
            drop_bounding_set()?;
            keep(true)?;
            plan.change_user()?;
            keep(false)?;
        }
        let alone = CapabilityData {
            effective: NET_RAW,
            permitted: NET_RAW,
            inheritable: 0,
        };
        let wanted = [alone, CapabilityData::default()];
        set_capabilities(wanted)?;
        nix::sys::prctl::set_no_new_privs().map_err(call("prctl(PR_SET_NO_NEW_PRIVS)"))?;
        nix::sys::prctl::set_dumpable(false).map_err(call("prctl(PR_SET_DUMPABLE)"))?;
        plan.prove(None)?;
        prove_closed()?;
        match capabilities()? == wanted {
            true => Ok(Bare(Capable(()))),
            false => {
                let what = "the binder has other capabilities than CAP_NET_RAW";
                Err(JailError::NotHolding(what.to_owned()))
            }
        }
    }
}
