//! The QEMU process, seen from outside: which incarnation it is, that it ended, and how.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One incarnation of a process: numbers are used again, start times with them are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`, proc(5)).
    pub start_time: u64,
}

impl ProcessId {
    /// Looks the process up; `None` when there is none of that number.
    pub fn look_up(pid: i32) -> io::Result<Option<Self>> {
        let text = match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(text) => text,
            // ESRCH: it ended while being read.
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let start_time =
            start_time(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unreadable process status"))?;
        Ok(Some(ProcessId { pid, start_time }))
    }
}

/// Field 22. The second field is the name in parentheses and may itself hold spaces and parentheses.
fn start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// How a process ended, as far as its parent or the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It was not our child, and the kernel does not tell others.
    Unknown,
}

/// A descriptor of a process: signals through it never hit a later process of the same number (pidfd_open(2)).
#[derive(Debug)]
pub(crate) struct ProcessFd(AsyncFd<OwnedFd>);

impl ProcessFd {
    /// Opens it; `None` when the process is gone. Needs a tokio runtime.
    pub(crate) fn open(pid: i32) -> io::Result<Option<Self>> {
        // SAFETY: pidfd_open takes two integers and touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::ESRCH) { Ok(None) } else { Err(error) };
        }
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the descriptor is owned by the AsyncFd, which never gives it away and closes it after deregistering.
        let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
        Ok(Some(ProcessFd(registered?)))
    }

    /// Sends a signal; fine when the process is gone.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        // SAFETY: a null siginfo is allowed (pidfd_send_signal(2)); the descriptor is open for as long as `self` lives.
        let done = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if done == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
    }

    /// Waits until the process has ended, and collects how when it was our child.
    pub(crate) async fn ended(&self) -> io::Result<Ending> {
        let _ready = self.0.readable().await?;
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: `info` is large enough for what waitid writes and lives until it returns.
        let done = unsafe {
            libc::waitid(
                libc::P_PIDFD,
                self.0.as_raw_fd().cast_unsigned(),
                info.as_mut_ptr(),
                libc::WEXITED | libc::WNOHANG,
            )
        };
        if done != 0 {
            // ECHILD: another process started it, or the child was collected already.
            return Ok(Ending::Unknown);
        }
        // SAFETY: zeroed is a valid siginfo_t, and waitid has filled it for a child's end, whose fields these are.
        let (code, status) = unsafe {
            let info = info.assume_init();
            (info.si_code, info.si_status())
        };
        Ok(match code {
            libc::CLD_EXITED => Ending::Code(status),
            libc::CLD_KILLED | libc::CLD_DUMPED => Ending::Signal(status),
            _ => Ending::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_read_past_a_name_with_parentheses() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99 1";
        assert_eq!(start_time(stat), Some(4711));
        assert_eq!(start_time("7 (cut"), None);
    }

    #[test]
    fn process_that_is_not_there_is_none() {
        assert_eq!(ProcessId::look_up(i32::MAX).unwrap(), None);
        let me = ProcessId::look_up(std::process::id().cast_signed()).unwrap().unwrap();
        assert!(me.start_time > 0);
    }

    #[tokio::test]
    async fn end_of_a_child_is_told_with_its_code_and_signal() {
        for (script, expected) in [("exit 7", Ending::Code(7)), ("kill -9 $$", Ending::Signal(libc::SIGKILL))] {
            #[expect(clippy::zombie_processes, reason = "collected by what is tested")]
            let child = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
            let process = ProcessFd::open(child.id().cast_signed()).unwrap().unwrap();
            assert_eq!(process.ended().await.unwrap(), expected);
        }
    }
}
