//! Typed client of the daemon's interface, over its unix socket.
//!
//! * [`Client`]: one method for each route;
//! * [`ClientError`]: no daemon, not allowed, refused, or interrupted, each with what to do about it;
//! * the streams follow operations and events, and outlive a restart of the daemon.
//!
//! It is light on purpose: HTTP/1.1 on one connection for each request, no pool, no TLS, at home on a
//! current-thread runtime, because most commands make one request and are gone.

mod client;
mod error;
mod files;
mod sse;
mod streams;
mod transport;

pub use client::{Client, Console, Messages};
pub use error::ClientError;
pub use files::FileContent;
pub use streams::{EventOptions, Patience};
pub use wardian_api::wire;
