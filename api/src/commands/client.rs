//! The HTTP client of the admin commands: the service's address, the token, requests, and responses or errors.
//!
//! Among the commands, only this module and [`forward`](super::forward) send requests.

use super::secret::Source;
use super::settings::{self, PathFlags};
use anyhow::{Context, anyhow, bail};
use api::config::{self, Config, Variables};
use api::error::Field;
use api::keys::REASON;
use api::resources::customers::UNKNOWN;
use api::shell::quoted;
use domain::text::trimmed;
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::{Host, Url};

/// Time limit of a request, which is longer than the API's own.
const TIMEOUT: Duration = Duration::from_secs(30);

const SERVICE: &str = "http://127.0.0.1:8081";

// The service to use, and the token for it. Not a doc comment: it would replace the command's description in the help.
#[derive(Debug, Clone, clap::Args)]
pub struct Remote {
    /// Address of the service's API [default: `admin_listen` of --config, else that of the last `settle run` on --data,
    /// else http://127.0.0.1:8081]. (A destination's address is its `--url`.)
    #[arg(
        long,
        env = "SETTLE_URL",
        hide_env_values = true,
        value_name = "URL",
        value_parser = settings::url,
        global = true,
        help_heading = "Service"
    )]
    service: Option<Url>,
    /// Where to read the admin token or key: `@FILE`, or `-` for standard input [default: SETTLE_ADMIN_TOKEN, else the
    /// token that `settle run` wrote to --data, which is sent only to that service or to one on this machine]. Only the
    /// token in --data is sent to an address that --data names.
    #[arg(long, value_name = "@FILE|-", global = true, help_heading = "Service")]
    token: Option<Source>,
    /// Send the token over plain HTTP to another machine. Anyone on the network path can read it.
    #[arg(long, global = true, help_heading = "Service")]
    insecure: bool,
    #[command(flatten)]
    place: PathFlags,
    /// Print the API's response, as JSON.
    #[arg(long, global = true, help_heading = "Service")]
    pub json: bool,
}

/// Returns the command with which this program was started.
pub fn program() -> &'static str {
    if config::environment().contains_key("CARGO") {
        "cargo run --"
    } else {
        "settle"
    }
}

/// Replaces `settle` in the commands of a text by the way this program was started: `` `settle status` `` may become ``
/// `cargo run -- status` ``.
pub fn as_started(text: &str) -> String {
    text.replace("`settle ", &format!("`{} ", program()))
}

/// Escapes a text as one segment of a path.
pub fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2D", "-")
}

/// Removes the null fields of a body, because the API resets a field that is null.
pub fn present_fields(mut body: Value) -> Value {
    if let Value::Object(fields) = &mut body {
        fields.retain(|_, value| !value.is_null());
    }
    body
}

#[derive(Clone)]
pub struct Client {
    /// Whether responses are printed unchanged, as JSON.
    pub json: bool,
    http: reqwest::Client,
    url: Url,
    token: SecretString,
    /// The reason of the changes, for the audit log.
    reason: Option<HeaderValue>,
}

impl Remote {
    /// Creates the service's client, without sending anything.
    pub fn client(&self) -> anyhow::Result<Client> {
        let variables = config::environment();
        let config = self.place.load(&variables)?;
        let data = config
            .as_ref()
            .map_or_else(|| self.place.data(&variables), |config| config.data.clone());
        let address = match &self.service {
            Some(service) => Address {
                url: service.clone(),
                recorded_in: None,
            },
            None => address(config.as_ref(), &data)?,
        };
        let token = match self.named_token(&variables, config)? {
            Some(token) => {
                address.check_named_token()?;
                token
            }
            None => recorded_token(&address.url, &data)?,
        };
        if address.url.scheme() == "http" && !is_here(&address.url) && !self.insecure {
            bail!(
                "{} is another machine, and whoever is on the way could read the token: name the service by https://, or \
                 send it by plain HTTP with --insecure",
                address.url.origin().ascii_serialization()
            );
        }
        Ok(Client {
            json: self.json,
            http: http()?,
            url: address.url,
            token,
            reason: None,
        })
    }

    /// Returns a command for the same service, to be typed: it includes the flags with which this command was started.
    pub fn command(&self, arguments: &str) -> String {
        let address = self
            .service
            .as_ref()
            .map(|url| url.as_str().trim_end_matches('/'));
        let service = address.map_or_else(String::new, |url| format!(" --service {}", quoted(url)));
        let insecure = if self.insecure { " --insecure" } else { "" };
        format!(
            "{} {arguments}{service}{insecure}{}",
            program(),
            self.place.as_typed()
        )
    }

    /// Returns the data directory of `settle run`.
    pub fn data(&self) -> anyhow::Result<PathBuf> {
        let variables = config::environment();
        let config = self.place.load(&variables)?;
        Ok(config.map_or_else(|| self.place.data(&variables), |config| config.data))
    }

    /// Returns the token of a flag, the environment or a settings file.
    fn named_token(
        &self,
        variables: &Variables,
        config: Option<Config>,
    ) -> anyhow::Result<Option<SecretString>> {
        if let Some(source) = &self.token {
            return source.read("--token").map(Some);
        }
        // Not clap's `env`, which needs a flag: that would allow the token itself on the command line.
        if let Some(token) = variables
            .get("SETTLE_ADMIN_TOKEN")
            .filter(|token| !token.is_empty())
        {
            return Ok(Some(SecretString::from(trimmed(token))));
        }
        Ok(config.and_then(|config| config.http.admin_token))
    }
}

/// The URL of a service, and where the URL comes from.
struct Address {
    url: Url,
    /// The file that names the URL, unless a flag, a variable, a settings file or the default does.
    recorded_in: Option<PathBuf>,
}

impl Address {
    /// Refuses to send a token from elsewhere to an address that a data directory names. The directory may come from an
    /// untrusted source, such as a clone or an archive.
    fn check_named_token(&self) -> anyhow::Result<()> {
        let Some(file) = &self.recorded_in else {
            return Ok(());
        };
        let origin = self.url.origin().ascii_serialization();
        bail!(
            "the admin token was not sent to {origin}, which only {file} names: if that is your service, name it with \
             --service {origin} (SETTLE_URL); to use the token beside that file, set neither SETTLE_ADMIN_TOKEN nor --token",
            file = file.display()
        )
    }
}

/// Returns the address that a settings file names, else the one that `settle run` recorded in its data directory, else
/// the default.
fn address(config: Option<&Config>, data: &Path) -> anyhow::Result<Address> {
    let usual = match config {
        Some(config) => listening(config.http.api())?,
        None => SERVICE.parse()?,
    };
    let is_named = config.is_some_and(|config| config.http.is_admin_listen_set);
    let file = super::data::service_file(data);
    let recorded = if is_named { None } else { recorded(&file)? };
    match recorded.filter(|url| url.origin() != usual.origin()) {
        None => Ok(Address {
            url: usual,
            recorded_in: None,
        }),
        Some(url) if is_here(&url) => Ok(Address {
            url,
            recorded_in: Some(file),
        }),
        Some(url) => bail!(
            "{file} names another machine: if {origin} is your service, name it with --service {origin} (SETTLE_URL)",
            file = file.display(),
            origin = url.origin().ascii_serialization()
        ),
    }
}

/// Returns the token that `settle run` wrote to its data directory. It was created for the service that recorded its
/// address there, so it is sent only to that service or to one on this machine.
fn recorded_token(url: &Url, data: &Path) -> anyhow::Result<SecretString> {
    let file = super::data::token_file(data);
    if !file.exists() {
        bail!(
            "no admin token: `settle run` has not used the data directory {}. Start `settle run` here, or name its \
             data directory with --data (SETTLE_DATA), or another service with SETTLE_URL and \
             SETTLE_ADMIN_TOKEN (--service, --token @FILE)",
            data.display()
        );
    }
    let is_recorded = recorded(&super::data::service_file(data))?
        .is_some_and(|known| known.origin() == url.origin());
    if !is_here(url) && !is_recorded {
        bail!(
            "the token in {file} belongs to another service, so it was not sent to {other}: give the right token with \
             SETTLE_ADMIN_TOKEN or --token @FILE",
            file = file.display(),
            other = url.origin().ascii_serialization()
        );
    }
    Source::File(file).read("the admin token")
}

/// Returns whether an address is this machine's, without a DNS lookup.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Returns the URL that `settle run` recorded in a file.
fn recorded(file: &Path) -> anyhow::Result<Option<Url>> {
    let Ok(url) = std::fs::read_to_string(file) else {
        return Ok(None);
    };
    url.trim()
        .parse()
        .map(Some)
        .with_context(|| format!("{} does not contain a URL: delete it", file.display()))
}

/// Returns the URL at which this machine reaches a service that listens at an address. An unspecified address becomes
/// the loopback address.
pub fn listening(address: SocketAddr) -> anyhow::Result<Url> {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("http://{address}")
        .parse()
        .with_context(|| format!("`{address}` is not a service address"))
}

impl Client {
    /// Returns a client that sends this reason with each change.
    ///
    /// # Errors
    /// Fails if the reason has more than one line.
    pub fn because(&self, reason: Option<&String>) -> anyhow::Result<Self> {
        let reason = reason.map(|text| HeaderValue::from_bytes(text.as_bytes()));
        let reason = reason.transpose().context("--reason: expected one line")?;
        Ok(Self {
            reason,
            ..self.clone()
        })
    }

    /// Reads a resource or a list. Query parameters that are `None` are omitted.
    pub async fn get(&self, path: &str, query: &[(&str, Option<String>)]) -> anyhow::Result<Value> {
        self.request(Method::GET, with_query(self.at(path)?, query), None)
            .await
    }

    /// Creates a resource, or requests an action.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.request(Method::POST, self.at(path)?, Some(body)).await
    }

    /// Posts a file as CSV. The path may have a query.
    pub async fn post_csv(&self, path: &str, csv: Vec<u8>) -> anyhow::Result<Value> {
        let request = self
            .http
            .request(Method::POST, self.at(path)?)
            .header("content-type", "text/csv")
            .body(csv);
        self.answer(request).await
    }

    /// Replaces a resource. The path may have a query.
    pub async fn put(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.request(Method::PUT, self.at(path)?, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.request(Method::PATCH, self.at(path)?, Some(body))
            .await
    }

    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.request(Method::DELETE, self.at(path)?, None).await
    }

    /// Sends a change with this method. A DELETE has no body.
    pub async fn change(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, Option<String>)],
        body: &Value,
    ) -> anyhow::Result<Value> {
        let method = Method::from_bytes(method.as_bytes()).context("not an HTTP method")?;
        let body = Some(body).filter(|_| method != Method::DELETE);
        self.request(method, with_query(self.at(path)?, query), body)
            .await
    }

    /// Returns the URL of one of the service's pages, to be shown.
    pub fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url.as_str().trim_end_matches('/'))
    }

    /// Returns the URL of a path of the service.
    fn at(&self, path: &str) -> anyhow::Result<Url> {
        let base = self.url.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}{path}"))
            .with_context(|| format!("`{base}` is not a service address"))
    }

    async fn request(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let mut request = self.http.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request).await
    }

    /// Sends a request with the token. Returns the JSON of a successful response, or null if it has no body.
    async fn answer(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let request = match &self.reason {
            Some(reason) => request.header(REASON, reason),
            None => request,
        };
        let (status, text) =
            send(request.bearer_auth(self.token.expose_secret()), &self.url).await?;
        if !status.is_success() {
            return Err(refusal(&self.url, status, &text));
        }
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text)
            .with_context(|| format!("the response of {} is not JSON", self.url))
    }
}

/// Parses a response, or a part of one. Unknown fields are ignored, so that a newer service may send more; `--json`
/// prints the response itself.
///
/// # Errors
/// Fails if a field is missing, or if its type is not that of this version.
pub fn read_as<T: DeserializeOwned>(answer: &Value) -> anyhow::Result<T> {
    T::deserialize(answer).context(
        "the service's response does not fit this version of settle: use the version of the service",
    )
}

/// Parses an enum or another type, for `deserialize_with`. `None` stands for null, and for a value that this version
/// does not know.
///
/// # Errors
/// Fails if the value is not JSON.
pub fn known<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
}

/// Appends to a URL's query the parameters that have a value.
fn with_query(mut url: Url, query: &[(&str, Option<String>)]) -> Url {
    for (name, value) in query {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    url
}

/// A 4xx response: the service refused the request and changed nothing.
#[derive(Debug, thiserror::Error)]
#[error("{line}")]
pub struct Refused {
    line: String,
    title: String,
    /// Each invalid field, with the value that was expected.
    fields: Vec<(String, String)>,
}

impl Refused {
    /// Renames the invalid fields that have another name on the command line.
    pub fn rename(mut self, name: impl Fn(&str) -> Option<String>) -> Self {
        if !self.fields.is_empty() && self.fields.iter().any(|(field, _)| name(field).is_some()) {
            let wrong = self.fields.iter().map(|(field, expected)| {
                format!(
                    "{}: expected {expected}",
                    name(field).unwrap_or_else(|| field.clone())
                )
            });
            self.line = format!("{}: {}", self.title, wrong.collect::<Vec<_>>().join("; "));
        }
        self
    }

    /// Returns whether the service refused because it does not know the customer.
    pub fn is_unknown_customer(&self) -> bool {
        self.line.contains(UNKNOWN)
    }

    /// Replaces the reason of the refusal.
    pub fn because(mut self, why: &str) -> Self {
        self.line = format!("{}: {why}", self.title);
        self
    }

    /// Adds the id that the service does not know and, if there is one, the command that lists the known ids.
    pub fn missing(mut self, what: &str, id: &str, listing: Option<&str>) -> Self {
        if self.line.ends_with(&format!("there is no such {what}")) {
            let hint = listing
                .map(|command| format!("; `{command}` shows all"))
                .unwrap_or_default();
            self.line = format!("{}: there is no {what} `{id}`{hint}", self.title);
        }
        self
    }
}

/// Posts a body to a URL that needs no token, such as a notification URL. Returns the status and the body.
pub async fn post_to(url: &Url, body: String) -> anyhow::Result<(u16, String)> {
    let request = http()?
        .post(url.clone())
        .header("content-type", "text/plain; charset=UTF-8")
        .body(body);
    let (status, text) = send(request, url).await?;
    Ok((status.as_u16(), text))
}

/// Reads a URL that needs no token. Returns the status and the body.
pub async fn read_from(url: &Url) -> anyhow::Result<(u16, String)> {
    let (status, text) = received(http()?.get(url.clone()), url, "").await?;
    Ok((status.as_u16(), text))
}

#[expect(
    clippy::disallowed_methods,
    reason = "admin verbs call our own HTTP API; nothing of a customer's is called"
)]
pub fn http() -> anyhow::Result<reqwest::Client> {
    let builder = reqwest::Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    builder.build().context("cannot create an HTTP client")
}

/// Sends a request to a service whose address was configured.
async fn send(
    request: reqwest::RequestBuilder,
    service: &Url,
) -> anyhow::Result<(StatusCode, String)> {
    let advice = ": start it with `settle run`, or set its address with --service or SETTLE_URL";
    received(request, service, advice).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "admin verbs call our own HTTP API; nothing of a customer's is called"
)]
async fn received(
    request: reqwest::RequestBuilder,
    service: &Url,
    advice: &str,
) -> anyhow::Result<(StatusCode, String)> {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => bail!(
            "no service answers at {}{advice}",
            service.origin().ascii_serialization()
        ),
        Err(error) => {
            return Err(
                anyhow::Error::new(error.without_url()).context("no response from the service")
            );
        }
    };
    let status = response.status();
    let text = response
        .text()
        .await
        .context("the service cut off its response")?;
    Ok((status, text))
}

/// A problem document (RFC 9457) of settle, or of a proxy in front of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReceivedProblem {
    title: Option<String>,
    detail: Option<String>,
    /// The invalid fields, in settle's own form.
    #[serde(deserialize_with = "known")]
    errors: Option<Vec<Field>>,
}

/// Returns a problem document as one line; `None` if the text is not one.
pub fn problem_line(text: &str) -> Option<String> {
    let problem: ReceivedProblem = serde_json::from_str(text).ok()?;
    match (problem.title, problem.detail) {
        (Some(title), Some(detail)) => Some(format!("{title}: {detail}")),
        (title, detail) => title.or(detail),
    }
}

/// Returns the error for a problem document, as one line. Its detail names each invalid field.
fn refusal(service: &Url, status: StatusCode, text: &str) -> anyhow::Error {
    let problem: ReceivedProblem = serde_json::from_str(text).unwrap_or_default();
    let mut line =
        problem_line(text).unwrap_or_else(|| format!("the service responded with {status}"));
    if status == StatusCode::UNAUTHORIZED {
        line = format!(
            "the token is not valid at {}: set the service's address with --service, its token with --token @FILE, or \
             its data directory with --data",
            service.origin().ascii_serialization()
        );
    }
    if !status.is_client_error() {
        return anyhow!(line);
    }
    let fields = problem.errors.into_iter().flatten();
    Refused {
        line,
        title: problem.title.unwrap_or_default(),
        fields: fields.map(|one| (one.field, one.expected)).collect(),
    }
    .into()
}
