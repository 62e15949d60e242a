//! An authority of a test, and the certificates it has signed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

/// An authority. Its files live as long as it does.
pub struct Certificates {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// A certificate and its key, as files in PEM format.
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Certificates {
    /// A new authority.
    ///
    /// # Panics
    /// When there is no place for its files.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = parameters(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder for certificates");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("a file in a folder of our own");
        Self { issuer, folder }
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for a server of these names and addresses.
    ///
    /// # Panics
    /// When there is no place for it.
    #[must_use]
    pub fn server(&self, name: &str, addresses: &[&str]) -> Identity {
        let mut params = parameters(name, addresses);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(name, &params)
    }

    /// A certificate for a client.
    ///
    /// # Panics
    /// When there is no place for it.
    #[must_use]
    pub fn client(&self, name: &str) -> Identity {
        let mut params = parameters(name, &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(name, &params)
    }

    /// A certificate for a host of a cluster: it asks others and is asked by them.
    ///
    /// # Panics
    /// When there is no place for it.
    #[must_use]
    pub fn host(&self, name: &str, address: &str) -> Identity {
        let mut params = parameters(name, &[address]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(name, &params)
    }

    fn issue(&self, name: &str, params: &CertificateParams) -> Identity {
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let place = |end: &str, text: String| write(self.folder.path(), &format!("{name}.{end}"), &text);
        Identity { certificate: place("pem", certificate.pem()), key: place("key", key.serialize_pem()) }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn parameters(name: &str, addresses: &[&str]) -> CertificateParams {
    let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
    let mut params = CertificateParams::new(addresses).expect("names and addresses");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("a file in a folder of our own");
    path
}
