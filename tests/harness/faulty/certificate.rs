//! A certificate for a host name, issued by an authority that is trusted only if a setting names it.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A server's certificate with its key and the issuing authority's certificate.
pub struct Identity {
    pub authority: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Identity {
    pub fn new(name: &str) -> Self {
        let (authority_key, key) = (
            KeyPair::generate().expect("a key"),
            KeyPair::generate().expect("a key"),
        );
        let mut authority = CertificateParams::new(Vec::new()).expect("an authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own = authority
            .self_signed(&authority_key)
            .expect("the authority's certificate")
            .der()
            .clone();
        let issuer = Issuer::new(authority, authority_key);
        let certificate = CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = certificate.signed_by(&key, &issuer).expect("a certificate");
        Self {
            authority: own,
            certificate: certificate.der().clone(),
            key,
        }
    }

    /// Returns the configuration of a TLS server with this certificate.
    pub fn server(&self) -> ServerConfig {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("its key");
        let server = ServerConfig::builder().with_no_client_auth();
        server
            .with_single_cert(vec![self.certificate.clone()], key)
            .expect("the certificate and its key")
    }
}
