//! Making the daemon's socket: never with wrong permissions for a moment, never away from a daemon that lives.
//!
//! The new socket is made under another name, gets its permissions there, and is moved to its place. The folder is
//! locked meanwhile, so that of two daemons that find a stale socket at once only one takes its place.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{FileTypeExt as _, PermissionsExt as _},
            net::UnixListener as StdListener,
        },
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt},
    unistd::{Gid, chown},
};
use tokio::net::UnixListener;

use super::os_error;

/// Why the socket can't be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon answers there.
    #[error("another daemon{} listens on {}", in_process(*pid), path.display())]
    SocketTaken {
        /// The socket.
        path: PathBuf,
        /// The daemon's process, where the kernel tells.
        pid: Option<i32>,
    },
    /// Something else is there.
    #[error("{} is there and not a socket; it won't be replaced", path.display())]
    NotASocket {
        /// Its path.
        path: PathBuf,
    },
    /// A unix socket's path has 107 bytes at most.
    #[error("the socket's path {} is too long: {} bytes, 107 at most", path.display(), path.as_os_str().len())]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("can't {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn in_process(pid: Option<i32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

/// Makes the socket at `path`, with permissions `mode` (such as `0o660`), owned by `group`.
///
/// Must be called inside a tokio runtime. The folder must be there.
///
/// # Errors
/// When a daemon answers at `path`, something else is there, or the system refuses.
pub fn bind(path: &Path, mode: u32, group: Option<u32>) -> Result<UnixListener, BindError> {
    let io = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| BindError::Io { doing, path, source }
    };
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // Also the path for the time being must fit into an address.
    if new.as_os_str().len() > 107 {
        return Err(BindError::TooLong { path: path.to_owned() });
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let lock = File::open(folder).map_err(io("open the folder", folder))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, errno)| io("lock the folder", folder)(os_error(errno)))?;

    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => return Err(BindError::NotASocket { path: path.to_owned() }),
        Ok(_) => refuse_taken(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io("look at the socket", path)(error)),
    }
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io("remove", &new)(error)),
        _ => {}
    }
    let listener = StdListener::bind(&new).map_err(io("make the socket", &new))?;
    let finish = || {
        chown(&new, None, group.map(Gid::from_raw))
            .map_err(|errno| io("give the socket its group", &new)(os_error(errno)))?;
        fs::set_permissions(&new, Permissions::from_mode(mode)).map_err(io("give the socket its permissions", &new))?;
        listener.set_nonblocking(true).map_err(io("listen on", &new))?;
        fs::rename(&new, path).map_err(io("move the socket to its place", path))
    };
    if let Err(error) = finish() {
        // What remains of it would be removed by the next daemon; better not to leave it that long.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    UnixListener::from_std(listener).map_err(io("listen on", path))
}

/// Fails when a daemon answers at `path`.
fn refuse_taken(path: &Path) -> Result<(), BindError> {
    let io = |errno| BindError::Io { doing: "find out who listens on", path: path.to_owned(), source: os_error(errno) };
    let probe = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)
        .map_err(io)?;
    let address = UnixAddr::new(path).map_err(io)?;
    match connect(probe.as_raw_fd(), &address) {
        Ok(()) => {
            let credentials = getsockopt(&probe, sockopt::PeerCredentials).ok();
            Err(BindError::SocketTaken { path: path.to_owned(), pid: credentials.map(|peer| peer.pid()) })
        }
        // It lives, and so many wait to be accepted that the kernel takes no more.
        Err(Errno::EAGAIN) => Err(BindError::SocketTaken { path: path.to_owned(), pid: None }),
        Err(Errno::ECONNREFUSED | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(io(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[tokio::test]
    async fn the_socket_has_its_permissions_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let group = nix::unistd::getegid().as_raw();
        let _listener = bind(&path, 0o660, Some(group)).unwrap();
        let there = fs::metadata(&path).unwrap();
        assert_eq!((there.mode() & 0o7777, there.gid()), (0o660, group));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        tokio::net::UnixStream::connect(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_living_daemon_keeps_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = bind(&path, 0o660, None).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let error = bind(&path, 0o660, None).unwrap_err();
        assert!(matches!(&error, BindError::SocketTaken { pid: Some(pid), .. } if *pid == own), "{error}");
        assert!(error.to_string().contains(&format!("process {own}")), "{error}");
        drop(listener);
        bind(&path, 0o660, None).unwrap();
    }

    #[tokio::test]
    async fn a_daemon_that_accepts_nobody_any_more_keeps_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let backlog = nix::sys::socket::Backlog::new(0).unwrap();
        let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).unwrap();
        nix::sys::socket::bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        nix::sys::socket::listen(&listener, backlog).unwrap();
        let _waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
        assert!(matches!(bind(&path, 0o660, None), Err(BindError::SocketTaken { pid: None, .. })));
    }

    #[tokio::test]
    async fn a_stale_socket_and_what_a_killed_daemon_left_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(StdListener::bind(&path).unwrap());
        drop(StdListener::bind(folder.path().join("s.new")).unwrap());
        let _listener = bind(&path, 0o600, None).unwrap();
        tokio::net::UnixStream::connect(&path).await.unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_is_not_a_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path, 0o660, None), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let long = folder.path().join("s".repeat(110));
        assert!(matches!(bind(&long, 0o660, None), Err(BindError::TooLong { .. })));
        assert!(matches!(bind(&folder.path().join("no/s"), 0o660, None), Err(BindError::Io { .. })));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_many_daemons_at_once_one_gets_the_stale_socket() {
        for _ in 0..10 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("s");
            drop(StdListener::bind(&path).unwrap());
            let tries: Vec<_> = (0..8)
                .map(|_| {
                    let path = path.clone();
                    tokio::task::spawn_blocking(move || bind(&path, 0o660, None))
                })
                .collect();
            let mut won = Vec::new();
            for result in tries {
                won.extend(result.await.unwrap().ok());
            }
            assert_eq!(won.len(), 1);
        }
    }
}
