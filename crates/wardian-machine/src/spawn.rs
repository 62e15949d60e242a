//! Turns a child process into QEMU: what happens between fork and exec.
//!
//! The child leaves everything of the starter behind (session, network, user, descriptors) and writes its number into
//! the lock file it keeps. From fork to exec it may be that the starter is dead already; nothing here depends on it.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::launch::{Accelerator, User};

/// What the child does before it becomes QEMU.
pub(crate) struct Child<'a> {
    /// The lock file, taken.
    pub(crate) lock: &'a File,
    /// Where its output goes.
    pub(crate) output: &'a File,
    /// Descriptors QEMU finds under their present numbers.
    pub(crate) keep: Vec<RawFd>,
    /// `cgroup.procs` files to enter, opened for writing.
    pub(crate) groups: &'a [File],
    /// Who to become.
    pub(crate) user: Option<User>,
    /// Supplementary groups, `/dev/kvm`'s for example. Only with a user.
    pub(crate) supplementary: Vec<u32>,
    /// The kernel's `oom_score_adj`.
    pub(crate) oom_score_adjust: i16,
    /// Whether to do without huge pages. QEMU asks for them for its translation cache, of which a copy-on-write child
    /// that goes on from warm memory uses little: half of such a child's own memory was rounding up.
    pub(crate) small_pages: bool,
    /// Whether to have a network namespace of its own (needs root).
    pub(crate) isolate_network: bool,
}

/// Starts `program`; when this returns, it runs (exec has succeeded). Blocks for some milliseconds.
pub(crate) fn spawn(program: &std::path::Path, arguments: &[String], child: Child<'_>) -> io::Result<i32> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(child.output.try_clone()?)
        .stderr(child.output.try_clone()?);
    let lock = child.lock.as_raw_fd();
    let groups: Vec<RawFd> = child.groups.iter().map(AsRawFd::as_raw_fd).collect();
    let oom_file = CString::new("/proc/self/oom_score_adj")?;
    let oom_text = child.oom_score_adjust.to_string();
    let Child { keep, user, supplementary, isolate_network, small_pages, .. } = child;
    let prepare = move || {
        for group in &groups {
            // "0" is whoever writes.
            write_all(*group, b"0\n")?;
        }
        // Raising is always allowed; lowering needs root. Failing is no reason not to run.
        let _ = write_file(&oom_file, oom_text.as_bytes());
        // SAFETY: system calls on plain numbers; async-signal-safe.
        unsafe {
            check(libc::setsid())?;
            if isolate_network {
                check(libc::unshare(libc::CLONE_NEWNET))?;
            }
            if small_pages {
                // A kernel without huge pages refuses, and is right.
                libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
            }
            // Group- and other-readable files are nobody's wish here.
            libc::umask(0o077);
            // The dispositions of the starter are its own; std restores SIGPIPE and the mask already.
            libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        }
        become_user(user, &supplementary)?;
        // SAFETY: as above.
        unsafe {
            // Everything closes at exec, also what a library opened carelessly; then what QEMU shall have is kept.
            check(libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) as i32)?;
            check(libc::fcntl(lock, libc::F_SETFD, 0))?;
            for fd in &keep {
                check(libc::fcntl(*fd, libc::F_SETFD, 0))?;
            }
        }
        write_number(lock)
    };
    // SAFETY: `prepare` makes only async-signal-safe system calls, allocates nothing and takes no lock.
    unsafe { command.pre_exec(prepare) };
    // The handle is dropped: a pidfd watches the process, and waitid through it collects it.
    let child = command.spawn()?;
    Ok(child.id().cast_signed())
}

/// Groups a QEMU needs besides its own: the one that may open `/dev/kvm`, when there is one and KVM is used.
pub(crate) fn groups_for(accelerator: Accelerator) -> Vec<u32> {
    let metadata = std::fs::metadata("/dev/kvm").ok().filter(|_| accelerator == Accelerator::Kvm);
    metadata.filter(|m| m.permissions().mode() & 0o060 == 0o060).map(|m| m.gid()).into_iter().collect()
}

/// Becomes `user` for good, and gives up the gain of privileges by exec. Async-signal-safe.
pub(crate) fn become_user(user: Option<User>, supplementary: &[u32]) -> io::Result<()> {
    // SAFETY: system calls on plain numbers and a live slice; async-signal-safe.
    unsafe {
        if let Some(user) = user {
            check(libc::setgroups(supplementary.len(), supplementary.as_ptr()))?;
            check(libc::setresgid(user.gid, user.gid, user.gid))?;
            check(libc::setresuid(user.uid, user.uid, user.uid))?;
        }
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    }
}

pub(crate) fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn write_all(fd: RawFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer and length are of a live slice; write is async-signal-safe.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    if written == bytes.len().cast_signed() { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn write_file(path: &std::ffi::CStr, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the path is a live C string; open and close are async-signal-safe.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    check(fd)?;
    let result = write_all(fd, bytes);
    // SAFETY: `fd` was opened above and is used no more.
    unsafe { libc::close(fd) };
    result
}

/// Writes this process's number as one line, in one write: a reader sees all of it or nothing.
fn write_number(fd: RawFd) -> io::Result<()> {
    // SAFETY: getpid cannot fail.
    let mut number = unsafe { libc::getpid() }.unsigned_abs();
    let mut text = [b'\n'; 12];
    let mut start = text.len() - 1;
    loop {
        start -= 1;
        text[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return write_all(fd, &text[start..]);
        }
    }
}
