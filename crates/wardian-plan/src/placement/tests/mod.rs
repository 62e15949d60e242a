//! Placement as a whole: stories of single environments, and what must hold for any.

mod properties;
mod stories;
mod world;

use super::*;
