//! The open half of a connection of TLS 1.2 or older whose other half is closed. These versions want both
//! halves to close at once (RFC 5246, section 7.2.1), and s2n-tls then sends and reads nothing more; but
//! OpenSSL and stunnel go on, and programs rely on it. So adit seals, or opens, the rest itself, by the
//! connection's own secret, from the record where s2n stopped. Two ciphers have it their own way:
//!
//! * RC4 goes on from the byte where it stopped, however far that is, so adit does it from the beginning;
//! * AES-256 in CBC with SHA-256 has no records in AWS-LC. There s2n goes on, and is told nothing of the two
//!   close_notify, which adit seals and opens, nor of a wish for another handshake, which ends the session.
//!
//! Where adit is faster than s2n, it seals and opens by itself from the first full record on.
//!
//! Never in here: TLS 1.3, where s2n keeps half-closed connections itself.

mod aes256;
mod records;

use std::time::Duration;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::bindings::{self, CbcSuite, Digest, MacHash};
use super::policies::{TLS10, TLS12, Version};
use crate::tls::record::HEADER;
use aes256::{AES_256, SHA256};
use records::{Key, State, chacha20, gcm};
pub(super) use records::{Reader, Writer};

/// The longest block of a cipher, in bytes.
const BLOCK: usize = 16;
/// A Finished message, the first thing that is encrypted, in bytes.
const FINISHED: usize = 4 + 12;
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
    ChaCha20,
    Rc4(MacHash),
    /// AES-256 in CBC, SHA-256: alerts, and a client's wish for another handshake.
    Alerts,
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
            0xcca8 | 0xcca9 => Cipher::ChaCha20,
            0x0004 => Cipher::Rc4(MacHash::Md5),
            0x0005 => Cipher::Rc4(MacHash::Sha1),
            0x003d | 0x006b => Cipher::Alerts,
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

    /// Whether [`Halves::writer`] and [`Halves::reader`] take less time for a record than s2n, which works in
    /// the same way but copies each record twice, and wipes what it has read.
    pub(super) fn is_faster(&self) -> bool {
        matches!(self.cipher, Cipher::Cbc(suite) if suite.is_stitched())
    }

    /// Goes on sealing, by the connection's secret.
    pub(super) fn writer(&self, master: &[u8; MASTER]) -> Option<Writer> {
        let Way { records, tail } = self.sent?;
        let (key, implicit) = self.key(master, self.client, &tail)?;
        let sealer = match self.cipher {
            Cipher::Cbc(suite) => bindings::Sealer::new(suite, implicit, &key).map(Key::Cbc)?,
            Cipher::Gcm(length) => gcm(&key, length)?,
            Cipher::ChaCha20 => chacha20(&key)?,
            Cipher::Rc4(hash) => Key::Rc4(rc4(hash, &key, records)?),
            Cipher::Alerts => return None,
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
            Cipher::ChaCha20 => chacha20(&key)?,
            Cipher::Rc4(hash) => Key::Rc4(rc4(hash, &key, records)?),
            Cipher::Alerts => return None,
        };
        Some(Reader {
            key: opener,
            state: self.state(records, implicit),
        })
    }

    /// Whether everything is to be sealed and opened by these from the first record after the handshake.
    pub(super) fn goes_on_from_finished(&self) -> bool {
        matches!(self.cipher, Cipher::Rc4(_))
    }

    /// Whether s2n goes on with what is left, since it knows of no close_notify.
    pub(super) fn hides_alerts(&self) -> bool {
        matches!(self.cipher, Cipher::Alerts)
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
            Cipher::ChaCha20 => (0, 32, 12),
            Cipher::Rc4(hash) => (hash.length(), 16, 0),
            Cipher::Alerts => (SHA256, AES_256, BLOCK),
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

/// RC4 behind Finished; nothing else can have been before.
fn rc4(hash: MacHash, key: &[u8], records: u64) -> Option<bindings::Rc4> {
    let mut stream = bindings::Rc4::new(hash, key)?;
    stream.skip(FINISHED + hash.length());
    (records == 1).then_some(stream)
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
    use super::aes256::{ALERT, CLIENT_HELLO, HANDSHAKE};
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

    const OLD: [u16; 5] = [0x000a, 0x002f, 0xc014, 0x0005, 0x0004];
    const NEW: [u16; 7] = [0x003c, 0xc028, 0x009c, 0xc030, 0x0016, 0xcca8, 0x0005];

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
    fn a_close_notify_is_told_from_everything_else() {
        let (client, server) = (halves(TLS12, 0x003d, true), halves(TLS12, 0x003d, false));
        let (client, mut server) = (client.unwrap(), server.unwrap());
        let mut record = client.close_notify(&[9; MASTER]).unwrap();
        assert!(server.is_close_notify(&[9; MASTER], &record));
        assert!(!server.is_close_notify(&[8; MASTER], &record));
        for place in 0..record.len() {
            // The version and the length in the header are not what is looked at.
            if (1..HEADER).contains(&place) {
                continue;
            }
            record[place] ^= 1;
            assert!(!server.is_close_notify(&[9; MASTER], &record), "{place}");
            record[place] ^= 1;
        }
        for length in 0..record.len() {
            assert!(!server.is_close_notify(&[9; MASTER], &record[..length]));
        }
        // With more padding, as some libraries have it.
        let blocks = |count| client.blocks(&[0; 32], 1, ALERT, &[1, 0], count * BLOCK);
        assert_eq!(blocks(17).unwrap().pop(), Some(237));
        assert!(blocks(2).is_none() && blocks(20).is_none());
        // Out of turn.
        server.received(&record);
        assert!(!server.is_close_notify(&[9; MASTER], &record));
        // Other ciphers seal by themselves, and this one does not.
        let other = halves(TLS12, 0x003c, true).unwrap();
        assert!(other.close_notify(&[9; MASTER]).is_none());
        assert!(client.writer(&[9; MASTER]).is_none() && client.reader(&[9; MASTER]).is_none());
    }

    #[test]
    fn a_client_hello_is_told_from_a_damaged_record() {
        let (client, server) = (halves(TLS12, 0x003d, true), halves(TLS12, 0x003d, false));
        let (client, server) = (client.unwrap(), server.unwrap());
        let master = [9; MASTER];
        let sealed = |message: &[u8], length: usize| {
            let Way { records, tail } = client.sent.unwrap();
            let (mac, key) = client.alert_keys(&master, true, &tail).unwrap();
            let blocks = client.blocks(&mac, records, HANDSHAKE, message, length);
            let mut blocks = blocks.unwrap();
            bindings::aes_256_cbc(true, &key, [5; BLOCK], &mut blocks).unwrap();
            [&[HANDSHAKE, 3, 3, 0, 0][..], &[5; BLOCK], &blocks].concat()
        };
        let hello = [&[CLIENT_HELLO, 0, 1, 0][..], &[7; 256]].concat();
        for length in [19 * BLOCK, 30 * BLOCK] {
            let mut record = sealed(&hello, length);
            assert!(server.is_client_hello(&master, &record));
            assert!(!client.is_client_hello(&master, &record));
            for place in (0..record.len()).filter(|place| !(1..HEADER).contains(place)) {
                record[place] ^= 1;
                assert!(!server.is_client_hello(&master, &record), "{place}");
                record[place] ^= 1;
            }
            for end in 0..record.len() {
                assert!(!server.is_client_hello(&master, &record[..end]));
            }
        }
        for other in [
            &[2, 0, 1, 0][..],
            &[CLIENT_HELLO],
            &[CLIENT_HELLO, 0xff, 0xff, 0xff],
            &hello[..200],
        ] {
            assert!(!server.is_client_hello(&master, &sealed(other, 18 * BLOCK)));
        }
    }

    #[test]
    fn rc4_begins_behind_finished_or_not_at_all() {
        let mut client = halves(TLS10, 0x0005, true).unwrap();
        assert!(client.goes_on_from_finished() && client.writer(&[9; MASTER]).is_some());
        client.sent(&[&[23, 3, 1, 0, 32][..], &[0; 32]].concat());
        assert!(client.writer(&[9; MASTER]).is_none());
        assert!(!halves(TLS10, 0x002f, true).unwrap().goes_on_from_finished());
    }

    #[test]
    fn without_a_trace_or_with_another_cipher_there_is_no_half() {
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
