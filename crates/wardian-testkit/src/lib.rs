//! Test hosts in network namespaces, leak checks, micro guest
