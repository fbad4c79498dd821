//! How one flag differs from what is drawn from the API.

use serde_json::Value;

/// Reads a value as it is sent; an error says what was expected.
pub type Parse = fn(&str) -> Result<Value, String>;

/// Changes nothing, as all changes of the catalogue can be tried.
pub const DRY_RUN: Flag =
    Flag::of("dry_run").help("Change nothing, only count the known purchases that it would affect");

/// The flag of a field of the API. Without an entry it is named like the field, without `_id`, `_at` or `_seconds`.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    pub(super) field: &'static str,
    pub(super) name: Option<&'static str>,
    pub(super) value: Option<&'static str>,
    pub(super) help: Option<&'static str>,
    pub(super) default: Option<&'static str>,
    pub(super) is_positional: bool,
    pub(super) is_required: bool,
    pub(super) is_hidden: bool,
    pub(super) parse: Option<Parse>,
}

impl Flag {
    /// The flag of this field.
    pub const fn of(field: &'static str) -> Self {
        Self {
            field,
            name: None,
            value: None,
            help: None,
            default: None,
            is_positional: false,
            is_required: false,
            is_hidden: false,
            parse: None,
        }
    }

    /// Has another name.
    pub const fn named(self, name: &'static str) -> Self {
        Self { name: Some(name), ..self }
    }

    /// What stands for its value in the help.
    pub const fn value(self, value: &'static str) -> Self {
        Self { value: Some(value), ..self }
    }

    /// Has another description.
    pub const fn help(self, help: &'static str) -> Self {
        Self { help: Some(help), ..self }
    }

    /// Is sent when it is not typed.
    pub const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// Is typed without its name.
    pub const fn positional(self) -> Self {
        Self { is_positional: true, ..self }
    }

    /// Has to be typed, though the API does not require it.
    pub const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// Cannot be typed.
    pub const fn hidden(self) -> Self {
        Self { is_hidden: true, ..self }
    }

    /// Is sent as what this function makes of the text.
    pub const fn parsed(self, parse: Parse) -> Self {
        Self { parse: Some(parse), ..self }
    }
}
