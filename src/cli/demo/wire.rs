//! Lines over a blocking stream, for both the demo's mail program and its mail server.

use std::io::{self, Read, Write};

/// The longest line that is accepted, in bytes.
const LINE_MAX: usize = 8 * 1024;
/// The largest mail that is accepted, in bytes.
const MAIL_MAX: usize = 16 * 1024 * 1024;

/// A stream, and what was read from it beyond the last line.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    read: Vec<u8>,
    taken: usize,
}

impl<S: Read + Write> Wire<S> {
    pub(super) fn new(stream: S) -> Wire<S> {
        Wire::resume(stream, Vec::new())
    }

    /// A stream of which some bytes have been read already.
    pub(super) fn resume(stream: S, read: Vec<u8>) -> Wire<S> {
        Wire {
            stream,
            read,
            taken: 0,
        }
    }

    /// Waits for the next line; returns it without its CRLF.
    pub(super) fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut searched = self.taken;
        loop {
            if let Some(at) = self.read[searched..].iter().position(|&b| b == b'\n') {
                let end = searched + at;
                let line = &self.read[self.taken..end];
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.taken = end + 1;
                return Ok(line);
            }
            if self.read.len() - self.taken > LINE_MAX {
                return Err(io::Error::other("a line without an end"));
            }
            self.read.drain(..self.taken);
            self.taken = 0;
            searched = self.read.len();
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => self.read.extend_from_slice(&chunk[..n]),
            }
        }
    }

    /// The next line as text.
    pub(super) fn text(&mut self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&self.line()?).into_owned())
    }

    pub(super) fn send(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\r\n").as_bytes())?;
        self.stream.flush()
    }

    /// Sends a mail as DATA and RETR carry it: each leading dot doubled, a lone dot at the end (RFC
    /// 5321, section 4.5.2). `mail` ends with CRLF.
    pub(super) fn send_mail(&mut self, mail: &[u8]) -> io::Result<()> {
        let mut wire = Vec::with_capacity(mail.len() + 1024);
        for line in mail.split_inclusive(|&byte| byte == b'\n') {
            if line.first() == Some(&b'.') {
                wire.push(b'.');
            }
            wire.extend_from_slice(line);
        }
        wire.extend_from_slice(b".\r\n");
        self.stream.write_all(&wire)?;
        self.stream.flush()
    }

    /// Receives what `send_mail` sends.
    pub(super) fn mail(&mut self) -> io::Result<Vec<u8>> {
        let mut mail = Vec::new();
        loop {
            let line = self.line()?;
            match line.strip_prefix(b".") {
                Some(b"") => return Ok(mail),
                Some(rest) => mail.extend_from_slice(rest),
                None => mail.extend_from_slice(&line),
            }
            mail.extend_from_slice(b"\r\n");
            if mail.len() > MAIL_MAX {
                return Err(io::Error::other("a mail without an end"));
            }
        }
    }

    /// Returns the stream, of which nothing may have been read ahead.
    pub(super) fn into_stream(self) -> io::Result<S> {
        match self.read.len() - self.taken {
            0 => Ok(self.stream),
            _ => Err(io::Error::other("plain text behind STARTTLS")),
        }
    }

    /// Waits until the other side closes.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let mut chunk = [0; 512];
        while self.stream.read(&mut chunk)? > 0 {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_mail_with_dots_survives_the_wire() {
        let mail = b".\r\n..\r\ntext\r\n.x\r\n\r\n";
        let mut wire = Wire::new(Cursor::new(Vec::new()));
        wire.send_mail(mail).unwrap();
        let sent = wire.into_stream().unwrap().into_inner();
        assert_eq!(sent, b"..\r\n...\r\ntext\r\n..x\r\n\r\n.\r\n");
        assert_eq!(Wire::new(Cursor::new(sent)).mail().unwrap(), mail);
    }
}
