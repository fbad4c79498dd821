//! Registers the search attributes. Those that Temporal does not accept are left out, with one warning: they only help
//! people to find runs, and a value of an unregistered attribute would always be refused.

use super::{Engine, TemporalError, timed};
use std::collections::{BTreeSet, HashMap};
use temporalio_client::tonic::{Code, Status};
use temporalio_client::{Client, NamespacedClient};
use temporalio_common::protos::temporal::api::enums::v1::IndexedValueType;
use temporalio_common::protos::temporal::api::operatorservice::v1::{
    AddSearchAttributesRequest, ListSearchAttributesRequest,
};
use temporalio_common::protos::temporal::api::workflowservice::v1::CountWorkflowExecutionsRequest;
use workflows::attributes;

/// The names of the search attributes that upserts leave out.
type LeftOut = BTreeSet<&'static str>;

/// The attributes that the namespace lacks.
#[derive(Debug, PartialEq, Eq)]
struct Lacking {
    missing: Vec<(&'static str, IndexedValueType)>,
    /// Attributes registered with another type, which cannot be changed.
    mistyped: LeftOut,
}

impl Lacking {
    /// Compares the attributes with those that the namespace has.
    fn among(known: &HashMap<String, i32>) -> Self {
        let is_mistyped = |(name, kind): &(&str, IndexedValueType)| {
            known
                .get(*name)
                .is_some_and(|known_kind| *known_kind != *kind as i32)
        };
        Self {
            missing: attributes::all()
                .into_iter()
                .filter(|(name, _)| !known.contains_key(*name))
                .collect(),
            mistyped: attributes::all()
                .into_iter()
                .filter(is_mistyped)
                .map(|(name, _)| name)
                .collect(),
        }
    }
}

/// Whether Temporal permanently refused a call, because of its settings or the permissions of this process. Other
/// failures are temporary.
fn is_refusal(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::PermissionDenied
            | Code::Unimplemented
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::OutOfRange
    )
}

/// Returns a query that is valid only if the attribute is registered with this type.
fn probe(name: &str, kind: IndexedValueType) -> String {
    match kind {
        IndexedValueType::Int => format!("{name} = 0"),
        IndexedValueType::Bool => format!("{name} = true"),
        _ => format!("{name} = 'settle'"),
    }
}

impl Engine {
    /// Registers the missing search attributes, and records those that are left out.
    pub(super) async fn register(&self, client: &Client) -> Result<(), TemporalError> {
        let list = timed(ListSearchAttributesRequest {
            namespace: client.namespace(),
        });
        let left_out = match client
            .connection()
            .operator_service()
            .list_search_attributes(list)
            .await
        {
            Ok(known) => {
                let Lacking {
                    missing,
                    mistyped: mut left_out,
                } = Lacking::among(&known.into_inner().custom_attributes);
                left_out.extend(self.add(client, &missing).await?);
                left_out
            }
            // Temporal Cloud refuses this call, because its operator registers the attributes. One check is enough.
            Err(status) if is_refusal(&status) && self.left_out().is_some() => return Ok(()),
            Err(status) if is_refusal(&status) => self.unregistered(client).await?,
            Err(status) => return Err(status.into()),
        };
        self.note_left_out(left_out);
        Ok(())
    }

    /// Adds these attributes, all at once or, if that is refused, one by one. Returns those that are refused.
    async fn add(
        &self,
        client: &Client,
        missing: &[(&'static str, IndexedValueType)],
    ) -> Result<LeftOut, TemporalError> {
        let mut refused = LeftOut::new();
        if missing.is_empty() || self.try_add(client, missing).await? {
            return Ok(refused);
        }
        for one in missing {
            if !self.try_add(client, std::slice::from_ref(one)).await? {
                refused.insert(one.0);
            }
        }
        Ok(refused)
    }

    /// Adds these attributes. Returns false if that is refused.
    async fn try_add(
        &self,
        client: &Client,
        added: &[(&'static str, IndexedValueType)],
    ) -> Result<bool, TemporalError> {
        let search_attributes = added
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), *kind as i32))
            .collect();
        let request = AddSearchAttributesRequest {
            search_attributes,
            namespace: client.namespace(),
        };
        match client
            .connection()
            .operator_service()
            .add_search_attributes(timed(request))
            .await
        {
            Ok(_) => Ok(true),
            Err(status) if is_refusal(&status) => Ok(false),
            Err(status) => Err(status.into()),
        }
    }

    /// Returns the attributes that cannot be used in a query. Used if the registered ones cannot be listed.
    async fn unregistered(&self, client: &Client) -> Result<LeftOut, TemporalError> {
        let mut unregistered = LeftOut::new();
        for (name, kind) in attributes::all() {
            let count = CountWorkflowExecutionsRequest {
                namespace: client.namespace(),
                query: probe(name, kind),
            };
            match client
                .connection()
                .workflow_service()
                .count_workflow_executions(timed(count))
                .await
            {
                Ok(_) => {}
                Err(status) if status.code() == Code::InvalidArgument => {
                    _ = unregistered.insert(name)
                }
                // Without permission to count, the attributes are assumed to be registered.
                Err(status) if is_refusal(&status) => {}
                Err(status) => return Err(status.into()),
            }
        }
        Ok(unregistered)
    }

    fn note_left_out(&self, left_out: LeftOut) {
        let mut known = self
            .left_out
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !left_out.is_empty() && known.as_ref() != Some(&left_out) {
            let names: Vec<&str> = left_out.iter().copied().collect();
            tracing::warn!(
                attributes = names.join(", "),
                "Temporal does not take these search attributes, so runs are not found by them; everything else works; \
                 api/src/commands/README.md names their types"
            );
        }
        *known = Some(left_out);
    }

    /// Leaves out all attributes, unless it is known which ones Temporal accepts.
    pub(super) fn leave_out_unknown(&self) {
        if self.left_out().is_none() {
            self.note_left_out(
                attributes::all()
                    .into_iter()
                    .map(|(name, _)| name)
                    .collect(),
            );
        }
    }

    /// Returns the attributes that are left out; `None` until they are known.
    pub(super) fn left_out(&self) -> Option<LeftOut> {
        self.left_out
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered() -> HashMap<String, i32> {
        attributes::all()
            .into_iter()
            .map(|(name, kind)| (name.to_owned(), kind as i32))
            .collect()
    }

    #[test]
    fn what_is_registered_is_neither_added_nor_left_out() {
        assert_eq!(
            Lacking::among(&registered()),
            Lacking {
                missing: Vec::new(),
                mistyped: LeftOut::new()
            }
        );
        assert_eq!(Lacking::among(&HashMap::new()).missing, attributes::all());
    }

    #[test]
    fn an_attribute_of_another_type_is_left_out() {
        let mut known = registered();
        known.insert("SettleState".to_owned(), IndexedValueType::Int as i32);
        known.remove("SettleHeld");
        let lacking = Lacking::among(&known);
        assert_eq!(lacking.missing, [("SettleHeld", IndexedValueType::Bool)]);
        assert_eq!(lacking.mistyped, LeftOut::from(["SettleState"]));
    }

    #[test]
    fn only_what_will_never_be_allowed_is_a_refusal() {
        for code in [
            Code::PermissionDenied,
            Code::Unimplemented,
            Code::InvalidArgument,
        ] {
            assert!(is_refusal(&Status::new(code, "")), "{code:?}");
        }
        for code in [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Cancelled,
            Code::NotFound,
            Code::ResourceExhausted,
        ] {
            assert!(!is_refusal(&Status::new(code, "")), "{code:?}");
        }
    }

    #[test]
    fn a_probe_has_a_value_of_the_attributes_type() {
        assert_eq!(
            probe("SettleRevision", IndexedValueType::Int),
            "SettleRevision = 0"
        );
        assert_eq!(
            probe("SettleHeld", IndexedValueType::Bool),
            "SettleHeld = true"
        );
        assert_eq!(
            probe("SettleState", IndexedValueType::Keyword),
            "SettleState = 'settle'"
        );
    }
}
