//! What users ask for. Each request checks, then writes records in one transaction; controllers do the rest.

mod clone;
mod create;
mod expose;
mod guest;
mod images;
mod intent;
mod read;


pub use create::MAX_MACHINES;
pub use images::ImportRequest;
