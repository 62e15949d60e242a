//! Set-up, demo, tests, benches and images of Wardian.
fn main() {}
