//! A guest's memory as a file: frozen, copied, and completed with what a copy-on-write child changed.
//!
//! A machine's first memory is a shared file. At a snapshot it is [frozen](freeze) and the machine goes on as a child
//! of it, as do clones. For the next snapshot the frozen file is [copied](copy_sparse) beforehand, while nobody waits,
//! and while the child is paused [its own pages](copy_private_pages) are laid over the copy: every file is whole by
//! itself, chains never grow.

mod copy;
mod private;

pub use copy::{copy_sparse, freeze};
pub use private::{Pages, copy_private_pages};
