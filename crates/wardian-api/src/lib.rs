//! The interface of the daemon: wire types, routes, the server on a unix socket, and the OpenAPI document.
//!
//! * [`wire`]: requests and answers as JSON; the stable, documented part;
//! * [`backend`]: what the routes need from whoever does the work;
//! * [`host_backend`]: the one that does it, on a host;
//! * [`routes`]: the routes under `/v1`, and the OpenAPI document that is made from them;
//! * [`server`]: the unix socket, who may use it, and an orderly end;
//! * [`peer`]: the channel between the hosts of a cluster.
//!
//! It carries requests and answers, and decides nothing about environments: that is the backend's.

pub mod backend;
pub mod host_backend;
pub mod peer;
pub mod routes;
pub mod server;
mod sse;
pub mod wire;
