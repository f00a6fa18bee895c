//! Which cipher comes first if a service names none: AES, or ChaCha20 on a processor without AES
//! instructions, where AES costs five times as much.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::PreferChaCha20;

/// The order, and what it is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CipherOrder {
    /// The processor has instructions for AES and for GCM.
    pub aes_instructions: bool,
    /// ChaCha20 is offered first, and chosen by a server if the client offers it.
    pub chacha20_first: bool,
}

impl CipherOrder {
    /// The order for `preferChaCha20`.
    pub(crate) fn of(asked: PreferChaCha20) -> CipherOrder {
        Self::on(has_aes(), asked)
    }

    fn on(aes_instructions: bool, asked: PreferChaCha20) -> CipherOrder {
        CipherOrder {
            aes_instructions,
            chacha20_first: match asked {
                PreferChaCha20::Auto => !aes_instructions,
                PreferChaCha20::Yes => true,
                PreferChaCha20::No => false,
            },
        }
    }
}

impl fmt::Display for CipherOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.chacha20_first, self.aes_instructions) {
            (false, true) => "AES first",
            (false, false) => "AES first, without AES instructions in this processor",
            (true, false) => "ChaCha20 first: this processor has no AES instructions",
            (true, true) => "ChaCha20 first",
        })
    }
}

/// Whether the processor has instructions both for AES and for GCM's multiplication.
#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

/// As above.
#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
}

/// For other processors AWS-LC has only portable code.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use PreferChaCha20::{Auto, No, Yes};

    #[test]
    fn the_processor_decides_unless_the_option_does() {
        for (aes, asked, first) in [
            (true, Auto, false),
            (false, Auto, true),
            (true, Yes, true),
            (false, No, false),
        ] {
            assert_eq!(CipherOrder::on(aes, asked).chacha20_first, first);
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_is_said_of_this_processor_is_what_the_kernel_says() {
        let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
        assert_eq!(has_aes(), has("aes") && has("pclmulqdq"));
    }
}
