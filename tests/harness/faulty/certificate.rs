//! A certificate for a host name, issued by an authority that only a setting makes trusted.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};

/// A server's certificate with its key and its issuing authority.
pub struct Identity {
    pub authority: X509,
    certificate: X509,
    key: PKey<Private>,
}

impl Identity {
    pub fn new(name: &str) -> Self {
        let (authority_key, key) = (new_key(), new_key());
        let issuer = named("settle's tests");
        let mut authority = builder(&issuer, &issuer, &authority_key);
        authority
            .append_extension(BasicConstraints::new().critical().ca().build().expect("an extension"))
            .expect("room");
        authority.sign(&authority_key, MessageDigest::sha256()).expect("a signature");
        let authority = authority.build();
        let mut certificate = builder(&named(name), &issuer, &key);
        let names = SubjectAlternativeName::new().dns(name).build(&certificate.x509v3_context(Some(&authority), None));
        certificate.append_extension(names.expect("an extension")).expect("room");
        certificate.sign(&authority_key, MessageDigest::sha256()).expect("a signature");
        Self { authority, certificate: certificate.build(), key }
    }

    pub fn acceptor(&self) -> SslAcceptor {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("an acceptor");
        acceptor.set_certificate(&self.certificate).expect("the certificate");
        acceptor.set_private_key(&self.key).expect("its key");
        acceptor.build()
    }
}

fn new_key() -> PKey<Private> {
    Rsa::generate(2048).and_then(PKey::from_rsa).expect("a key")
}

fn named(name: &str) -> X509Name {
    let mut builder = X509NameBuilder::new().expect("a name");
    builder.append_entry_by_text("CN", name).expect("a name");
    builder.build()
}

fn builder(subject: &X509Name, issuer: &X509Name, key: &PKey<Private>) -> X509Builder {
    let built = || {
        let mut builder = X509::builder()?;
        builder.set_version(2)?;
        let mut serial = BigNum::new()?;
        serial.rand(64, openssl::bn::MsbOption::MAYBE_ZERO, false)?;
        let serial = serial.to_asn1_integer()?;
        builder.set_serial_number(&serial)?;
        builder.set_subject_name(subject)?;
        builder.set_issuer_name(issuer)?;
        builder.set_pubkey(key)?;
        let (from, to) = (Asn1Time::from_unix(0)?, Asn1Time::days_from_now(1)?);
        builder.set_not_before(&from)?;
        builder.set_not_after(&to)?;
        Ok::<_, openssl::error::ErrorStack>(builder)
    };
    built().expect("a certificate")
}
