//! Which parts of a machine's memory are worth keeping: those that are not holes of the sparse file and not zero.

use super::format::EXTENT;
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::io;
use std::ops::Range;

/// Memory is looked at in blocks of this size, a page.
const PAGE: usize = 4096;
const ZERO: [u8; PAGE] = [0; PAGE];

/// The ranges of a file that are not holes, in order.
pub(super) struct DataRanges<'a> {
    file: &'a File,
    position: u64,
    length: u64,
}

/// The ranges of the first `length` bytes of `file` that are not holes. Moves the file's own position.
pub(super) fn data_ranges(file: &File, length: u64) -> DataRanges<'_> {
    DataRanges { file, position: 0, length }
}

impl DataRanges<'_> {
    /// The first offset from `position` on that is data (or a hole); `None` when there is none.
    fn seek(&self, position: u64, whence: Whence) -> io::Result<Option<u64>> {
        match lseek(self.file, position as i64, whence) {
            Ok(found) => Ok(Some(found as u64)),
            Err(Errno::ENXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn find_next(&self) -> io::Result<Option<Range<u64>>> {
        if self.position >= self.length {
            return Ok(None);
        }
        let Some(start) = self.seek(self.position, Whence::SeekData)?.filter(|start| *start < self.length) else {
            return Ok(None);
        };
        // The end of a file counts as a hole. The file being cut meanwhile is noticed by whoever reads the range.
        let end = self.seek(start, Whence::SeekHole)?.unwrap_or(self.length);
        Ok(Some(start..end.min(self.length)))
    }
}

impl Iterator for DataRanges<'_> {
    type Item = io::Result<Range<u64>>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.find_next();
        self.position = match &found {
            Ok(Some(range)) => range.end,
            // No more after an error.
            _ => self.length,
        };
        found.transpose()
    }
}

/// What `pack` left in its buffer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    /// Bytes at the buffer's beginning that go into the file.
    pub(super) bytes: usize,
    /// How many extents they are.
    pub(super) extents: u64,
    /// Bytes of memory in them.
    pub(super) data: u64,
}

/// Turns memory into extents, in place: `buffer[EXTENT..]` is the memory at `offset`, and afterwards the beginning of
/// `buffer` is the extents of its pages that are not zero.
///
/// In place, because usually everything is one extent already and nothing moves. Where zero pages are left out, the
/// gap has room for the next extent's head, so writing never overtakes reading.
pub(super) fn pack(buffer: &mut [u8], offset: u64) -> Packed {
    let length = buffer.len() - EXTENT;
    let mut packed = Packed::default();
    let mut position = 0;
    while let Some(run) = next_run(&buffer[EXTENT..], position) {
        position = run.end;
        let kept = run.len();
        let head = packed.bytes;
        buffer.copy_within(EXTENT + run.start..EXTENT + run.end, head + EXTENT);
        buffer[head..head + 8].copy_from_slice(&(offset + run.start as u64).to_le_bytes());
        buffer[head + 8..head + EXTENT].copy_from_slice(&(kept as u64).to_le_bytes());
        packed.bytes = head + EXTENT + kept;
        packed.extents += 1;
        packed.data += kept as u64;
        debug_assert!(packed.bytes <= EXTENT + position && position <= length);
    }
    packed
}

/// The next pages from `position` on, a multiple of the page size, that are not zero.
fn next_run(memory: &[u8], mut position: usize) -> Option<Range<usize>> {
    let page = |position: usize| &memory[position..memory.len().min(position + PAGE)];
    let is_zero = |position: usize| page(position) == &ZERO[..page(position).len()];
    while position < memory.len() && is_zero(position) {
        position += PAGE;
    }
    let start = position;
    while position < memory.len() && !is_zero(position) {
        position += PAGE;
    }
    (start < memory.len()).then(|| start..position.min(memory.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::FileExt;

    /// What `pack` has to say, from page to page and into another buffer.
    fn pack_simply(memory: &[u8], offset: u64) -> Vec<u8> {
        let mut extents: Vec<(u64, Vec<u8>)> = Vec::new();
        for (index, page) in memory.chunks(PAGE).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0)) {
            let at = offset + (index * PAGE) as u64;
            match extents.last_mut() {
                Some((start, data)) if *start + data.len() as u64 == at => data.extend(page),
                _ => extents.push((at, page.to_vec())),
            }
        }
        let bytes =
            |(at, data): (u64, Vec<u8>)| [&at.to_le_bytes()[..], &(data.len() as u64).to_le_bytes(), &data].concat();
        extents.into_iter().flat_map(bytes).collect()
    }

    proptest! {
        #[test]
        fn packing_in_place_gives_what_packing_simply_gives(
            pages in proptest::collection::vec(proptest::option::of(0..PAGE), 0..12),
            rest in 0..PAGE,
            offset: u32,
        ) {
            let mut buffer = vec![0; EXTENT + pages.len() * PAGE + rest];
            for (page, at) in pages.iter().enumerate() {
                let Some(at) = at else { continue };
                buffer[EXTENT + page * PAGE + at] = 1 + page as u8;
            }
            if let Some(last) = buffer[EXTENT..].last_mut() {
                *last = 77;
            }
            let expected = pack_simply(&buffer[EXTENT..], offset.into());
            let packed = pack(&mut buffer, offset.into());
            prop_assert_eq!(&buffer[..packed.bytes], &expected[..]);
            prop_assert_eq!(packed.bytes as u64, packed.extents * EXTENT as u64 + packed.data);
        }
    }

    #[test]
    fn holes_are_no_data() {
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        file.set_len(1 << 40).unwrap();
        assert!(data_ranges(&file, 1 << 40).next().is_none());
        file.write_all_at(b"x", 1 << 30).unwrap();
        file.write_all_at(b"x", (1 << 40) - 1).unwrap();
        let found: Vec<_> = data_ranges(&file, 1 << 40).map(Result::unwrap).collect();
        assert_eq!(found.len(), 2);
        assert!(found[0].contains(&(1 << 30)) && found[1].contains(&((1 << 40) - 1)));
        assert!(found.iter().all(|range| range.end - range.start <= 2 << 20 && range.end <= 1 << 40));
    }
}
