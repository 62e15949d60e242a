//! Splits a byte stream into lines of bounded length.
//!
//! QMP and the guest agent both answer with one JSON document per line. The other side may be hostile (a guest speaks
//! on the agent's socket), so a line has a limit and whatever it says is only bytes here.

/// A line was longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line of more than {limit} bytes")]
pub(crate) struct TooLong {
    /// The limit in bytes.
    pub(crate) limit: usize,
}

/// Collects bytes until they make lines.
#[derive(Debug)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
    /// Bytes of `buffer` already searched for the end of a line.
    searched: usize,
    limit: usize,
}

impl Lines {
    /// Lines of at most `limit` bytes, not counting their end.
    pub(crate) fn new(limit: usize) -> Self {
        Lines { buffer: Vec::new(), searched: 0, limit }
    }

    /// Takes in what was received.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, without its end; `None` when more bytes are needed.
    pub(crate) fn next_line(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        let end = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(end) = end.map(|offset| self.searched + offset) else {
            self.searched = self.buffer.len();
            return if self.buffer.len() > self.limit { Err(TooLong { limit: self.limit }) } else { Ok(None) };
        };
        if end > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
        self.searched = 0;
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(chunks: &[Vec<u8>], limit: usize) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut lines = Lines::new(limit);
        let mut found = Vec::new();
        for chunk in chunks {
            lines.push(chunk);
            while let Some(line) = lines.next_line()? {
                found.push(line);
            }
        }
        Ok(found)
    }

    #[test]
    fn line_without_end_waits_for_more() {
        assert_eq!(all(&[b"{\"a\"".to_vec()], 100).unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(all(&[b"{\"a\"".to_vec(), b":1}\r\n".to_vec()], 100).unwrap(), vec![b"{\"a\":1}".to_vec()]);
    }

    #[test]
    fn endless_line_is_refused_without_being_kept() {
        assert_eq!(all(&[vec![b'x'; 101]], 100), Err(TooLong { limit: 100 }));
        assert_eq!(all(&[[vec![b'x'; 101], vec![b'\n']].concat()], 100), Err(TooLong { limit: 100 }));
        assert!(all(&[[vec![b'x'; 100], vec![b'\n']].concat()], 100).is_ok());
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_lines(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..400), cut in 1usize..50) {
            let whole = all(std::slice::from_ref(&bytes), 1000);
            let pieces: Vec<Vec<u8>> = bytes.chunks(cut).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(all(&pieces, 1000), whole.clone());
            let ends = bytes.iter().filter(|b| **b == b'\n').count();
            prop_assert_eq!(whole.unwrap().len(), ends);
        }

        #[test]
        fn no_line_is_longer_than_the_limit(bytes in proptest::collection::vec(prop_oneof![1 => Just(b'\n'), 9 => any::<u8>()], 0..400), limit in 1usize..40) {
            if let Ok(lines) = all(&[bytes], limit) {
                prop_assert!(lines.iter().all(|line| line.len() <= limit));
            }
        }
    }
}
