//! The pages a copy-on-write child has of its own, laid over a copy of the file it was born from.
//!
//! `/proc/PID/maps` says where the guest's memory is mapped, `/proc/PID/pagemap` which of its pages are private
//! (kernel: `admin-guide/mm/pagemap.rst`), `process_vm_readv` brings them over, hundreds of runs in one call.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::machine::Machine;

/// Bytes of a page, on every x86-64; pagemap counts in it also where larger ones are mapped.
const PAGE: u64 = 4096;
/// Entries of pagemap read at once.
const ENTRIES: usize = (PIECE / PAGE) as usize;
/// Bytes of one entry.
const ENTRY: usize = 8;
/// "The page is in memory."
const PRESENT: u64 = 1 << 63;
/// "The page is swapped out."
const SWAPPED: u64 = 1 << 62;
/// "The page is of a file, or of shared memory": not the process's own.
const OF_FILE: u64 = 1 << 61;
/// Bytes brought over in one call: small enough to stay in the processor's cache until they are written.
const CHUNK: usize = 256 << 10;
/// Bytes of address space a thread takes at once.
const PIECE: u64 = 8 << 20;
/// Most threads.
const THREADS: usize = 4;
/// Most runs in one call (`IOV_MAX`).
const RUNS: usize = 1024;

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pages {
    /// Bytes copied.
    pub copied: u64,
    /// How long it took.
    pub took: Duration,
}

/// Copies every page that `machine`, paused and started on a [frozen](crate::Memory::Frozen) file, has changed into the
/// file `into`: a copy of that frozen file, made before by [`super::copy_sparse`], of exactly the guest's memory.
/// Afterwards `into` is the guest's memory. Needs root; blocks, some milliseconds for 32 MiB. Done once more before,
/// while the machine still runs, it leaves no consistent memory but makes the copy of the paused one faster: the file
/// has its pages by then. Nobody may write `into` from then on; who maps it already and has not written sees the
/// change.
///
/// # Errors
/// When the machine's memory is not one private mapping of a file of that size, or cannot be read.
pub fn copy_private_pages(machine: &Machine, into: &Path) -> io::Result<Pages> {
    let begun = Instant::now();
    // Root may write in spite of the mode 0444 that keeps everybody else out.
    let target = OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(into)?;
    let size = target.metadata()?.len();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", machine.pid()))?;
    let areas = guest_memory(&maps, size).map_err(|what| io::Error::new(io::ErrorKind::InvalidInput, what))?;
    let pagemap = File::open(format!("/proc/{}/pagemap", machine.pid()))?;
    let copied = copy_areas(machine.pid(), &pagemap, &target, &areas)?;
    Ok(Pages { copied, took: begun.elapsed() })
}

/// Copies with a few threads, for the guest waits and one processor alone is far slower than memory. Each takes the
/// next piece when it is done with one, wherever the changed pages lie.
fn copy_areas(pid: i32, pagemap: &File, target: &File, areas: &[Area]) -> io::Result<u64> {
    let pieces: Vec<Area> = areas.iter().flat_map(Area::pieces).collect();
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get()).min(THREADS).min(pieces.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut transfer = Transfer::new(pid, target);
        while let Some(area) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            each_run(pagemap, area, |start, length| transfer.add(start, area.offset + (start - area.start), length))?;
        }
        transfer.flush()?;
        Ok(transfer.copied)
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut copied: io::Result<u64> = work();
        for other in others {
            // A panic in there is a defect of ours; it shall not be taken for anything else.
            let more = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            copied = copied.and_then(|sum| Ok(sum + more?));
        }
        copied
    })
}

/// A piece of a process's address space that maps a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Area {
    start: u64,
    end: u64,
    /// Where in the file it begins, in bytes.
    offset: u64,
}

impl Area {
    /// The same in pieces of [`PIECE`] bytes at most.
    fn pieces(&self) -> impl Iterator<Item = Area> {
        let Area { start, end, offset } = *self;
        let piece = move |at: u64| Area { start: at, end: end.min(at + PIECE), offset: offset + (at - start) };
        (start..end).step_by(PIECE as usize).map(piece)
    }
}

/// The areas that map one file of `size` bytes, privately and whole; found by size, for the file may have lost its
/// name.
fn guest_memory(maps: &str, size: u64) -> Result<Vec<Area>, String> {
    let mut files: Vec<((&str, u64), bool, Vec<Area>)> = Vec::new();
    for line in maps.lines() {
        let Some((file, private, area)) = mapping(line) else { continue };
        match files.iter_mut().find(|(other, kind, _)| *other == file && *kind == private) {
            Some((_, _, areas)) => areas.push(area),
            None => files.push((file, private, vec![area])),
        }
    }
    let mut whole: Vec<(bool, Vec<Area>)> = Vec::new();
    for (_, private, mut areas) in files {
        areas.sort_by_key(|area| area.offset);
        let mut covered = 0;
        for area in &areas {
            if area.offset == covered {
                covered += area.end - area.start;
            }
        }
        if covered == size && size > 0 {
            whole.push((private, areas));
        }
    }
    match whole.as_slice() {
        [(true, areas)] => Ok(areas.clone()),
        [(false, _)] => Err("the machine's memory is a shared file and has no private pages".to_owned()),
        [] => Err(format!("the machine maps no file of {size} bytes as its memory")),
        _ => Err(format!("the machine maps more than one file of {size} bytes")),
    }
}

/// A line of `maps` (proc(5)) that maps a file for writing: which file (device and inode), whether privately, and
/// where.
fn mapping(line: &str) -> Option<((&str, u64), bool, Area)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let private = match fields.next()?.as_bytes() {
        [_, b'w', _, b'p'] => true,
        [_, b'w', _, b's'] => false,
        _ => return None,
    };
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let offset = number(fields.next()?)?;
    let device = fields.next()?;
    let inode = fields.next()?.parse().ok().filter(|inode| *inode != 0)?;
    Some(((device, inode), private, Area { start: number(start)?, end: number(end)?, offset }))
}

/// Calls `run` with address and length of every run of private pages.
fn each_run(pagemap: &File, area: &Area, mut run: impl FnMut(u64, u64) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; ENTRIES * ENTRY];
    let mut open: Option<u64> = None;
    let mut at = area.start;
    while at < area.end {
        let pages = usize::try_from((area.end - at) / PAGE).unwrap_or(usize::MAX).min(ENTRIES);
        let entries = &mut buffer[..pages * ENTRY];
        pagemap.read_exact_at(entries, at / PAGE * ENTRY as u64)?;
        for entry in entries.as_chunks::<ENTRY>().0 {
            let own = is_private(u64::from_ne_bytes(*entry));
            match open {
                None if own => open = Some(at),
                Some(start) if !own => {
                    run(start, at - start)?;
                    open = None;
                }
                _ => {}
            }
            at += PAGE;
        }
    }
    open.map_or(Ok(()), |start| run(start, at - start))
}

fn is_private(entry: u64) -> bool {
    entry & (PRESENT | SWAPPED) != 0 && entry & OF_FILE == 0
}

/// Brings runs of memory over, many in one call.
struct Transfer<'a> {
    pid: i32,
    target: &'a File,
    buffer: Vec<u8>,
    /// Address, place in the file, length.
    runs: Vec<(u64, u64, usize)>,
    /// Bytes of `runs`.
    waiting: usize,
    copied: u64,
}

impl<'a> Transfer<'a> {
    fn new(pid: i32, target: &'a File) -> Self {
        Transfer { pid, target, buffer: vec![0; CHUNK], runs: Vec::with_capacity(RUNS), waiting: 0, copied: 0 }
    }

    fn add(&mut self, mut address: u64, mut offset: u64, mut length: u64) -> io::Result<()> {
        while length > 0 {
            let room = CHUNK - self.waiting;
            let piece = usize::try_from(length).unwrap_or(usize::MAX).min(room);
            self.runs.push((address, offset, piece));
            self.waiting += piece;
            address += piece as u64;
            offset += piece as u64;
            length -= piece as u64;
            if self.waiting == CHUNK || self.runs.len() == RUNS {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.runs.is_empty() {
            return Ok(());
        }
        self.read()?;
        let mut at = 0;
        for (_, offset, length) in &self.runs {
            self.target.write_all_at(&self.buffer[at..at + length], *offset)?;
            at += length;
        }
        self.copied += self.waiting as u64;
        self.waiting = 0;
        self.runs.clear();
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        let remote: Vec<libc::iovec> = self
            .runs
            .iter()
            .map(|(address, _, length)| libc::iovec { iov_base: *address as *mut libc::c_void, iov_len: *length })
            .collect();
        let local = libc::iovec { iov_base: self.buffer.as_mut_ptr().cast(), iov_len: self.waiting };
        // SAFETY: `local` is within the buffer, which lives and is ours alone; the kernel checks the other process's
        // addresses.
        let done =
            unsafe { libc::process_vm_readv(self.pid, &local, 1, remote.as_ptr(), remote.len() as libc::c_ulong, 0) };
        match done {
            done if done < 0 => Err(io::Error::last_os_error()),
            done if done.unsigned_abs() == self.waiting => Ok(()),
            _ => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the machine's memory went away while it was copied"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
7f0000000000-7f0000200000 rw-p 00000000 00:1a 77                         /dev/shm/m 1/base (deleted)
7f0000200000-7f0000400000 rw-p 00200000 00:1a 77                         /dev/shm/m 1/base (deleted)
7f0000400000-7f0000401000 ---p 00000000 00:00 0
7f0000500000-7f0000900000 r-xp 00000000 fe:00 99                         /usr/lib/libc.so.6
7f0000a00000-7f0000e00000 rw-p 00000000 00:00 0                          [heap]
";

    #[test]
    fn memory_is_found_in_several_areas_without_its_name() {
        let areas = guest_memory(MAPS, 4 << 20).unwrap();
        assert_eq!(areas.iter().map(|area| area.offset).collect::<Vec<_>>(), [0, 2 << 20]);
        assert_eq!(areas[1].start, 0x7f00_0020_0000);
    }

    #[test]
    fn pieces_cover_the_area_once() {
        let area = Area { start: 1 << 30, end: (1 << 30) + 2 * PIECE + PAGE, offset: PAGE };
        let pieces: Vec<Area> = area.pieces().collect();
        assert_eq!(pieces.len(), 3);
        assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!(pieces[2], Area { start: (1 << 30) + 2 * PIECE, end: area.end, offset: PAGE + 2 * PIECE });
    }

    #[test]
    fn memory_of_another_kind_or_size_is_refused() {
        assert!(guest_memory(MAPS, 8 << 20).unwrap_err().contains("no file of 8388608 bytes"));
        let shared = MAPS.replace("rw-p 00", "rw-s 00");
        assert!(guest_memory(&shared, 4 << 20).unwrap_err().contains("shared file"));
        let twice = format!("{MAPS}7f1000000000-7f1000400000 rw-p 00000000 00:1a 78 /other\n");
        assert!(guest_memory(&twice, 4 << 20).unwrap_err().contains("more than one"));
        // A part is missing.
        let part: String = MAPS.lines().skip(1).map(|line| format!("{line}\n")).collect();
        assert!(guest_memory(&part, 4 << 20).is_err());
    }

    #[test]
    fn swapped_pages_count_and_pages_of_the_file_do_not() {
        assert!(is_private(PRESENT) && is_private(SWAPPED));
        assert!(!is_private(0) && !is_private(PRESENT | OF_FILE) && !is_private(SWAPPED | OF_FILE));
    }
}
