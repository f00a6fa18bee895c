//! What tests of a connection do to it, that nothing else may.

use super::{APPLICATION_DATA, HANDSHAKE, Stream};

impl Stream {
    /// Seals a record without data, as OpenSSL puts one before each record of TLS 1.0 (BEAST), and goes on
    /// behind it.
    pub(crate) fn seal_empty(&mut self, output: &mut [u8]) -> usize {
        self.sealed(APPLICATION_DATA, &[], output)
    }

    /// Seals a message as if a handshake began, and goes on behind it.
    pub(crate) fn seal_handshake(&mut self, message: &[u8], output: &mut [u8]) -> usize {
        self.sealed(HANDSHAKE, message, output)
    }

    fn sealed(&mut self, kind: u8, content: &[u8], output: &mut [u8]) -> usize {
        self.takes_writing_over();
        let writer = self.writer.as_mut();
        let writer = writer.expect("a suite that goes on by itself");
        writer.seal(kind, content, output).expect("room")
    }

    /// Leaves so many bytes, each way, of what one key of 3DES may encrypt; with another cipher there is no limit.
    pub(crate) fn wear(&mut self, left: u64) {
        if let Some(counts) = &mut self.left {
            *counts = [left; 2];
        }
    }

    /// Whether it seals and opens without s2n.
    pub(crate) fn has_left_s2n(&self) -> bool {
        self.reader.is_some() && self.writer.is_some()
    }
}
