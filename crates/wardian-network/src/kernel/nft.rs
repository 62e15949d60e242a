//! nftables: texts are given to `nft`, which loads each as one transaction. By the ruleset's generation one sees
//! cheaply whether anybody changed anything since.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    process::{Child, Command, Stdio},
};

use super::netfilter::Netfilter;
use crate::error::NetworkError;

/// A transaction under way.
pub(crate) struct Loading {
    child: Child,
    whose: String,
}

/// Starts loading `text` in the namespace of the calling thread.
pub(crate) fn start(whose: impl Into<String>, text: &str) -> Result<Loading, NetworkError> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| NetworkError::NftMissing { source })?;
    let whose = whose.into();
    if let Some(mut stdin) = child.stdin.take() {
        // A reader that went away has said why on its standard error.
        let _ = stdin.write_all(text.as_bytes());
    }
    Ok(Loading { child, whose })
}

impl Loading {
    /// Waits for the end of the transaction.
    pub(crate) fn finish(self) -> Result<(), NetworkError> {
        let Self { child, whose } = self;
        let output = child.wait_with_output().map_err(NetworkError::kernel("wait for nft"))?;
        if output.status.success() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(NetworkError::Nft { whose, message })
    }
}

/// Loads `text` after deleting `tables` (family and name), in the namespace of the calling thread and as one
/// transaction.
///
/// For when what is there can't be changed into what shall be: a chain or set of the same name and another type, which
/// an older version or somebody else made. Counters begin anew.
pub(crate) fn replace(whose: impl Into<String>, tables: &[&str], text: &str) -> Result<(), NetworkError> {
    // Made first, so that there is something to delete; `destroy` needs a newer kernel and nft than Debian 12 has.
    let delete: String = tables.iter().map(|t| format!("table {t}\ndelete table {t}\n")).collect();
    start(whose, &(delete + text))?.finish()
}

/// What was loaded into a namespace, and when: enough to see that nobody has changed it since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Loaded {
    text: u64,
    generation: u32,
}

impl Loaded {
    /// `text` was just loaded.
    pub(crate) fn now(text: &str, netfilter: &Netfilter) -> io::Result<Self> {
        Ok(Self { text: hash(text), generation: netfilter.generation()? })
    }

    /// Whether `text` is still what is loaded, as far as we can tell without listing rules.
    pub(crate) fn holds(this: Option<Self>, text: &str, netfilter: &Netfilter) -> io::Result<bool> {
        Ok(this == Some(Self::now(text, netfilter)?))
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
