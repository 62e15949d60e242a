//! Whether somebody still waits for what a thread works on: dropping a future doesn't stop the thread it has started.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the future holds: with it, the wish is gone.
#[derive(Debug)]
pub(crate) struct Wish(Wanted);

/// What the thread asks.
#[derive(Debug, Clone)]
pub(crate) struct Wanted(Arc<Mutex<bool>>);

impl Wish {
    pub(crate) fn new() -> Self {
        Self(Wanted(Arc::new(Mutex::new(true))))
    }

    pub(crate) fn wanted(&self) -> Wanted {
        self.0.clone()
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        *self.0.lock() = false;
    }
}

impl Wanted {
    /// Whether it is wanted, and stays so while the guard is held.
    ///
    /// # Errors
    /// When it has been given up.
    pub(crate) fn hold(&self) -> io::Result<MutexGuard<'_, bool>> {
        let wanted = self.lock();
        if *wanted { Ok(wanted) } else { Err(io::Error::other("it was given up")) }
    }

    /// A reader that fails once it has been given up.
    pub(crate) fn reader<R: Read>(&self, inner: R) -> impl Read {
        WantedReader { wanted: self, inner }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        // Nothing under the lock leaves half a value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct WantedReader<'a, R> {
    wanted: &'a Wanted,
    inner: R,
}

impl<R: Read> Read for WantedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        drop(self.wanted.hold()?);
        self.inner.read(buffer)
    }
}
