//! What must hold between the values of a configuration.
//!
//! Pure: no I/O, no clock, no executor.

use std::{net::SocketAddr, time::Duration};

use super::model::{Config, Limits, Origin, Secret};

/// The least memory of a shard: ten streams at full read depth with their decoders.
pub const SHARD_MEMORY_MIN_BYTES: u64 = 16 << 20;

/// The least a cache is worth its bookkeeping: four volumes of 4 MiB.
pub const CACHE_SIZE_MIN_BYTES: u64 = 16 << 20;

/// Characters of a base64 key of 128 bits.
const SIGNING_KEY_MIN_CHARACTERS: usize = 22;

/// The first relation that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Broken {
    /// One sentence.
    pub what: String,
    /// The dotted key that should be changed.
    pub key: String,
}

type Verdict = Result<(), Broken>;

impl Config {
    /// Checks what must hold between the values, on a machine that gives this process `cores`.
    ///
    /// # Errors
    /// The first relation that is broken.
    pub fn validate(&self, cores: usize) -> Verdict {
        self.listeners()?;
        self.budgets(cores)?;
        self.names()?;
        self.origin.iter().try_for_each(|(name, origin)| validate_origin(name, origin))?;
        self.signing.keys.iter().try_for_each(|(id, key)| signing_key(id, key))?;
        self.limits.validate()
    }

    fn listeners(&self) -> Verdict {
        let admin = self.admin.listen;
        ensure(!meet(self.listen, admin), "admin.listen", || {
            format!("`listen` and `admin` are both on port {}", admin.port())
        })?;
        let token = self.admin.token.as_ref().map_or("", Secret::expose);
        // Whoever is told of the token would find that none is enforced yet.
        ensure(admin.ip().is_loopback() || !token.is_empty(), "admin.listen", || {
            format!("`admin` is {admin}, which others can reach; it has to be a loopback address")
        })
    }

    fn budgets(&self, cores: usize) -> Verdict {
        let shards = self.shard_count(cores);
        ensure(shards > 0, "shards", || "`shards` is 0; a node has at least one".into())?;
        let least = u64::from(shards) * SHARD_MEMORY_MIN_BYTES;
        // With more shards than cores it is those that are too many, however little memory there is.
        let blamed = if usize::from(shards) > cores { "shards" } else { "memory" };
        ensure(self.memory.0 >= least, blamed, || {
            let (memory, least) = (self.memory, super::Size(least));
            match blamed {
                "shards" => format!(
                    "`shards` is {shards}, for {cores} cores; so many need {least} of `memory`, which \
                     is {memory}"
                ),
                _ => {
                    format!("`memory` is {memory}, less than the {least} that {shards} shards need")
                }
            }
        })?;
        let size = self.cache.size;
        ensure(!self.cache.is_on() || size.0 >= CACHE_SIZE_MIN_BYTES, "cache.size", || {
            let least = super::Size(CACHE_SIZE_MIN_BYTES);
            format!("`cache.size` is {size}, less than {least}; 0B turns the cache off")
        })?;
        ensure(!self.cache.dir.as_os_str().is_empty(), "cache.dir", || {
            "`cache.dir` is empty".into()
        })?;
        ensure(!self.cache.sync_interval.0.is_zero(), "cache.sync_interval", || {
            "`cache.sync_interval` is 0s; data would be synced without end".into()
        })
    }

    fn names(&self) -> Verdict {
        let origins = self.origin.keys().map(|name| (name, "origin"));
        for (name, kind) in origins.chain(self.library.keys().map(|name| (name, "library"))) {
            let key = format!("{kind}.{name}");
            ensure(is_name(name), &key, || {
                format!("`{name}` is no name for an {kind}: a-z, 0-9, _ and - can be in it")
                    .replace("an library", "a library")
            })?;
            // `http:...` as a source would be a URL.
            ensure(!matches!(name.as_str(), "http" | "https"), &key, || {
                format!("`{name}` cannot be a name: `{name}:` begins a URL")
            })?;
        }
        let both = self.library.keys().find(|name| self.origin.contains_key(*name));
        match both {
            Some(name) => broken(
                &format!("library.{name}"),
                format!("`{name}` is an origin and a library; a name stands for one of them"),
            ),
            None => Ok(()),
        }
    }
}

fn validate_origin(name: &str, origin: &Origin) -> Verdict {
    let base = &origin.base;
    let key = format!("origin.{name}.base");
    ensure(base.scheme() != "unset", &key, || format!("origin `{name}` has no `base`"))?;
    ensure(matches!(base.scheme(), "http" | "https"), &key, || {
        format!("the base of origin `{name}` is not http:// or https://")
    })?;
    ensure(base.username().is_empty() && base.password().is_none(), &key, || {
        format!("the base of origin `{name}` has a password in it; use `headers`")
    })?;
    ensure(base.query().is_none() && base.fragment().is_none(), &key, || {
        format!("the base of origin `{name}` has a query or fragment; paths are appended to it")
    })?;
    ensure(base.path().ends_with('/'), &key, || {
        format!("the base of origin `{name}` does not end in `/`: {base}")
    })?;
    for (setting, headers) in [("headers", &origin.headers), ("key_headers", &origin.key_headers)] {
        let key = format!("origin.{name}.{setting}");
        headers.iter().try_for_each(|(field, value)| header(&key, field, value))?;
    }
    ensure(!origin.key_query.contains_key(""), &format!("origin.{name}.key_query"), || {
        "a parameter of a query has a name".to_owned()
    })?;
    origin.methods.iter().try_for_each(|method| unsafe_method(name, method))
}

fn header(key: &str, field: &str, value: &Secret) -> Verdict {
    ensure(http::HeaderName::try_from(field).is_ok(), key, || {
        format!("`{field}` is no name for a header")
    })?;
    ensure(http::HeaderValue::from_str(value.expose()).is_ok(), key, || {
        format!("the value of header `{field}` has characters that no header can have")
    })
}

/// GET, HEAD and OPTIONS are always answered here, and CONNECT and TRACE never.
fn unsafe_method(origin: &str, method: &str) -> Verdict {
    let is_own = matches!(method, "GET" | "HEAD" | "OPTIONS" | "CONNECT" | "TRACE");
    let is_token = http::Method::from_bytes(method.as_bytes()).is_ok();
    let is_upper = !method.bytes().any(|byte| byte.is_ascii_lowercase());
    ensure(is_token && is_upper && !is_own, &format!("origin.{origin}.methods"), || {
        format!("`{method}` is no method that can be passed through")
    })
}

fn signing_key(id: &str, key: &Secret) -> Verdict {
    let text = key.expose().trim_end_matches('=');
    let is_base64 = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/-_".contains(&b));
    let is_good = is_base64 && text.len() >= SIGNING_KEY_MIN_CHARACTERS && is_name(id);
    ensure(is_good, "signing.keys", || {
        format!(
            "signing key `{id}` is not base64 of at least 16 bytes, under a name of a-z, 0-9, _, -"
        )
    })
}

impl Limits {
    fn validate(&self) -> Verdict {
        for (name, count) in [
            ("connections", self.connections),
            ("connections_per_client", self.connections_per_client),
            ("streams_per_client", self.streams_per_client),
            ("header_fields", self.header_fields),
            ("ranges", self.ranges),
            ("origin_connections", self.origin_connections),
            ("prefetch_connections", self.prefetch_connections),
        ] {
            ensure(count > 0, &format!("limits.{name}"), || {
                format!("`limits.{name}` is 0, so nothing could be served")
            })?;
        }
        for (name, time) in [
            ("header_timeout", self.header_timeout),
            ("idle_timeout", self.idle_timeout),
            ("write_stall", self.write_stall),
            ("origin_connect", self.origin_connect),
            ("origin_first_byte", self.origin_first_byte),
            ("origin_inactivity", self.origin_inactivity),
        ] {
            ensure(time.0 > Duration::ZERO, &format!("limits.{name}"), || {
                format!("`limits.{name}` is 0s, so nothing could be served")
            })?;
        }
        self.orders()?;
        self.sizes()
    }

    /// Pairs of which one is part of the other. A part that nobody set is not held against a smaller
    /// whole: that bounds it anyway.
    fn orders(&self) -> Verdict {
        let default = Self::default();
        fn within<T: PartialOrd>(names: [&str; 2], part: &T, default: &T, whole: &T) -> Verdict {
            let [part_name, whole_name] = names;
            ensure(part <= whole || part == default, &format!("limits.{part_name}"), || {
                format!("`limits.{part_name}` is more than `limits.{whole_name}`")
            })
        }
        within(
            ["origin_idle_connections", "origin_connections"],
            &self.origin_idle_connections,
            &default.origin_idle_connections,
            &self.origin_connections,
        )?;
        within(
            ["uri_bytes", "header_bytes"],
            &self.uri_bytes,
            &default.uri_bytes,
            &self.header_bytes,
        )?;
        within(
            ["segment_bytes", "object_bytes"],
            &self.segment_bytes,
            &default.segment_bytes,
            &self.object_bytes,
        )?;
        within(
            ["origin_backoff", "origin_backoff_max"],
            &self.origin_backoff,
            &default.origin_backoff,
            &self.origin_backoff_max,
        )?;
        within(
            ["prefetch_backoff", "prefetch_backoff_max"],
            &self.prefetch_backoff,
            &default.prefetch_backoff,
            &self.prefetch_backoff_max,
        )
    }

    /// Bounds without which a part cannot work at all.
    fn sizes(&self) -> Verdict {
        for (name, size, least) in [
            ("header_bytes", self.header_bytes, 1 << 10),
            ("uri_bytes", self.uri_bytes, 256),
            ("send_buffer", self.send_buffer, 4 << 10),
            ("receive_buffer", self.receive_buffer, 4 << 10),
            ("object_bytes", self.object_bytes, 64 << 10),
            ("read_ahead_bytes", self.read_ahead_bytes, 64 << 10),
            // An unoptimised AAC decoder was seen to touch 211 KiB.
            ("stack_bytes", self.stack_bytes, 256 << 10),
            ("sample_table_bytes", self.sample_table_bytes, 4 << 10),
        ] {
            ensure(size.0 >= least, &format!("limits.{name}"), || {
                format!("`limits.{name}` is {size}, less than {}", super::Size(least))
            })?;
        }
        ensure(self.prefetch_rate.0 >= 1 << 10, "limits.prefetch_rate", || {
            format!("`limits.prefetch_rate` is {}, less than 1KiB/s", self.prefetch_rate)
        })?;
        let share = self.decode_share;
        ensure(share > 0.0 && share <= 1.0, "limits.decode_share", || {
            format!("`limits.decode_share` is {share}, which is no share of a core (0 to 1)")
        })
    }
}

/// Whether two listeners would take the same port. Port 0 is a free one each time.
fn meet(a: SocketAddr, b: SocketAddr) -> bool {
    let unspecified = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || unspecified)
}

fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    !name.is_empty() && name.bytes().all(fits)
}

fn ensure(holds: bool, key: &str, what: impl FnOnce() -> String) -> Verdict {
    match holds {
        true => Ok(()),
        false => broken(key, what()),
    }
}

fn broken(key: &str, what: String) -> Verdict {
    Err(Broken { what, key: key.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, Inputs, Merged};

    fn validate(text: &str) -> Verdict {
        let file = Some(File { name: "kithara.toml".into(), text: text.into() });
        Merged::new(&Inputs { file, ..Inputs::default() }).unwrap().config.validate(2)
    }

    #[test]
    fn the_defaults_hold() {
        Config::default().validate(2).unwrap();
        Config::default().validate(192).unwrap();
    }

    #[test]
    fn each_broken_relation_names_its_key() {
        let key = "0123456789abcdefABCDEF";
        for (text, wanted) in [
            ("listen = \"0.0.0.0:7711\"", "admin.listen"),
            ("listen = \"127.0.0.1:7711\"", "admin.listen"),
            ("admin = \"0.0.0.0:7711\"", "admin.listen"),
            ("[admin]\nlisten = \"192.0.2.1:7711\"\ntoken = \"\"", "admin.listen"),
            ("shards = 0", "shards"),
            ("memory = \"15MiB\"", "memory"),
            ("memory = \"31MiB\"\nshards = 2", "memory"),
            ("memory = \"128MiB\"\nshards = 9", "shards"),
            ("shards = 99", "shards"),
            ("[cache]\nsize = \"1MiB\"", "cache.size"),
            ("[cache]\ndir = \"\"", "cache.dir"),
            ("[cache]\nsync_interval = \"0s\"", "cache.sync_interval"),
            ("[origin.a]", "origin.a.base"),
            ("[origin.a]\nbase = \"ftp://a/\"", "origin.a.base"),
            ("[origin.a]\nbase = \"http://a/b\"", "origin.a.base"),
            ("[origin.a]\nbase = \"http://a/?b=/\"", "origin.a.base"),
            ("[origin.a]\nbase = \"http://u:p@a/\"", "origin.a.base"),
            ("[origin.a]\nbase = \"http://a/\"\nheaders = { \"a b\" = \"c\" }", "origin.a.headers"),
            ("[origin.a]\nbase = \"http://a/\"\nheaders = { a = \"\\n\" }", "origin.a.headers"),
            (
                "[origin.a]\nbase = \"http://a/\"\nkey_headers = { \"a b\" = \"c\" }",
                "origin.a.key_headers",
            ),
            (
                "[origin.a]\nbase = \"http://a/\"\nkey_query = { \"\" = \"c\" }",
                "origin.a.key_query",
            ),
            ("[origin.a]\nbase = \"http://a/\"\nmethods = [\"GET\"]", "origin.a.methods"),
            ("[origin.a]\nbase = \"http://a/\"\nmethods = [\"put\"]", "origin.a.methods"),
            ("[library.A]\ndir = \"/\"", "library.A"),
            ("[library.https]\ndir = \"/\"", "library.https"),
            ("[origin.a]\nbase = \"http://a/\"\n[library.a]\ndir = \"/\"", "library.a"),
            ("[signing]\nkeys = { k = \"short\" }", "signing.keys"),
            ("[limits]\nconnections = 0", "limits.connections"),
            ("[limits]\nidle_timeout = \"0s\"", "limits.idle_timeout"),
            ("[limits]\norigin_idle_connections = 65", "limits.origin_idle_connections"),
            ("[limits]\nuri_bytes = \"17KiB\"", "limits.uri_bytes"),
            ("[limits]\nuri_bytes = \"4KiB\"\nheader_bytes = \"2KiB\"", "limits.uri_bytes"),
            ("[limits]\nsegment_bytes = \"5GiB\"", "limits.segment_bytes"),
            ("[limits]\norigin_backoff = \"6s\"", "limits.origin_backoff"),
            ("[limits]\nstack_bytes = \"1KiB\"", "limits.stack_bytes"),
            ("[limits]\nprefetch_backoff = \"61s\"", "limits.prefetch_backoff"),
            ("[limits]\nprefetch_rate = \"0B/s\"", "limits.prefetch_rate"),
            ("[limits]\ndecode_share = 1.5", "limits.decode_share"),
        ] {
            let broken = validate(text).expect_err(text);
            assert_eq!(broken.key, wanted, "{text}: {broken}");
        }
        validate(&format!("[signing]\nkeys = {{ k = \"{key}\" }}")).unwrap();
    }

    #[test]
    fn a_smaller_whole_is_not_refused_for_a_part_that_nobody_set() {
        for line in [
            "origin_connections = 8",
            "header_bytes = \"4KiB\"",
            "object_bytes = \"50MiB\"",
            "origin_backoff_max = \"50ms\"",
            "prefetch_backoff_max = \"50ms\"",
        ] {
            validate(&format!("[limits]\n{line}")).expect(line);
        }
    }

    #[test]
    fn ports_meet_only_where_the_addresses_do() {
        validate("listen = \"127.0.0.2:7711\"").unwrap();
        validate("listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"").unwrap();
        validate("[admin]\nlisten = \"0.0.0.0:9\"\ntoken = \"t\"").unwrap();
        validate("[cache]\nsize = 0").unwrap();
    }

    #[test]
    fn sentences_do_not_show_secrets() {
        for text in [
            "[origin.a]\nbase = \"http://u:hush@a/\"",
            "[origin.a]\nbase = \"http://a/\"\nheaders = { a = \"hush\\n\" }",
            "[origin.a]\nbase = \"http://a/\"\nkey_headers = { a = \"hush\\n\" }",
            "[signing]\nkeys = { k = \"hush\" }",
        ] {
            let broken = validate(text).unwrap_err();
            assert!(!broken.what.contains("hush"), "{broken}");
        }
    }
}
