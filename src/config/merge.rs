//! The four sources of a configuration, merged: defaults, file, environment, flags.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! A later source wins, key by key, and for each key it is kept which one that was.

use std::{collections::BTreeMap, fmt};

use toml::{
    Spanned, Value,
    de::{DeTable, DeValue},
};

use super::{
    keys::{is_section, nearest},
    model::Config,
    setting::{Refused, Setting},
};

/// What environment names begin with. `__` stands between the parts of a key.
pub const PREFIX: &str = "KITHARA_";

/// The variable that names the file, which is no key of it.
pub const FILE_VARIABLE: &str = "KITHARA_CONFIG";

/// What a configuration is merged from, besides the defaults.
#[derive(Debug, Default, Clone)]
pub struct Inputs {
    /// The file, if there is one.
    pub file: Option<File>,
    /// Variables; those that do not begin with [`PREFIX`] are passed over.
    pub environment: Vec<(String, String)>,
    /// Flags, in their order.
    pub flags: Vec<Flag>,
}

/// A configuration file that was read.
#[derive(Debug, Clone)]
pub struct File {
    /// How messages name it.
    pub name: String,
    /// TOML.
    pub text: String,
}

/// A flag that stands for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// How it is written, such as `--cache-size`.
    pub name: String,
    /// The key's parts.
    pub key: Vec<String>,
    /// What it is set to.
    pub text: String,
    /// Whether `text` is added to a list rather than replacing it.
    pub adds: bool,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A line of the file.
    File {
        /// The file's name.
        name: String,
        /// Counted from 1.
        line: usize,
    },
    /// A variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

/// A merged configuration, not yet validated.
#[derive(Debug, Default, Clone)]
pub struct Merged {
    /// The values.
    pub config: Config,
    sources: BTreeMap<String, Source>,
}

/// What is wrong with a configuration. Nobody retries: a person has to change something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// One sentence, without secrets.
    pub what: String,
    /// The line, variable or flag it stands in, where it stands anywhere.
    pub place: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

impl Merged {
    /// Merges `inputs` over the defaults.
    ///
    /// # Errors
    /// The first key that is unknown or has a value of another kind, with its place.
    pub fn new(inputs: &Inputs) -> Result<Self, Error> {
        let mut merged = Self::default();
        if let Some(file) = &inputs.file {
            merged.take_file(file)?;
        }
        for (name, text) in &inputs.environment {
            merged.take_variable(name, text)?;
        }
        for flag in &inputs.flags {
            merged.take_flag(flag)?;
        }
        Ok(merged)
    }

    /// Where the value of a dotted key came from.
    pub fn source(&self, key: &str) -> &Source {
        self.sources.get(key).unwrap_or(&Source::Default)
    }

    fn take_file(&mut self, file: &File) -> Result<(), Error> {
        let table = DeTable::parse(&file.text).map_err(|error| not_toml(file, &error))?;
        self.take_table(file, &mut Vec::new(), table.get_ref())
    }

    fn take_table(
        &mut self,
        file: &File,
        path: &mut Vec<String>,
        table: &DeTable<'_>,
    ) -> Result<(), Error> {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            match value.get_ref() {
                DeValue::Table(inner) if is_section(path) => {
                    self.config.make_named(path);
                    self.take_table(file, path, inner)?;
                }
                _ => self.take_value(file, path, key.span().start, value)?,
            }
            path.pop();
        }
        Ok(())
    }

    fn take_value(
        &mut self,
        file: &File,
        path: &[String],
        at: usize,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), Error> {
        let line = line_of(&file.text, at);
        let source = Source::File { name: file.name.clone(), line };
        let value = plain(value.get_ref());
        self.change(path, source, &shown(&value), |setting| setting.set(&value))
    }

    fn take_variable(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let Some(key) = name.strip_prefix(PREFIX).filter(|_| !is_foreign(name)) else {
            return Ok(());
        };
        let parts = key.split("__").map(str::to_ascii_lowercase).collect();
        let path = self.with_known_name(parts);
        let source = Source::Environment(name.to_owned());
        self.config.make_named(&path);
        if let Some((entry, map)) = path.split_last().filter(|(_, map)| map.len() > 1) {
            let setting = self.config.setting(map);
            if setting.is_some_and(|setting| setting.set_entry(entry, text).is_some()) {
                self.sources.insert(map.join("."), source);
                return Ok(());
            }
        }
        self.change(&path, source, text, |setting| setting.set_text(text))
    }

    fn take_flag(&mut self, flag: &Flag) -> Result<(), Error> {
        let source = Source::Flag(flag.name.clone());
        self.config.make_named(&flag.key);
        self.change(&flag.key, source, &flag.text, |setting| match flag.adds {
            true => setting.add(&flag.text),
            false => setting.set_text(&flag.text),
        })
    }

    /// Changes the setting at `path` and keeps its source.
    fn change(
        &mut self,
        path: &[String],
        source: Source,
        text: &str,
        set: impl FnOnce(&mut dyn Setting) -> Result<(), Refused>,
    ) -> Result<(), Error> {
        // `admin = ADDR` is short for the section with nothing but an address.
        let long = [path, &["listen".to_owned()]].concat();
        let path = if path == ["admin"] { &long } else { path };
        let setting = self.config.setting(path).ok_or_else(|| unknown(path, &source))?;
        let is_secret = setting.is_secret();
        set(setting).map_err(|refused| bad_value(path, &source, text, is_secret, refused))?;
        self.sources.insert(path.join("."), source);
        Ok(())
    }

    /// A variable cannot spell `-`: a name that is known with `-` for `_` is meant.
    fn with_known_name(&self, mut path: Vec<String>) -> Vec<String> {
        let spelt = |known: &&String| Some(known.replace('-', "_")) == path.get(1).cloned();
        let known = match path.first().map(String::as_str) {
            Some("origin") => self.config.origin.keys().find(spelt),
            Some("library") => self.config.library.keys().find(spelt),
            _ => None,
        };
        if let Some(known) = known.cloned() {
            path[1] = known;
        }
        path
    }
}

/// Variables with our prefix that are not ours: [`FILE_VARIABLE`], and those that Kubernetes
/// gives every container beside a service called `kithara`.
fn is_foreign(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).unwrap_or(name);
    name == FILE_VARIABLE
        || rest == "PORT"
        || rest.starts_with("PORT_")
        || rest == "SERVICE_HOST"
        || rest == "SERVICE_PORT"
        || rest.starts_with("SERVICE_PORT_")
}

fn not_toml(file: &File, error: &toml::de::Error) -> Error {
    let line = error.span().map(|span| line_of(&file.text, span.start));
    Error {
        what: format!("the file is not TOML: {}", error.message().lines().next().unwrap_or("")),
        place: Some(line.map_or(file.name.clone(), |line| format!("{}:{line}", file.name))),
        hint: None,
    }
}

fn unknown(path: &[String], source: &Source) -> Error {
    let key = path.join(".");
    if is_section(path) {
        return Error {
            what: format!("`{key}` is a section, not a value"),
            place: Some(source.to_string()),
            hint: Some(format!("write [{key}], and its keys below it")),
        };
    }
    let nearest = nearest(path);
    let hint = match source {
        Source::Environment(_) => {
            let variable = nearest.to_ascii_uppercase().replace('.', "__").replace('-', "_");
            format!("the nearest key is `{nearest}`, {PREFIX}{variable}")
        }
        _ => format!("the nearest key is `{nearest}`"),
    };
    let what = format!("unknown key `{key}`");
    Error { what, place: Some(source.to_string()), hint: Some(hint) }
}

fn bad_value(
    path: &[String],
    source: &Source,
    text: &str,
    is_secret: bool,
    refused: Refused,
) -> Error {
    let key = path.join(".");
    let what = match is_secret {
        true => format!("`{key}` {}", refused.why),
        false => format!("`{key}` is `{}`, which {}", shortened(text), refused.why),
    };
    Error { what, place: Some(source.to_string()), hint: Some(refused.hint.to_owned()) }
}

/// The line of the byte at `position`, counted from 1.
fn line_of(text: &str, position: usize) -> usize {
    let before = &text.as_bytes()[..position.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// A value without its spans. What does not fit its TOML type becomes text and is refused.
fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.to_string()), Value::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or_else(|_| Value::String(number.to_string()), Value::Float)
        }
        DeValue::Boolean(is) => Value::Boolean(*is),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(items) => Value::Array(items.iter().map(|i| plain(i.get_ref())).collect()),
        DeValue::Table(table) => {
            let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                (str::to_owned(AsRef::<str>::as_ref(key.get_ref())), plain(value.get_ref()))
            };
            Value::Table(table.iter().map(entry).collect())
        }
    }
}

/// A value as a message shows it.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The first line of `text`, at most 60 characters of it.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    match line.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::{
        effective::{Show, effective},
        model::{Policy, Shards},
        units::Size,
    };
    use crate::storage::random::Random;

    fn file(text: &str) -> Option<File> {
        Some(File { name: "kithara.toml".into(), text: text.into() })
    }

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    fn flag(name: &str, key: &str, text: &str) -> Flag {
        let key = key.split('.').map(str::to_owned).collect();
        Flag { name: name.into(), key, text: text.into(), adds: false }
    }

    fn from_file(text: &str) -> Result<Merged, Error> {
        Merged::new(&Inputs { file: file(text), ..Inputs::default() })
    }

    fn from_variable(name: &str, text: &str) -> Result<Merged, Error> {
        Merged::new(&Inputs { environment: variables(&[(name, text)]), ..Inputs::default() })
    }

    /// Each source sets all that the ones before it set, but one key.
    #[test]
    fn a_later_source_wins_key_by_key() {
        let merged = Merged::new(&Inputs {
            file: file("memory = \"2GiB\"\nshards = 2\n[cache]\nsize = \"1GiB\""),
            environment: variables(&[("KITHARA_SHARDS", "3"), ("KITHARA_CACHE__SIZE", "2GiB")]),
            flags: vec![flag("--cache-size", "cache.size", "3GiB")],
        })
        .unwrap();
        assert_eq!(merged.config.memory, Size(2 << 30));
        assert_eq!(merged.config.shards, Shards::Count(3));
        assert_eq!(merged.config.cache.size, Size(3 << 30));
        assert_eq!(merged.config.cache.policy, Policy::S3Fifo);
        let sources = ["memory", "shards", "cache.size", "cache.policy"];
        let sources: Vec<_> = sources.map(|key| merged.source(key).to_string()).into();
        assert_eq!(sources, ["kithara.toml:1", "KITHARA_SHARDS", "--cache-size", "default"]);
    }

    #[test]
    fn the_documented_file_is_read() {
        let text = include_str!("documented.toml");
        let config = from_file(text).unwrap().config;
        let origin = &config.origin["music"];
        assert_eq!(origin.base.as_str(), "https://cdn.example.com/audio/");
        assert_eq!(origin.headers["authorization"].expose(), "Bearer ...");
        assert_eq!(config.library["local"].dir.to_str(), Some("/srv/music"));
        assert_eq!(config.signing.keys["k1"].expose(), "base64...");
        let defaults = Config {
            origin: config.origin.clone(),
            library: config.library.clone(),
            signing: config.signing.clone(),
            ..Config::default()
        };
        assert_eq!(config, defaults, "the documented values are the defaults");
    }

    #[test]
    fn admin_is_an_address_or_a_section() {
        let address: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let short = from_file("admin = \"127.0.0.1:9\"").unwrap();
        assert_eq!(short.config.admin.listen, address);
        let long = from_file("[admin]\nlisten = \"127.0.0.1:9\"\ntoken = \"t\"").unwrap();
        assert_eq!(long.config.admin.listen, address);
        assert_eq!(long.config.admin.token.unwrap().expose(), "t");
        let merged = from_variable("KITHARA_ADMIN", "127.0.0.1:9").unwrap();
        assert_eq!(merged.config.admin.listen, address);
        assert_eq!(merged.source("admin.listen").to_string(), "KITHARA_ADMIN");
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_key() {
        let error = from_file("shards = 1\n\n[cache]\nsise = \"1GiB\"\n").unwrap_err();
        assert_eq!(error.what, "unknown key `cache.sise`");
        assert_eq!(error.place.as_deref(), Some("kithara.toml:4"));
        assert_eq!(error.hint.as_deref(), Some("the nearest key is `cache.size`"));
    }

    #[test]
    fn an_unknown_variable_names_the_nearest_variable() {
        let error = from_variable("KITHARA_CACHE_DIR", "x").unwrap_err();
        assert_eq!(error.place.as_deref(), Some("KITHARA_CACHE_DIR"));
        let hint = "the nearest key is `cache.dir`, KITHARA_CACHE__DIR";
        assert_eq!(error.hint.as_deref(), Some(hint));
        from_variable("KITHARA_", "x").unwrap_err();
        from_variable("KITHARA___", "x").unwrap_err();
    }

    #[test]
    fn variables_that_kubernetes_sets_are_passed_over() {
        for name in ["KITHARA_SERVICE_HOST", "KITHARA_PORT_7700_TCP", "KITHARA_PORT", "PATH"] {
            from_variable(name, "tcp://10.0.0.1:7700").unwrap();
        }
    }

    #[test]
    fn a_section_written_as_a_value_is_explained() {
        let error = from_file("cache = \"/tmp\"").unwrap_err();
        assert_eq!(error.what, "`cache` is a section, not a value");
        assert_eq!(error.hint.as_deref(), Some("write [cache], and its keys below it"));
        from_file("origin = 5").unwrap_err();
        from_file("[origin]\nmusic = 5").unwrap_err();
        from_file("[listen]\na = 1").unwrap_err();
    }

    #[test]
    fn a_bad_value_says_what_to_write() {
        let error = from_file("[cache]\nsize = \"10 parsecs\"").unwrap_err();
        assert_eq!(error.what, "`cache.size` is `10 parsecs`, which is not a size");
        assert_eq!(error.place.as_deref(), Some("kithara.toml:2"));
        assert!(error.hint.unwrap().contains("10GiB"));
    }

    #[test]
    fn a_bad_secret_is_not_repeated() {
        let error = from_file("[signing]\nkeys = { k1 = 48151623 }").unwrap_err();
        assert!(!format!("{error:?}").contains("48151623"), "{error:?}");
        let error = from_variable("KITHARA_SIGNING__KEYS", "hush").unwrap_err();
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }

    #[test]
    fn the_environment_nests_into_named_sections_and_maps() {
        let merged = Merged::new(&Inputs {
            file: file("[origin.my-music]\nbase = \"http://a/\""),
            environment: variables(&[
                ("KITHARA_ORIGIN__MY_MUSIC__BASE", "http://b/"),
                ("KITHARA_ORIGIN__MY_MUSIC__HEADERS__AUTHORIZATION", "Bearer x"),
                ("KITHARA_ORIGIN__OTHER__BASE", "http://c/"),
            ]),
            flags: vec![],
        })
        .unwrap();
        let names: Vec<_> = merged.config.origin.keys().collect();
        assert_eq!(names, ["my-music", "other"]);
        let origin = &merged.config.origin["my-music"];
        assert_eq!(origin.base.as_str(), "http://b/");
        assert_eq!(origin.headers["authorization"].expose(), "Bearer x");
        let source = merged.source("origin.my-music.headers").to_string();
        assert_eq!(source, "KITHARA_ORIGIN__MY_MUSIC__HEADERS__AUTHORIZATION");
    }

    #[test]
    fn a_flag_may_add_to_what_the_file_lists() {
        let adding = Flag { adds: true, ..flag("--origin", "origin.a.allow_private", "::1/128") };
        let merged = Merged::new(&Inputs {
            file: file("[origin.a]\nallow_private = [\"10.0.0.0/8\"]"),
            flags: vec![adding],
            ..Inputs::default()
        })
        .unwrap();
        assert_eq!(merged.config.origin["a"].allow_private.len(), 2);
    }

    #[test]
    fn what_is_not_toml_names_its_line() {
        let error = from_file("listen = \"127.0.0.1:1\"\nshards == 2").unwrap_err();
        assert_eq!(error.place.as_deref(), Some("kithara.toml:2"));
        assert!(error.what.starts_with("the file is not TOML"), "{}", error.what);
        assert!(from_file("shards = 1\nshards = 2").is_err(), "a key is set once");
    }

    /// Bytes of a good file changed, doubled and cut: an answer each time, and never a panic.
    #[test]
    fn damaged_files_are_answered() {
        let good = include_str!("documented.toml").as_bytes();
        for seed in 1..=3_000 {
            let mut random = Random(seed);
            let mut bytes = good.to_vec();
            for _ in 0..1 + random.below(8) {
                let at = random.below(bytes.len() as u64) as usize;
                match random.below(4) {
                    0 => bytes[at] = random.next() as u8,
                    1 => bytes.truncate(at + 1),
                    2 => bytes.insert(at, b"[]{}\"'=.,#\n\\"[random.below(12) as usize]),
                    _ => bytes.extend_from_within(at..),
                }
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            match from_file(&text) {
                Err(error) => assert!(!error.what.is_empty(), "seed {seed}"),
                Ok(merged) => {
                    let shown = effective(&merged, Show::All);
                    from_file(&shown).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                    let _ = merged.config.validate(2);
                }
            }
            let _ = from_variable("KITHARA_ORIGIN__A__HEADERS", &text);
            let _ = from_variable("KITHARA_ORIGIN__A__METHODS", &text);
        }
    }
}
