//! Typed client of the Wardian API, over a unix socket
