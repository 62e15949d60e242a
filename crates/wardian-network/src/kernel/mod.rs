//! The kernel's doors, each behind a few functions. Everything here blocks, and most of it concerns the network
//! namespace of the calling thread; [`namespace::Namespace::run`] and its siblings choose that.

pub(crate) mod forwarding;
pub(crate) mod message;
pub(crate) mod namespace;
pub(crate) mod netfilter;
pub(crate) mod netlink;
pub(crate) mod nft;
pub(crate) mod sysctl;
pub(crate) mod tap;
