//! The open half of a connection of TLS 1.2 or older whose other half is closed. These versions want both
//! halves to close at once (RFC 5246, section 7.2.1), and s2n-tls then sends and reads nothing more; but
//! OpenSSL and stunnel go on, and programs rely on it. So adit seals, or opens, the rest itself, by the
//! connection's own secret, from the record where s2n stopped. Never in here: a record before that; TLS
//! 1.3, where s2n keeps half-closed connections itself; RC4 and CBC with AES-256 and SHA-256, for which
//! the other half closes as well.

mod records;

use std::time::Duration;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::bindings::{self, CbcSuite, Digest};
use super::policies::{TLS10, TLS12, Version};
use crate::tls::record::HEADER;
use records::{Key, State, gcm};
pub(super) use records::{Reader, Writer};

/// The longest block of a cipher, in bytes.
const BLOCK: usize = 16;
/// The shortest time of silence after an error (S2N_DEFAULT_BLINDING_MIN).
const SHORTEST_SILENCE: Duration = Duration::from_secs(10);
/// The secret of a connection up to TLS 1.2, in bytes.
pub(super) const MASTER: usize = 48;

/// How far one direction has come.
#[derive(Clone, Copy)]
struct Way {
    /// Encrypted records so far: the next one's sequence number.
    records: u64,
    /// The end of the last one, where the next one of TLS 1.0 begins.
    tail: [u8; BLOCK],
}

impl Way {
    /// Takes whole records. `None`: they were none.
    fn after(self, mut records: &[u8]) -> Option<Self> {
        let mut this = self;
        while !records.is_empty() {
            let [_, _, _, high, low] = *records.first_chunk::<HEADER>()?;
            let length = HEADER + usize::from(u16::from_be_bytes([high, low]));
            let (record, rest) = records.split_at_checked(length)?;
            this.records += 1;
            this.tail = *record.last_chunk()?;
            records = rest;
        }
        Some(this)
    }
}

/// What the handshake leaves for this: the randoms of both sides, and the ends of both Finished messages.
#[derive(Default)]
pub(super) struct Traces {
    pub(super) client_random: Option<[u8; 32]>,
    pub(super) server_random: Option<[u8; 32]>,
    pub(super) sent: Option<[u8; BLOCK]>,
    pub(super) received: Option<[u8; BLOCK]>,
}

/// Counts what s2n seals and opens, to be able to go on from there.
pub(super) struct Halves {
    cipher: Cipher,
    digest: Digest,
    version: Version,
    client: bool,
    /// The client's, and the server's.
    randoms: [[u8; 32]; 2],
    /// `None`: lost count.
    sent: Option<Way>,
    received: Option<Way>,
}

#[derive(Clone, Copy)]
enum Cipher {
    Cbc(CbcSuite),
    /// AES with a key of this many bytes.
    Gcm(usize),
}

impl Halves {
    /// `None`: such a connection cannot go on by itself.
    pub(super) fn new(traces: &Traces, version: Version, suite: u16, client: bool) -> Option<Self> {
        if version > TLS12 {
            return None;
        }
        let cipher = match suite {
            0x000a | 0x0016 | 0xc012 => Cipher::Cbc(CbcSuite::TripleDesSha1),
            0x002f | 0x0033 | 0xc009 | 0xc013 => Cipher::Cbc(CbcSuite::Aes128Sha1),
            0x0035 | 0x0039 | 0xc00a | 0xc014 => Cipher::Cbc(CbcSuite::Aes256Sha1),
            0x003c | 0x0067 | 0xc023 | 0xc027 => Cipher::Cbc(CbcSuite::Aes128Sha256),
            0xc024 | 0xc028 => Cipher::Cbc(CbcSuite::Aes256Sha384),
            0x009c | 0x009e | 0xc02b | 0xc02f => Cipher::Gcm(16),
            0x009d | 0x009f | 0xc02c | 0xc030 => Cipher::Gcm(32),
            _ => return None,
        };
        let digest = match cipher {
            _ if version < TLS12 => Digest::Md5Sha1,
            Cipher::Gcm(32) | Cipher::Cbc(CbcSuite::Aes256Sha384) => Digest::Sha384,
            _ => Digest::Sha256,
        };
        // Finished was the first encrypted record of each side.
        let way = |tail| Way { records: 1, tail };
        Some(Self {
            cipher,
            digest,
            version,
            client,
            randoms: [traces.client_random?, traces.server_random?],
            sent: Some(way(traces.sent?)),
            received: Some(way(traces.received?)),
        })
    }

    /// s2n has sealed these records.
    pub(super) fn sent(&mut self, records: &[u8]) {
        self.sent = self.sent.and_then(|way| way.after(records));
    }

    /// s2n is about to open this record.
    pub(super) fn received(&mut self, record: &[u8]) {
        self.received = self.received.and_then(|way| way.after(record));
    }

    /// Goes on sealing, by the connection's secret.
    pub(super) fn writer(&self, master: &[u8; MASTER]) -> Option<Writer> {
        let Way { records, tail } = self.sent?;
        let (key, implicit) = self.key(master, self.client, &tail)?;
        let sealer = match self.cipher {
            Cipher::Cbc(suite) => bindings::Sealer::new(suite, implicit, &key).map(Key::Cbc)?,
            Cipher::Gcm(length) => gcm(&key, length)?,
        };
        Some(Writer {
            key: sealer,
            state: self.state(records, implicit),
            splits: self.client && implicit,
        })
    }

    /// Goes on opening, by the connection's secret.
    pub(super) fn reader(&self, master: &[u8; MASTER]) -> Option<Reader> {
        let Way { records, tail } = self.received?;
        let (key, implicit) = self.key(master, !self.client, &tail)?;
        let opener = match self.cipher {
            Cipher::Cbc(suite) => bindings::Opener::new(suite, implicit, &key).map(Key::Cbc)?,
            Cipher::Gcm(length) => gcm(&key, length)?,
        };
        Some(Reader {
            key: opener,
            state: self.state(records, implicit),
        })
    }

    fn state(&self, sequence: u64, implicit: bool) -> State {
        let explicit = match self.cipher {
            Cipher::Cbc(suite) if !implicit => suite.lengths().2,
            _ => 0,
        };
        State {
            sequence,
            minor: self.version.wire().0 as u8,
            explicit,
        }
    }

    /// The keys of one side (RFC 5246, section 6.3): the MAC's, the cipher's, the vector. Whether that
    /// is the end of the record before.
    fn key(
        &self,
        master: &[u8; MASTER],
        of_client: bool,
        tail: &[u8; BLOCK],
    ) -> Option<(Zeroizing<Vec<u8>>, bool)> {
        let (mac, key, block) = match self.cipher {
            Cipher::Cbc(suite) => suite.lengths(),
            Cipher::Gcm(key) => (0, key, 4),
        };
        let implicit = matches!(self.cipher, Cipher::Cbc(_)) && self.version <= TLS10;
        let [client, server] = &self.randoms;
        let mut block_of_keys = Zeroizing::new(vec![0; 2 * (mac + key + block)]);
        let seeds: [&[u8]; 2] = [server, client];
        bindings::prf(
            self.digest,
            master,
            b"key expansion",
            seeds,
            &mut block_of_keys,
        )?;
        let mut rest = &block_of_keys[..];
        let mut chosen = Zeroizing::new(Vec::with_capacity(mac + key + block));
        for length in [mac, key, block] {
            let (of_both, behind) = rest.split_at_checked(2 * length)?;
            let (first, second) = of_both.split_at_checked(length)?;
            chosen.extend_from_slice(if of_client { first } else { second });
            rest = behind;
        }
        if matches!(self.cipher, Cipher::Cbc(_)) {
            chosen.truncate(mac + key);
            if implicit {
                chosen.extend_from_slice(&tail[BLOCK - block..]);
            }
        }
        Some((chosen, implicit))
    }
}

/// For how long a connection stays silent and open after a record that is not authentic, as s2n would have
/// it: random, so that it hides the time that opening took (Lucky Thirteen).
pub(super) fn silence() -> Duration {
    let mut random = [0; 4];
    let part = match rand::fill(&mut random) {
        Ok(()) => u32::from_le_bytes(random),
        Err(_) => u32::MAX,
    };
    let spread = bindings::LONGEST_SILENCE - SHORTEST_SILENCE;
    SHORTEST_SILENCE + spread.mul_f64(f64::from(part) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::failure::Offence;
    use crate::tls::s2n::policies::TLS11;

    fn halves(version: Version, suite: u16, client: bool) -> Option<Halves> {
        let (of_client, of_server) = ([3; BLOCK], [4; BLOCK]);
        let (sent, received) = match client {
            true => (of_client, of_server),
            false => (of_server, of_client),
        };
        let traces = Traces {
            client_random: Some([1; 32]),
            server_random: Some([2; 32]),
            sent: Some(sent),
            received: Some(received),
        };
        Halves::new(&traces, version, suite, client)
    }

    /// A client's writer, or a server's, and the other side's reader.
    fn pair(version: Version, suite: u16, client: bool) -> (Writer, Reader) {
        let writes = halves(version, suite, client).unwrap();
        let reads = halves(version, suite, !client).unwrap();
        (
            writes.writer(&[9; MASTER]).unwrap(),
            reads.reader(&[9; MASTER]).unwrap(),
        )
    }

    const OLD: [u16; 3] = [0x000a, 0x002f, 0xc014];
    const NEW: [u16; 5] = [0x003c, 0xc028, 0x009c, 0xc030, 0x0016];

    #[test]
    fn what_one_side_seals_the_other_opens_and_nothing_that_was_changed() {
        let each = OLD.map(|suite| (TLS10, suite)).into_iter();
        let each = each.chain(OLD.map(|suite| (TLS11, suite)));
        for (version, suite) in each.chain(NEW.map(|suite| (TLS12, suite))) {
            for client in [true, false] {
                let (mut writer, mut reader) = pair(version, suite, client);
                for length in [1, 2, 15, 16, 17, 1000, 1 << 14] {
                    let plain = vec![length as u8; length];
                    let mut record = vec![0; length + 200];
                    let filled = writer.payload(&plain, &mut record).unwrap();
                    let mut rest = &mut record[..filled];
                    let mut got = Vec::new();
                    while !rest.is_empty() {
                        let whole = HEADER + usize::from(u16::from_be_bytes([rest[3], rest[4]]));
                        let (one, behind) = rest.split_at_mut(whole);
                        let (start, length) = reader.open(one).unwrap();
                        got.extend_from_slice(&one[start..start + length]);
                        rest = behind;
                    }
                    assert!(got == plain, "{version:?} {suite:x} {length}");
                }
                let mut record = vec![0; 300];
                let filled = writer.seal(23, &[5; 90], &mut record).unwrap();
                record.truncate(filled);
                for place in [0, HEADER, filled / 2, filled - 1] {
                    let (mut writer, mut reader) = pair(version, suite, client);
                    let filled = writer.seal(23, &[5; 90], &mut record).unwrap();
                    record[..filled][place] ^= 1;
                    assert_eq!(
                        reader.open(&mut record[..filled]),
                        Err(Offence::BadRecordMac)
                    );
                }
                // Out of turn.
                assert!(pair(version, suite, client).1.open(&mut record).is_err());
            }
        }
    }

    #[test]
    fn only_a_client_of_tls_1_0_with_cbc_splits() {
        let records = |version, suite, client| {
            let mut room = [0; 300];
            let filled = pair(version, suite, client)
                .0
                .payload(b"data", &mut room)
                .unwrap();
            let way = Way {
                records: 1,
                tail: [0; BLOCK],
            };
            way.after(&room[..filled]).unwrap().records - 1
        };
        assert_eq!(records(TLS10, 0x002f, true), 2);
        assert_eq!(records(TLS10, 0x002f, false), 1);
        assert_eq!(records(TLS11, 0x002f, true), 1);
        assert_eq!(records(TLS12, 0x009c, true), 1);
    }

    #[test]
    fn records_are_counted_whole_or_not_at_all() {
        let way = Way {
            records: 1,
            tail: [0; BLOCK],
        };
        let record =
            |length: u8| [&[23, 3, 1, 0, length][..], &vec![length; length.into()]].concat();
        let both = [record(32), record(16)].concat();
        let after = way.after(&both).unwrap();
        assert_eq!((after.records, after.tail), (3, [16; BLOCK]));
        for cut in 1..both.len() {
            assert!(way.after(&both[..cut]).is_none() || cut == 37, "{cut}");
        }
    }

    #[test]
    fn without_a_trace_or_with_another_cipher_there_is_no_half() {
        assert!(halves(TLS10, 0x0005, false).is_none());
        assert!(halves(TLS12, 0x003d, false).is_none());
        assert!(halves(super::super::policies::TLS13, 0x1301, false).is_none());
        assert!(Halves::new(&Traces::default(), TLS10, 0x002f, false).is_none());
        // SHA-2 in TLS 1.0 is nothing.
        assert!(
            halves(TLS10, 0x003c, true)
                .unwrap()
                .writer(&[9; MASTER])
                .is_none()
        );
        let mut lost = halves(TLS10, 0x002f, true).unwrap();
        lost.sent(&[23, 3, 1, 0, 9]);
        assert!(lost.writer(&[9; MASTER]).is_none() && lost.reader(&[9; MASTER]).is_some());
    }
}
