//! Hands an email to an SMTP server: one connection for each email, to addresses that were checked, with TLS for the
//! host's name.
//!
//! An email goes to the recipients that the server accepts, and the server's response to the email is the result. The
//! email is not sent if no recipient is accepted, or if the envelope requires all recipients and one may be accepted
//! later; then the result is the response to the first recipient that may be accepted later. A response about a mailbox
//! has the lowest precedence, because it does not concern the server. The body of the result names the refused
//! recipients.

use super::failure::{has_cause, is_tls};
use super::smtp::{self, Refusal, Server, TooLong};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{self, Data, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use protocols::http::Failure;
use protocols::smtp::{CLOSING, Command, Envelope, Mail, OF_MAILBOX, Reply};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret as _;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

/// How long a server may take to respond to QUIT after it accepted the email.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);
/// Login mechanisms that send the password itself, which TLS protects.
const LOGINS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
/// Maximum length of a recorded response in characters; the rest is cut off.
const TEXT_CAP: usize = 4096;

/// Returns TLS settings that trust only these certificate authorities.
pub fn trusting(authorities: Vec<CertificateDer<'static>>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Sends an email once. The result is in `received` as soon as the server has accepted or refused the email.
///
/// # Errors
/// The reason why there is no response.
pub async fn send(
    server: Server<'_>,
    mail: &Mail,
    tls: &Arc<ClientConfig>,
    received: &mut Option<Reply>,
) -> Result<(), Failure> {
    let mut connection = match connect(server, &mail.envelope, tls).await {
        Ok(connection) => connection,
        Err(refusal) => {
            *received = Some(refusal.into_reply()?);
            return Ok(());
        }
    };
    *received = Some(
        transfer(&mut connection, mail)
            .await
            .or_else(Refusal::into_reply)?,
    );
    // The email has already been accepted or refused.
    let _ = tokio::time::timeout(QUIT_TIMEOUT, connection.quit()).await;
    Ok(())
}

/// Connects, protects the connection and logs in.
async fn connect(
    server: Server<'_>,
    envelope: &Envelope,
    tls: &Arc<ClientConfig>,
) -> Result<AsyncSmtpConnection, Refusal> {
    let name = ClientId::Domain(envelope.from.domain().to_owned());
    let stream = smtp::connect(&server, envelope.security, &name, tls).await?;
    let connecting = AsyncSmtpConnection::connect_with_transport(stream, &name);
    let mut connection = connecting
        .await
        .map_err(|error| refusal(Command::Connect, &error, Failure::Connect))?;
    if let Some(login) = &envelope.login {
        if connection
            .server_info()
            .get_auth_mechanism(&LOGINS)
            .is_none()
        {
            return Err(Failure::Login.into());
        }
        let credentials = Credentials::new(
            login.user.clone(),
            login.password.expose_secret().to_owned(),
        );
        let logged_in = connection.auth(&LOGINS, &credentials).await;
        logged_in.map_err(|error| refusal(Command::Auth, &error, Failure::Reset))?;
    }
    Ok(connection)
}

async fn transfer(connection: &mut AsyncSmtpConnection, mail: &Mail) -> Result<Reply, Refusal> {
    let Mail {
        envelope, message, ..
    } = mail;
    let from = commands::Mail::new(Some(envelope.from.clone()), Vec::new());
    connection
        .command(from)
        .await
        .map_err(|error| refusal(Command::Mail, &error, Failure::Reset))?;
    let mut refused = Vec::new();
    for address in &envelope.to {
        match connection
            .command(Rcpt::new(address.clone(), Vec::new()))
            .await
        {
            Ok(_) => {}
            Err(error) => match refusal(Command::Rcpt, &error, Failure::Reset) {
                Refusal::Answer { code, text, .. } if code != CLOSING => {
                    refused.push((address, code, text))
                }
                closed => return Err(closed),
            },
        }
    }
    // If there is a single recipient, the result is about that one anyway.
    let named = refused.iter().filter(|_| envelope.to.len() > 1);
    let names: String = named
        .map(|(address, code, text)| format!("\nnot to {address}: {code} {text}"))
        .collect();
    let postponed = refused
        .iter()
        .enumerate()
        .filter(|(_, (_, code, _))| *code < 500);
    let later = postponed
        .min_by_key(|(_, (_, _, text))| text.starts_with(OF_MAILBOX))
        .map(|(index, _)| index);
    if refused.len() == envelope.to.len() || (envelope.awaits_all && later.is_some()) {
        let accepted = Some(envelope.to.len().saturating_sub(refused.len()));
        let (_, code, text) = refused.swap_remove(later.unwrap_or(0));
        return Ok(Reply::Answer {
            command: Command::Rcpt,
            code,
            accepted,
            text: capped(&(text + &names)),
        });
    }
    connection
        .command(Data)
        .await
        .map_err(|error| refusal(Command::Data, &error, Failure::Reset))?;
    let taken = connection
        .message(message)
        .await
        .map_err(|error| refusal(Command::Data, &error, Failure::Reset))?;
    Ok(answer(
        Command::Data,
        code(&taken),
        &(text(&taken) + &names),
    ))
}

impl Refusal {
    fn into_reply(self) -> Result<Reply, Failure> {
        match self {
            Self::Answer {
                command,
                code,
                text,
            } => Ok(answer(command, code, &text)),
            Self::Failure(failure) => Err(failure),
        }
    }
}

/// Interprets an error: a response of the server, or why there was none; `otherwise` if the error shows neither.
fn refusal(command: Command, error: &Error, otherwise: Failure) -> Refusal {
    if let Some(code) = error.status() {
        let text = error.source().map(ToString::to_string).unwrap_or_default();
        return Refusal::Answer {
            command,
            code: code.into(),
            text,
        };
    }
    Refusal::Failure(if has_cause::<TooLong>(error) {
        Failure::Reply
    } else if is_tls(error) {
        Failure::Tls
    } else if error.is_timeout() {
        Failure::Timeout
    } else {
        otherwise
    })
}

fn answer(command: Command, code: u16, text: &str) -> Reply {
    Reply::Answer {
        command,
        code,
        accepted: None,
        text: capped(text),
    }
}

fn capped(text: &str) -> String {
    text.chars().take(TEXT_CAP).collect()
}

fn code(response: &Response) -> u16 {
    response.code().into()
}

fn text(response: &Response) -> String {
    response.message().collect::<Vec<_>>().join("\n")
}
