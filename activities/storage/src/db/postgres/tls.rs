//! The requirements for TLS: the parameters `sslmode`, `sslrootcert`, `sslcert` and `sslkey`.
//!
//! Unlike in libpq, `allow` means `prefer`, and only the alternative names of a certificate count as names of its
//! server.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_postgres::config::SslMode;

/// The protocol's name (ALPN), which a server requires if TLS begins without a request for it.
const PROTOCOL: &[u8] = b"postgresql";

/// The reason why a URL cannot be used. It repeats no value and no unknown name, which might be part of a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

/// Verification of a server's certificate. Each variant includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verified {
    /// Nothing: the connection is encrypted, but with any server.
    Nothing,
    /// A trusted authority issued the certificate.
    Chain,
    /// The certificate was issued for the host.
    Name,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Encryption that `sslmode` requires.
    mode: SslMode,
    /// Verification that `sslmode` requires.
    verified: Verified,
    /// Verification that `sslrootcert` requires; the name, if it is `system`.
    pub verified_at_least: Verified,
    /// The file of the trusted authorities; `None` for those of this machine.
    pub authorities: Option<PathBuf>,
    /// The file of settle's own certificate.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            mode: SslMode::Prefer,
            verified: Verified::Nothing,
            verified_at_least: Verified::Nothing,
            authorities: None,
            certificate: None,
            key: None,
        }
    }
}

impl Tls {
    /// Sets the mode of this name; `None` for an unknown one.
    pub fn set_mode(&mut self, name: &str) -> Option<()> {
        (self.mode, self.verified) = match name {
            "disable" => (SslMode::Disable, Verified::Nothing),
            "allow" | "prefer" => (SslMode::Prefer, Verified::Nothing),
            "require" => (SslMode::Require, Verified::Nothing),
            "verify-ca" => (SslMode::Require, Verified::Chain),
            "verify-full" => (SslMode::Require, Verified::Name),
            _ => return None,
        };
        Some(())
    }

    /// Returns whether TLS is used. It is always required if `sslrootcert` requires a verified name.
    pub fn mode(&self) -> SslMode {
        if self.verified_at_least == Verified::Name {
            SslMode::Require
        } else {
            self.mode
        }
    }

    /// Returns what is verified. The certificate authorities of this machine issue certificates to anyone, so with them
    /// the name is verified too. A connection that need not be encrypted verifies nothing.
    fn verified(&self) -> Verified {
        let verified = self.verified.max(self.verified_at_least);
        match self.mode() {
            SslMode::Require if verified == Verified::Chain && self.authorities.is_none() => {
                Verified::Name
            }
            SslMode::Require => verified,
            _ => Verified::Nothing,
        }
    }

    /// Returns the configuration of a client.
    ///
    /// # Errors
    /// [`Invalid`] when a file cannot be read, or when this machine has no authorities.
    pub fn config(&self) -> Result<ClientConfig, Invalid> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Invalid(error.to_string()))?;
        let verified = self.verified();
        let builder = match &self.authorities {
            None if verified != Verified::Nothing => builder
                .with_platform_verifier()
                .map_err(|error| Invalid(error.to_string()))?,
            file => {
                let file = file.as_deref().filter(|_| verified != Verified::Nothing);
                let authorities = file.map_or_else(|| Ok(Vec::new()), certificates)?;
                let verifier = Verifier::new(verified, authorities, provider);
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier))
            }
        };
        let mut config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let key =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
                let own = builder.with_client_auth_cert(certificates(certificate)?, key);
                own.map_err(|error| {
                    Invalid(format!("`sslcert` and `sslkey` cannot be used: {error}"))
                })?
            }
            (None, None) => builder.with_no_client_auth(),
            _ => return Err(Invalid("`sslcert` and `sslkey` belong together".to_owned())),
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(config)
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Invalid> {
    let read =
        CertificateDer::pem_file_iter(file).and_then(|found| found.collect::<Result<Vec<_>, _>>());
    let read = read.map_err(|error| unreadable(file, &error))?;
    if read.is_empty() {
        Err(Invalid(format!("{} holds no certificate", file.display())))
    } else {
        Ok(read)
    }
}

fn unreadable(file: &Path, error: &dyn std::error::Error) -> Invalid {
    Invalid(format!("{} cannot be read: {error}", file.display()))
}

/// A verifier of servers' certificates, as strict as `verified` requires.
#[derive(Debug)]
struct Verifier {
    verified: Verified,
    authorities: RootCertStore,
    /// The trusted certificates themselves: a server's own certificate may be among them.
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(
        verified: Verified,
        trusted: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        let mut authorities = RootCertStore::empty();
        authorities.add_parsable_certificates(trusted.iter().cloned());
        Self {
            verified,
            authorities,
            trusted,
            provider,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.verified == Verified::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        if !self.trusted.contains(certificate) {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &self.authorities,
                intermediates,
                now,
                algorithms,
            )?;
        }
        if self.verified == Verified::Name {
            verify_server_name(&parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
