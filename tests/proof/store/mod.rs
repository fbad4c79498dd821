//! A store for the proof that adding one takes a folder and an entry in each list: a check takes two requests, only the
//! answer names the customer, and an ended purchase can become active again. If a notification has what the store
//! signed, the check takes no request.

mod ingress;
mod protocol;
mod repair;

use api::setting::{Invalid, Section, Variable, origin};
use api::stores::config::StoreConfig;
use api::stores::inbox::Inbox;
use api::stores::ingress::Ingress;
use api::stores::samples::SampleKey;
use api::stores::{StoreEntry, WrongOwnField};
use domain::stores::{
    Answers, CustomerSource, Evidence, Gone, Policy, Proof, Schedules, wake_by_dates,
};
use domain::time::{DAY, MINUTE};
use protocols::form::{Entry, Form, Input, NAME, SetupEvidence, Step};
use protocols::stores::{Simulated, StoreProtocol};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use storage::StorePart;
use url::Url;

/// Name of the store on platforms.
const STORE: &str = "proof";

/// The store's entry in the list of stores.
pub const ENTRY: StoreEntry = StoreEntry {
    name: STORE,
    title: "Proof Store",
    purchase_id: "Order id",
    since: "0.2.0",
    form,
    own_fields: Some(own_fields),
    check_package: None,
    credential_flags: "--store-setting key=@FILE",
    max_body_bytes: 4096,
    sales_report: None,
    variables: &[Variable::one("proof.url", "SETTLE_PROOF_URL")],
    config: read,
    samples: None,
    demo: None,
};

/// The store's entry in the list of policies.
pub const POLICY: Policy = Policy {
    store: STORE,
    purchase_id_key: "proof_order_id",
    customer: CustomerSource::Answer,
    proof: Proof::Possession,
    evidence: Evidence::Signed,
    answers: Answers::BY_DATES,
    gone: Gone::LastKnown,
    can_leave_end: true,
    schedules: Schedules {
        unknown: &[MINUTE, DAY],
        wrong_customer: &[],
        believed_after: DAY,
        settled_unverified: &[],
    },
    wake: wake_by_dates,
    acknowledged_within: |_| None,
};

fn form() -> Form {
    let package = Entry::new("package_name", "Package name", Input::Text);
    let secret = Entry::new("shared_secret", "Account key", Input::Password);
    let step = Step {
        title: "Request a test",
        text: "Press the button.",
        place: "settle",
        copy: None,
        url: None,
        evidence: Some(SetupEvidence::RequestedTest("TEST", &[repair::NO_URL])),
    };
    Form {
        name: STORE,
        label: "the Proof Store",
        summary: "Purchases in the Proof Store.",
        entries: vec![NAME, package, secret],
        events: &[],
        guide: vec![step],
    }
}

/// Parses the store's own fields: a region, which is shown, and a signing key, which is not.
fn own_fields(fields: &Map<String, Value>) -> Result<StorePart, Vec<WrongOwnField>> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let (region, key) = (text("region"), text("key"));
    if fields.len() != usize::from(region.is_some()) + usize::from(key.is_some()) {
        return Err(vec![WrongOwnField {
            field: "region",
            expected: "a region, and beside it a key alone".to_owned(),
        }]);
    }
    Ok(StorePart {
        settings: region.map(|region| json!({ "region": region })),
        credentials: key.map(Into::into),
    })
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    url: Option<String>,
}

#[derive(Debug)]
struct Config {
    /// The store's URL: `proof.url`, `SETTLE_PROOF_URL`.
    url: Url,
}

fn read(section: Section<'_>) -> Result<Arc<dyn StoreConfig>, Invalid> {
    let raw: Raw = section.read()?;
    let url = raw.url.as_deref().unwrap_or("https://store.example");
    let url = origin("proof.url", url)?;
    Ok(Arc::new(Config { url }))
}

impl StoreConfig for Config {
    fn shown(&self, field: &str) -> Option<String> {
        (field == "proof.url").then(|| self.url.to_string())
    }

    fn ingress(&self, _: Option<&SampleKey>) -> anyhow::Result<Arc<dyn Ingress>> {
        Ok(Arc::new(ingress::ProofIngress(Inbox::new(STORE))))
    }

    fn protocol(&self, _: Option<Simulated>) -> Arc<dyn StoreProtocol> {
        Arc::new(protocol::ProofProtocol::new(self.url.clone()))
    }
}
