//! Small pieces of nftables text that all tables share.

use std::fmt::Display;

/// Opens a transaction that replaces table `name` as a whole.
///
/// The first line makes sure that the second has something to delete; `destroy` would say it in one, but needs a kernel
/// and an nft newer than those of Debian 12.
pub(super) fn replace_table(family: &str, name: &str, body: &str) -> String {
    format!("table {family} {name}\ndelete table {family} {name}\ntable {family} {name} {{\n{body}}}\n")
}

/// A set or map; without an `elements` line when there are none, because nft takes no empty braces.
pub(super) fn collection<E: Display>(
    kind: &str,
    name: &str,
    of: &str,
    elements: impl IntoIterator<Item = E>,
) -> String {
    let elements: Vec<String> = elements.into_iter().map(|e| e.to_string()).collect();
    let line =
        if elements.is_empty() { String::new() } else { format!("\t\telements = {{ {} }}\n", elements.join(", ")) };
    format!("\t{kind} {name} {{\n\t\ttype {of}\n{line}\t}}\n")
}

/// Named counters: they tell why something was dropped.
pub(super) fn counters(names: &[&str]) -> String {
    names.iter().map(|name| format!("\tcounter {name} {{ }}\n")).collect()
}

/// A chain with its hook line and its rules.
pub(super) fn chain(name: &str, hook: &str, rules: &[String]) -> String {
    let rules: String = rules.iter().map(|rule| format!("\t\t{rule}\n")).collect();
    format!("\tchain {name} {{\n\t\ttype {hook};\n{rules}\t}}\n")
}

/// `rules![…]`: literals and formatted strings alike become owned lines.
macro_rules! rules {
    ($($rule:expr),* $(,)?) => { [$(::std::string::String::from($rule)),*] };
}
pub(super) use rules;
