//! What users ask for. Each request checks, then writes records in one transaction; controllers do the rest.

mod clone;
mod create;
mod expose;
mod file;
mod guest;
pub(crate) mod images;
mod intent;
mod read;

pub use file::CheckedFile;
pub use images::ImportRequest;
pub use read::EnvironmentWithMachines;
