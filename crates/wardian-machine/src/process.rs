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

/// How often to look, 5 ms apart, whether an ended process has been collected by its parent.
const COLLECTED: u32 = 20;

/// A descriptor of a process: signals through it never hit a later process of the same number (pidfd_open(2)).
#[derive(Debug)]
pub(crate) struct ProcessFd {
    fd: AsyncFd<OwnedFd>,
    pid: i32,
}

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
        Ok(Some(ProcessFd { fd: registered?, pid }))
    }

    /// Sends a signal; fine when the process is gone.
    pub(crate) fn signal(&self, signal: i32) -> io::Result<()> {
        match self.send(signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }

    fn send(&self, signal: i32) -> io::Result<()> {
        // SAFETY: a null siginfo is allowed (pidfd_send_signal(2)); the descriptor is open for as long as `self` lives.
        let done = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits until the process has ended, and collects how when it was our child.
    pub(crate) async fn ended(&self) -> io::Result<Ending> {
        let _ready = self.fd.readable().await?;
        match self.collect() {
            Some(ending) => Ok(ending),
            None => Ok(self.ending_of_another().await),
        }
    }

    /// Collects the ended process; `None` when it is no child of ours, or one that was collected already.
    fn collect(&self) -> Option<Ending> {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: `info` is large enough for what waitid writes and lives until it returns.
        let done = unsafe {
            libc::waitid(
                libc::P_PIDFD,
                self.fd.as_raw_fd().cast_unsigned(),
                info.as_mut_ptr(),
                libc::WEXITED | libc::WNOHANG,
            )
        };
        if done != 0 {
            return None;
        }
        // SAFETY: zeroed is a valid siginfo_t, and waitid has filled it for a child's end, whose fields these are.
        let (code, status) = unsafe {
            let info = info.assume_init();
            (info.si_code, info.si_status())
        };
        Some(match code {
            libc::CLD_EXITED => Ending::Code(status),
            libc::CLD_KILLED | libc::CLD_DUMPED => Ending::Signal(status),
            _ => Ending::Unknown,
        })
    }
}

impl ProcessFd {
    /// How a process that is not our child ended. While its parent (init, when the starter is gone) has not collected
    /// it, `/proc` tells; afterwards Linux 6.15 and newer tell whoever had it open.
    async fn ending_of_another(&self) -> Ending {
        for _ in 0..COLLECTED {
            if let Some(status) = self.zombie_status() {
                return ending(status);
            }
            match self.exit_status() {
                Ok(Some(status)) => return ending(status),
                Ok(None) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                Err(_) => return Ending::Unknown,
            }
        }
        Ending::Unknown
    }

    /// The wait status of a process that waits to be collected (field 52 of `/proc/PID/stat`, proc(5)).
    fn zombie_status(&self) -> Option<i32> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let (state, code) = (fields.next()?, fields.nth(48)?);
        // Asked afterwards: if it is there still, the number was its own when the text was read.
        (state == "Z" && self.send(0).is_ok()).then(|| code.parse().ok())?
    }

    /// The wait status of a collected process; `None` before it is collected, an error when this kernel does not tell.
    fn exit_status(&self) -> io::Result<Option<i32>> {
        let mut info = std::mem::MaybeUninit::<libc::pidfd_info>::zeroed();
        // SAFETY: zeroes are a valid pidfd_info; the mask says what is asked for.
        unsafe { (*info.as_mut_ptr()).mask = libc::PIDFD_INFO_EXIT.into() };
        // SAFETY: the kernel reads and writes one pidfd_info, whose size is part of the request's number.
        let done = unsafe { libc::ioctl(self.fd.as_raw_fd(), libc::PIDFD_GET_INFO, info.as_mut_ptr()) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: initialized above.
        let info = unsafe { info.assume_init() };
        Ok((info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0).then_some(info.exit_code))
    }
}

/// Reads a wait status (wait(2)).
fn ending(status: i32) -> Ending {
    if libc::WIFSIGNALED(status) {
        Ending::Signal(libc::WTERMSIG(status))
    } else {
        Ending::Code(libc::WEXITSTATUS(status))
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

    #[tokio::test]
    async fn end_of_a_collected_process_is_told_where_the_kernel_does() {
        let mut child = std::process::Command::new("sh").args(["-c", "kill -9 $$"]).spawn().unwrap();
        let process = ProcessFd::open(child.id().cast_signed()).unwrap().unwrap();
        child.wait().unwrap();
        let ending = process.ended().await.unwrap();
        println!("{:?} {ending:?}", process.exit_status());
        assert!(matches!(ending, Ending::Signal(libc::SIGKILL) | Ending::Unknown), "{ending:?}");
    }

    #[tokio::test]
    async fn end_of_a_zombie_is_read_without_collecting_it() {
        let mut child = std::process::Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let process = ProcessFd::open(child.id().cast_signed()).unwrap().unwrap();
        let _ready = process.fd.readable().await.unwrap();
        assert_eq!(process.zombie_status().map(ending), Some(Ending::Code(7)));
        child.wait().unwrap();
        assert_eq!(process.zombie_status(), None);
    }
}
