//! Bytes inside JSON: `{"text": "…"}` when they are UTF-8, `{"base64": "…"}` otherwise.
//!
//! Which of the two it is depends on the bytes alone, so a script that expects text can read `.stdout.text` and
//! notices when it isn't any.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Bytes: as text when they are valid UTF-8, in base64 (RFC 4648, with padding) otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// They are UTF-8.
    Text(String),
    /// They are not; or the sender didn't look.
    Base64(String),
}

/// A text that should have been base64.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the content is not base64 (RFC 4648, with padding)")]
pub struct ContentError(#[source] base64::DecodeError);

impl Content {
    /// Nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self::Text(String::new())
    }

    /// The bytes themselves.
    ///
    /// # Errors
    /// When the text under `base64` is not base64.
    pub fn into_bytes(self) -> Result<Vec<u8>, ContentError> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Base64(text) => BASE64_STANDARD.decode(text).map_err(ContentError),
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(|error| Self::Base64(BASE64_STANDARD.encode(error.as_bytes())), Self::Text)
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stays_text_and_other_bytes_are_base64() {
        assert_eq!(serde_json::to_string(&Content::from(b"hi\n".to_vec())).unwrap(), r#"{"text":"hi\n"}"#);
        assert_eq!(serde_json::to_string(&Content::from(vec![0xff, 0])).unwrap(), r#"{"base64":"/wA="}"#);
        assert!(Content::Base64("*".to_owned()).into_bytes().is_err());
    }

    proptest! {
        #[test]
        fn all_bytes_come_back(bytes: Vec<u8>) {
            let json = serde_json::to_vec(&Content::from(bytes.clone())).unwrap();
            let back: Content = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(back.into_bytes().unwrap(), bytes);
        }
    }
}
