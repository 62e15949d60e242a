//! Memory files as wholes: what is saved is loaded, and whatever else is in a file is refused.

mod bench;
mod damage;
mod forged;
mod room;
mod whole;

use bench::Bench;
