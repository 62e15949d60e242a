//! The name of an image: BLAKE3 of its content, 64 hexadecimal digits.

use crate::wanted::Wanted;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::str::FromStr;

/// The content address of an image.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an image digest: 64 digits of 0-9 and a-f are expected")]
pub struct DigestError(String);

impl Digest {
    /// The digest of an image made of these files and this command line. Each part goes in with its kind and length,
    /// so that no two different images have the same bytes hashed. Fails once it is not wanted any more.
    pub(crate) fn of_parts(
        wanted: &Wanted,
        disk: &Path,
        kernel: Option<&Path>,
        initrd: Option<&Path>,
        command_line: Option<&str>,
    ) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new_derive_key("wardian image 1");
        for (kind, path) in [(1_u8, Some(disk)), (2, kernel), (3, initrd)] {
            let Some(path) = path else { continue };
            let file = File::open(path)?;
            hasher.update(&[kind]);
            hasher.update(&file.metadata()?.len().to_le_bytes());
            hasher.update_reader(wanted.reader(file))?;
        }
        if let Some(command_line) = command_line {
            hasher.update(&[4]);
            hasher.update(&(command_line.len() as u64).to_le_bytes());
            hasher.update(command_line.as_bytes());
        }
        Ok(Self(*hasher.finalize().as_bytes()))
    }

    /// The first 12 digits, enough for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let wrong = || DigestError(text.chars().take(80).collect());
        if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wanted::Wish;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_digest_reads_back_as_itself(bytes: [u8; 32]) {
            let digest = Digest(bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        }

        #[test]
        fn any_other_text_is_refused(text in ".{0,70}") {
            prop_assume!(text.len() != 64);
            prop_assert!(text.parse::<Digest>().is_err());
        }
    }

    #[test]
    fn moving_bytes_from_one_part_to_another_changes_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("1"), folder.path().join("2"));
        std::fs::write(&one, "ab").unwrap();
        std::fs::write(&two, "abc").unwrap();
        let wish = Wish::new();
        let of = |disk, kernel, initrd, line| Digest::of_parts(&wish.wanted(), disk, kernel, initrd, line).unwrap();
        let a = of(&one, Some(&two), None, Some("x"));
        let b = of(&two, Some(&one), None, Some("x"));
        let c = of(&one, None, Some(&two), Some("x"));
        let d = of(&one, Some(&two), None, None);
        assert!(a != b && a != c && a != d && b != c);
    }

    #[test]
    fn a_digest_nobody_wants_is_not_computed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let wish = Wish::new();
        let wanted = wish.wanted();
        assert!(Digest::of_parts(&wanted, file.path(), None, None, None).is_ok());
        drop(wish);
        assert!(Digest::of_parts(&wanted, file.path(), None, None, None).is_err());
    }
}
