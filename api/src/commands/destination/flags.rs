//! The flags that say what a destination is, and the body that they make. What is right is the API's to judge.

use crate::commands::secret::Source;
use crate::times;
use anyhow::bail;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

/// What a destination of any kind has.
#[derive(Debug, clap::Args)]
pub struct Fields {
    /// Its name, for people.
    #[arg(long)]
    name: Option<String>,
    /// Which events: `*`, `user.*`, or one type. Can be given more than once.
    #[arg(long = "event", value_name = "TYPE", value_delimiter = ',')]
    events: Vec<String>,
    /// Only events of this platform. Can be given more than once.
    #[arg(long = "platform", value_name = "ID", value_delimiter = ',')]
    platforms: Vec<String>,
    /// Only events of this environment. Can be given more than once.
    #[arg(long = "environment", value_name = "NAME", value_delimiter = ',', value_parser = ["production", "sandbox"])]
    environments: Vec<String>,
    /// At most so many requests a second, over all processes. Amplitude: 90 unless said and at most, a tenth below its
    /// 100, since requests may arrive closer together than they were sent.
    #[arg(long, value_name = "N")]
    rate: Option<i64>,
    /// At most so many requests at once, over all processes; 32 unless said.
    #[arg(long, value_name = "N")]
    concurrency: Option<i64>,
    /// The waits between attempts, such as `5s,5m,1h`: at most 100, and 8 days in all.
    #[arg(long, value_name = "WAITS", value_parser = schedule)]
    schedule: Option<Schedule>,
    #[command(flatten)]
    webhook: Webhook,
    #[command(flatten)]
    amplitude: Amplitude,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Webhook")]
struct Webhook {
    /// Where events are posted.
    #[arg(long)]
    url: Option<String>,
    /// A header that every request carries; its value is read from a file or from standard input and kept as a secret.
    /// Can be given more than once; others stay as they are.
    #[arg(long = "header", value_name = "NAME=@FILE|-", value_parser = header)]
    headers: Vec<(String, Source)>,
    /// Carry this header no more. Can be given more than once.
    #[arg(long = "remove-header", value_name = "NAME", value_delimiter = ',')]
    removed_headers: Vec<String>,
    /// How requests are signed: with the shared secret (`v1`), or with a key whose public half the receiver has (`v1a`).
    /// `v1` unless said.
    #[arg(long, value_parser = ["v1", "v1a", "v1,v1a"])]
    signature: Option<String>,
    /// Where the signing secret of a new webhook is read, `whsec_…`; one is made unless said. `rotate-secret` replaces it.
    #[arg(long, value_name = "@FILE|-")]
    secret: Option<Source>,
    /// Where the private key of a new webhook that signs with `v1a` is read, `whsk_…`; one is made unless said.
    /// `rotate-secret` replaces it.
    #[arg(long, value_name = "@FILE|-")]
    private_key: Option<Source>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Amplitude")]
struct Amplitude {
    /// The region of the project: `standard` or `eu`; or a URL whose origin the setting `amplitude.allowed_urls` names.
    #[arg(long, value_name = "standard|eu|URL")]
    endpoint: Option<String>,
    /// Where the project's API key is read: `@FILE`, or `-` for standard input.
    #[arg(long, value_name = "@FILE|-")]
    api_key: Option<Source>,
    /// Where the project's secret key is read; only `test` needs it.
    #[arg(long, value_name = "@FILE|-")]
    secret_key: Option<Source>,
    /// Where the API key of another project is read, which is told sandbox events. Without it they are skipped.
    #[arg(long, value_name = "@FILE|-")]
    sandbox_api_key: Option<Source>,
    /// What Amplitude's User ID is: your own id of the customer, or settle's. Yours unless said.
    #[arg(long, value_parser = ["external_id", "user_id"])]
    user_id: Option<String>,
    /// What happens to events of a customer whom you never named: send them without a User ID, let them wait for the
    /// name, or skip them. They are sent unless said.
    #[arg(long, value_parser = ["send", "wait", "skip"])]
    without_external_id: Option<String>,
    /// The shortest User ID that the project takes, 1 to 36; 5 unless said.
    #[arg(long, value_name = "N")]
    min_id_length: Option<i64>,
    /// What the names of user properties begin with; `namiml_` unless said.
    #[arg(long, value_name = "P")]
    prefix: Option<String>,
    /// Which user properties are kept up to date: the eight of the documented integration, or also the state, end and
    /// renewal of the subscription, the number of renewals, the first purchase and what was paid. `documented` unless said.
    #[arg(long, value_parser = ["documented", "extended"])]
    user_properties: Option<String>,
    /// Who sends the events, as Amplitude names its partners: goes out with each of them. Nobody unless said.
    #[arg(long, value_name = "ID")]
    partner_id: Option<String>,
}

/// Waits between attempts, in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Schedule(Vec<u64>);

impl Fields {
    /// The body of a request that names what is given and nothing else.
    pub fn body(&self) -> anyhow::Result<Map<String, Value>> {
        self.check_input()?;
        let mut body = Map::new();
        let (webhook, amplitude) = (&self.webhook, &self.amplitude);
        let texts = [
            ("name", &self.name),
            ("url", &webhook.url),
            ("signature", &webhook.signature),
            ("endpoint", &amplitude.endpoint),
            ("user_id", &amplitude.user_id),
            ("without_external_id", &amplitude.without_external_id),
            ("prefix", &amplitude.prefix),
            ("user_properties", &amplitude.user_properties),
            ("partner_id", &amplitude.partner_id),
        ];
        let numbers =
            [("rate", self.rate), ("concurrency", self.concurrency), ("min_id_length", amplitude.min_id_length)];
        body.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.as_deref()?.into()))));
        body.extend(numbers.into_iter().filter_map(|(name, number)| Some((name.to_owned(), number?.into()))));
        if !self.events.is_empty() {
            body.insert("events".to_owned(), json!(self.events));
        }
        if let Some(Schedule(waits)) = &self.schedule {
            body.insert("schedule".to_owned(), json!(waits));
        }
        let lists = [("platforms", &self.platforms), ("environments", &self.environments)];
        let filter: Map<_, _> = lists
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| (name.to_owned(), json!(list)))
            .collect();
        if !filter.is_empty() {
            body.insert("filter".to_owned(), filter.into());
        }
        for (name, source) in self.keys() {
            body.insert(name.to_owned(), source.read()?.expose_secret().into());
        }
        let headers = webhook.headers()?;
        if !headers.is_empty() {
            body.insert("headers".to_owned(), headers.into());
        }
        Ok(body)
    }

    fn keys(&self) -> impl Iterator<Item = (&'static str, &Source)> {
        let keys = [
            ("secret", &self.webhook.secret),
            ("private_key", &self.webhook.private_key),
            ("api_key", &self.amplitude.api_key),
            ("secret_key", &self.amplitude.secret_key),
            ("sandbox_api_key", &self.amplitude.sandbox_api_key),
        ];
        keys.into_iter().filter_map(|(name, source)| Some((name, source.as_ref()?)))
    }

    /// Standard input ends where its first reader found the end.
    fn check_input(&self) -> anyhow::Result<()> {
        let keys = self.keys().map(|(_, source)| source);
        let headers = self.webhook.headers.iter().map(|(_, source)| source);
        if keys.chain(headers).filter(|source| **source == Source::Input).count() > 1 {
            bail!("only one secret can be read from standard input: give the others as `@FILE`");
        }
        Ok(())
    }
}

impl Webhook {
    fn headers(&self) -> anyhow::Result<Map<String, Value>> {
        let removed = self.removed_headers.iter().map(|name| (name.clone(), Value::Null));
        let mut headers: Map<_, _> = removed.collect();
        for (name, source) in &self.headers {
            headers.insert(name.clone(), source.read()?.expose_secret().into());
        }
        Ok(headers)
    }
}

fn schedule(text: &str) -> Result<Schedule, String> {
    let wait = |text: &str| {
        let wait = times::duration(text.trim())?;
        if wait.subsec_nanos() == 0 { Ok(wait.as_secs()) } else { Err(format!("`{text}` is no whole second")) }
    };
    text.split(',').map(wait).collect::<Result<_, _>>().map(Schedule)
}

/// Never repeats what is behind the name: it may be the secret itself.
fn header(text: &str) -> Result<(String, Source), String> {
    let (name, source) = text.split_once('=').ok_or("expected NAME=@FILE, or NAME=- for standard input")?;
    Ok((name.to_owned(), source.parse()?))
}

#[cfg(test)]
mod tests {
    use super::{header, schedule};

    #[test]
    fn a_schedule_is_read_as_people_write_durations() {
        assert_eq!(schedule("5s, 5m,1h 30m").expect("waits").0, [5, 300, 5400]);
        for wrong in ["", "5", "5s,,1m", "1500ms", "soon"] {
            assert!(schedule(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_headers_value_is_never_repeated() {
        assert_eq!(header("Authorization=@token").expect("a header").0, "Authorization");
        for wrong in ["Authorization=Bearer hunter2", "hunter2"] {
            let error = header(wrong).expect_err("the value is on the command line");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
