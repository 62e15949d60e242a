//! Network namespaces, and threads that work inside them.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{NSFS_MAGIC, statfs},
};
use tokio::sync::oneshot;

use crate::error::NetworkError;

/// This thread's own namespace, as a file. (`/proc/self` would be the main thread's.)
const OWN: &str = "/proc/thread-self/ns/net";

/// An open handle on a network namespace; keeps it alive.
#[derive(Debug, Clone)]
pub(crate) struct Namespace(Arc<OwnedFd>);

impl Namespace {
    /// The namespace of the calling thread.
    pub(crate) fn current() -> Result<Self, NetworkError> {
        let file = File::open(OWN).map_err(NetworkError::file("open", OWN))?;
        Ok(Self(Arc::new(file.into())))
    }

    /// The namespace mounted at `path`, if there is one.
    pub(crate) fn at(path: &Path) -> Result<Option<Self>, NetworkError> {
        if !is_mounted(path)? {
            return Ok(None);
        }
        let file = File::open(path).map_err(NetworkError::file("open", path))?;
        Ok(Some(Self(Arc::new(file.into()))))
    }

    pub(crate) fn file(&self) -> &OwnedFd {
        &self.0
    }

    /// Runs `work` on a fresh thread inside this namespace, and waits for it.
    pub(crate) fn run_blocking<T: Send>(
        &self,
        doing: &'static str,
        work: impl FnOnce() -> Result<T, NetworkError> + Send,
    ) -> Result<T, NetworkError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("namespace".into())
                .spawn_scoped(scope, || {
                    self.enter()?;
                    work()
                })
                .map_err(NetworkError::kernel("start a thread"))?;
            thread.join().unwrap_or(Err(NetworkError::Thread { doing }))
        })
    }

    /// Runs `work` on a fresh thread inside this namespace, without blocking the caller's executor.
    ///
    /// When the caller stops waiting, the work is finished all the same.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let (answer, wait) = oneshot::channel();
        let namespace = self.clone();
        std::thread::Builder::new()
            .name("namespace".into())
            .spawn(move || {
                let result = namespace.enter().and_then(|()| work());
                // Nobody waits any more: nothing to tell.
                let _ = answer.send(result);
            })
            .map_err(NetworkError::kernel("start a thread"))?;
        wait.await.unwrap_or(Err(NetworkError::Thread { doing }))
    }

    fn enter(&self) -> Result<(), NetworkError> {
        setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET)
            .map_err(|e| NetworkError::kernel("enter a network namespace")(e.into()))
    }
}

/// Makes a namespace, lets `prepare` work in it, and mounts it at `path`. What half a creation left there is used
/// again.
pub(crate) fn create(
    path: &Path,
    prepare: impl FnOnce() -> Result<(), NetworkError> + Send,
) -> Result<Namespace, NetworkError> {
    File::options().create(true).append(true).open(path).map_err(NetworkError::file("create", path))?;
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|e| NetworkError::kernel("make a network namespace")(e.into()))?;
        prepare()?;
        // Mounted last: what is there is prepared.
        mount(Some(OWN), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|e| NetworkError::file("mount a network namespace at", path)(e.into()))?;
        Namespace::current()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("namespace".into())
            .spawn_scoped(scope, make)
            .map_err(NetworkError::kernel("start a thread"))?;
        thread.join().unwrap_or(Err(NetworkError::Thread { doing: "make a network namespace" }))
    })
}

/// Unmounts and removes what is at `path`; nothing there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), NetworkError> {
    while is_mounted(path)? {
        umount2(path, MntFlags::MNT_DETACH).map_err(|e| NetworkError::file("unmount", path)(e.into()))?;
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(NetworkError::file("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Whether a namespace (and not the plain file beneath it) is at `path`.
fn is_mounted(path: &Path) -> Result<bool, NetworkError> {
    match statfs(path) {
        Ok(found) => Ok(found.filesystem_type() == NSFS_MAGIC),
        Err(nix::errno::Errno::ENOENT) => Ok(false),
        Err(e) => Err(NetworkError::file("look at", path)(e.into())),
    }
}
