//! A message to a destination and its reply, independent of the protocol. Any protocol other than HTTP and SMTP is a
//! transport of `activities::http`, which sends a [`wire::Message`].

use crate::http::{self, Failure};
use crate::smtp;
use crate::wire;
use domain::AppId;
use std::borrow::Cow;
use storage::AttemptClass;
use url::Url;

/// A request or email to a destination.
#[derive(Debug, Clone)]
pub enum Outgoing {
    Http(http::Request),
    Smtp(Box<smtp::Mail>),
    Wire(wire::Message),
}

/// The reply, over the same protocol as the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    Http(http::Reply),
    Smtp(smtp::Reply),
    Wire(wire::Reply),
}

/// The part of a response that is recorded with an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRecord {
    /// The status of HTTP or of a transport, or the code of SMTP.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Outgoing {
    /// Assigns the message to an app.
    #[must_use]
    pub fn of(self, app: AppId) -> Self {
        match self {
            Self::Http(request) => Self::Http(request.of(app)),
            // The mail server is the operator's, whatever the app.
            mail @ Self::Smtp(_) => mail,
            Self::Wire(message) => Self::Wire(message.of(app)),
        }
    }

    /// Returns the name of the message's method: that of HTTP, `MAIL`, or `MESSAGE`.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Http(request) => request.method.name(),
            Self::Smtp(_) => "MAIL",
            Self::Wire(_) => "MESSAGE",
        }
    }

    /// Returns the URL of the request. Its path can contain a secret.
    pub const fn url(&self) -> &Url {
        match self {
            Self::Http(request) => &request.url,
            Self::Smtp(mail) => &mail.server,
            Self::Wire(message) => &message.address,
        }
    }
}

impl From<http::Request> for Outgoing {
    fn from(request: http::Request) -> Self {
        Self::Http(request)
    }
}

impl From<smtp::Mail> for Outgoing {
    fn from(mail: smtp::Mail) -> Self {
        Self::Smtp(Box::new(mail))
    }
}

impl From<wire::Message> for Outgoing {
    fn from(message: wire::Message) -> Self {
        Self::Wire(message)
    }
}

impl Incoming {
    /// Returns the HTTP reply, for a kind that sends over HTTP. A reply over another protocol becomes
    /// [`Failure::Protocol`].
    pub fn http(&self) -> Cow<'_, http::Reply> {
        match self {
            Self::Http(reply) => Cow::Borrowed(reply),
            Self::Smtp(_) | Self::Wire(_) => Cow::Owned(Failure::Protocol.into()),
        }
    }

    /// Returns the SMTP reply, for a kind that sends emails. A reply over another protocol becomes
    /// [`Failure::Protocol`].
    pub fn smtp(&self) -> Cow<'_, smtp::Reply> {
        match self {
            Self::Smtp(reply) => Cow::Borrowed(reply),
            Self::Http(_) | Self::Wire(_) => Cow::Owned(Failure::Protocol.into()),
        }
    }

    /// Returns the transport's reply, for a kind that has one. A reply over another protocol becomes
    /// [`Failure::Protocol`].
    pub fn wire(&self) -> Cow<'_, wire::Reply> {
        match self {
            Self::Wire(reply) => Cow::Borrowed(reply),
            Self::Http(_) | Self::Smtp(_) => Cow::Owned(Failure::Protocol.into()),
        }
    }

    /// Returns the status or code of a response.
    ///
    /// # Errors
    /// Returns the class of the failure if there was no response.
    pub const fn status(&self) -> Result<u16, AttemptClass> {
        match self {
            Self::Http(http::Reply::Answer { status, .. })
            | Self::Smtp(smtp::Reply::Answer { code: status, .. })
            | Self::Wire(wire::Reply::Answer { status, .. }) => Ok(*status),
            Self::Http(http::Reply::Failure { class, .. })
            | Self::Smtp(smtp::Reply::Failure { class, .. })
            | Self::Wire(wire::Reply::Failure { class, .. }) => Err(*class),
        }
    }

    /// Returns the part of the response that is recorded with the attempt, with secrets redacted; `None` if there was
    /// no response.
    pub fn record(self, redact: impl Fn(&str) -> String) -> Option<AnswerRecord> {
        match self {
            Self::Http(http::Reply::Answer {
                status,
                headers,
                body,
                ..
            }) => Some(AnswerRecord {
                status,
                headers: headers
                    .into_iter()
                    .map(|(name, value)| (name, redact(&value)))
                    .collect(),
                body: redact(&body),
            }),
            Self::Smtp(reply) => {
                let headers = reply.headers();
                let smtp::Reply::Answer { code, text, .. } = reply else {
                    return None;
                };
                Some(AnswerRecord {
                    status: code,
                    headers,
                    body: redact(&text),
                })
            }
            Self::Wire(wire::Reply::Answer { status, text }) => Some(AnswerRecord {
                status,
                headers: Vec::new(),
                body: redact(&text),
            }),
            Self::Http(http::Reply::Failure { .. }) | Self::Wire(wire::Reply::Failure { .. }) => {
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redact(text: &str) -> String {
        text.replace("hunter2", "[redacted]")
    }

    #[test]
    fn a_mail_is_recorded_with_its_command_and_accepted_recipients() {
        let answer = |command, accepted| {
            Incoming::Smtp(smtp::Reply::Answer {
                command,
                code: 451,
                accepted,
                text: "hunter2 later".to_owned(),
            })
        };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (command, accepted, headers) in [
            (
                smtp::Command::Rcpt,
                Some(1),
                vec![header("smtp-command", "RCPT"), header("smtp-accepted", "1")],
            ),
            (
                smtp::Command::Connect,
                None,
                vec![header("smtp-command", "CONNECT")],
            ),
        ] {
            let record = answer(command, accepted).record(redact).unwrap();
            let body = "[redacted] later".to_owned();
            assert_eq!(
                record,
                AnswerRecord {
                    status: 451,
                    headers,
                    body
                }
            );
        }
    }

    #[test]
    fn no_secret_is_in_the_record_of_an_answer_over_http() {
        let reply = Incoming::Http(http::Reply::Answer {
            status: 200,
            retry_after: None,
            headers: vec![("server".to_owned(), "hunter2".to_owned())],
            body: "hunter2".to_owned(),
        });
        let record = reply.record(redact).unwrap();
        let hidden = "[redacted]".to_owned();
        assert_eq!((&record.headers[0].1, &record.body), (&hidden, &hidden));
    }

    #[test]
    fn no_secret_is_in_the_record_or_debug_output_of_a_message() {
        let reply = Incoming::Wire(wire::Reply::Answer {
            status: 503,
            text: "not with hunter2".to_owned(),
        });
        assert_eq!(reply.status(), Ok(503));
        let record = reply.record(redact).unwrap();
        assert_eq!(record.body, "not with [redacted]");
        let message = Outgoing::from(wire::Message {
            address: "queue://example.com:9000/hunter2".parse().unwrap(),
            payload: b"hunter2".to_vec(),
            app: None,
        });
        let shown = format!("{message:?}");
        assert!(shown.contains("example.com"), "{shown}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("104"),
            "{shown}"
        );
    }

    #[test]
    fn a_failure_has_no_record() {
        for failed in [
            Incoming::Http(Failure::Dns.into()),
            Incoming::Smtp(Failure::Dns.into()),
            Incoming::Wire(Failure::Dns.into()),
        ] {
            assert_eq!(failed.status(), Err(AttemptClass::Dns));
            assert_eq!(failed.record(redact), None);
        }
    }

    #[test]
    fn a_reply_over_another_protocol_cannot_be_read() {
        let unreadable = |class: AttemptClass| assert_eq!(class, AttemptClass::Unreadable);
        let (http, smtp) = (
            Incoming::Smtp(Failure::Dns.into()),
            Incoming::Http(Failure::Dns.into()),
        );
        match http.http().as_ref() {
            http::Reply::Failure { class, .. } => unreadable(*class),
            answer @ http::Reply::Answer { .. } => panic!("{answer:?}"),
        }
        match smtp.smtp().as_ref() {
            smtp::Reply::Failure { class, .. } => unreadable(*class),
            answer @ smtp::Reply::Answer { .. } => panic!("{answer:?}"),
        }
        match http.wire().as_ref() {
            wire::Reply::Failure { class, .. } => unreadable(*class),
            answer @ wire::Reply::Answer { .. } => panic!("{answer:?}"),
        }
    }
}
