//! Where bytes stay: the thread's scratch, which every session passes through, and the few buffers
//! of sessions that had to leave something behind. Never in here: a socket.

use std::num::NonZeroUsize;
use std::ops::Range;

use crate::protocol::Action;
use crate::sys::zeros::Zeros;

/// The most that one read takes, in bytes, until it is seen that what is read goes on at once.
pub(crate) const READ: usize = 64 * 1024;

/// The most that one read takes then, in bytes. A half of the reads and writes, and of TCP's acknowledgements, spares
/// a sixth of what the kernel does for each byte; four times as much spares no more, and holds other sessions up.
pub(crate) const BULK: usize = 2 * READ;

/// Room for a whole TLS record and its header: 2^14 + 2048 + 5 (RFC 5246, 6.2.3), rounded up.
pub(crate) const SMALL: usize = 18 * 1024 + 512;

/// Room for what is a little more than a record: a handshake in several of them, the client's hello first.
pub(crate) const MIDDLE: usize = 2 * SMALL;

/// Room for everything that one read of [`READ`] can turn into: with the smallest of records, TLS to TLS,
/// 23 bytes can become 30. Half as much again is enough.
pub(crate) const LARGE: usize = READ + READ / 2;

/// How much memory a thread's pool keeps for the next session that needs it, in bytes.
const KEPT: usize = 4 * 1024 * 1024;

/// The buffers that no session has at the moment.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    small: Vec<Box<[u8]>>,
    middle: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
    lent: usize,
}

impl Pool {
    /// A block of at least `wanted` bytes.
    fn take(&mut self, wanted: usize) -> Box<[u8]> {
        self.lent += 1;
        const OVER_SMALL: usize = SMALL + 1;
        const OVER_MIDDLE: usize = MIDDLE + 1;
        let (list, size) = match wanted {
            0..=SMALL => (&mut self.small, SMALL),
            OVER_SMALL..=MIDDLE => (&mut self.middle, MIDDLE),
            OVER_MIDDLE..=LARGE => (&mut self.large, LARGE),
            // It grows by as much as that each time, so that little is copied.
            _ => return vec![0; wanted.next_multiple_of(LARGE)].into_boxed_slice(),
        };
        match list.pop() {
            Some(block) => block,
            None => vec![0; size].into_boxed_slice(),
        }
    }

    fn give(&mut self, block: Box<[u8]>) {
        self.lent -= 1;
        let list = match block.len() {
            SMALL => &mut self.small,
            MIDDLE => &mut self.middle,
            LARGE => &mut self.large,
            _ => return,
        };
        if list.len() * block.len() < KEPT / 3 {
            list.push(block);
        }
    }

    /// Gives back the memory of the buffers that no session has.
    pub(crate) fn shrink(&mut self) {
        self.small = Vec::new();
        self.middle = Vec::new();
        self.large = Vec::new();
    }

    /// The memory of the buffers that no session has, in bytes.
    pub(crate) fn idle(&self) -> usize {
        self.small.len() * SMALL + self.middle.len() * MIDDLE + self.large.len() * LARGE
    }

    /// How many buffers sessions hold now.
    #[cfg(test)]
    pub(crate) fn lent(&self) -> usize {
        self.lent
    }
}

/// Bytes that wait; owns memory only while there are some. It must be empty, or be cleared, before
/// it is dropped: the pool counts what it lent.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    block: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether none waits (and so no memory is held).
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The memory that it owns, in bytes.
    pub(crate) fn held(&self) -> usize {
        self.block.as_deref().map_or(0, <[u8]>::len)
    }

    /// The waiting bytes, oldest first.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.block
            .as_deref()
            .map_or(&[], |block| &block[self.start..self.end])
    }

    /// The waiting bytes, to be worked on in place.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match self.block.as_deref_mut() {
            Some(block) => &mut block[self.start..self.end],
            None => &mut [],
        }
    }

    /// Adds `bytes` behind what waits.
    pub(crate) fn push(&mut self, bytes: &[u8], pool: &mut Pool) {
        if bytes.is_empty() {
            return;
        }
        self.reserve(bytes.len(), pool);
        if let Some(block) = self.block.as_deref_mut() {
            block[self.end..self.end + bytes.len()].copy_from_slice(bytes);
            self.end += bytes.len();
        }
    }

    /// The room behind what waits, to be read into; made larger first if it is below `least`.
    /// [`Buffer::grown`] adds the part that was filled.
    pub(crate) fn room(&mut self, least: usize, pool: &mut Pool) -> &mut [u8] {
        self.reserve(least, pool);
        match self.block.as_deref_mut() {
            Some(block) => &mut block[self.end..],
            None => &mut [],
        }
    }

    /// Adds what was put into [`Buffer::room`].
    pub(crate) fn grown(&mut self, by: usize) {
        self.end += by;
    }

    /// Takes away the first `count` bytes; the memory goes back when nothing is left.
    pub(crate) fn consume(&mut self, count: usize, pool: &mut Pool) {
        self.start += count.min(self.len());
        self.settle(pool);
    }

    /// Takes away everything.
    pub(crate) fn clear(&mut self, pool: &mut Pool) {
        self.start = self.end;
        self.settle(pool);
    }

    /// Gives the memory back if nothing waits.
    pub(crate) fn settle(&mut self, pool: &mut Pool) {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            if let Some(block) = self.block.take() {
                pool.give(block);
            }
        }
    }

    /// Keeps what waits in no more memory than that takes, for a long wait.
    pub(crate) fn shrink(&mut self, pool: &mut Pool) {
        let waiting: Box<[u8]> = self.bytes().into();
        if let Some(block) = self.block.take_if(|block| block.len() > waiting.len()) {
            pool.give(block);
            pool.lent += 1;
            (self.start, self.end) = (0, waiting.len());
            self.block = Some(waiting);
        }
    }

    fn reserve(&mut self, more: usize, pool: &mut Pool) {
        let capacity = self.held();
        if self.block.is_some() && self.end + more <= capacity {
            return;
        }
        let (start, end) = (self.start, self.end);
        if end - start + more <= capacity {
            if let Some(block) = self.block.as_deref_mut() {
                block.copy_within(start..end, 0);
            }
        } else {
            let mut larger = pool.take(end - start + more);
            if let Some(block) = self.block.take() {
                larger[..end - start].copy_from_slice(&block[start..end]);
                pool.give(block);
            }
            self.block = Some(larger);
        }
        (self.start, self.end) = (0, end - start);
    }
}

/// A relay thread's own memory, through which all its sessions' bytes pass. Nothing stays in it
/// from one step to the next.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Read into, and decrypted in place. [`BULK`] bytes behind room for an incomplete record.
    pub read: Zeros,
    /// Encrypted into. What does not fit goes by a second write, which only the smallest of records bring about.
    pub write: Zeros,
    /// Where the payload lies in `read`.
    pub ranges: Vec<Range<usize>>,
    /// Output of TLS itself: alerts, handshake messages.
    pub tls: Vec<u8>,
    /// A server's words without those that were removed.
    pub kept: Vec<u8>,
    /// Actions of a dialogue.
    pub actions: Vec<Action>,
}

impl Scratch {
    /// Allocates it.
    pub(crate) fn new() -> Self {
        Self {
            read: Zeros::new(const { NonZeroUsize::new(SMALL + BULK).unwrap() }),
            write: Zeros::new(const { NonZeroUsize::new(BULK + READ / 2).unwrap() }),
            ranges: Vec::new(),
            tls: Vec::new(),
            kept: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Gives back what only an unusual step needs.
    pub(crate) fn shrink(&mut self) {
        self.ranges = Vec::new();
        self.tls = Vec::new();
        self.kept = Vec::new();
        self.actions = Vec::new();
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_buffer_owns_no_memory() {
        let mut pool = Pool::default();
        let mut buffer = Buffer::default();
        buffer.push(b"", &mut pool);
        assert!(buffer.block.is_none());
        buffer.push(b"abc", &mut pool);
        assert_eq!(pool.lent(), 1);
        buffer.consume(3, &mut pool);
        assert!(buffer.block.is_none());
        assert_eq!((pool.lent(), pool.small.len()), (0, 1));
    }

    #[test]
    fn bytes_keep_their_order_through_every_growth() {
        let mut pool = Pool::default();
        let mut buffer = Buffer::default();
        let (mut expected, mut seed) = (Vec::new(), 1_u32);
        for _ in 0..2000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let count = (seed >> 16) as usize % 600;
            let chunk: Vec<u8> = (0..count).map(|n| (n as u32 ^ seed) as u8).collect();
            buffer.push(&chunk, &mut pool);
            expected.extend_from_slice(&chunk);
            let eaten = (seed >> 8) as usize % 500;
            let eaten = eaten.min(expected.len());
            assert_eq!(buffer.bytes()[..eaten], expected[..eaten]);
            buffer.consume(eaten, &mut pool);
            expected.drain(..eaten);
        }
        assert_eq!(buffer.bytes(), expected);
        buffer.clear(&mut pool);
        assert_eq!(pool.lent(), 0);
    }

    #[test]
    fn what_waits_long_takes_no_more_memory_than_it_has_bytes() {
        let mut pool = Pool::default();
        let mut buffer = Buffer::default();
        buffer.shrink(&mut pool);
        assert_eq!(buffer.held(), 0);
        buffer.push(b"-tickets", &mut pool);
        buffer.consume(1, &mut pool);
        for _ in 0..2 {
            buffer.shrink(&mut pool);
            assert_eq!((buffer.bytes(), buffer.held()), (&b"tickets"[..], 7));
            assert_eq!((pool.idle(), pool.lent()), (SMALL, 1));
        }
        buffer.push(b", and an answer", &mut pool);
        assert_eq!(buffer.bytes(), b"tickets, and an answer");
        buffer.clear(&mut pool);
        assert_eq!((pool.idle(), pool.lent()), (SMALL, 0));
    }

    #[test]
    fn a_block_is_no_larger_than_what_waits_needs() {
        let mut pool = Pool::default();
        let mut buffer = Buffer::default();
        for (count, block) in [
            (1, SMALL),
            (SMALL, SMALL),
            (SMALL + 1, MIDDLE),
            (MIDDLE, MIDDLE),
            (MIDDLE + 1, LARGE),
            (LARGE, LARGE),
            (LARGE + 1, 2 * LARGE),
            (3 * LARGE + 1, 4 * LARGE),
        ] {
            buffer.push(&vec![7; count - buffer.len()], &mut pool);
            assert_eq!(buffer.held(), block, "for {count} bytes");
        }
        buffer.clear(&mut pool);
        assert_eq!((buffer.held(), pool.lent()), (0, 0));
        let kept = [&pool.small, &pool.middle, &pool.large].map(Vec::len);
        assert_eq!(kept, [1, 1, 1], "what is larger is not kept");
        assert_eq!(pool.idle(), SMALL + MIDDLE + LARGE);
    }

    #[test]
    fn room_that_was_not_used_goes_back() {
        let mut pool = Pool::default();
        let mut buffer = Buffer::default();
        assert_eq!(buffer.room(10, &mut pool).len(), SMALL);
        buffer.settle(&mut pool);
        assert_eq!(pool.lent(), 0);
        buffer.room(10, &mut pool)[..2].copy_from_slice(b"hi");
        buffer.grown(2);
        assert_eq!(buffer.bytes(), b"hi");
        buffer.clear(&mut pool);
    }

    #[test]
    fn the_pool_keeps_a_bounded_amount() {
        let mut pool = Pool::default();
        let mut buffers: Vec<Buffer> = (0..1000).map(|_| Buffer::default()).collect();
        for buffer in &mut buffers {
            buffer.push(&[1; 100], &mut pool);
        }
        for buffer in &mut buffers {
            buffer.clear(&mut pool);
        }
        assert!(pool.small.len() * SMALL <= KEPT / 3 + SMALL);
        assert_eq!(pool.lent(), 0);
    }
}
