//! The peer channel: what the daemons of a cluster ask one another, in HTTP/1.1 over TCP.
//!
//! * [`Whereabouts`] tells which host has to answer for an environment;
//! * [`Carrier`] sends requests there and their answers back: bodies, event streams, consoles;
//! * [`router`] and [`serve`] answer other hosts: the routes under `/v1`, and the files of images;
//! * [`fetch_image`] takes an image over from another host's vault;
//! * [`clock_ahead`] compares the clocks.
//!
//! # Who may speak
//!
//! Who knows the cluster's secret is a host of it; every request carries it, and it is compared in constant time.
//!
//! With certificates, both sides moreover show one that the cluster's authority has signed for use by clients: the
//! very one a host shows to etcd. Which name or address it is for is not looked at: whoever holds one is a host, their
//! addresses change, and the one to talk to is known from the store. Without certificates what is said, and so the
//! secret, can be read along the way: the hosts' network must be trusted then.
//!
//! # Once
//!
//! A request is carried at most once. Whatever comes in over the peer channel is marked, and a marked request is
//! answered here or refused, whoever else should answer by now; so two hosts that disagree can't make it go round.

mod about;
mod carry;
mod clock;
mod dial;
mod fetch;
mod headers;
mod images;
mod listen;
mod strangers;
mod tls;
mod trust;
mod whereabouts;

pub use carry::{Carrier, carried};
pub use clock::clock_ahead;
pub use dial::PeerError;
pub use fetch::{FetchError, fetch_image};
pub use images::router;
pub use listen::serve;
pub use trust::{Credentials, PeerTls, Trust, TrustError};
pub use whereabouts::{Elsewhere, Whereabouts};
