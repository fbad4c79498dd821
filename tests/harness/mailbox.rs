//! An SMTP server that records the mails it receives, and gives answers that a test scripts.

use super::faulty::certificate::Identity;
use super::shared::locked;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How connections are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Plain text.
    None,
    /// TLS after STARTTLS.
    StartTls,
    /// TLS from the first byte.
    Tls,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Accepted recipients.
    pub to: Vec<String>,
    /// The message with its headers, as received.
    pub text: String,
    /// Whether the server accepted the mail.
    pub is_taken: bool,
}

impl Mail {
    /// Returns the value of a header in one line; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        let start = format!("{name}: ");
        self.text
            .lines()
            .find_map(|line| line.strip_prefix(&start))
            .unwrap_or_default()
    }
}

#[derive(Default)]
struct Seen {
    /// Command prefixes with their scripted answers; each is used once.
    next: VecDeque<(String, String)>,
    mails: Vec<Mail>,
    /// All received commands; those sent over TLS begin with `*`.
    commands: Vec<String>,
    is_over: bool,
}

/// A running SMTP server. It listens until it is dropped.
pub struct Mailbox {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    /// Certificate of the authority that issued the server's certificate, in DER.
    pub authority: Vec<u8>,
}

impl Mailbox {
    /// Starts a server on a free port of 127.0.0.1, with the host name `localhost`.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start(protection: Protection) -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), protection)
    }

    /// Starts a server on this address.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn at(address: SocketAddr, protection: Protection) -> Self {
        let identity = Identity::new("localhost");
        let tls = Arc::new(identity.server());
        let listener = TcpListener::bind(address).expect("an address to listen on");
        let address = listener.local_addr().expect("the listener's address");
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if locked(&shared).is_over {
                    return;
                }
                let (shared, tls) = (shared.clone(), tls.clone());
                std::thread::spawn(move || serve(stream, tls, protection, &shared));
            }
        });
        Self {
            address,
            seen,
            authority: identity.authority.to_vec(),
        }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the next command that begins with this text, such as `RCPT TO:<b@`, with this line. `CONNECT` is the
    /// greeting, and `.` the end of a message.
    pub fn answer_next(&self, command: &str, line: &str) {
        locked(&self.seen)
            .next
            .push_back((command.to_owned(), line.to_owned()));
    }

    /// Returns the mails that the server accepted.
    pub fn mails(&self) -> Vec<Mail> {
        self.attempts()
            .into_iter()
            .filter(|mail| mail.is_taken)
            .collect()
    }

    /// Returns all received mails, accepted or not.
    pub fn attempts(&self) -> Vec<Mail> {
        locked(&self.seen).mails.clone()
    }

    pub fn commands(&self) -> Vec<String> {
        locked(&self.seen).commands.clone()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        locked(&self.seen).is_over = true;
        drop(TcpStream::connect(self.address));
    }
}

trait Duplex: Read + Write {}

impl<T: Read + Write> Duplex for T {}

fn serve(stream: TcpStream, tls: Arc<ServerConfig>, protection: Protection, seen: &Mutex<Seen>) {
    let protect = |stream| {
        StreamOwned::new(
            ServerConnection::new(tls.clone()).expect("a session of TLS"),
            stream,
        )
    };
    if protection == Protection::Tls {
        Session {
            stream: protect(stream),
            is_protected: true,
            offers_tls: false,
            seen,
        }
        .talk("CONNECT");
        return;
    }
    let offers_tls = protection == Protection::StartTls;
    let mut plain = Session {
        stream,
        is_protected: false,
        offers_tls,
        seen,
    };
    if plain.talk("CONNECT") {
        Session {
            stream: protect(plain.stream),
            is_protected: true,
            offers_tls: false,
            seen,
        }
        .talk("");
    }
}

struct Session<'a, S> {
    stream: S,
    is_protected: bool,
    offers_tls: bool,
    seen: &'a Mutex<Seen>,
}

impl<S: Duplex> Session<'_, S> {
    /// Serves until the client disconnects; returns whether the client wants to switch to TLS instead. A session begins
    /// with the answer to `first`.
    fn talk(&mut self, first: &str) -> bool {
        let mut to = Vec::new();
        if !first.is_empty() && !self.answer(first, "220 localhost") {
            return false;
        }
        while let Some(command) = self.line() {
            let mark = if self.is_protected { "*" } else { "" };
            locked(self.seen).commands.push(format!("{mark}{command}"));
            let verb = command
                .split([' ', ':'])
                .next()
                .unwrap_or_default()
                .to_uppercase();
            let is_open = match verb.as_str() {
                "EHLO" => self.answer(&command, self.greeting()),
                "STARTTLS" => return self.answer(&command, "220 go ahead"),
                "AUTH" => self.answer(&command, "235 welcome"),
                "MAIL" => {
                    to.clear();
                    self.answer(&command, "250 ok")
                }
                "RCPT" => {
                    let is_accepted = self.answer(&command, "250 ok");
                    let address = command
                        .split(['<', '>'])
                        .nth(1)
                        .unwrap_or_default()
                        .to_owned();
                    to.extend(is_accepted.then_some(address));
                    true
                }
                "DATA" => !self.answer(&command, "354 go ahead") || self.message(&to),
                "QUIT" => {
                    self.answer(&command, "221 bye");
                    return false;
                }
                _ => self.answer(&command, "250 ok"),
            };
            if !is_open {
                return false;
            }
        }
        false
    }

    const fn greeting(&self) -> &'static str {
        if self.offers_tls {
            "250-localhost\r\n250 STARTTLS"
        } else {
            "250-localhost\r\n250 AUTH PLAIN LOGIN"
        }
    }

    /// Reads a message to its end, and records it.
    fn message(&mut self, to: &[String]) -> bool {
        let mut text = String::new();
        loop {
            let Some(line) = self.line() else {
                return false;
            };
            if line == "." {
                break;
            }
            text.push_str(line.strip_prefix('.').unwrap_or(&line));
            text.push('\n');
        }
        let is_taken = self.answer(".", "250 queued");
        locked(self.seen).mails.push(Mail {
            to: to.to_vec(),
            text,
            is_taken,
        });
        true
    }

    /// Gives the scripted answer, else `usual`; returns whether the answer is positive.
    fn answer(&mut self, command: &str, usual: &str) -> bool {
        let scripted = {
            let next = &mut locked(self.seen).next;
            let at = next
                .iter()
                .position(|(beginning, _)| command.starts_with(beginning.as_str()));
            at.and_then(|at| next.remove(at)).map(|(_, line)| line)
        };
        let line = scripted.unwrap_or_else(|| usual.to_owned());
        let is_sent = self
            .stream
            .write_all(format!("{line}\r\n").as_bytes())
            .and_then(|()| self.stream.flush());
        is_sent.is_ok() && line.starts_with(['2', '3'])
    }

    fn line(&mut self) -> Option<String> {
        let (mut bytes, mut byte) = (Vec::new(), [0]);
        while !bytes.ends_with(b"\r\n") {
            self.stream.read_exact(&mut byte).ok()?;
            bytes.push(byte[0]);
        }
        bytes.truncate(bytes.len() - 2);
        String::from_utf8(bytes).ok()
    }
}
