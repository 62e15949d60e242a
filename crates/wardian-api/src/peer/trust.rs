//! By what hosts of a cluster know one another: the secret all of them know, and their certificates.

use std::{fmt, path::PathBuf, sync::Arc};

use axum::http::{HeaderMap, HeaderValue, header};
use subtle::ConstantTimeEq as _;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::tls;

/// What comes before the secret in its header.
const SCHEME: &str = "Bearer ";

/// What a host shows to its peers, and what it wants to see.
#[derive(Clone)]
pub struct Credentials {
    /// The cluster's secret: printable ASCII without spaces.
    pub secret: String,
    /// Certificates; without them nothing that is said is encrypted.
    pub tls: Option<PeerTls>,
}

/// Files in PEM format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerTls {
    /// The authority of all hosts' certificates.
    pub ca: PathBuf,
    /// This host's certificate, for use by a client, with those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// Credentials can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A secret that is none.
    #[error("the cluster's secret is empty, or has other characters than printable ASCII")]
    Secret,
    /// A file can't be read.
    #[error("can't read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file isn't what it should be.
    #[error("{} can't be used: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The library refuses.
    #[error("TLS can't be set up")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

impl TrustError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Secret => "the record cluster/settings is damaged: its secret should be 64 hexadecimal digits",
            Self::Unreadable { .. } => {
                "check the paths in the section [cluster] of the configuration, and who may read them"
            }
            Self::Unusable { .. } | Self::Tls(_) => {
                "the files of the section [cluster] must be in PEM format, and the key must be the certificate's"
            }
        }
    }
}

/// Credentials, ready for use. Clones share them.
#[derive(Clone)]
pub struct Trust(Arc<Inner>);

struct Inner {
    /// The header's value.
    authorization: HeaderValue,
    tls: Option<(TlsConnector, TlsAcceptor)>,
}

impl Trust {
    /// Reads the certificates. Blocks for as long as the files take.
    ///
    /// # Errors
    /// When a file can't be read or used, or the secret is none.
    pub fn load(credentials: &Credentials) -> Result<Self, TrustError> {
        if credentials.secret.is_empty() || !credentials.secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TrustError::Secret);
        }
        let value = format!("{SCHEME}{}", credentials.secret);
        let mut authorization = HeaderValue::try_from(value).map_err(|_| TrustError::Secret)?;
        // Keeps it out of what is logged.
        authorization.set_sensitive(true);
        let tls = credentials.tls.as_ref().map(tls::load).transpose()?;
        Ok(Self(Arc::new(Inner { authorization, tls })))
    }

    pub(super) fn authorization(&self) -> HeaderValue {
        self.0.authorization.clone()
    }

    /// Whether these are the headers of one who knows the secret. Takes the same time wherever a guess is wrong.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(shown), None) = (shown.next(), shown.next()) else { return false };
        shown.as_bytes().ct_eq(self.0.authorization.as_bytes()).into()
    }

    pub(super) fn connector(&self) -> Option<&TlsConnector> {
        self.0.tls.as_ref().map(|(connector, _)| connector)
    }

    pub(super) fn acceptor(&self) -> Option<&TlsAcceptor> {
        self.0.tls.as_ref().map(|(_, acceptor)| acceptor)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Trust").field("tls", &self.0.tls.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_opens_and_nothing_else_does() {
        let trust = Trust::load(&Credentials { secret: "s3cret".to_owned(), tls: None }).unwrap();
        let with = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            trust.admits(&headers)
        };
        assert!(with(&["Bearer s3cret"]));
        for wrong in
            [&[][..], &[""], &["s3cret"], &["Bearer s3cre"], &["Bearer s3crets"], &["Bearer x", "Bearer s3cret"]]
        {
            assert!(!with(wrong), "{wrong:?}");
        }
        assert!(!format!("{trust:?} {:?}", trust.authorization()).contains("s3cret"));
    }

    #[test]
    fn a_secret_that_is_none_is_refused() {
        for secret in ["", " ", "a b", "a\n", "ä"] {
            let credentials = Credentials { secret: secret.to_owned(), tls: None };
            assert!(matches!(Trust::load(&credentials), Err(TrustError::Secret)), "{secret:?}");
        }
    }
}
