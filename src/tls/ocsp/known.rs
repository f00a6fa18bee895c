//! What responders have said, until they say it anew: one for all threads of a worker. Never in here: an
//! answer without an end, or one that has to be fresh.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest;

use super::subject::Subject;
use super::{LEEWAY, Told};

/// Answers kept at a time. With more, those that end first go.
const MOST: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<Key, Told>>);

/// A hash over the certificate's identifier, its issuer, and the response if it was stapled.
type Key = [u8; 32];

impl Known {
    /// What is known of a certificate at `now`: what a responder has said, or, where `stapled` is not empty,
    /// what that response says.
    pub(super) fn get(&self, subject: &Subject, stapled: &[u8], now: i64) -> Option<Told> {
        let key = key(subject, stapled)?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = *all.get(&key)?;
        if is_over(&told, now) {
            all.remove(&key);
            return None;
        }
        Some(told)
    }

    /// Keeps an answer until the next is to be had.
    pub(super) fn put(&self, subject: &Subject, stapled: &[u8], told: Told, now: i64) {
        let (Some(key), false) = (key(subject, stapled), is_over(&told, now)) else {
            return;
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST {
            all.retain(|_, told| !is_over(told, now));
        }
        if all.len() >= MOST {
            let first = all.iter().min_by_key(|(_, told)| told.next_update);
            if let Some(first) = first.map(|(key, _)| *key) {
                all.remove(&first);
            }
        }
        all.insert(key, told);
    }
}

fn key(subject: &Subject, stapled: &[u8]) -> Option<Key> {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&subject.identifier()?);
    hash.update(&(subject.issuer.len() as u64).to_be_bytes());
    hash.update(&subject.issuer);
    hash.update(stapled);
    hash.finish().as_ref().try_into().ok()
}

/// Without an end it is over at once: newer information is to be had at any time (RFC 6960, section 4.2.2.1).
fn is_over(told: &Told, now: i64) -> bool {
    told.next_update.is_none_or(|next| next < now - LEEWAY)
}
