//! Reading memory files of which nothing is believed: the head and facts first, then the body as a stream.

use super::error::MemoryError;
use super::facts::MemoryFacts;
use super::format::{EXTENT, HEAD, Head, HeadError, MAGIC, MEMORY_LIMIT, body_hasher};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Take};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Bytes that are read, hashed and handed on at once: they stay in the processor's cache in between.
const PIECE: usize = 256 << 10;

/// The facts of a memory file. Reads only its beginning, and finds damage there, and a file that was cut short.
///
/// # Errors
/// When it is no memory file, of a newer version, cut short, or head and facts are damaged.
pub fn inspect(path: &Path) -> Result<MemoryFacts, MemoryError> {
    Opened::new(path).map(|opened| opened.facts)
}

/// Reads all of a memory file and says whether it could be loaded, as far as the file is concerned.
///
/// # Errors
/// As [`super::load`], without those of writing.
pub fn verify(path: &Path) -> Result<MemoryFacts, MemoryError> {
    Opened::new(path)?.read(|_| Ok(()), |_, _| Ok(()))
}

/// A file whose head and facts are sound, and whose length is right.
pub(super) struct Opened<'a> {
    path: &'a Path,
    file: File,
    pub(super) head: Head,
    pub(super) facts: MemoryFacts,
}

impl<'a> Opened<'a> {
    pub(super) fn new(path: &'a Path) -> Result<Self, MemoryError> {
        // Should it be a pipe, opening must not wait for a writer.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let mut file = file.map_err(MemoryError::io("open", path))?;
        let metadata = file.metadata().map_err(MemoryError::io("read", path))?;
        if !metadata.is_file() {
            return Err(MemoryError::NotMemory { path: path.into() });
        }
        let found = metadata.len();
        let truncated = |expected| MemoryError::Truncated { path: path.into(), expected, found };
        let damaged = || MemoryError::Damaged { path: path.into(), part: "head" };

        let mut bytes = [0; HEAD];
        let read = fill(&mut file, &mut bytes).map_err(MemoryError::io("read", path))?;
        if read < HEAD {
            let begins = read.min(MAGIC.len());
            return Err(if bytes[..begins] == MAGIC[..begins] {
                truncated(HEAD as u64)
            } else {
                MemoryError::NotMemory { path: path.into() }
            });
        }
        let head = Head::decode(&bytes).map_err(|error| match error {
            HeadError::NotMemory => MemoryError::NotMemory { path: path.into() },
            HeadError::Newer(version) => MemoryError::Newer { path: path.into(), version },
            HeadError::Damaged => damaged(),
        })?;
        // `decode` has bounded its length.
        let mut text = vec![0; head.facts];
        let read = fill(&mut file, &mut text).map_err(MemoryError::io("read", path))?;
        if read < text.len() {
            return Err(truncated((HEAD + head.facts) as u64));
        }
        if !Head::is_sound(&bytes, &text) {
            return Err(damaged());
        }
        if found < head.file_length() {
            return Err(truncated(head.file_length()));
        }
        let facts = serde_json::from_slice(&text).map_err(|source| MemoryError::Facts { path: path.into(), source })?;
        let opened = Self { path, file, head, facts };
        opened.check(found)?;
        Ok(opened)
    }

    fn check(&self, found: u64) -> Result<(), MemoryError> {
        let (head, memory) = (&self.head, self.facts.memory_bytes);
        if found > head.file_length() {
            return Err(self.malformed(format!("{} bytes follow its end", found - head.file_length())));
        }
        if memory == 0 || memory > MEMORY_LIMIT {
            return Err(self.malformed(format!("no machine has {memory} bytes of memory")));
        }
        if head.data > memory {
            return Err(self.malformed(format!("it has {} bytes for {memory} bytes of memory", head.data)));
        }
        Ok(())
    }

    /// Reads the body and hands it on: the device state, then memory with its offset, in pieces. What was handed on is
    /// right only when this returns `Ok`.
    pub(super) fn read(
        self,
        state: impl FnMut(&[u8]) -> Result<(), MemoryError>,
        memory: impl FnMut(u64, &[u8]) -> Result<(), MemoryError>,
    ) -> Result<MemoryFacts, MemoryError> {
        let hashing = Hashing { file: (&self.file).take(self.head.body_length()), hasher: body_hasher() };
        let mut body = BufReader::with_capacity(PIECE, hashing);
        let details = match self.hand_on(&mut body, state, memory) {
            Ok(()) => None,
            // Whether it was damaged or made so, the checksum of everything tells.
            Err(Stop::Malformed(details)) => {
                loop {
                    match self.piece(&mut body)? {
                        0 => break,
                        rest => body.consume(rest),
                    }
                }
                Some(details)
            }
            Err(Stop::Failed(error)) => return Err(error),
        };
        let hashing = body.into_inner();
        if hashing.file.limit() > 0 {
            return Err(self.shorter(hashing.file.limit()));
        }
        if *hashing.hasher.finalize().as_bytes() != self.head.body {
            return Err(MemoryError::Damaged { path: self.path.into(), part: "body" });
        }
        match details {
            Some(details) => Err(self.malformed(details)),
            None => Ok(self.facts),
        }
    }

    fn hand_on(
        &self,
        body: &mut Body<'_>,
        mut state: impl FnMut(&[u8]) -> Result<(), MemoryError>,
        mut memory: impl FnMut(u64, &[u8]) -> Result<(), MemoryError>,
    ) -> Result<(), Stop> {
        self.pieces(body, self.head.state, |_, piece| state(piece))?;
        let (mut end, mut left) = (0, self.head.data);
        for _ in 0..self.head.extents {
            let extent = Extent::read(body).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => self.shorter(body.get_ref().file.limit()),
                _ => MemoryError::io("read", self.path)(error),
            })?;
            end = extent.end(end, left, self.facts.memory_bytes).map_err(Stop::Malformed)?;
            left -= extent.length;
            self.pieces(body, extent.length, |at, piece| memory(extent.offset + at, piece))?;
        }
        if left > 0 {
            return Err(Stop::Malformed(format!("its extents have {left} bytes less than it says")));
        }
        Ok(())
    }

    /// Hands on the next `length` bytes.
    fn pieces(
        &self,
        body: &mut Body<'_>,
        length: u64,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), MemoryError>,
    ) -> Result<(), MemoryError> {
        let mut done = 0;
        while done < length {
            let available = self.piece(body)?;
            if available == 0 {
                return Err(self.shorter(body.get_ref().file.limit()));
            }
            let taken = usize::try_from(length - done).map_or(available, |left| left.min(available));
            each(done, &body.buffer()[..taken])?;
            body.consume(taken);
            done += taken as u64;
        }
        Ok(())
    }

    /// Fills the buffer when it is empty, and says how much is in it; nothing at the end.
    fn piece(&self, body: &mut Body<'_>) -> Result<usize, MemoryError> {
        loop {
            match body.fill_buf() {
                Ok(piece) => return Ok(piece.len()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(MemoryError::io("read", self.path)(error)),
            }
        }
    }

    /// The file became shorter while it was read.
    fn shorter(&self, missing: u64) -> MemoryError {
        let expected = self.head.file_length();
        MemoryError::Truncated { path: self.path.into(), expected, found: expected - missing }
    }

    fn malformed(&self, details: String) -> MemoryError {
        MemoryError::Malformed { path: self.path.into(), details }
    }
}

type Body<'a> = BufReader<Hashing<'a>>;

/// Hashes what is read through it, in the large pieces in which a `BufReader` reads.
struct Hashing<'a> {
    file: Take<&'a File>,
    hasher: blake3::Hasher,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

enum Stop {
    Malformed(String),
    Failed(MemoryError),
}

impl From<MemoryError> for Stop {
    fn from(error: MemoryError) -> Self {
        Self::Failed(error)
    }
}

/// Where some bytes of memory belong.
struct Extent {
    offset: u64,
    length: u64,
}

impl Extent {
    fn read(body: &mut impl Read) -> io::Result<Self> {
        let mut number = || {
            let mut bytes = [0; EXTENT / 2];
            body.read_exact(&mut bytes).map(|()| u64::from_le_bytes(bytes))
        };
        Ok(Self { offset: number()?, length: number()? })
    }

    /// Where it ends, when it may come after one that ended at `previous`, of `left` bytes, in `memory` bytes.
    fn end(&self, previous: u64, left: u64, memory: u64) -> Result<u64, String> {
        let Self { offset, length } = *self;
        if length == 0 {
            return Err(format!("the extent at {offset} is empty"));
        }
        if offset < previous {
            return Err(format!("the extent at {offset} begins before the end of the one before it, {previous}"));
        }
        if length > left {
            return Err(format!("the extent at {offset} has {length} bytes, and only {left} are left"));
        }
        match offset.checked_add(length) {
            Some(end) if end <= memory => Ok(end),
            _ => Err(format!("the extent at {offset} of {length} bytes goes beyond the memory's {memory} bytes")),
        }
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
