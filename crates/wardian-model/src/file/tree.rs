//! A YAML text as a tree in which every key and value knows its place. What keys mean is left to [`super::walk`].

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{
    DuplicateKeyPolicy, Error, Location, Options, SnippetMode, Spanned, UserMessageFormatter, budget, options,
    render_options,
};

use super::{
    diagnostic::{Diagnostic, FileError, Severity},
    text::Text,
};

/// A place in a text, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Counted from 1.
    pub(super) line: usize,
    /// Counted from 1.
    pub(super) column: usize,
    /// May reach beyond the line's end.
    pub(super) length: usize,
}

impl Mark {
    /// The first character of a text.
    pub(super) const START: Self = Self { line: 1, column: 1, length: 1 };

    fn of(location: Location) -> Self {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Self { line: number(location.line()), column: number(location.column()), length: number(location.span().len()) }
    }
}

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) kind: Kind,
}

/// A value as YAML sees it.
#[derive(Debug)]
pub(super) enum Kind {
    /// Left out, `~` or `null`.
    Nothing,
    /// A number or truth value without quotes, as it was written; and what it is, when it counts something.
    Plain { written: String, integer: Option<u64> },
    /// Any other scalar.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping.
    Table(Vec<(Key, Node)>),
}

/// A key and its place.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) mark: Mark,
    pub(super) name: String,
}

/// A whole document.
pub(super) struct Tree {
    pub(super) root: Node,
    /// Keys that stand twice in one table.
    pub(super) duplicates: Vec<Diagnostic>,
}

/// Parses a text of one document.
pub(super) fn parse(text: &Text) -> Result<Tree, FileError> {
    let (raw, mut duplicates) = match raw(text, DuplicateKeyPolicy::Error) {
        Ok(raw) => (raw, Vec::new()),
        // Going on with the last of them shows what else is wrong.
        Err(error) if matches!(error.without_snippet(), Error::DuplicateMappingKey { .. }) => (
            raw(text, DuplicateKeyPolicy::LastWins)
                .map_err(|error| FileError { problems: vec![explain(text, &error)] })?,
            vec![explain(text, &error)],
        ),
        Err(error) => return Err(FileError { problems: vec![explain(text, &error)] }),
    };
    let root = settle(text.content(), raw);
    if !duplicates.is_empty() {
        let mut found = Vec::new();
        twice(text, &root, &mut found);
        if !found.is_empty() {
            duplicates = found;
        }
    }
    Ok(Tree { root, duplicates })
}

fn raw(text: &Text, duplicate_keys: DuplicateKeyPolicy) -> Result<Spanned<Raw>, Error> {
    let options: Options = options! {
        // A file's tree is 7 levels deep at most, so 24 are enough for whatever is misunderstood.
        budget: budget! { max_depth: 24, flow_nesting_limit: 24, max_documents: 2 },
        duplicate_keys: duplicate_keys,
        // `no` and `on` are names, not truth values, as in YAML 1.2.
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text.content(), options)
}

fn explain(text: &Text, error: &Error) -> Diagnostic {
    let mark = error.location().map_or(Mark::START, Mark::of);
    let (message, hint) = match error.without_snippet() {
        Error::Eof { .. } => {
            ("the file is empty".to_owned(), Some("an environment has at least `name` and `machines`".into()))
        }
        Error::MultipleDocuments { .. } => (
            "the file holds more than one document".into(),
            Some("write one environment per file, without `---` between".into()),
        ),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("`{key}` stands twice in one table"), Some("remove one of the two".into()))
        }
        error => {
            let options = render_options! { formatter: &UserMessageFormatter, snippets: SnippetMode::Off };
            let message = error.render_with_options(options);
            let message = message.lines().next().unwrap_or_default();
            // The place is shown below.
            let message = message.split(" at line ").next().unwrap_or_default();
            (format!("this is not YAML that can be read: {message}"), None)
        }
    };
    text.diagnostic(Severity::Error, mark, message, hint)
}

fn twice(text: &Text, node: &Node, found: &mut Vec<Diagnostic>) {
    match &node.kind {
        Kind::List(items) => items.iter().for_each(|item| twice(text, item, found)),
        Kind::Table(items) => {
            let mut first: HashMap<&str, Mark> = HashMap::new();
            for (key, value) in items {
                if let Some(first) = first.insert(&key.name, key.mark) {
                    let message = format!("`{}` stands twice in one table; first in line {}", key.name, first.line);
                    found.push(text.diagnostic(
                        Severity::Error,
                        key.mark,
                        message,
                        Some("remove one of the two".into()),
                    ));
                }
                twice(text, value, found);
            }
        }
        Kind::Nothing | Kind::Plain { .. } | Kind::Text(_) => {}
    }
}

/// As the parser gives it: numbers have lost how they were written.
enum Raw {
    Nothing,
    Plain(Option<u64>),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Table(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Nothing)
            }
            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Nothing)
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
                deserializer.deserialize_any(self)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
                Ok(Raw::Plain(None))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Raw, E> {
                Ok(Raw::Plain(number.try_into().ok()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Raw, E> {
                Ok(Raw::Plain(Some(number)))
            }
            fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
                Ok(Raw::Plain(None))
            }
            fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
                Ok(Raw::Plain(None))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
                Ok(Raw::Plain(None))
            }
            fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
                Ok(Raw::Text(text.to_owned()))
            }
            fn visit_string<E>(self, text: String) -> Result<Raw, E> {
                Ok(Raw::Text(text))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Raw::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
                let mut table = Vec::new();
                while let Some(item) = items.next_entry()? {
                    table.push(item);
                }
                Ok(Raw::Table(table))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

fn settle(content: &str, raw: Spanned<Raw>) -> Node {
    let kind = match raw.value {
        Raw::Nothing => Kind::Nothing,
        Raw::Plain(integer) => Kind::Plain { written: written(content, raw.defined), integer },
        Raw::Text(text) => Kind::Text(text),
        Raw::List(items) => Kind::List(items.into_iter().map(|item| settle(content, item)).collect()),
        Raw::Table(items) => {
            let settled = |(key, value): (Spanned<String>, _)| {
                (Key { mark: Mark::of(key.referenced), name: key.value }, settle(content, value))
            };
            Kind::Table(items.into_iter().map(settled).collect())
        }
    };
    Node { mark: Mark::of(raw.referenced), kind }
}

/// The piece of the text a scalar was read from.
fn written(content: &str, location: Location) -> String {
    let span = location.span();
    let bytes = || {
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
        content.get(start..end)
    };
    bytes().unwrap_or_default().trim().to_owned()
}
