//! The verdict about each way in which a payload or its chain can be altered. Each is verified twice, since the second
//! verdict may come from a remembered chain.

use super::forgery::{Forgery, Signer};
use super::{INTERMEDIATE_MARKER, LEAF_MARKER, at, marker, named, now, payload};
use crate::stores::apple::jws::JwsRefusal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd,
};
use serde_json::json;

/// What is altered: in words, and how.
type Row = (&'static str, fn(&mut Forgery));

/// All rows by their verdict.
const TABLE: &[(Result<(), JwsRefusal>, &[Row])] = &[
    (Ok(()), TAKEN),
    (Err(JwsRefusal::Form), WITHOUT_FORM),
    (Err(JwsRefusal::Algorithm), OTHER_ALGORITHMS),
    (Err(JwsRefusal::Chain), OTHER_CERTIFICATES),
    (Err(JwsRefusal::Chain), WRONG_LEAVES),
    (Err(JwsRefusal::Chain), WRONG_AUTHORITIES),
    (Err(JwsRefusal::Marker), WITHOUT_MARKERS),
    (Err(JwsRefusal::Signature), WRONG_SIGNATURES),
    (Err(JwsRefusal::Time), WRONG_TIMES),
];

const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const UNKNOWN: &[u64] = &[1, 2, 3, 4];
const NULL: [u8; 2] = [5, 0];

const TAKEN: &[Row] = &[
    ("nothing", |_| {}),
    ("the authorities have P-384 keys, as Apple's", |forgery| {
        forgery.root_algorithm = &PKCS_ECDSA_P384_SHA384;
        forgery.intermediate_algorithm = &PKCS_ECDSA_P384_SHA384;
    }),
    ("the third certificate is the first one", |forgery| {
        forgery.header = |header| header["x5c"][2] = header["x5c"][0].clone();
    }),
    ("the third certificate is none", |forgery| {
        forgery.header = |header| header["x5c"][2] = json!("?");
    }),
    ("the header has other members", |forgery| {
        forgery.header = |header| header["kid"] = json!("1");
    }),
    ("both markers are critical", |forgery| {
        let drafts = &mut forgery.drafts;
        drafts.leaf.custom_extensions[0].set_criticality(true);
        drafts.intermediate.custom_extensions[0].set_criticality(true);
    }),
    ("an unknown extension", |forgery| {
        let unknown = extension(UNKNOWN, &NULL);
        forgery.drafts.leaf.custom_extensions.push(unknown);
    }),
    ("the leaf has an extended key usage", |forgery| {
        forgery.drafts.leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    }),
    ("the leaf is not restricted", |forgery| {
        forgery.drafts.leaf.is_ca = IsCa::NoCa;
        forgery.drafts.leaf.key_usages.clear();
    }),
    ("the intermediate has no key usage", |forgery| {
        forgery.drafts.intermediate.key_usages.clear();
    }),
    ("the intermediate has no path length", |forgery| {
        forgery.drafts.intermediate.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }),
    ("the root has a path length of one", |forgery| {
        forgery.drafts.root.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    }),
    ("an app transaction", |forgery| {
        forgery.payload = json!({ "receiptCreationDate": now().micros() / 1000 });
    }),
    ("signed 15 minutes ahead", |forgery| {
        forgery.payload = payload(now().plus_millis(15 * 60_000));
    }),
    ("signed when its validity began", |forgery| {
        forgery.payload = payload(at("2026-01-01T00:00:00Z"));
    }),
    ("signed when its validity ended, years ago", |forgery| {
        forgery.payload = payload(at("2028-01-01T00:00:00Z"));
        forgery.now = at("2033-01-01T00:00:00Z");
    }),
];

const WITHOUT_FORM: &[Row] = &[
    ("no algorithm", |forgery| {
        forgery.header = |header| *header = json!({ "x5c": header["x5c"] });
    }),
    ("the algorithm is a number", |forgery| {
        forgery.header = |header| header["alg"] = json!(256);
    }),
    ("the certificates are null", |forgery| {
        forgery.header = |header| header["x5c"] = json!(null);
    }),
    ("the certificates are a text", |forgery| {
        forgery.header = |header| header["x5c"] = header["x5c"][0].clone();
    }),
    ("a certificate is a number", |forgery| {
        forgery.header = |header| header["x5c"][0] = json!(1);
    }),
    ("the header is a text", |forgery| {
        forgery.header = |header| *header = json!("ES256");
    }),
    ("the payload is a list", |forgery| {
        forgery.payload = json!([1]);
    }),
    ("the payload is too large", |forgery| {
        forgery.payload["filler"] = json!("A".repeat(64 * 1024));
    }),
    ("nothing is sent", |forgery| {
        forgery.text = |_| String::new();
    }),
    ("no signature", |forgery| {
        forgery.text = |text| signed(&text).to_owned();
    }),
    ("a fourth part", |forgery| {
        forgery.text = |text| format!("{text}.AAAA");
    }),
    ("padding", |forgery| {
        forgery.text = |text| format!("{text}==");
    }),
    ("a line break", |forgery| {
        forgery.text = |text| format!("{text}\n");
    }),
    ("plain base64", |forgery| {
        forgery.text = |text| format!("{}.+/+/", signed(&text));
    }),
];

const OTHER_ALGORITHMS: &[Row] = &[
    ("none", |forgery| {
        forgery.header = |header| header["alg"] = json!("none");
        forgery.text = |text| format!("{}.", signed(&text));
    }),
    ("HS256", |forgery| {
        forgery.header = |header| header["alg"] = json!("HS256");
    }),
    ("RS256", |forgery| {
        forgery.header = |header| header["alg"] = json!("RS256");
    }),
    ("ES384", |forgery| {
        forgery.header = |header| header["alg"] = json!("ES384");
    }),
    ("lower case", |forgery| {
        forgery.header = |header| header["alg"] = json!("es256");
    }),
    ("a critical member", |forgery| {
        forgery.header = |header| header["crit"] = json!(["b64"]);
    }),
];

const OTHER_CERTIFICATES: &[Row] = &[
    ("no list of certificates", |forgery| {
        forgery.header = |header| *header = json!({ "alg": "ES256" });
    }),
    ("no certificate", |forgery| {
        forgery.header = |header| header["x5c"] = json!([]);
    }),
    ("one certificate", |forgery| {
        forgery.header = |header| header["x5c"] = json!([header["x5c"][0]]);
    }),
    ("two certificates", |forgery| {
        forgery.header = |header| header["x5c"] = json!([header["x5c"][0], header["x5c"][1]]);
    }),
    ("four certificates", |forgery| {
        forgery.header = |header| {
            let all = &header["x5c"];
            header["x5c"] = json!([all[0], all[1], all[2], all[2]]);
        };
    }),
    ("the first two change places", |forgery| {
        forgery.certificates = |all| all.swap(0, 1);
    }),
    ("the root is the intermediate", |forgery| {
        forgery.certificates = |all| all[1] = all[2].clone();
    }),
    ("the leaf is the intermediate", |forgery| {
        forgery.certificates = |all| all[1] = all[0].clone();
    }),
    ("the leaf is cut", |forgery| {
        forgery.certificates = |all| all[0].truncate(100);
    }),
    ("the leaf has one byte more", |forgery| {
        forgery.certificates = |all| all[0].push(0);
    }),
    ("a byte of the leaf's signature is another", |forgery| {
        forgery.certificates = |all| flip_last(&mut all[0]);
    }),
    ("a byte of the intermediate's is another", |forgery| {
        forgery.certificates = |all| flip_last(&mut all[1]);
    }),
    ("the leaf is empty", |forgery| {
        forgery.header = |header| header["x5c"][0] = json!("");
    }),
    ("the leaf has a line break", |forgery| {
        forgery.header = |header| {
            let leaf = header["x5c"][0].as_str().unwrap_or_default();
            header["x5c"][0] = json!(format!("{leaf}\n"));
        };
    }),
    ("the leaf is in PEM", |forgery| {
        forgery.header = |header| {
            let leaf = header["x5c"][0].as_str().unwrap_or_default();
            header["x5c"][0] = json!(format!("-----BEGIN CERTIFICATE-----{leaf}"));
        };
    }),
    ("the leaf has more than the maximum size", |forgery| {
        let large = CustomExtension::from_oid_content(UNKNOWN, octets(8 * 1024));
        forgery.drafts.leaf.custom_extensions.push(large);
    }),
    ("another key under the root's name", |forgery| {
        forgery.intermediate_signer = Signer::Other;
    }),
    ("another key under the intermediate's name", |forgery| {
        forgery.leaf_signer = Signer::Other;
    }),
    ("the root's key under another name", |forgery| {
        forgery.intermediate_issuer = Some(named("Another"));
    }),
    ("the intermediate's key under another name", |forgery| {
        forgery.leaf_issuer = Some(named("Another"));
    }),
    ("the root issued the leaf", |forgery| {
        forgery.leaf_issuer = Some(forgery.drafts.root.clone());
        forgery.leaf_signer = Signer::Root;
    }),
    ("the leaf issued itself", |forgery| {
        forgery.leaf_issuer = Some(forgery.drafts.leaf.clone());
        forgery.leaf_signer = Signer::Leaf;
    }),
];

const WRONG_LEAVES: &[Row] = &[
    ("its key is on P-384", |forgery| {
        forgery.leaf_algorithm = &PKCS_ECDSA_P384_SHA384;
        forgery.payload_signer = Signer::Other;
    }),
    ("its key is on an Edwards curve", |forgery| {
        forgery.leaf_algorithm = &PKCS_ED25519;
        forgery.payload_signer = Signer::Other;
    }),
    ("it is an authority", |forgery| {
        forgery.drafts.leaf.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    }),
    ("its constraints cannot be read", |forgery| {
        forgery.drafts.leaf.is_ca = IsCa::NoCa;
        let constraints = extension(BASIC_CONSTRAINTS, &NULL);
        forgery.drafts.leaf.custom_extensions.push(constraints);
    }),
    ("its constraints occur twice", |forgery| {
        let constraints = extension(BASIC_CONSTRAINTS, &[0x30, 0]);
        forgery.drafts.leaf.custom_extensions.push(constraints);
    }),
    ("its usage cannot be read", |forgery| {
        forgery.drafts.leaf.key_usages.clear();
        let usage = extension(KEY_USAGE, &NULL);
        forgery.drafts.leaf.custom_extensions.push(usage);
    }),
    ("its usage occurs twice", |forgery| {
        let usage = extension(KEY_USAGE, &[3, 2, 7, 0x80]);
        forgery.drafts.leaf.custom_extensions.push(usage);
    }),
    ("its key may not sign", |forgery| {
        forgery.drafts.leaf.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    }),
    ("its marker occurs twice", |forgery| {
        let second = marker(LEAF_MARKER);
        forgery.drafts.leaf.custom_extensions.push(second);
    }),
    ("it has an unknown critical extension", |forgery| {
        let mut unknown = extension(UNKNOWN, &NULL);
        unknown.set_criticality(true);
        forgery.drafts.leaf.custom_extensions.push(unknown);
    }),
];

const WRONG_AUTHORITIES: &[Row] = &[
    (
        "the intermediate has a key on an Edwards curve",
        |forgery| {
            forgery.intermediate_algorithm = &PKCS_ED25519;
        },
    ),
    ("the intermediate is none", |forgery| {
        forgery.drafts.intermediate.is_ca = IsCa::ExplicitNoCa;
    }),
    ("the intermediate has no constraints", |forgery| {
        forgery.drafts.intermediate.is_ca = IsCa::NoCa;
    }),
    ("the intermediate signs lists alone", |forgery| {
        forgery.drafts.intermediate.key_usages = vec![KeyUsagePurpose::CrlSign];
    }),
    ("the intermediate signs content alone", |forgery| {
        forgery.drafts.intermediate.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    }),
    ("the intermediate's names are restricted", |forgery| {
        let permitted = GeneralSubtree::DnsName("example.com".to_owned());
        forgery.drafts.intermediate.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![permitted],
            excluded_subtrees: Vec::new(),
        });
    }),
    ("the intermediate has an unknown extension", |forgery| {
        let mut unknown = extension(UNKNOWN, &NULL);
        unknown.set_criticality(true);
        let extensions = &mut forgery.drafts.intermediate.custom_extensions;
        extensions.push(unknown);
    }),
    ("the root is none", |forgery| {
        forgery.drafts.root.is_ca = IsCa::ExplicitNoCa;
    }),
    ("the root has a path length of zero", |forgery| {
        forgery.drafts.root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    }),
    ("the root signs lists alone", |forgery| {
        forgery.drafts.root.key_usages = vec![KeyUsagePurpose::CrlSign];
    }),
];

const WITHOUT_MARKERS: &[Row] = &[
    ("no marker of the leaf", |forgery| {
        forgery.drafts.leaf.custom_extensions.clear();
    }),
    ("no marker of the intermediate", |forgery| {
        forgery.drafts.intermediate.custom_extensions.clear();
    }),
    ("the leaf has the intermediate's marker", |forgery| {
        forgery.drafts.leaf.custom_extensions = vec![marker(INTERMEDIATE_MARKER)];
    }),
    ("the intermediate has the leaf's marker", |forgery| {
        forgery.drafts.intermediate.custom_extensions = vec![marker(LEAF_MARKER)];
    }),
    ("the leaf's marker has another last number", |forgery| {
        let other = marker(&[1, 2, 840, 113635, 100, 6, 11, 2]);
        forgery.drafts.leaf.custom_extensions = vec![other];
    }),
    ("the intermediate's marker has another one", |forgery| {
        let other = marker(&[1, 2, 840, 113635, 100, 6, 2, 2]);
        forgery.drafts.intermediate.custom_extensions = vec![other];
    }),
];

const WRONG_SIGNATURES: &[Row] = &[
    ("by another key", |forgery| {
        forgery.payload_signer = Signer::Other;
    }),
    ("by the intermediate's key", |forgery| {
        forgery.payload_signer = Signer::Intermediate;
    }),
    ("by the root's key", |forgery| {
        forgery.payload_signer = Signer::Root;
    }),
    ("empty", |forgery| {
        forgery.text = |text| format!("{}.", signed(&text));
    }),
    ("zeros", |forgery| {
        forgery.text = |text| {
            let zeros = URL_SAFE_NO_PAD.encode([0_u8; 64]);
            format!("{}.{zeros}", signed(&text))
        };
    }),
    ("with one byte more", |forgery| {
        forgery.text = |text| {
            let (signed, signature) = text.rsplit_once('.').expect("a signature");
            let mut signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
            signature.push(0);
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        };
    }),
    ("of another payload", |forgery| {
        forgery.text = |text| {
            let parts: Vec<&str> = text.split('.').collect();
            let other = payload(now().plus_millis(1)).to_string();
            let other = URL_SAFE_NO_PAD.encode(other);
            format!("{}.{other}.{}", parts[0], parts[2])
        };
    }),
    ("of another header", |forgery| {
        forgery.text = |text| {
            let (header, rest) = text.split_once('.').expect("a header");
            let mut header = URL_SAFE_NO_PAD.decode(header).expect("base64");
            header.push(b' ');
            format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
        };
    }),
];

const WRONG_TIMES: &[Row] = &[
    ("before the leaf", |forgery| {
        forgery.drafts.leaf.not_before = date_time_ymd(2026, 12, 1);
    }),
    ("a second after the leaf", |forgery| {
        forgery.payload = payload(at("2028-01-01T00:00:01Z"));
        forgery.now = at("2028-01-01T00:00:01Z");
    }),
    ("before the intermediate", |forgery| {
        forgery.drafts.intermediate.not_before = date_time_ymd(2026, 12, 1);
    }),
    ("after the intermediate", |forgery| {
        forgery.drafts.intermediate.not_after = date_time_ymd(2026, 11, 1);
    }),
    ("before the root", |forgery| {
        forgery.drafts.root.not_before = date_time_ymd(2026, 12, 1);
    }),
    ("after the root", |forgery| {
        forgery.drafts.root.not_after = date_time_ymd(2026, 11, 1);
    }),
    ("more than 15 minutes ahead", |forgery| {
        forgery.payload = payload(now().plus_millis(15 * 60_000 + 1));
    }),
    ("before Apple signed any", |forgery| {
        let drafts = &mut forgery.drafts;
        for draft in [&mut drafts.root, &mut drafts.intermediate, &mut drafts.leaf] {
            draft.not_before = date_time_ymd(2015, 1, 1);
        }
        forgery.payload = payload(at("2019-12-31T23:59:59Z"));
    }),
    ("none", |forgery| {
        forgery.payload = json!({ "bundleId": "com.example" });
    }),
    ("a text", |forgery| {
        forgery.payload["signedDate"] = json!("1796040000000");
    }),
    ("a fraction", |forgery| {
        forgery.payload["signedDate"] = json!(1_796_040_000_000.5);
    }),
    ("negative", |forgery| {
        forgery.payload["signedDate"] = json!(i64::MIN);
    }),
    ("beyond any date", |forgery| {
        forgery.payload["signedDate"] = json!(i64::MAX);
    }),
    ("larger than the largest number", |forgery| {
        forgery.payload["signedDate"] = json!(u64::MAX);
    }),
    ("null, beside another one", |forgery| {
        forgery.payload["receiptCreationDate"] = forgery.payload["signedDate"].clone();
        forgery.payload["signedDate"] = json!(null);
    }),
];

/// An extension that is not critical.
fn extension(oid: &[u64], content: &[u8]) -> CustomExtension {
    CustomExtension::from_oid_content(oid, content.to_vec())
}

/// Bytes as DER writes them, with a length of two bytes.
fn octets(length: u16) -> Vec<u8> {
    let mut der = vec![4, 0x82];
    der.extend(length.to_be_bytes());
    der.resize(der.len() + usize::from(length), 0);
    der
}

/// Changes the last byte of a certificate, which is one of its signature.
fn flip_last(der: &mut [u8]) {
    let last = der.last_mut().expect("a byte");
    *last ^= 1;
}

/// Returns the part of a text that is signed.
fn signed(text: &str) -> &str {
    let (signed, _) = text.rsplit_once('.').expect("a signature");
    signed
}

#[test]
fn each_alteration_has_its_verdict() {
    let mut wrong = Vec::new();
    for (expected, rows) in TABLE {
        for (altered, change) in *rows {
            let mut forgery = Forgery::new();
            change(&mut forgery);
            let found = forgery.verdicts();
            if found != [*expected; 2] {
                wrong.push(format!("{altered}: {found:?}, not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let rows = TABLE.iter().map(|(_, rows)| rows.len());
    assert!(rows.sum::<usize>() >= 60);
}
