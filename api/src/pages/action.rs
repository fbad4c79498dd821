//! An action on one resource: a form with a reason, collapsed until needed. Pure.

use super::change::Mistakes;
use super::form::Sent;
use super::parts::Sentence;
use api::error::Field;

pub struct Action {
    pub path: String,
    /// Name of the action, unique within the page.
    pub name: String,
    /// Title, with instants and codes marked up.
    pub title: Sentence,
    /// Text that distinguishes the action from others of the same title, for visitors who cannot see its context.
    pub about: String,
    /// Effect of the action, with instants and codes marked up.
    pub what: Sentence,
    /// A page that it needs first: what it is called, and its address.
    pub link: Option<(&'static str, String)>,
    /// Whether its form is shown at once, since something in it is wrong.
    pub is_open: bool,
    /// Whether it cannot be taken back.
    pub is_final: bool,
    /// Inputs of the form; the reason is last.
    pub inputs: Vec<Input>,
    pub button: Sentence,
    wrong: Vec<Field>,
    sent: Sent,
}

/// The choice of all destinations, in the form of one.
pub const EVERY: &str = "all";

/// An input of an action.
#[derive(Debug, Clone)]
pub struct Input {
    pub name: &'static str,
    pub label: &'static str,
    /// How a line of text is entered in HTML.
    pub form: &'static str,
    /// Value of the input. A password must be entered again.
    pub value: String,
    /// Choices: values and names.
    pub choices: Vec<(String, String)>,
    pub is_required: bool,
    /// Expected value, if the entered one is wrong.
    pub wrong: Option<String>,
}

impl Action {
    /// Returns an action with a reason alone: its path, then its name, its title and what it does.
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

    /// Adds an input before the reason, with what was entered.
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
            // What was entered stays chosen, whatever it is: the first choice may mean something else.
            if input.has_choices() && !input.choices.iter().any(|(value, _)| value == entered) {
                input.choices.push((entered.to_owned(), entered.to_owned()));
            }
        }
        self.inputs
            .insert(self.inputs.len().saturating_sub(1), input);
        self
    }

    /// This, distinguished from others of the same title.
    #[must_use]
    pub fn about(self, about: &str) -> Self {
        Self {
            about: about.to_owned(),
            ..self
        }
    }

    /// This, with another text on its button.
    #[must_use]
    pub fn button(self, button: String) -> Self {
        Self {
            button: Sentence::new(&button),
            ..self
        }
    }

    /// This, as one that cannot be taken back.
    #[must_use]
    pub fn irrevocable(self) -> Self {
        Self {
            is_final: true,
            ..self
        }
    }

    /// This, with a page that it needs first.
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

    /// One of several values with their names.
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

    /// One destination, or all: ids with names. None is chosen at first, so that nothing is sent anywhere by mistake.
    pub fn destinations(all: impl Iterator<Item = (String, String)>) -> Self {
        let first = [(String::new(), "Choose a destination".to_owned())];
        let every = [(EVERY.to_owned(), "All subscribed destinations".to_owned())];
        let choices = first.into_iter().chain(all).chain(every).collect();
        Self {
            choices,
            ..Self::text("destination_id", "To").required()
        }
    }

    /// This, entered in another form of HTML.
    #[must_use]
    pub fn of(self, form: &'static str) -> Self {
        Self { form, ..self }
    }

    /// This, with what is in it at first.
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

    /// Returns whether it is one of several values.
    pub fn has_choices(&self) -> bool {
        !self.choices.is_empty()
    }
}

/// An error in a form, with the label of its input.
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
