//! Which keys there are, and the key that a misspelt one was meant to be.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! The only list of keys: setting, showing and "did you mean" all read it.

use super::{
    model::{Admin, Cache, Config, Library, Limits, Log, Origin, Signing},
    setting::Setting,
};

/// Settings under one heading. The keys of the top level have an empty path.
pub(crate) struct Section<'a> {
    pub(crate) path: Vec<String>,
    pub(crate) settings: Settings<'a>,
}

type Settings<'a> = Vec<(&'static str, &'a mut dyn Setting)>;

/// Lists the fields of a struct as settings; one that is forgotten does not compile.
macro_rules! settings {
    ($type:ident { $($name:ident),* $(,)? }) => {
        impl $type {
            fn settings(&mut self) -> Settings<'_> {
                let Self { $($name),* } = self;
                vec![$((stringify!($name), $name as &mut dyn Setting)),*]
            }
        }
    };
}

settings!(Admin { listen, token });
settings!(Log { level, format });
settings!(Cache { dir, size, policy, media_ttl, sync_interval });
settings!(Origin {
    base,
    allow_private,
    headers,
    key_headers,
    key_query,
    key_ignore,
    methods,
    forward_credentials,
});
settings!(Library { dir });
settings!(Signing { keys });
settings!(Limits {
    connections,
    connections_per_client,
    streams_per_client,
    header_bytes,
    header_fields,
    uri_bytes,
    header_timeout,
    idle_timeout,
    write_stall,
    min_write_rate,
    send_buffer,
    receive_buffer,
    ranges,
    playlist_bytes,
    playlist_lines,
    variants,
    key_bytes,
    init_bytes,
    segment_bytes,
    missing_segments,
    object_bytes,
    redirects,
    origin_connections,
    origin_idle_connections,
    origin_connect,
    origin_first_byte,
    origin_inactivity,
    origin_retries,
    origin_backoff,
    origin_backoff_max,
    scan_wait,
    scan_bytes,
    read_ahead,
    read_ahead_bytes,
    prefetch_queue,
    prefetch_connections,
    prefetch_rate,
    prefetch_retries,
    prefetch_backoff,
    prefetch_backoff_max,
    decode_share,
    stack_bytes,
    sample_table_bytes,
});

/// Sections that hold keys.
const PLAIN: &[&str] = &["admin", "log", "cache", "limits", "signing"];

/// Sections that hold named sections.
const NAMED: &[&str] = &["origin", "library"];

/// Limits that have a name and a default already, and whose enforcement comes with later work.
pub const UNENFORCED: [&str; 4] = [
    "limits.connections_per_client",
    "limits.streams_per_client",
    "limits.min_write_rate",
    "limits.ranges",
];

/// Whether `path` is a heading, whose keys follow one level deeper.
pub(crate) fn is_section(path: &[String]) -> bool {
    match path {
        [] => true,
        [one] => PLAIN.contains(&one.as_str()) || NAMED.contains(&one.as_str()),
        [one, _] => NAMED.contains(&one.as_str()),
        _ => false,
    }
}

impl Config {
    /// Every section with its settings, in the order of the file.
    pub(crate) fn sections(&mut self) -> Vec<Section<'_>> {
        let Self {
            listen,
            admin,
            shards,
            memory,
            shutdown_grace,
            log,
            cache,
            limits,
            origin,
            library,
            signing,
        } = self;
        let top: Settings<'_> = vec![
            ("listen", listen),
            ("shards", shards),
            ("memory", memory),
            ("shutdown_grace", shutdown_grace),
        ];
        let mut sections = vec![
            section(&[], top),
            section(&["admin"], admin.settings()),
            section(&["log"], log.settings()),
            section(&["cache"], cache.settings()),
        ];
        sections
            .extend(origin.iter_mut().map(|(name, o)| section(&["origin", name], o.settings())));
        sections
            .extend(library.iter_mut().map(|(name, l)| section(&["library", name], l.settings())));
        sections.push(section(&["signing"], signing.settings()));
        sections.push(section(&["limits"], limits.settings()));
        sections
    }

    /// Makes the named section `path` begins with, if it begins with one.
    pub(crate) fn make_named(&mut self, path: &[String]) {
        match path {
            [kind, name, ..] if kind == "origin" => {
                self.origin.entry(name.clone()).or_default();
            }
            [kind, name, ..] if kind == "library" => {
                self.library.entry(name.clone()).or_default();
            }
            _ => {}
        }
    }

    /// The setting at `path`. Named sections must have been made.
    pub(crate) fn setting(&mut self, path: &[String]) -> Option<&mut dyn Setting> {
        let (key, heading) = path.split_last()?;
        let section = self.sections().into_iter().find(|section| section.path == heading)?;
        section.settings.into_iter().find(|(name, _)| name == key).map(|(_, setting)| setting)
    }

    /// Every key, dotted.
    fn keys(&mut self) -> Vec<String> {
        let keys = |section: Section<'_>| {
            let dotted =
                move |name: &str| [&section.path[..], &[name.to_owned()]].concat().join(".");
            section.settings.into_iter().map(|(name, _)| dotted(name)).collect::<Vec<_>>()
        };
        self.sections().into_iter().flat_map(keys).collect()
    }
}

/// The key most like `path`, of those that exist; one word may also be meant as a heading.
pub(crate) fn nearest(path: &[String]) -> String {
    let mut config = Config::default();
    let name = path.get(1).filter(|_| path.len() > 2).map_or("NAME", String::as_str).to_owned();
    NAMED.iter().for_each(|kind| config.make_named(&[(*kind).to_owned(), name.clone()]));
    let wanted = path.join(".");
    let best = |key: &String| similarity(&wanted, key);
    let headings = PLAIN.iter().chain(NAMED).filter(|_| path.len() == 1);
    let keys = headings.map(|heading| (*heading).to_owned()).chain(config.keys());
    keys.max_by(|a, b| best(a).total_cmp(&best(b))).expect("there are keys")
}

/// How alike two dotted keys are. A right last word in a wrong place counts half: people
/// remember names better than headings.
fn similarity(a: &str, b: &str) -> f64 {
    let last = |key: &str| key.rsplit('.').next().unwrap_or("").to_owned();
    let whole = strsim::normalized_damerau_levenshtein(a, b);
    let word = strsim::normalized_damerau_levenshtein(&last(a), &last(b));
    (whole + word) / 2.0
}

fn section<'a>(path: &[&str], settings: Settings<'a>) -> Section<'a> {
    Section { path: path.iter().map(|part| (*part).to_owned()).collect(), settings }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(key: &str) -> Vec<String> {
        key.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn a_misspelt_key_finds_the_one_that_was_meant() {
        for (wrong, right) in [
            ("lisen", "listen"),
            ("limitz", "limits"),
            ("orign", "origin"),
            ("cache.sise", "cache.size"),
            ("cahce.size", "cache.size"),
            ("media_ttl", "cache.media_ttl"),
            ("limits.idle_timout", "limits.idle_timeout"),
            ("idle_timeout", "limits.idle_timeout"),
            ("origin.music.bas", "origin.music.base"),
            ("origin.music.keyheaders", "origin.music.key_headers"),
            ("origin.music.key_querry", "origin.music.key_query"),
            ("orign.music.base", "origin.music.base"),
            ("library.local.path", "library.local.dir"),
            ("signing.key", "signing.keys"),
        ] {
            assert_eq!(nearest(&path(wrong)), right);
        }
    }

    #[test]
    fn every_key_leads_to_a_setting() {
        let mut config = Config::default();
        config.make_named(&path("origin.music"));
        config.make_named(&path("library.local"));
        let keys = config.keys();
        assert!(keys.len() > 50);
        for key in keys {
            assert!(config.setting(&path(&key)).is_some(), "{key}");
        }
        assert!(config.setting(&path("cache")).is_none());
        assert!(config.setting(&[]).is_none());
    }
}
