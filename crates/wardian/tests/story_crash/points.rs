//! Where the daemon is killed, operation by operation. `#2` is the second time a point is reached.

/// `#2`: the environment on the side has its network made anew when the daemon starts, which is the first time.
pub(crate) const UP: &[&str] = &[
    "create: recorded",
    "network: begun#2",
    "network: made#2",
    "disk: recorded",
    "disk: file made",
    "start: prepared",
    "start: process runs",
    "start: recorded",
    "ready: seen",
    "ready: recorded",
];

/// `#2`: unneeded layers are collected when the daemon starts, too.
pub(crate) const REMOVE: &[&str] = &[
    "intent: recorded",
    "stop: process ended",
    "stop: end recorded",
    "collect: memory deleted",
    "network: removed",
    "forget: a directory is next",
    "forget: files removed",
    "forget: records removed",
    "collect: cuts finished#2",
    "collect: layer deleted",
];

pub(crate) const DOWN: &[&str] =
    &["intent: recorded", "stop: recorded", "stop: process ended", "stop: end recorded", "network: removed"];

pub(crate) const START: &[&str] = &[
    "intent: recorded",
    "network: begun#2",
    "network: made#2",
    "disk: file made",
    "start: prepared",
    "start: process runs",
    "start: recorded",
    "ready: seen",
    "ready: recorded",
];

/// A clone of what runs. Three files are made, or seen to: the source's old top layer, its new one, and the clone's
/// own. Both environments that are there have their networks made when the daemon starts.
pub(crate) const CLONE: &[&str] = &[
    "create: recorded",
    "network: begun#3",
    "network: made#3",
    "disk: file made",
    "cut: layer recorded",
    "disk: file made#2",
    "cut: layers made",
    "live: successors wait",
    "live: paused",
    "live: saved",
    "live: loaded",
    "live: taps handed over",
    "live: a machine has handed over",
    "live: running again",
    "live: taken over",
    "cut: recorded",
    "disk: recorded",
    "disk: file made#3",
    "start: prepared",
    "start: state loaded",
    "start: process runs",
    "start: recorded",
    "ready: seen",
    "ready: recorded",
];

/// `clone --boot`: the steps that differ.
pub(crate) const CLONE_OF_DISKS: &[&str] = &[
    "cut: layers made",
    "cut: frozen",
    "cut: paused",
    "cut: switched",
    "cut: running again",
    "cut: thawed",
    "cut: recorded",
];

/// `clone ENV@SNAPSHOT`, of a snapshot whose memory is on disk only.
pub(crate) const CLONE_OF_SNAPSHOT: &[&str] = &[
    "create: recorded",
    "disk: recorded",
    "memory: loaded",
    "start: state loaded",
    "start: process runs",
    "ready: recorded",
];

/// `snapshot create`.
pub(crate) const SNAPSHOT: &[&str] = &[
    "snapshot: recorded",
    "cut: layer recorded",
    "cut: layers made",
    "live: successors wait",
    "live: paused",
    "live: saved",
    "live: loaded",
    "live: taps handed over",
    "live: a machine has handed over",
    "live: running again",
    "live: taken over",
    "cut: recorded",
    "snapshot: saving",
    "memory: on disk",
    "snapshot: done",
];

/// `restore`. The memory of the snapshot is brought to hand while the machine is started.
pub(crate) const RESTORE: &[&str] = &[
    "intent: recorded",
    "restore: process ended",
    "stop: end recorded",
    "collect: memory deleted",
    "disk: recorded",
    "collect: layer deleted",
    "disk: file made",
    "memory: loaded",
    "start: prepared",
    "start: state loaded",
    "start: process runs",
    "start: recorded",
    "ready: seen",
    "ready: recorded",
];

/// `snapshot rm`. The layers stay: the environment's disk lies on them. `#2`: unneeded ones are looked for when the
/// daemon starts, too.
pub(crate) const FORGET: &[&str] = &["snapshot: forgotten", "collect: memory deleted", "collect: cuts finished#2"];

/// Telling a name server elsewhere. Killed in `story_aliases`, which has such a server, at the first: what is told and
/// what is written down differ there. After the others a start tells everything once more, as every start does.
pub(crate) const ALIASES: &[&str] = &["aliases: begun", "aliases: told", "aliases: settled"];

/// Setting a machine's second interface: killed there in `story_dual`.
pub(crate) const SECOND: &[&str] = &["second: prepared", "second: link up"];

/// `suspend`: killed there in `story_suspend`, whose machines talk to each other.
pub(crate) const SUSPEND: &[&str] =
    &["suspend: paused", "suspend: saved", "suspend: recorded", "suspend: process ended", "suspend: memory let go"];

/// Coming into a cluster: killed there in `story_join`, which has one.
pub(crate) const JOIN: &[&str] = &["join: in the cluster", "join: records copied", "join: records given up"];

/// All of them.
pub(crate) fn all() -> Vec<&'static str> {
    let clones = [CLONE, CLONE_OF_DISKS, CLONE_OF_SNAPSHOT].concat();
    [UP, REMOVE, DOWN, START, &clones, SNAPSHOT, RESTORE, FORGET, ALIASES, SECOND, SUSPEND, JOIN].concat()
}
