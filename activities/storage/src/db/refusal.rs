//! Permanent refusals of a database: values, constraints, permissions, statements. They are recognized by PostgreSQL's
//! SQLSTATE (<https://www.postgresql.org/docs/current/errcodes-appendix.html>), and by SQLite's messages
//! (<https://sqlite.org/rescode.html>).
//!
//! Whether a session can continue after an error is decided with the connection, not here.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error};

/// A permanent refusal by the database. The text tells the operator how to resolve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A value: its encoding, its length or its range.
    #[error(
        "the database refuses a value, which is no valid text, too long or out of range; trying again does not help: \
         report this line as a defect of settle"
    )]
    Value,
    /// A change that a constraint or a trigger forbids.
    #[error(
        "a constraint or a trigger of the database forbids the change; trying again does not help: remove it if it is \
         not one of settle's, otherwise report this line as a defect of settle"
    )]
    Rule,
    /// An action that the database's user, or the file's mode, does not permit.
    #[error(
        "the database's user lacks a right; trying again does not help: grant it every right on settle's tables, or on \
         SQLite the right to write the file and its folder"
    )]
    Rights,
    /// A statement that this server, or these tables, do not know.
    #[error(
        "the database does not know a statement; trying again does not help: check that its version is supported and \
         that `settle migrate` of this version was run"
    )]
    Statement,
    /// A table or an index that cannot be read any more.
    #[error("the database is damaged; trying again does not help: restore it from a backup")]
    Damage,
}

/// SQLSTATEs by their beginning; the first match decides. `None`: the error may pass, or ends with the session.
const CODES: [(&str, Option<Refusal>); 17] = [
    ("42501", Some(Refusal::Rights)),
    // A prepared statement of another session, behind a pooler.
    ("42P05", None),
    ("42", Some(Refusal::Statement)),
    ("21", Some(Refusal::Statement)),
    ("3F", Some(Refusal::Statement)),
    ("22", Some(Refusal::Value)),
    // An index entry that is too long.
    ("54", Some(Refusal::Value)),
    // A race, and a row that does not exist (yet): each is an error of its own.
    ("23505", None),
    ("23503", None),
    ("23", Some(Refusal::Rule)),
    ("27", Some(Refusal::Rule)),
    ("44", Some(Refusal::Rule)),
    // `RAISE` of a trigger.
    ("P0", Some(Refusal::Rule)),
    ("38", Some(Refusal::Rule)),
    // A file of the server is missing.
    ("58P01", Some(Refusal::Damage)),
    ("XX001", Some(Refusal::Damage)),
    ("XX002", Some(Refusal::Damage)),
];

/// Parts of SQLite's messages that identify a refusal.
const SQLITE: [(&str, Refusal); 13] = [
    ("attempt to write a readonly database", Refusal::Rights),
    ("access permission denied", Refusal::Rights),
    ("not authorized", Refusal::Rights),
    ("authorization denied", Refusal::Rights),
    ("string or blob too big", Refusal::Value),
    ("datatype mismatch", Refusal::Value),
    ("integer overflow", Refusal::Value),
    ("malformed JSON", Refusal::Value),
    ("constraint failed", Refusal::Rule),
    (": syntax error", Refusal::Statement),
    ("no such function", Refusal::Statement),
    ("database disk image is malformed", Refusal::Damage),
    ("file is not a database", Refusal::Damage),
];

const ALL: [Refusal; 5] = [
    Refusal::Value,
    Refusal::Rule,
    Refusal::Rights,
    Refusal::Statement,
    Refusal::Damage,
];

impl Refusal {
    /// Returns the permanent refusal behind a failed statement; `None` if a retry can help, or another error explains
    /// the failure.
    pub fn of(cause: &Error) -> Option<Self> {
        use DatabaseErrorKind::{
            CheckViolation, ExclusionViolation, NotNullViolation, RestrictViolation, Unknown,
        };
        match cause {
            Error::DatabaseError(
                CheckViolation | NotNullViolation | ExclusionViolation | RestrictViolation,
                _,
            ) => Some(Self::Rule),
            Error::DatabaseError(Unknown, refused) => Self::of_unknown(refused.as_ref()),
            Error::SerializationError(_) | Error::InvalidCString(_) => Some(Self::Value),
            _ => None,
        }
    }

    fn of_unknown(refused: &dyn DatabaseErrorInformation) -> Option<Self> {
        if let Some(hint) = refused.hint() {
            return ALL.into_iter().find(|one| one.mark() == hint);
        }
        SQLITE
            .iter()
            .find(|(text, _)| refused.message().contains(text))
            .map(|(_, refusal)| *refusal)
    }

    /// Returns the refusal that an SQLSTATE means.
    pub fn of_code(code: &str) -> Option<Self> {
        CODES
            .iter()
            .find(|(beginning, _)| code.starts_with(beginning))
            .and_then(|(_, refusal)| *refusal)
    }

    /// Returns the hint that marks such an error of PostgreSQL, because diesel's errors have no field for its code.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Value => "refused: value",
            Self::Rule => "refused: rule",
            Self::Rights => "refused: rights",
            Self::Statement => "refused: statement",
            Self::Damage => "refused: damage",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_the_server_is_permanent_or_passing() {
        let permanent = [
            ("22021", Refusal::Value),
            ("22P05", Refusal::Value),
            ("22003", Refusal::Value),
            ("22001", Refusal::Value),
            ("54000", Refusal::Value),
            ("23514", Refusal::Rule),
            ("23502", Refusal::Rule),
            ("P0001", Refusal::Rule),
            ("42501", Refusal::Rights),
            ("42601", Refusal::Statement),
            ("42883", Refusal::Statement),
            ("58P01", Refusal::Damage),
            ("XX001", Refusal::Damage),
        ];
        for (code, refusal) in permanent {
            assert_eq!(Refusal::of_code(code), Some(refusal), "{code}");
        }
        // Unreachable, overloaded, shutting down, locked, deadlocked, read-only, of a session, a race.
        for code in [
            "08006", "53300", "53100", "57P01", "57014", "55P03", "40001", "40P01", "25006",
            "26000", "42P05",
        ] {
            assert_eq!(Refusal::of_code(code), None, "{code}");
        }
        assert_eq!(
            (Refusal::of_code("23505"), Refusal::of_code("23503")),
            (None, None)
        );
    }

    #[test]
    fn a_message_of_sqlite_is_permanent_or_passing() {
        let of = |message: &str| {
            Refusal::of(&Error::DatabaseError(
                DatabaseErrorKind::Unknown,
                Box::new(message.to_owned()),
            ))
        };
        assert_eq!(
            of("attempt to write a readonly database"),
            Some(Refusal::Rights)
        );
        assert_eq!(of("string or blob too big"), Some(Refusal::Value));
        assert_eq!(of("near \"SELEC\": syntax error"), Some(Refusal::Statement));
        for passing in [
            "database is locked",
            "disk I/O error",
            "database or disk is full",
            "interrupted",
        ] {
            assert_eq!(of(passing), None, "{passing}");
        }
    }

    #[test]
    fn each_sentence_names_the_next_step() {
        for refusal in ALL {
            let sentence = refusal.to_string();
            assert!(
                sentence.contains("trying again does not help: "),
                "{sentence}"
            );
        }
    }
}
