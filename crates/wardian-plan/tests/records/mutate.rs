//! JSON that was changed: as a tree, by what JSON is made of, and then as bytes.

use proptest::{prelude::*, sample::Index};
use serde_json::Value;

/// Scalars at the ends of what types hold, and texts that are nearly one of those that records have.
fn scalars() -> Vec<Value> {
    let numbers = [0u64, 1, 255, 256, 4095, 4096, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX - 1, u64::MAX];
    let texts = [
        "",
        " ",
        "a",
        "-",
        "a-",
        "A",
        "per-machine",
        "host",
        "0",
        "1 B",
        "0 B",
        "18446744073709551615 B",
        "16777215 TiB",
        "192 MiB",
        "0s",
        "1 ms",
        "18446744073709551615ms",
        "0.0.0.0",
        "255.255.255.255",
        "127.0.0.1",
        "::",
        "::1",
        "0.0.0.0/0",
        "0.0.0.0/32",
        "255.255.255.255/32",
        "10.86.0.255/31",
        "1.2.3.4/33",
        "00:00:00:00:00:00",
        "02:57:7f:ff:ff:ff",
        "01:00:5e:00:00:01",
        "0000000000000000",
        "ffffffffffffffff",
        "FFFFFFFFFFFFFFFF",
        "+fffffffffffffff",
        "-009999-01-02T01:59:59Z",
        "9999-12-30T22:00:00.999999999Z",
        "2026-12-31T23:59:60Z",
        "2026-01-01T00:00:00+23:59",
        "web:80",
        "web:80 at 8080",
        "web: 80/udp",
        "a.b",
        "a..b",
        ".",
        "\u{0}",
        "ä",
        "\u{1f980}",
        "a/b",
        "..",
        "is",
    ];
    let mut all: Vec<Value> = vec![Value::Null, true.into(), false.into(), (-1).into(), 0.5.into(), 1e300.into()];
    all.extend(numbers.map(Value::from));
    all.extend(texts.map(Value::from));
    all.extend([63, 64, 253, 254].map(|length| "a".repeat(length).into()));
    all.extend([Value::Array(Vec::new()), Value::Object(serde_json::Map::new())]);
    all
}

/// One change to a tree; the first number says where.
#[derive(Debug, Clone)]
enum Change {
    Put(Index, Value),
    Remove(Index),
    /// The value of another place in the place of this one.
    Copy(Index, Index),
    /// What another record has, where it has something of that name.
    Graft(Index, Value, Index),
    Rename(Index, String),
    Add(Index, String, Value),
    Nest(Index, u8),
}

/// Where everything in a tree is (RFC 6901).
fn places(value: &Value) -> Vec<String> {
    fn walk(value: &Value, at: &str, all: &mut Vec<String>) {
        all.push(at.to_owned());
        match value {
            Value::Array(values) => {
                values.iter().enumerate().for_each(|(n, value)| walk(value, &format!("{at}/{n}"), all));
            }
            Value::Object(values) => values.iter().for_each(|(key, value)| {
                walk(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), all);
            }),
            _ => {}
        }
    }
    let mut all = Vec::new();
    walk(value, "", &mut all);
    all
}

impl Change {
    fn apply(self, tree: &mut Value) {
        let all = places(tree);
        let place = |index: Index| all[index.index(all.len())].clone();
        let split = |place: &str| place.rsplit_once('/').map(|(parent, key)| (parent.to_owned(), key.to_owned()));
        match self {
            Self::Put(at, value) => *tree.pointer_mut(&place(at)).unwrap() = value,
            Self::Copy(at, from) => {
                let value = tree.pointer(&place(from)).unwrap().clone();
                *tree.pointer_mut(&place(at)).unwrap() = value;
            }
            Self::Remove(at) => {
                let Some((parent, key)) = split(&place(at)) else { return };
                match tree.pointer_mut(&parent) {
                    Some(Value::Object(values)) => drop(values.remove(&key)),
                    Some(Value::Array(values)) => drop(values.remove(key.parse().unwrap())),
                    _ => {}
                }
            }
            Self::Graft(at, other, from) => {
                let Some((_, key)) = split(&place(at)) else { return };
                let others = places(&other);
                let same: Vec<_> = others.iter().filter(|place| place.ends_with(&format!("/{key}"))).collect();
                if !same.is_empty() {
                    *tree.pointer_mut(&place(at)).unwrap() =
                        other.pointer(same[from.index(same.len())]).unwrap().clone();
                }
            }
            Self::Rename(at, name) => {
                let Some((parent, key)) = split(&place(at)) else { return };
                if let Some(Value::Object(values)) = tree.pointer_mut(&parent)
                    && let Some(value) = values.remove(&key)
                {
                    values.insert(name, value);
                }
            }
            Self::Add(at, name, value) => match tree.pointer_mut(&place(at)) {
                Some(Value::Object(values)) => drop(values.insert(name, value)),
                Some(Value::Array(values)) => values.push(value),
                _ => {}
            },
            Self::Nest(at, depth) => {
                let inner = tree.pointer_mut(&place(at)).unwrap();
                for _ in 0..depth {
                    *inner = Value::Array(vec![inner.take()]);
                }
            }
        }
    }
}

fn change(all: &[Value]) -> impl Strategy<Value = Change> + use<> {
    let texts = all.iter().flat_map(|tree| places(tree).into_iter().filter_map(|at| tree.pointer(&at).cloned()));
    let texts: Vec<Value> = texts.filter(Value::is_string).chain(scalars()).collect();
    let names = all.iter().flat_map(places).filter_map(|place| Some(place.rsplit_once('/')?.1.to_owned()));
    let mut names: Vec<String> = names.chain(["", "is", "unknown"].map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    let (text, name, at) = (prop::sample::select(texts), prop::sample::select(names), any::<Index>);
    let graft = (at(), prop::sample::select(all.to_vec()), at());
    prop_oneof![
        6 => (at(), text.clone()).prop_map(|(at, value)| Change::Put(at, value)),
        2 => at().prop_map(Change::Remove),
        2 => (at(), at()).prop_map(|(at, from)| Change::Copy(at, from)),
        4 => graft.prop_map(|(at, other, from)| Change::Graft(at, other, from)),
        1 => (at(), name.clone()).prop_map(|(at, name)| Change::Rename(at, name)),
        1 => (at(), name, text).prop_map(|(at, name, value)| Change::Add(at, name, value)),
        1 => (at(), prop_oneof![1u8..3, Just(200)]).prop_map(|(at, depth)| Change::Nest(at, depth)),
    ]
}

/// One change to bytes.
#[derive(Debug, Clone)]
enum Slip {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Delete(Index, u8),
    /// A piece once more, such as a key that is there already.
    Again(Index, u8),
    Cut(Index),
}

impl Slip {
    fn apply(self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        let piece = |at: Index, long: u8| at.index(length)..length.min(at.index(length) + usize::from(long));
        match self {
            Self::Set(at, value) => bytes[at.index(length)] = value,
            Self::Insert(at, new) => drop(bytes.splice(at.index(length)..at.index(length), new)),
            Self::Delete(at, long) => drop(bytes.drain(piece(at, long))),
            Self::Again(at, long) => {
                let again = bytes[piece(at, long)].to_vec();
                bytes.splice(at.index(length)..at.index(length), again);
            }
            Self::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
}

fn slip() -> impl Strategy<Value = Slip> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, value)| Slip::Set(at, value)),
        (at(), prop::sample::select(&b"0123456789\"\\{}[],:-+.eEu\x00\xff"[..])).prop_map(|(at, v)| Slip::Set(at, v)),
        (at(), prop::collection::vec(any::<u8>(), 1..5)).prop_map(|(at, new)| Slip::Insert(at, new)),
        (at(), 1u8..40).prop_map(|(at, long)| Slip::Delete(at, long)),
        (at(), 1u8..60).prop_map(|(at, long)| Slip::Again(at, long)),
        at().prop_map(Slip::Cut),
    ]
}

/// One of `own`, changed in up to five places; `all` says what other records have. Half of them are changed as bytes
/// too.
pub(crate) fn damaged(own: &[Value], all: &[Value]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let changes = prop::collection::vec(change(all), 0..6);
    let slips = prop_oneof![Just(Vec::new()), prop::collection::vec(slip(), 1..4)];
    (prop::sample::select(own.to_vec()), changes, slips).prop_map(|(mut tree, changes, slips)| {
        changes.into_iter().for_each(|change| change.apply(&mut tree));
        let mut bytes = serde_json::to_vec(&tree).unwrap();
        slips.into_iter().for_each(|slip| slip.apply(&mut bytes));
        bytes
    })
}
