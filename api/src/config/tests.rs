use super::*;
use secrecy::ExposeSecret;

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn refused(pairs: &[(&str, &str)]) -> String {
    load(&Flags::default(), &variables(pairs))
        .expect_err("the setting is wrong")
        .to_string()
}

/// A temporary file for one test, removed when dropped.
struct Toml(PathBuf);

impl Toml {
    fn new(name: &str, text: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("settle-config-{name}-{}.toml", std::process::id()));
        std::fs::write(&path, text).expect("the file can be written");
        Self(path)
    }

    fn flags(&self) -> Flags {
        Flags {
            config: Some(self.0.clone()),
            ..Flags::default()
        }
    }
}

impl Drop for Toml {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The displayed value of a setting.
fn shown(config: &Config, field: &str) -> String {
    let mut all = config.shown().into_iter();
    let found = all.find(|setting| setting.name == field);
    found.map_or_else(String::new, |setting| setting.value)
}

#[test]
fn without_anything_the_defaults_hold() {
    let config = load(&Flags::default(), &Variables::new()).expect("defaults are valid");
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.http.public_url.as_str(), "http://127.0.0.1:8080/");
    assert_eq!(config.window, Duration::from_secs(120));
    assert_eq!(config.retention, Some(Duration::from_secs(90 * 24 * 3600)));
    assert!(matches!(config.database, Database::Sqlite(path) if path.ends_with("settle.sqlite")));
    assert!(
        config.key.is_none()
            && config.http.admin_token.is_none()
            && !config.destinations.allow_http
    );
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = Toml::new(
        "layers",
        "window = \"10s\"\nlisten = \"127.0.0.1:1\"\ndata = \"from-file\"\n",
    );
    let environment = variables(&[("SETTLE_WINDOW", "20s"), ("SETTLE_LISTEN", "127.0.0.1:2")]);
    let flags = Flags {
        window: Some("30s".to_owned()),
        ..file.flags()
    };
    let config = load(&flags, &environment).expect("valid");
    assert_eq!(config.window, Duration::from_secs(30));
    assert_eq!(config.http.listen.port(), 2);
    assert_eq!(config.data, PathBuf::from("from-file"));
}

#[test]
fn the_file_holds_what_the_environment_cannot() {
    let text = "[[amazon.certificates]]\nurl = \"https://sns.us-east-1.amazonaws.com/a.pem\"\nfile = \"a.pem\"\n\
                [destinations]\nallowed_networks = [\"127.0.0.0/8\"]\nallow_http = true\n";
    let file = Toml::new("nested", text);
    let config = load(&file.flags(), &Variables::new()).expect("valid");
    let stores = format!("{:?}", config.stores);
    assert!(stores.contains("\"a.pem\""), "{stores}");
    assert_eq!(config.destinations.allowed_networks.len(), 1);
    assert!(config.destinations.allow_http);
}

#[test]
fn lists_in_the_environment_are_separated_by_commas() {
    let pairs = [
        (
            "SETTLE_AMAZON_AUTO_CONFIRM_ACCOUNTS",
            "033616359524, 123456789012",
        ),
        (
            "SETTLE_DESTINATIONS_ALLOWED_NETWORKS",
            "127.0.0.0/8,::1/128",
        ),
        ("SETTLE_DESTINATIONS_ALLOW_HTTP", "true"),
    ];
    let config = load(&Flags::default(), &variables(&pairs)).expect("valid");
    assert_eq!(
        shown(&config, "amazon.auto_confirm_accounts"),
        "033616359524, 123456789012"
    );
    assert_eq!(config.destinations.allowed_networks.len(), 2);
    assert!(config.destinations.allow_http);
}

#[test]
fn a_wrong_flag_is_named_in_place_of_the_variable() {
    let flags = Flags {
        window: Some("5".to_owned()),
        ..Flags::default()
    };
    let wrong = load(&flags, &variables(&[("SETTLE_WINDOW", "5s")])).expect_err("no unit");
    assert!(
        wrong
            .to_string()
            .starts_with("setting `window` (--window): expected a duration of whole seconds"),
        "{wrong}"
    );
    let elsewhere =
        load(&flags, &variables(&[("SETTLE_LISTEN", "nowhere")])).expect_err("no address");
    assert!(
        elsewhere.to_string().contains("SETTLE_LISTEN"),
        "{elsewhere}"
    );
}

/// Variables, each with an invalid value and the text that its error must contain.
const WRONG: [(&str, &str, &str); 39] = [
    ("SETTLE_LISTEN", "nowhere", "`listen` (SETTLE_LISTEN)"),
    (
        "SETTLE_ADMIN_LISTEN",
        "nowhere",
        "`admin_listen` (SETTLE_ADMIN_LISTEN)",
    ),
    (
        "SETTLE_ADMIN_LISTEN",
        "127.0.0.1:8080",
        "`admin_listen` (SETTLE_ADMIN_LISTEN)",
    ),
    ("SETTLE_ADMIN_ON_LISTEN", "perhaps", "`admin_on_listen`"),
    (
        "SETTLE_CONNECTIONS",
        "15",
        "`connections` (SETTLE_CONNECTIONS)",
    ),
    (
        "SETTLE_CONNECTIONS_PER_ADDRESS",
        "0",
        "`connections_per_address`",
    ),
    ("SETTLE_WINDOW", "2h", "`window` (SETTLE_WINDOW)"),
    ("SETTLE_WINDOW", "0", "`window` (SETTLE_WINDOW)"),
    ("SETTLE_RETENTION", "7d", "`retention` (SETTLE_RETENTION)"),
    ("SETTLE_RETENTION", "90", "`retention` (SETTLE_RETENTION)"),
    ("SETTLE_RETENTION", "200h", "`retention` (SETTLE_RETENTION)"),
    (
        "SETTLE_PUBLIC_URL",
        "ftp://example.com",
        "`public_url` (SETTLE_PUBLIC_URL)",
    ),
    (
        "SETTLE_DATABASE",
        "mysql://x",
        "`database` (SETTLE_DATABASE)",
    ),
    ("SETTLE_KEY", "short", "`key` (SETTLE_KEY)"),
    (
        "SETTLE_KEY",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,",
        "`key` (SETTLE_KEY)",
    ),
    (
        "SETTLE_DESTINATIONS_DENIED_NETWORKS",
        "localhost",
        "`destinations.denied_networks`",
    ),
    (
        "SETTLE_ADMIN_TOKEN",
        "short",
        "`admin_token` (SETTLE_ADMIN_TOKEN)",
    ),
    (
        "SETTLE_DESTINATIONS_ALLOW_HTTP",
        "perhaps",
        "`destinations.allow_http`",
    ),
    (
        "SETTLE_DESTINATIONS_ALLOWED_NETWORKS",
        "localhost",
        "`destinations.allowed_networks`",
    ),
    (
        "SETTLE_AMAZON_AUTO_CONFIRM_ACCOUNTS",
        "12",
        "`amazon.auto_confirm_accounts`",
    ),
    (
        "SETTLE_AMAZON_RVS_URL",
        "rvs.internal",
        "`amazon.rvs_url` (SETTLE_AMAZON_RVS_URL)",
    ),
    (
        "SETTLE_AMAZON_RVS_URL",
        "ftp://rvs.internal",
        "`amazon.rvs_url`",
    ),
    (
        "SETTLE_AMAZON_RVS_URL",
        "https://rvs.internal/sandbox",
        "`amazon.rvs_url`",
    ),
    (
        "SETTLE_AMAZON_RVS_URL",
        "https://rvs.internal/?a=b",
        "`amazon.rvs_url`",
    ),
    (
        "SETTLE_AMAZON_PATIENCE",
        "25h",
        "`amazon.patience` (SETTLE_AMAZON_PATIENCE)",
    ),
    ("SETTLE_AMAZON_PATIENCE", "0s", "`amazon.patience`"),
    (
        "SETTLE_AMAZON_RVS_PER_SECOND",
        "0",
        "`amazon.rvs_per_second`",
    ),
    (
        "SETTLE_AMAZON_RVS_PER_SECOND",
        "many",
        "`amazon.rvs_per_second`",
    ),
    (
        "SETTLE_GOOGLE_API_URL",
        "https://google.internal/v3",
        "`google.api_url` (SETTLE_GOOGLE_API_URL)",
    ),
    (
        "SETTLE_GOOGLE_KEYS_URL",
        "google.internal",
        "`google.keys_url` (SETTLE_GOOGLE_KEYS_URL)",
    ),
    (
        "SETTLE_GOOGLE_KEYS_URL",
        "ftp://google.internal/certs",
        "`google.keys_url`",
    ),
    (
        "SETTLE_GOOGLE_KEYS_URL",
        "https://google.internal/certs#all",
        "`google.keys_url`",
    ),
    ("SETTLE_GOOGLE_PATIENCE", "25h", "`google.patience`"),
    (
        "SETTLE_GOOGLE_REQUESTS_PER_SECOND",
        "1001",
        "`google.requests_per_second`",
    ),
    (
        "SETTLE_DEVICES_BYTES_PER_SECOND_AND_ADDRESS",
        "1KiB",
        "`devices.bytes_per_second_and_address`",
    ),
    (
        "SETTLE_DEVICES_BYTES_PER_SECOND_AND_ADDRESS",
        "many",
        "`devices.bytes_per_second_and_address`",
    ),
    (
        "SETTLE_DEVICES_DISK_RESERVE",
        "20",
        "`devices.disk_reserve` (SETTLE_DEVICES_DISK_RESERVE)",
    ),
    (
        "SETTLE_AMPLITUDE_ALLOWED_URLS",
        "proxy.internal",
        "`amplitude.allowed_urls` (SETTLE_AMPLITUDE_ALLOWED_URLS)",
    ),
    (
        "SETTLE_AMPLITUDE_ALLOWED_URLS",
        "https://proxy.internal/2/httpapi",
        "`amplitude.allowed_urls`",
    ),
];

#[test]
fn a_wrong_setting_is_named_with_its_variable() {
    for (variable, value, named) in WRONG {
        let message = refused(&[(variable, value)]);
        assert!(message.contains(named), "{variable}={value}: {message}");
    }
}

#[test]
fn the_api_has_an_address_of_its_own_unless_a_setting_shares_it() {
    let http = |pairs: &[(&str, &str)]| {
        load(&Flags::default(), &variables(pairs)).map(|config| config.http)
    };
    let api = |pairs: &[(&str, &str)]| http(pairs).expect("valid").api().to_string();
    assert_eq!(api(&[]), "127.0.0.1:8081");
    assert_eq!(
        api(&[("SETTLE_LISTEN", "0.0.0.0:80")]),
        "127.0.0.1:81",
        "this machine alone"
    );
    assert_eq!(api(&[("SETTLE_LISTEN", "127.0.0.1:0")]), "127.0.0.1:0");
    assert_eq!(
        api(&[("SETTLE_LISTEN", "127.0.0.1:65535")]),
        "127.0.0.1:65534"
    );
    assert_eq!(api(&[("SETTLE_ADMIN_LISTEN", "10.0.0.1:9")]), "10.0.0.1:9");
    let on_listen = ("SETTLE_ADMIN_ON_LISTEN", "true");
    let shared = http(&[("SETTLE_LISTEN", "0.0.0.0:80"), on_listen]).expect("valid");
    assert_eq!(
        (shared.admin_listen, shared.api().to_string().as_str()),
        (None, "0.0.0.0:80")
    );
    let both = http(&[on_listen, ("SETTLE_ADMIN_LISTEN", "127.0.0.1:1")])
        .expect_err("both")
        .to_string();
    assert!(
        both.contains("`admin_on_listen` (SETTLE_ADMIN_ON_LISTEN)"),
        "{both}"
    );
}

#[test]
fn how_purchases_are_verified_can_be_set() {
    let fields = ["amazon.rvs_url", "amazon.patience", "amazon.rvs_per_second"];
    let config = load(&Flags::default(), &Variables::new()).expect("defaults are valid");
    assert_eq!(
        fields.map(|field| shown(&config, field)),
        ["Amazon's own", "15m", "10"]
    );
    let pairs = [
        ("SETTLE_AMAZON_RVS_URL", "http://127.0.0.1:9000"),
        ("SETTLE_AMAZON_PATIENCE", "3s"),
        ("SETTLE_AMAZON_RVS_PER_SECOND", "100"),
    ];
    let config = load(&Flags::default(), &variables(&pairs)).expect("valid");
    assert_eq!(
        fields.map(|field| shown(&config, field)),
        ["http://127.0.0.1:9000/", "3s", "100"]
    );
    for (variable, field) in [
        ("SETTLE_AMAZON_RVS_URL", "`amazon.rvs_url`"),
        ("SETTLE_GOOGLE_API_URL", "`google.api_url`"),
        ("SETTLE_GOOGLE_KEYS_URL", "`google.keys_url`"),
    ] {
        let refused = refused(&[(variable, "https://me:hunter2@proxy.internal/")]);
        assert!(
            refused.contains(field) && !refused.contains("hunter2"),
            "{refused}"
        );
    }
}

#[test]
fn each_store_has_its_own_address_and_rate() {
    let fields = [
        "google.api_url",
        "google.keys_url",
        "google.patience",
        "google.requests_per_second",
    ];
    let config = load(&Flags::default(), &Variables::new()).expect("defaults are valid");
    assert_eq!(
        fields.map(|field| shown(&config, field)),
        ["Google's own", "Google's own", "15m", "40"]
    );
    let pairs = [
        ("SETTLE_GOOGLE_API_URL", "http://127.0.0.1:9000"),
        (
            "SETTLE_GOOGLE_KEYS_URL",
            "http://127.0.0.1:9000/certs?alt=json",
        ),
        ("SETTLE_GOOGLE_PATIENCE", "3s"),
        ("SETTLE_GOOGLE_REQUESTS_PER_SECOND", "1000"),
    ];
    let config = load(&Flags::default(), &variables(&pairs)).expect("valid");
    assert_eq!(
        fields.map(|field| shown(&config, field)),
        [
            "http://127.0.0.1:9000/",
            "http://127.0.0.1:9000/certs?alt=json",
            "3s",
            "1000"
        ]
    );
}

#[test]
fn origins_of_the_operators_own_are_listed() {
    assert_eq!(
        load(&Flags::default(), &Variables::new())
            .expect("defaults are valid")
            .origins,
        std::collections::BTreeMap::from([("amplitude", Vec::new())])
    );
    let pairs = [(
        "SETTLE_AMPLITUDE_ALLOWED_URLS",
        "http://127.0.0.1:9000, https://proxy.internal",
    )];
    let config = load(&Flags::default(), &variables(&pairs)).expect("valid");
    let urls: Vec<&str> = config.origins["amplitude"]
        .iter()
        .map(Url::as_str)
        .collect();
    assert_eq!(urls, ["http://127.0.0.1:9000/", "https://proxy.internal/"]);
    let file = Toml::new(
        "origins",
        "[amplitude]\nallowed_urls = [\"https://proxy.internal\"]\n",
    );
    assert_eq!(
        load(&file.flags(), &Variables::new())
            .expect("valid")
            .origins["amplitude"]
            .len(),
        1
    );
}

#[test]
fn an_unknown_setting_in_the_file_is_named() {
    let file = Toml::new("unknown", "windows = \"5s\"\n");
    let message = load(&file.flags(), &Variables::new())
        .expect_err("unknown")
        .to_string();
    assert!(
        message.contains("windows") && message.ends_with("; did you mean `window`?"),
        "{message}"
    );
}

#[test]
fn the_key_is_read_from_base64_and_hex() {
    let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let key = |text| {
        load(&Flags::default(), &variables(&[("SETTLE_KEY", text)]))
            .expect("valid")
            .key
    };
    assert_eq!(key(base64), key(hex));
    assert!(key(hex).is_some());
}

#[test]
fn the_first_key_is_the_newest_and_none_is_named_twice() {
    let (old, new) = ("07".repeat(32), "08".repeat(32));
    let keys = |text: &str| {
        load(&Flags::default(), &variables(&[("SETTLE_KEY", text)])).map(|config| config.key)
    };
    let expected = Keys {
        newest: [8; 32],
        older: vec![[7; 32]],
    };
    assert_eq!(keys(&format!("{new}, {old}")), Ok(Some(expected)));
    let twice = keys(&format!("{new},{new}"))
        .expect_err("one key twice")
        .to_string();
    assert!(
        twice.contains("each once") && !twice.contains("0808"),
        "{twice}"
    );
}

#[test]
fn debug_output_and_errors_hide_every_secret() {
    let token = "token-that-is-long-enough";
    let pairs = [
        (
            "SETTLE_KEY",
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        ),
        ("SETTLE_ADMIN_TOKEN", token),
        (
            "SETTLE_DATABASE",
            "postgres://settle:hunter2@localhost/settle",
        ),
        ("SETTLE_MAIL_URL", "smtps://user:hunter3@mail.example.com"),
        ("SETTLE_MAIL_FROM", "settle <settle@example.com>"),
    ];
    let config = load(&Flags::default(), &variables(&pairs)).expect("valid");
    let shown = format!("{config:?} {:?}", config.shown());
    for secret in [token, "hunter2", "hunter3", "0a0b0c", "10, 11, 12"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert_eq!(
        config.http.admin_token.expect("given").expose_secret(),
        token
    );
    assert!(!refused(&[("SETTLE_KEY", "c2hvcnQgc2VjcmV0")]).contains("c2hvcnQ"));
}

#[test]
fn a_mail_server_needs_a_sender_and_tls_for_a_login() {
    let (url, from) = (
        ("SETTLE_MAIL_URL", "smtp://u:hunter2@mail.example.com"),
        ("SETTLE_MAIL_FROM", "a@b.example"),
    );
    assert!(
        load(&Flags::default(), &variables(&[url, from])).is_ok_and(|config| config.mail.is_some())
    );
    assert!(load(&Flags::default(), &variables(&[])).is_ok_and(|config| config.mail.is_none()));
    let plain = ("SETTLE_MAIL_URL", "smtp://u:hunter2@localhost?tls=none");
    for (pairs, named) in [
        (&[url][..], "`mail.from` (SETTLE_MAIL_FROM)"),
        (&[from], "`mail.url` (SETTLE_MAIL_URL)"),
        (&[plain, from], "`mail.url` (SETTLE_MAIL_URL)"),
        (
            &[url, ("SETTLE_MAIL_FROM", "nobody")],
            "`mail.from` (SETTLE_MAIL_FROM)",
        ),
        (
            &[url, from, ("SETTLE_MAIL_ALLOWED_DOMAINS", "example.com,@")],
            "`mail.allowed_domains`",
        ),
    ] {
        let error = refused(pairs);
        assert!(
            error.contains(named) && !error.contains("hunter2"),
            "{error}"
        );
    }
}

#[test]
fn the_reserve_of_the_disk_is_a_size_or_off() {
    let shown = |pairs: &[(&str, &str)]| {
        let all = load(&Flags::default(), &variables(pairs))
            .expect("valid")
            .shown();
        all.into_iter()
            .find(|one| one.name == "devices.disk_reserve")
            .expect("it is shown")
            .value
    };
    assert_eq!(shown(&[]), "the larger of 2GiB and 5 %");
    for text in ["500MiB", "20GiB", "off"] {
        assert_eq!(shown(&[("SETTLE_DEVICES_DISK_RESERVE", text)]), text);
    }
}

#[test]
fn retention_is_a_number_of_days_or_off() {
    let retention = |text: &str| {
        load(&Flags::default(), &variables(&[("SETTLE_RETENTION", text)]))
            .unwrap()
            .retention
    };
    assert_eq!(retention("8d"), Some(Duration::from_secs(8 * 24 * 3600)));
    assert_eq!(
        retention(" 30d "),
        Some(Duration::from_secs(30 * 24 * 3600))
    );
    assert_eq!(retention("off"), None);
}

#[test]
fn a_missing_file_is_named() {
    let flags = Flags {
        config: Some(PathBuf::from("/nonexistent.toml")),
        ..Flags::default()
    };
    let message = load(&flags, &Variables::new())
        .expect_err("no file")
        .to_string();
    let expected = "expected an existing file; configuration file \"/nonexistent.toml\" not found";
    assert!(message.ends_with(expected), "{message}");
}

/// A file from the packages as it is, and with its examples enabled: comment lines that begin with `#` and a setting's
/// name.
fn packaged(name: &str) -> [String; 2] {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../packaging")
        .join(name);
    let text = std::fs::read_to_string(path).expect("a file of the packages");
    let begins = |line: &str| line.starts_with(|letter: char| letter.is_ascii_alphabetic());
    let example = |line: &str| {
        line.strip_prefix('#')
            .filter(|line| begins(line))
            .unwrap_or(line)
            .to_owned()
    };
    let examples = text.lines().map(example).collect::<Vec<_>>().join("\n");
    [text, examples]
}

#[test]
fn the_packaged_settings_are_valid_and_so_are_their_examples() {
    let [plain, examples] = packaged("settle.toml");
    for (name, text) in [("packaged", &plain), ("packaged-examples", &examples)] {
        let config =
            load(&Toml::new(name, text).flags(), &Variables::new()).expect("valid settings");
        assert_eq!(config.data, PathBuf::from("/var/lib/settle"), "{name}");
    }
    let count = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with('#') && line.contains(" = "))
            .count()
    };
    assert!(count(&plain) == 1 && count(&examples) > 8, "{examples}");
}

#[test]
fn the_packaged_variables_are_known_and_valid() {
    let [plain, examples] = packaged("environment");
    let read = |text: &str| -> Variables {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    assert!(read(&plain).is_empty(), "nothing is set: {plain}");
    let examples = read(&examples);
    let others = ["RUN_FLAGS", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"];
    let unknown: Vec<_> = examples
        .keys()
        .filter(|name| {
            !others.contains(&name.as_str()) && !raw::variables().any(|known| known.name == *name)
        })
        .collect();
    assert!(examples.len() >= 6 && unknown.is_empty(), "{unknown:?}");
    let config = load(&Flags::default(), &examples).expect("valid variables");
    assert!(matches!(config.database, Database::Postgres(_)) && config.key.is_some());
}
