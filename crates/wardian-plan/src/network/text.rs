//! The form all our tables have in nftables text.

use std::fmt::Display;

/// A table of ours, as one transaction.
pub(super) struct Table {
    family: &'static str,
    name: String,
    /// Declarations without contents.
    frame: String,
    /// One line per thing that holds contents, to empty it.
    empty: String,
    body: String,
}

impl Table {
    pub(super) fn new(family: &'static str, name: impl Into<String>) -> Self {
        Self { family, name: name.into(), frame: String::new(), empty: String::new(), body: String::new() }
    }

    /// Named counters: they tell why something was dropped.
    pub(super) fn counters(mut self, names: &[&str]) -> Self {
        self.frame.extend(names.iter().map(|name| format!("\tcounter {name} {{ }}\n")));
        self
    }

    /// A set or map; without an `elements` line when there are none, because nft takes no empty braces.
    pub(super) fn collection<E: Display>(
        mut self,
        kind: &str,
        name: &str,
        of: &str,
        elements: impl IntoIterator<Item = E>,
    ) -> Self {
        let elements: Vec<String> = elements.into_iter().map(|e| e.to_string()).collect();
        let head = format!("\t{kind} {name} {{\n\t\ttype {of}\n");
        self.frame += &format!("{head}\t}}\n");
        self.empty += &format!("flush {kind} {} {} {name}\n", self.family, self.name);
        if !elements.is_empty() {
            self.body += &format!("{head}\t\telements = {{ {} }}\n\t}}\n", elements.join(", "));
        }
        self
    }

    /// A set that rules write into: what it holds lasts over replacements, and each element for as long as is said, or
    /// until there are 65535.
    pub(super) fn memory(mut self, name: &str, of: &str, timeout: &str) -> Self {
        self.frame += &format!(
            "\tset {name} {{\n\t\t{of}\n\t\tflags dynamic,timeout\n\t\ttimeout {timeout}\n\t\tsize 65535\n\t}}\n"
        );
        self
    }

    /// A chain with its hook line and its rules.
    pub(super) fn chain(mut self, name: &str, hook: &str, rules: &[String]) -> Self {
        let rules: String = rules.iter().map(|rule| format!("\t\t{rule}\n")).collect();
        let head = format!("\tchain {name} {{\n\t\ttype {hook};\n");
        self.frame += &format!("{head}\t}}\n");
        self.body += &format!("{head}{rules}\t}}\n");
        self
    }

    /// A chain that others jump to.
    pub(super) fn part(mut self, name: &str, rules: &[String]) -> Self {
        let rules: String = rules.iter().map(|rule| format!("\t\t{rule}\n")).collect();
        self.frame += &format!("\tchain {name} {{ }}\n");
        self.body += &format!("\tchain {name} {{\n{rules}\t}}\n");
        self
    }

    /// The transaction: what is missing is made, everything but the counters is emptied, and filled again.
    ///
    /// A table that was deleted and made anew would count from zero. The price: a chain or set that we don't have any
    /// more would stay, and one whose type changed would be refused. Against the latter, `wardian-network` deletes the
    /// table and loads the text again; a name is never given up without being deleted here by name.
    pub(super) fn render(self) -> String {
        let Self { family, name, frame, empty, body } = self;
        format!(
            "table {family} {name} {{\n{frame}}}\nflush table {family} {name}\n{empty}table {family} {name} {{\n{body}}}\n"
        )
    }
}

/// `rules![…]`: literals and formatted strings alike become owned lines.
macro_rules! rules {
    ($($rule:expr),* $(,)?) => { [$(::std::string::String::from($rule)),*] };
}
pub(super) use rules;
