//! Compares a tree with the shape of a file: collects everything that is wrong with single keys and values, and gives
//! out what is right as a [`Value`]. How values fit together is left to [`super::check`].

use std::collections::HashMap;

use super::{
    check::{Finding, Part},
    diagnostic::{Diagnostic, Severity},
    shape::{self, Check, ENVIRONMENT, Shape},
    text::Text,
    tree::{Kind, Mark, Node},
    value::Value,
};

/// Where values stand, by the path of their keys: `machines/web/start-after/0`.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    marks: HashMap<String, (Mark, Mark)>,
}

impl Places {
    /// The place of a key or value; of what it would stand in, when a default stands for it.
    fn mark(&self, path: &str, part: Part) -> Mark {
        let mut at = path;
        loop {
            if let Some(&(key, value)) = self.marks.get(at) {
                return if part == Part::Key || at.len() < path.len() { key } else { value };
            }
            match at.rsplit_once('/') {
                Some((parent, _)) => at = parent,
                None => return Mark::START,
            }
        }
    }

    /// Gives a finding its place.
    pub(super) fn locate(&self, text: &Text, finding: Finding) -> Diagnostic {
        let mark = self.mark(&finding.path, finding.part);
        text.diagnostic(finding.severity, mark, finding.problem.message, finding.problem.hint)
    }
}

/// The comparison, and what it has found so far.
pub(super) struct Walk<'a> {
    text: &'a Text,
    problems: Vec<Diagnostic>,
    places: Places,
}

impl<'a> Walk<'a> {
    /// Compares a whole file. The value is there when no value of it was wrong; unknown keys are left out.
    pub(super) fn over(text: &'a Text, root: &Node) -> (Option<Value>, Vec<Diagnostic>, Places) {
        let mut walk = Self { text, problems: Vec::new(), places: Places::default() };
        let value = walk.node(root, &ENVIRONMENT, root.mark, "", "");
        (value, walk.problems, walk.places)
    }

    fn problem(&mut self, mark: Mark, message: impl Into<String>, hint: impl Into<Option<String>>) {
        self.problems.push(self.text.diagnostic(Severity::Error, mark, message, hint.into()));
    }

    /// `key` is the place of the key the node belongs to, `name` what it is called, `path` the way to it.
    fn node(&mut self, node: &Node, shape: &'static Shape, key: Mark, name: &str, path: &str) -> Option<Value> {
        if !path.is_empty() {
            self.places.marks.insert(path.to_owned(), (key, node.mark));
        }
        match (shape, &node.kind) {
            (Shape::Table { what, keys, whole }, Kind::Table(items)) => {
                let table = self.table(items, (what, keys), key, path)?;
                self.checked(node.mark, *whole, table)
            }
            (Shape::Named { name, each, whole, .. }, Kind::Table(items)) => {
                let table = self.named(items, *name, each, path)?;
                self.checked(node.mark, *whole, table)
            }
            (Shape::List { of }, Kind::List(items)) => {
                let mut list = Vec::with_capacity(items.len());
                for (n, item) in items.iter().enumerate() {
                    list.push(self.node(item, of, item.mark, name, &format!("{path}/{n}")));
                }
                list.into_iter().collect::<Option<_>>().map(Value::List)
            }
            (Shape::Text { check, .. }, Kind::Text(text) | Kind::Plain { written: text, .. }) => {
                self.checked(node.mark, *check, Value::Text(text.clone()))
            }
            (Shape::Integer { least, most, .. }, Kind::Plain { integer: Some(number), .. })
                if (least..=most).contains(&number) =>
            {
                Some(Value::Integer(*number))
            }
            (Shape::Flag, Kind::Plain { written, .. }) if written == "true" || written == "false" => {
                Some(Value::Flag(written == "true"))
            }
            (Shape::Word { words }, Kind::Text(text) | Kind::Plain { written: text, .. }) => {
                self.word(node.mark, text, name, words)
            }
            (Shape::Either { word: Shape::Word { words, .. }, .. }, Kind::Text(text))
                if words.contains(&text.as_str()) =>
            {
                Some(Value::Text(text.clone()))
            }
            (Shape::Either { table, .. }, Kind::Table(_)) => self.node(node, table, key, name, path),
            _ => {
                self.mismatch(node, shape, key, name);
                None
            }
        }
    }

    fn checked(&mut self, mark: Mark, check: Check, value: Value) -> Option<Value> {
        match check(&value) {
            Ok(()) => Some(value),
            Err(error) => {
                // The messages of the model's types say what is wrong, then what to write.
                let (message, hint) = match error.rsplit_once("; ") {
                    Some((message, hint)) if hint.starts_with("write ") || hint.starts_with("use ") => {
                        (message.to_owned(), Some(hint.to_owned()))
                    }
                    _ => (error, None),
                };
                let hint = match &value {
                    Value::Text(text) => alike(text, check).map(|name| format!("`{name}` would do")).or(hint),
                    _ => hint,
                };
                self.problem(mark, message, hint);
                None
            }
        }
    }

    fn table(
        &mut self,
        items: &[(super::tree::Key, Node)],
        (what, keys): (&str, &'static [shape::Key]),
        mark: Mark,
        path: &str,
    ) -> Option<Value> {
        let before = self.problems.len();
        let mut table = Vec::with_capacity(items.len());
        let mut sound = true;
        for (key, value) in items {
            let Some(known) = keys.iter().find(|known| known.name == key.name) else {
                self.unknown(key, (what, keys));
                continue;
            };
            match self.node(value, known.shape, key.mark, &key.name, &join(path, &key.name)) {
                Some(value) => {
                    // Of two, the last counts; that there are two has been reported.
                    table.retain(|(name, _)| *name != key.name);
                    table.push((key.name.clone(), value));
                }
                None => sound = false,
            }
        }
        for missing in keys.iter().filter(|key| key.required) {
            if items.iter().any(|(key, _)| key.name == missing.name) {
                continue;
            }
            sound = false;
            // A misspelled key has been reported already; that it is missing too is no news.
            let misspelled = self.problems[before..]
                .iter()
                .any(|problem| problem.hint.as_ref().is_some_and(|hint| *hint == did_you_mean(missing.name)));
            if !misspelled {
                let wants = wants(missing.shape);
                self.problem(mark, format!("{what} needs `{}`: {wants}", missing.name), None);
            }
        }
        sound.then_some(Value::Table(table))
    }

    fn unknown(&mut self, key: &super::tree::Key, (what, keys): (&str, &'static [shape::Key])) {
        let name = key.name.as_str();
        let elsewhere = shape::places_of(name);
        let hint = if let Some(near) = nearest(name, keys.iter().map(|key| key.name)) {
            did_you_mean(near)
        } else if let [place, ..] = elsewhere.as_slice() {
            format!("`{name}` belongs to {place}")
        } else if keys.is_empty() {
            "nothing may stand here".to_owned()
        } else {
            format!("the keys are {}", keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", "))
        };
        self.problem(key.mark, format!("`{name}` is not a key of {what}"), hint);
    }

    fn named(
        &mut self,
        items: &[(super::tree::Key, Node)],
        name: Check,
        each: &'static Shape,
        path: &str,
    ) -> Option<Value> {
        let mut table = Vec::with_capacity(items.len());
        for (key, value) in items {
            let named = self.checked(key.mark, name, Value::Text(key.name.clone()));
            let value = self.node(value, each, key.mark, &key.name, &join(path, &key.name));
            table.push(named.and(value).map(|value| (key.name.clone(), value)));
        }
        table.into_iter().collect::<Option<_>>().map(Value::Table)
    }

    fn word(&mut self, mark: Mark, text: &str, name: &str, words: &[&'static str]) -> Option<Value> {
        if words.contains(&text) {
            return Some(Value::Text(text.to_owned()));
        }
        let hint =
            nearest(text, words.iter().copied()).map_or_else(|| format!("write {}", words.join(", ")), did_you_mean);
        self.problem(mark, format!("{text:?} is not a word for `{name}`"), hint);
        None
    }

    /// A node of a kind its place doesn't want.
    fn mismatch(&mut self, node: &Node, shape: &'static Shape, key: Mark, name: &str) {
        let wants = wants(shape);
        let subject = if name.is_empty() { "the file".to_owned() } else { format!("`{name}`") };
        let found = match &node.kind {
            Kind::Nothing if name.is_empty() => {
                let hint = "an environment has at least `name` and `machines`".to_owned();
                return self.problem(node.mark, "the file is empty", hint);
            }
            Kind::Nothing => {
                return self.problem(
                    key,
                    format!("{subject} has no value; it wants {wants}"),
                    "write one, or remove the key".to_owned(),
                );
            }
            Kind::Plain { written, .. } => format!("`{written}`"),
            Kind::Text(text) => format!("the text {:?}", shortened(text)),
            Kind::List(_) => "a list".to_owned(),
            Kind::Table(_) => "a table".to_owned(),
        };
        let hint = match (shape, &node.kind) {
            (Shape::List { .. }, Kind::Text(text) | Kind::Plain { written: text, .. }) => {
                Some(format!("write [{}]", shortened(text)))
            }
            (Shape::Integer { .. }, Kind::Text(text)) if text.parse::<u64>().is_ok() => {
                Some(format!("write {text} without quotes"))
            }
            // `web: 80` where `web:80` was meant.
            (Shape::Text { .. }, Kind::Table(items)) => match items.as_slice() {
                [(key, Node { kind: Kind::Plain { written, .. }, .. })] => {
                    Some(format!("write {}:{written}, without a space", key.name))
                }
                _ => None,
            },
            _ => None,
        };
        self.problem(node.mark, format!("{subject} wants {wants}; here is {found}"), hint);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}/{key}") }
}

fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let short: String = line.chars().take(40).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

fn wants(shape: &'static Shape) -> String {
    match shape {
        Shape::Table { keys, .. } => {
            let some: Vec<&str> = keys.iter().map(|key| key.name).take(4).collect();
            format!("a table of {}{}", some.join(", "), if keys.len() > some.len() { ", …" } else { "" })
        }
        Shape::Named { what, .. } => (*what).to_owned(),
        Shape::List { .. } => "a list".to_owned(),
        Shape::Text { wants, .. } | Shape::Integer { wants, .. } | Shape::Either { wants, .. } => (*wants).to_owned(),
        Shape::Flag => "true or false".to_owned(),
        Shape::Word { words, .. } => words.join(", "),
    }
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// The name of `known` that `name` was probably meant to be.
pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let plain = name.to_lowercase().replace('_', "-");
    let far = |known: &str| strsim::damerau_levenshtein(&plain, known);
    // One slip of the pen in three characters.
    let limit = |known: &str| known.chars().count().max(3) / 3;
    known.map(|known| (far(known), known)).filter(|(far, known)| *far <= limit(known)).min().map(|(_, known)| known)
}

/// The name nearest to `text` that follows the rules, where there is one.
fn alike(text: &str, check: Check) -> Option<String> {
    let label: String =
        text.trim().to_lowercase().chars().map(|c| if matches!(c, ' ' | '_') { '-' } else { c }).collect();
    let label = label.trim_matches('-').to_owned();
    check(&Value::Text(label.clone())).is_ok().then_some(label)
}
