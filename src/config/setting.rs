//! One value of the configuration: how it is set from a file or a text, and shown again.
//!
//! Pure: no I/O, no clock, no executor.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;
use toml::Value;
use url::Url;

use super::{
    model::{LogFormat, Policy, REDACTED, Secret, Shards},
    units::{Rate, Size, Time, Unreadable},
};

/// Why a value cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What follows after "which ".
    pub(crate) why: String,
    /// What to write instead.
    pub(crate) hint: &'static str,
}

/// A value with a place in the file.
pub(crate) trait Setting {
    /// Takes a value of the file.
    fn set(&mut self, value: &Value) -> Result<(), Refused>;

    /// Takes a text of the environment or of a flag.
    fn set_text(&mut self, text: &str) -> Result<(), Refused> {
        self.set(&Value::String(text.to_owned()))
    }

    /// Adds one element; a value that is no list is replaced.
    fn add(&mut self, text: &str) -> Result<(), Refused> {
        self.set_text(text)
    }

    /// Sets one entry of a map; only maps have entries.
    fn set_entry(&mut self, _name: &str, _text: &str) -> Option<()> {
        None
    }

    /// Whether the value must never be repeated in a message.
    fn is_secret(&self) -> bool {
        false
    }

    /// The value as TOML, secrets redacted; `None` if it is not set.
    fn show(&self) -> Option<String>;
}

fn refused(why: impl Into<String>, hint: &'static str) -> Refused {
    Refused { why: why.into(), hint }
}

fn quoted(text: impl ToString) -> String {
    Value::String(text.to_string()).to_string()
}

/// A TOML value written in an environment variable or a flag.
fn parsed(text: &str) -> Option<Value> {
    format!("value = {text}").parse::<toml::Table>().ok()?.remove("value")
}

impl From<Unreadable> for Refused {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Form(form) => refused(format!("is not {}", form.noun), form.hint),
            Unreadable::Large => refused(error.to_string(), "write a smaller one"),
        }
    }
}

/// Settings that are written as one quoted word in the file.
macro_rules! worded {
    ($($type:ty: $read:expr;)*) => {$(
        impl Setting for $type {
            fn set(&mut self, value: &Value) -> Result<(), Refused> {
                let read: fn(&Value) -> Result<$type, Refused> = $read;
                *self = read(value)?;
                Ok(())
            }

            fn show(&self) -> Option<String> {
                Some(quoted(self))
            }
        }
    )*};
}

worded! {
    Size: |value| match value {
        Value::Integer(bytes) => u64::try_from(*bytes).map(Size).map_err(|_| not_text(value)),
        _ => Ok(word(value)?.parse()?),
    };
    Rate: |value| Ok(word(value)?.parse()?);
    Time: |value| Ok(word(value)?.parse()?);
    String: |value| Ok(word(value)?.to_owned());
    SocketAddr: |value| word(value)?.parse().map_err(|_| {
        refused("is not an address", "write IP:PORT, like 127.0.0.1:7700 or 0.0.0.0:80")
    });
    Url: |value| Url::parse(word(value)?)
        .map_err(|error| refused(format!("is not a URL: {error}"), "write http(s)://HOST/PATH/"));
}

/// The text of a value that has to be one.
fn word(value: &Value) -> Result<&str, Refused> {
    value.as_str().ok_or_else(|| not_text(value))
}

fn not_text(value: &Value) -> Refused {
    let kind = match value {
        Value::Integer(number) if *number < 0 => "is negative".to_owned(),
        other => format!("is of type {}", other.type_str()),
    };
    refused(kind, "write it in quotes, like \"10GiB\", \"500ms\" or \"127.0.0.1:7700\"")
}

impl Setting for PathBuf {
    fn set(&mut self, value: &Value) -> Result<(), Refused> {
        *self = PathBuf::from(word(value)?);
        Ok(())
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self.display()))
    }
}

impl Setting for usize {
    fn set(&mut self, value: &Value) -> Result<(), Refused> {
        let number = value.as_integer().and_then(|number| usize::try_from(number).ok());
        *self = number.ok_or_else(|| refused("is not a count", "write a whole number"))?;
        Ok(())
    }

    fn set_text(&mut self, text: &str) -> Result<(), Refused> {
        *self = text.parse().map_err(|_| refused("is not a count", "write a whole number"))?;
        Ok(())
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for f64 {
    fn set(&mut self, value: &Value) -> Result<(), Refused> {
        let number = value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        *self = number
            .filter(|number| number.is_finite())
            .ok_or_else(|| refused("is not a number", "write a number, like 0.85"))?;
        Ok(())
    }

    fn set_text(&mut self, text: &str) -> Result<(), Refused> {
        self.set(&text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Float))
    }

    fn show(&self) -> Option<String> {
        Some(Value::Float(*self).to_string())
    }
}

impl Setting for bool {
    fn set(&mut self, value: &Value) -> Result<(), Refused> {
        *self = value.as_bool().ok_or_else(|| refused("is not a switch", "write true or false"))?;
        Ok(())
    }

    fn set_text(&mut self, text: &str) -> Result<(), Refused> {
        self.set(&text.parse().map_or_else(|_| Value::String(text.to_owned()), Value::Boolean))
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for Shards {
    fn set(&mut self, value: &Value) -> Result<(), Refused> {
        *self = match value {
            Value::Integer(count) => u16::try_from(*count).ok().map(Shards::Count),
            Value::String(text) if text == "auto" => Some(Shards::Auto),
            Value::String(text) => text.parse().ok().map(Shards::Count),
            _ => None,
        }
        .ok_or_else(|| refused("is not a number of shards", "write a number or \"auto\""))?;
        Ok(())
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            Shards::Auto => quoted("auto"),
            Shards::Count(count) => count.to_string(),
        })
    }
}

impl Setting for Policy {
    fn set(&mut self, value: &Value) -> Result<(), Refused> {
        *self = match value.as_str() {
            Some("s3-fifo") => Policy::S3Fifo,
            Some("lru") => Policy::Lru,
            _ => return Err(refused("is not a policy", "write \"s3-fifo\" or \"lru\"")),
        };
        Ok(())
    }

    fn show(&self) -> Option<String> {
        Some(quoted(match self {
            Policy::S3Fifo => "s3-fifo",
            Policy::Lru => "lru",
        }))
    }
}

impl Setting for LogFormat {
    fn set(&mut self, value: &Value) -> Result<(), Refused> {
        *self = match value.as_str() {
            Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            _ => return Err(refused("is not a format", "write \"text\" or \"json\"")),
        };
        Ok(())
    }

    fn show(&self) -> Option<String> {
        Some(quoted(match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }))
    }
}

impl Setting for Option<Secret> {
    fn set(&mut self, value: &Value) -> Result<(), Refused> {
        *self = Some(Secret::new(word(value)?));
        Ok(())
    }

    fn is_secret(&self) -> bool {
        true
    }

    fn show(&self) -> Option<String> {
        self.as_ref().map(|_| quoted(REDACTED))
    }
}

/// A list element; in a text, elements stand between commas.
trait Element: Sized + PartialEq + std::fmt::Display {
    fn read(text: &str) -> Result<Self, Refused>;
}

impl Element for String {
    fn read(text: &str) -> Result<Self, Refused> {
        Ok(text.to_owned())
    }
}

impl Element for IpNet {
    fn read(text: &str) -> Result<Self, Refused> {
        // One address is a network of itself, as firewalls have it.
        let whole = || text.parse().map(|address: IpAddr| IpNet::from(address));
        text.parse().or_else(|_| whole()).map_err(|_| {
            refused("is not a list of networks", "write CIDRs, like [\"127.0.0.0/8\", \"::1/128\"]")
        })
    }
}

impl<T: Element> Setting for Vec<T> {
    fn set(&mut self, value: &Value) -> Result<(), Refused> {
        let list = value.as_array().ok_or_else(|| {
            refused(format!("is of type {}", value.type_str()), "write a list, like [\"a\", \"b\"]")
        })?;
        *self = list.iter().map(|item| T::read(word(item)?)).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn set_text(&mut self, text: &str) -> Result<(), Refused> {
        if let Some(list @ Value::Array(_)) = parsed(text) {
            return self.set(&list);
        }
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        *self = items.map(T::read).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn add(&mut self, text: &str) -> Result<(), Refused> {
        let item = T::read(text)?;
        if !self.contains(&item) {
            self.push(item);
        }
        Ok(())
    }

    fn show(&self) -> Option<String> {
        let items: Vec<_> = self.iter().map(quoted).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

impl Setting for BTreeMap<String, Secret> {
    fn set(&mut self, value: &Value) -> Result<(), Refused> {
        let table = value.as_table().ok_or_else(|| {
            refused("is not a table", "write names and texts, like { name = \"value\" }")
        })?;
        let entry = |(name, value): (&String, &Value)| {
            let text = word(value).map_err(|_| not_a_secret())?;
            Ok::<_, Refused>((name.clone(), Secret::new(text)))
        };
        *self = table.iter().map(entry).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn set_text(&mut self, text: &str) -> Result<(), Refused> {
        self.set(&parsed(text).unwrap_or_else(|| Value::String(String::new())))
    }

    fn set_entry(&mut self, name: &str, text: &str) -> Option<()> {
        self.insert(name.to_owned(), Secret::new(text));
        Some(())
    }

    fn is_secret(&self) -> bool {
        true
    }

    fn show(&self) -> Option<String> {
        let entry = |name: &String| format!("{} = {}", bare_or_quoted(name), quoted(REDACTED));
        let entries: Vec<_> = self.keys().map(entry).collect();
        Some(match entries.is_empty() {
            true => "{}".to_owned(),
            false => format!("{{ {} }}", entries.join(", ")),
        })
    }
}

fn not_a_secret() -> Refused {
    refused("has an entry that is not a text", "write names and texts, like { name = \"value\" }")
}

/// A key as TOML has it: bare where it may be.
pub(crate) fn bare_or_quoted(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_from_commas_or_from_toml() {
        let mut list: Vec<String> = Vec::new();
        list.set_text("PUT, POST").unwrap();
        assert_eq!(list, ["PUT", "POST"]);
        list.set_text(r#"["DELETE"]"#).unwrap();
        assert_eq!(list, ["DELETE"]);
        list.set_text("").unwrap();
        assert!(list.is_empty());
    }

    #[test]
    fn one_address_is_a_network_of_itself() {
        let mut list: Vec<IpNet> = Vec::new();
        list.set_text("127.0.0.1,10.0.0.0/8").unwrap();
        assert_eq!(list.show().unwrap(), r#"["127.0.0.1/32", "10.0.0.0/8"]"#);
        list.add("127.0.0.1/32").unwrap();
        assert_eq!(list.len(), 2, "what is there is not added twice");
        assert!(list.set_text("localhost").is_err());
    }

    #[test]
    fn a_map_shows_its_names_and_hides_its_values() {
        let mut map: BTreeMap<String, Secret> = BTreeMap::new();
        map.set_text(r#"{ authorization = "Bearer x", "a b" = "y" }"#).unwrap();
        let shown = map.show().unwrap();
        assert_eq!(shown, r#"{ "a b" = "<redacted>", authorization = "<redacted>" }"#);
        assert_eq!(map["authorization"].expose(), "Bearer x");
    }

    #[test]
    fn a_plain_number_is_a_size_in_bytes_but_no_time() {
        let mut size = Size(0);
        size.set(&Value::Integer(4096)).unwrap();
        assert_eq!(size, Size(4096));
        assert_eq!(size.set(&Value::Integer(-1)).unwrap_err().why, "is negative");
        assert!(Time::default().set(&Value::Integer(5)).is_err());
    }

    #[test]
    fn a_policy_is_read_by_the_name_it_shows() {
        let mut policy = Policy::S3Fifo;
        for (name, meant) in [("lru", Policy::Lru), ("s3-fifo", Policy::S3Fifo)] {
            policy.set(&Value::String(name.into())).unwrap();
            assert_eq!((policy, policy.show().unwrap()), (meant, quoted(name)));
        }
        let refused = policy.set(&Value::String("LRU".into())).unwrap_err();
        assert_eq!((policy, refused.why.as_str()), (Policy::S3Fifo, "is not a policy"));
    }

    #[test]
    fn a_number_in_quotes_is_no_number_in_the_file() {
        let text = Value::String("5".into());
        assert!(0_usize.set(&text).is_err());
        assert!(0_usize.set_text("5").is_ok());
        assert!(false.set(&Value::String("true".into())).is_err());
        assert!(0.5_f64.set_text("nan").is_err());
    }
}
