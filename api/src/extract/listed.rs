//! A body with one long list, such as a device's events. The list's items stay serialized, and the caller parses them
//! one by one, because all parsed values of a body take up to sixty times its size.

use super::check::too_many;
use super::fields::{Draft, Fields, drafted, schema};
use crate::error::Error;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt::{self, Formatter};

/// Maximum size of a body without its list as received, in bytes; also of a body that has no list.
pub const MAX_BESIDE_BYTES: usize = 64 * 1024;

/// A body whose list is not parsed yet.
#[derive(Debug)]
pub struct Listed<'t, T> {
    /// The body, with an empty list.
    pub draft: Draft<T>,
    /// Items of the list, as received.
    pub items: Vec<&'t RawValue>,
}

/// Parses an object except for the items of its list, of which there may be as many as the schema of the type allows.
///
/// # Errors
/// The body is not a JSON object, is too large without its list, or cannot be deserialized.
pub fn listed<'t, T: Fields>(text: &'t [u8], list: &str) -> Result<Listed<'t, T>, Error> {
    let most = schema::<T>()["properties"][list]["maxItems"]
        .as_u64()
        .and_then(|most| usize::try_from(most).ok());
    let mut source = serde_json::Deserializer::from_slice(text);
    let read = Object { list }
        .deserialize(&mut source)
        .and_then(|read| source.end().map(|()| read));
    let Read {
        mut fields,
        list: written,
    } = read.map_err(|error| no_object(&error))?;
    let mut items = Items::default();
    if let Some(value) = written {
        if value.get().starts_with('[') {
            let mut source = serde_json::Deserializer::from_str(value.get());
            let read = AtMost(most.unwrap_or(usize::MAX)).deserialize(&mut source);
            items = read.map_err(|error| no_object(&error))?;
        }
        fields.insert(list.to_owned(), empty(value));
    }
    let mut draft: Draft<T> = drafted(fields)?;
    if let Some(most) = most.filter(|most| items.number > *most) {
        draft.wrong.add(list, too_many(most, items.number));
    }
    Ok(Listed {
        draft,
        items: items.texts,
    })
}

fn no_object(error: &serde_json::Error) -> Error {
    Error::invalid("body", format!("a JSON object ({error})"))
}

/// Returns an empty value of the same JSON type.
fn empty(value: &RawValue) -> Value {
    match value.get().bytes().next() {
        Some(b'{') => Value::Object(Map::new()),
        Some(b'[') => Value::Array(Vec::new()),
        Some(b'"') => Value::String(String::new()),
        Some(b't' | b'f') => Value::Bool(false),
        Some(b'n') | None => Value::Null,
        Some(_) => Value::from(0),
    }
}

/// Fields of an object, with its list as text.
#[derive(Default)]
struct Read<'t> {
    fields: Map<String, Value>,
    list: Option<&'t RawValue>,
}

/// Parses an object that has a list with this name.
struct Object<'n> {
    list: &'n str,
}

impl<'t> DeserializeSeed<'t> for Object<'_> {
    type Value = Read<'t>;

    fn deserialize<D: Deserializer<'t>>(self, source: D) -> Result<Read<'t>, D::Error> {
        source.deserialize_map(self)
    }
}

impl<'t> Visitor<'t> for Object<'_> {
    type Value = Read<'t>;

    fn expecting(&self, text: &mut Formatter<'_>) -> fmt::Result {
        text.write_str("an object")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Read<'t>, A::Error> {
        let (mut read, mut beside) = (Read::default(), 0_usize);
        while let Some(name) = map.next_key::<String>()? {
            let value: &'t RawValue = map.next_value()?;
            if name == self.list {
                read.list = Some(value);
                continue;
            }
            beside = beside
                .saturating_add(name.len())
                .saturating_add(value.get().len());
            if beside > MAX_BESIDE_BYTES {
                let what = format!("more than {MAX_BESIDE_BYTES} bytes beside `{}`", self.list);
                return Err(A::Error::custom(what));
            }
            read.fields.insert(
                name,
                serde_json::from_str(value.get()).map_err(A::Error::custom)?,
            );
        }
        Ok(read)
    }
}

/// The first items of a list, and the total number of items.
#[derive(Default)]
struct Items<'t> {
    texts: Vec<&'t RawValue>,
    number: usize,
}

/// Reads at most this number of items, and skips the others.
struct AtMost(usize);

impl<'t> DeserializeSeed<'t> for AtMost {
    type Value = Items<'t>;

    fn deserialize<D: Deserializer<'t>>(self, source: D) -> Result<Items<'t>, D::Error> {
        source.deserialize_seq(self)
    }
}

impl<'t> Visitor<'t> for AtMost {
    type Value = Items<'t>;

    fn expecting(&self, text: &mut Formatter<'_>) -> fmt::Result {
        text.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut list: A) -> Result<Items<'t>, A::Error> {
        let mut items = Items::default();
        while items.number < self.0
            && let Some(text) = list.next_element()?
        {
            items.texts.push(text);
            items.number += 1;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            items.number += 1;
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Field;
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize, JsonSchema)]
    struct Order {
        /// A text.
        name: String,
        /// Ordered lines.
        #[expect(dead_code, reason = "its items are read one by one")]
        #[schemars(extend("maxItems" = 3, "x-each" = true))]
        lines: Vec<Value>,
    }

    fn read(text: &str) -> Result<(Option<String>, Vec<&str>), Vec<Field>> {
        let Listed { draft, items } = match listed::<Order>(text.as_bytes(), "lines") {
            Ok(listed) => listed,
            Err(Error::Invalid(fields)) => return Err(fields),
            Err(other) => panic!("{other}"),
        };
        let items = items.into_iter().map(RawValue::get).collect();
        match draft.finish() {
            Ok(order) => Ok((Some(order.name), items)),
            Err(Error::Invalid(fields)) => Err(fields),
            Err(other) => panic!("{other}"),
        }
    }

    fn expected(text: &str) -> (String, String) {
        let mut fields = read(text).expect_err("an error");
        assert_eq!(fields.len(), 1, "{fields:?}");
        let Field { field, expected } = fields.remove(0);
        (field, expected)
    }

    #[test]
    fn items_of_any_shape_are_not_read() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        let text = format!(r#" {{"lines": [{{"a": 1e999}}, {deep} , "x"], "name": "anna"}} "#);
        let (name, items) = read(&text).expect("a body");
        assert_eq!(
            (name.as_deref(), items),
            (
                Some("anna"),
                vec![r#"{"a": 1e999}"#, deep.as_str(), r#""x""#]
            )
        );
    }

    #[test]
    fn items_beyond_the_last_are_passed_over() {
        let many = json!({ "name": "anna", "lines": vec![0; 100_000] }).to_string();
        let Listed { items, .. } = listed::<Order>(many.as_bytes(), "lines").expect("a body");
        assert_eq!(items.len(), 3);
        assert_eq!(
            expected(&many),
            (
                "lines".to_owned(),
                "at most 3 items, but it has 100000".to_owned()
            )
        );
    }

    #[test]
    fn what_is_beside_the_list_is_small() {
        for beside in [
            json!("x".repeat(70_000)),
            json!(vec![0; 40_000]),
            json!(vec![json!({}); 30_000]),
        ] {
            let (field, expected) =
                expected(&json!({ "more": beside, "lines": [], "name": "anna" }).to_string());
            assert_eq!(field, "body");
            assert!(
                expected.starts_with("a JSON object (more than 65536 bytes beside `lines`"),
                "{expected}"
            );
        }
    }

    #[test]
    fn another_list_or_body_is_named_as_what_it_is() {
        for (lines, shown) in [
            ("{}", "an object"),
            ("\"x\"", "text"),
            ("5", "a number"),
            ("true", "a boolean"),
        ] {
            let (field, expected) = expected(&format!(r#"{{"name": "anna", "lines": {lines}}}"#));
            assert_eq!(
                (
                    field.as_str(),
                    expected.ends_with(&format!("but it is {shown}"))
                ),
                ("lines", true),
                "{expected}"
            );
        }
        for text in [r#"{"name": "anna"}"#, r#"{"name": "anna", "lines": null}"#] {
            assert!(expected(text).1.ends_with("it is required"));
        }
        for text in [
            "[]",
            "{",
            r#"{"name": "anna", "lines": [}"#,
            r#"{"name": "anna", "lines": []} more"#,
        ] {
            assert_eq!(expected(text).0, "body", "{text}");
        }
    }
}
