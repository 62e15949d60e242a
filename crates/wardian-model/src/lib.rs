//! Wardian's words as types: ids, specifications, records, phases, validation. No I/O, no clock, no tokio.
//!
//! * [`name`], [`id`], [`mac`], [`vsid`], [`size`], [`bandwidth`], [`span`]: the small values everything is made of;
//! * [`spec`]: what a user asks for, every default explicit; [`mod@file`]: reading it from YAML, with positions;
//! * [`identity`]: what is kept in every clone, and what is unique per instance; [`join`]: who is joined with whom;
//! * [`door`]: ports of the host that lead inside, and who shares what comes there;
//! * [`environment`], [`machine`], [`memory`], [`image`], [`claim`], [`cut`], [`snapshot`], [`operation`], [`event`],
//!   [`host`]: the records in the store;
//! * [`cluster`]: those of several hosts that share one; [`encapsulation`]: how frames travel between them;
//! * [`record`]: what makes a type a record, and where it is kept.

pub mod bandwidth;
pub mod claim;
pub mod cluster;
pub mod cut;
pub mod door;
pub mod encapsulation;
pub mod environment;
pub mod event;
pub mod file;
pub mod host;
pub mod id;
pub mod identity;
pub mod image;
pub mod join;
pub mod mac;
pub mod machine;
pub mod memory;
pub mod name;
pub mod operation;
pub mod record;
pub mod size;
pub mod snapshot;
pub mod span;
pub mod spec;
pub mod vsid;

pub use jiff::{SignedDuration, Timestamp};
