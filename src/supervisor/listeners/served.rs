//! What the configuration in force is served at.

use std::collections::HashMap;

use super::Listeners;

impl Listeners {
    /// The addresses in text, by the index of the service, with the ports that the kernel chose.
    pub(in crate::supervisor) fn addresses(&self) -> HashMap<usize, Vec<String>> {
        let mut addresses: HashMap<usize, Vec<String>> = HashMap::new();
        for one in &self.served {
            if let Some(listening) = self.open.get(&one.key) {
                let of_one = addresses.entry(one.service).or_default();
                of_one.push(listening.address.clone());
            }
        }
        addresses
    }
}
