//! An action on one resource: a form with a reason, collapsed until needed. This module is pure.

use super::change::Mistakes;
use super::form::Sent;
use super::parts::Sentence;
use api::error::Field;

pub struct Action {
    pub path: String,
    /// Name of the action, unique within the page.
    pub name: String,
    /// Title, with times and codes marked up.
    pub title: Sentence,
    /// Text that distinguishes the action from others with the same title, for visitors who cannot see its context.
    pub about: String,
    /// Effect of the action, with times and codes marked up.
    pub what: Sentence,
    /// A page to visit before the action: its label and its address.
    pub link: Option<(&'static str, String)>,
    /// Whether the form is shown expanded, because it contains an error.
    pub is_open: bool,
    /// Whether the action cannot be undone.
    pub is_final: bool,
    /// Inputs of the form; the reason is last.
    pub inputs: Vec<Input>,
    pub button: Sentence,
    wrong: Vec<Field>,
    sent: Sent,
}

/// The choice of all destinations, in a form that selects one.
pub const EVERY: &str = "all";

/// An input of an action.
#[derive(Debug, Clone)]
pub struct Input {
    pub name: &'static str,
    pub label: &'static str,
    /// The HTML type of a text input, or another form in which the value is entered.
    pub form: &'static str,
    /// Value of the input. A password must always be entered again.
    pub value: String,
    /// Choices: values and labels.
    pub choices: Vec<(String, String)>,
    pub is_required: bool,
    /// Expected value, if the entered one is wrong.
    pub wrong: Option<String>,
}

impl Action {
    /// Returns an action whose only input is the reason. The arguments are its path, name, title and effect.
    pub fn new(
        path: String,
        name: impl Into<String>,
        title: &str,
        what: &str,
        mistakes: &Mistakes,
    ) -> Self {
        let is_open = path == mistakes.path;
        let (wrong, sent) = match is_open {
            true => (mistakes.refused.fields.clone(), mistakes.sent.clone()),
            false => (Vec::new(), Sent::default()),
        };
        let action = Self {
            path,
            name: name.into(),
            title: Sentence::new(title),
            about: String::new(),
            what: Sentence::new(what),
            link: None,
            is_open,
            is_final: false,
            inputs: Vec::new(),
            button: Sentence::new(title),
            wrong,
            sent,
        };
        action.with(Input::text("reason", "Reason").required())
    }

    /// Adds an input before the reason, filled with the value that was entered.
    #[must_use]
    pub fn with(mut self, mut input: Input) -> Self {
        input.wrong = self
            .wrong
            .iter()
            .find(|one| one.field == input.name)
            .map(|one| one.expected.clone());
        if let Some(entered) = self
            .sent
            .get(input.name)
            .filter(|_| input.form != "password")
        {
            input.value = entered.to_owned();
            // A value that was entered stays selected even if it is not a choice: the first choice may mean something
            // else.
            if input.has_choices() && !input.choices.iter().any(|(value, _)| value == entered) {
                input.choices.push((entered.to_owned(), entered.to_owned()));
            }
        }
        self.inputs
            .insert(self.inputs.len().saturating_sub(1), input);
        self
    }

    /// Sets the text that distinguishes the action from others with the same title.
    #[must_use]
    pub fn about(self, about: &str) -> Self {
        Self {
            about: about.to_owned(),
            ..self
        }
    }

    /// Sets the text of the button.
    #[must_use]
    pub fn button(self, button: String) -> Self {
        Self {
            button: Sentence::new(&button),
            ..self
        }
    }

    /// Marks the action as one that cannot be undone.
    #[must_use]
    pub fn irrevocable(self) -> Self {
        Self {
            is_final: true,
            ..self
        }
    }

    /// Sets the page to visit before the action.
    #[must_use]
    pub fn after(self, link: (&'static str, String)) -> Self {
        Self {
            link: Some(link),
            ..self
        }
    }
}

impl Input {
    pub fn text(name: &'static str, label: &'static str) -> Self {
        Self {
            name,
            label,
            form: "text",
            value: String::new(),
            choices: Vec::new(),
            is_required: false,
            wrong: None,
        }
    }

    /// Returns an input that selects one of several values, which have labels.
    pub fn choice(name: &'static str, label: &'static str, choices: &[(&str, &str)]) -> Self {
        let choices = choices
            .iter()
            .map(|(value, label)| ((*value).to_owned(), (*label).to_owned()))
            .collect();
        Self {
            choices,
            ..Self::text(name, label)
        }
    }

    /// Returns an input that selects one destination, or all. Nothing is preselected, so that nothing is sent by
    /// mistake.
    pub fn destinations(all: impl Iterator<Item = (String, String)>) -> Self {
        let first = [(String::new(), "Choose a destination".to_owned())];
        let every = [(EVERY.to_owned(), "All subscribed destinations".to_owned())];
        let choices = first.into_iter().chain(all).chain(every).collect();
        Self {
            choices,
            ..Self::text("destination_id", "To").required()
        }
    }

    /// Sets the HTML form in which the value is entered.
    #[must_use]
    pub fn of(self, form: &'static str) -> Self {
        Self { form, ..self }
    }

    /// Sets the initial value.
    #[must_use]
    pub fn value(self, value: &str) -> Self {
        Self {
            value: value.to_owned(),
            ..self
        }
    }

    #[must_use]
    pub fn required(self) -> Self {
        Self {
            is_required: true,
            ..self
        }
    }

    /// Returns whether the input selects one of several values.
    pub fn has_choices(&self) -> bool {
        !self.choices.is_empty()
    }
}

/// An error in a form, with its input's label.
pub struct Mistake {
    pub label: String,
    pub field: Field,
}

/// Returns the errors in the form of one of these actions.
pub fn labelled<'a>(
    actions: impl IntoIterator<Item = &'a Action>,
    wrong: Vec<Field>,
) -> Vec<Mistake> {
    let open = actions.into_iter().filter(|one| one.is_open);
    let inputs: Vec<&Input> = open.flat_map(|one| &one.inputs).collect();
    let label = |field: Field| {
        let input = inputs.iter().find(|input| input.name == field.field);
        Mistake {
            label: input.map_or_else(|| field.field.clone(), |input| input.label.to_owned()),
            field,
        }
    };
    wrong.into_iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::{Action, Input, Mistakes};
    use crate::change::Refused;
    use crate::form::Sent;
    use api::error::Field;

    #[test]
    fn a_wrong_form_is_open_with_its_values_and_without_secrets() {
        let sent = Sent::parse(b"reason=ticket&hours=x&secret=whsec_a");
        let fields = vec![Field {
            field: "hours".to_owned(),
            expected: "a number".to_owned(),
        }];
        let refused = Refused {
            fields,
            ..Refused::default()
        };
        let mistakes = Mistakes {
            path: "/x/hold".to_owned(),
            sent,
            refused,
        };
        let action = |name: &str| {
            Action::new(format!("/x/{name}"), name, "Hold", "It waits.", &mistakes)
                .with(Input::text("hours", "Hours"))
                .with(Input::text("secret", "Secret").of("password"))
        };
        let shown = |action: &Action| {
            let of = |input: &Input| (input.name, input.value.clone(), input.wrong.clone());
            action.inputs.iter().map(of).collect::<Vec<_>>()
        };
        let (wrong, other) = (action("hold"), action("flush"));
        assert!(wrong.is_open && !other.is_open);
        let expected = [
            ("hours", "x".to_owned(), Some("a number".to_owned())),
            ("secret", String::new(), None),
            ("reason", "ticket".to_owned(), None),
        ];
        assert_eq!(shown(&wrong), expected);
        assert!(
            shown(&other)
                .iter()
                .all(|(_, value, wrong)| value.is_empty() && wrong.is_none())
        );
    }
}
