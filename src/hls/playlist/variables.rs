//! Variables of a playlist (EXT-X-DEFINE): `{$name}` stands for a value.
//!
//! Pure: no I/O, no clock, no executor.

use std::borrow::Cow;

/// How many there may be.
pub(super) const VARIABLES: usize = 64;

/// Names with what they stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables(Vec<(Box<str>, Box<str>)>);

impl Variables {
    /// What `name` stands for.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| **key == *name).map(|(_, value)| &**value)
    }

    /// Adds one; false if the name is taken or there are as many as there may be.
    pub(super) fn define(&mut self, name: &str, value: &str) -> bool {
        let has_room = self.0.len() < VARIABLES && self.get(name).is_none();
        if has_room {
            self.0.push((name.into(), value.into()));
        }
        has_room
    }

    /// `text` with each variable replaced; what was put in is not looked at again.
    pub(super) fn replace<'a>(
        &self,
        text: &'a str,
        most_bytes: usize,
    ) -> Result<Cow<'a, str>, Unreplaced> {
        let (mut replaced, mut left) = (String::new(), text);
        while let Some((before, name, after)) = reference(left) {
            let value = self.get(name).ok_or(Unreplaced::Undefined)?;
            if replaced.len() + before.len() + value.len() > most_bytes {
                return Err(Unreplaced::Long);
            }
            replaced.extend([before, value]);
            left = after;
        }
        if replaced.len() + left.len() > most_bytes {
            return Err(Unreplaced::Long);
        }
        // A text of nothing but empty values is as long as one without a variable.
        Ok(match left.len() == text.len() {
            true => Cow::Borrowed(text),
            false => Cow::Owned(replaced + left),
        })
    }
}

/// Why a text cannot be replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreplaced {
    /// It has a variable that nobody defined.
    Undefined,
    /// It would be longer than it may be.
    Long,
}

/// The first variable in `text`, with what stands before and after it.
fn reference(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = text[from..].find("{$") {
        let (before, rest) = text.split_at(from + at);
        let end = rest[2..].find(|c: char| !is_of_name(c)).unwrap_or(rest.len() - 2);
        let (name, rest) = rest[2..].split_at(end);
        if let Some(after) = rest.strip_prefix('}').filter(|_| !name.is_empty()) {
            return Some((before, name, after));
        }
        from = before.len() + 2;
    }
    None
}

/// Whether a name may have that character.
pub(super) fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Variables {
        let mut variables = Variables::default();
        assert!(variables.define("a", "1") && variables.define("b-_2", "{$a}"));
        variables
    }

    #[test]
    fn variables_are_replaced_once_and_not_in_what_they_stand_for() {
        let replace = |text: &str| two().replace(text, 100).map(Cow::into_owned);
        assert_eq!(replace("x{$a}y{$b-_2}{$a}"), Ok("x1y{$a}1".into()));
        for text in ["", "plain", "{$}", "{$a", "{$a b}", "{a}", "$a", "{{$ä}"] {
            assert_eq!(replace(text).as_deref(), Ok(text));
        }
        assert_eq!(replace("{$x{$a}"), Ok("{$x1".into()));
        assert_eq!(replace("{$c}"), Err(Unreplaced::Undefined));
    }

    #[test]
    fn what_they_become_is_bounded() {
        let mut variables = two();
        assert_eq!(variables.replace("{$b-_2}{$b-_2}", 7), Err(Unreplaced::Long));
        assert_eq!(variables.replace("12345678", 7), Err(Unreplaced::Long));
        assert!(!variables.define("a", "again"));
        let taken = (0..100).filter(|n| variables.define(&n.to_string(), "")).count();
        assert_eq!(taken, VARIABLES - 2);
        assert_eq!(variables.replace("{$7}", 7), Ok("".into()));
    }
}
