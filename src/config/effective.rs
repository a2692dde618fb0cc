//! A merged configuration as a file, each value with where it came from.
//!
//! Pure: no I/O, no clock, no executor.
//!
//! It is TOML again: without its redacted secrets it reads back to the same configuration.

use std::fmt::Write;

use super::{
    keys::{Section, UNENFORCED},
    merge::{Merged, Source},
    setting::bare_or_quoted,
};

/// What is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Every key.
    All,
    /// Only what somebody set.
    Changed,
}

/// The configuration as TOML, each value followed by its source in a comment, which says so too
/// where the value has no effect yet. Secrets are redacted.
pub fn effective(merged: &Merged, show: Show) -> String {
    let mut config = merged.config.clone();
    let mut text = String::new();
    for section in config.sections() {
        let heading: Vec<_> = section.path.iter().map(|part| bare_or_quoted(part)).collect();
        let heading = heading.join(".");
        let lines = lines(merged, section, show);
        if lines.is_empty() {
            continue;
        }
        if !heading.is_empty() {
            let gap = if text.is_empty() { "" } else { "\n" };
            writeln!(text, "{gap}[{heading}]").expect("a string takes all");
        }
        write_aligned(&mut text, &lines);
    }
    text
}

/// `key = value` and its source, for each setting that is shown.
fn lines(merged: &Merged, section: Section<'_>, show: Show) -> Vec<(String, String)> {
    let heading = section.path.join(".");
    let mut lines = Vec::new();
    for (name, setting) in section.settings {
        let key = if heading.is_empty() { name.to_owned() } else { format!("{heading}.{name}") };
        let source = merged.source(&key);
        let Some(value) =
            setting.show().filter(|_| show == Show::All || *source != Source::Default)
        else {
            continue;
        };
        let lack = if UNENFORCED.contains(&key.as_str()) { ", not enforced yet" } else { "" };
        lines.push((format!("{name} = {value}"), format!("{source}{lack}")));
    }
    lines
}

/// Comments of one section stand below each other, as long as its lines are not too long.
fn write_aligned(text: &mut String, lines: &[(String, String)]) {
    const WIDEST: usize = 48;
    let widths = lines.iter().map(|(line, _)| line.chars().count());
    let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or(0);
    for (line, source) in lines {
        writeln!(text, "{line:width$}  # {source}").expect("a string takes all");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        merge::{File, Inputs},
        model::Config,
    };

    fn merged(text: &str) -> Merged {
        let file = Some(File { name: "kithara.toml".into(), text: text.into() });
        Merged::new(&Inputs { file, ..Inputs::default() }).unwrap()
    }

    /// `UPDATE_GOLDEN=1` writes the file anew, for a person to look at.
    #[test]
    fn the_defaults_look_as_they_are_written_down() {
        let text = effective(&Merged::default(), Show::All);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/effective.toml");
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(text, include_str!("effective.toml"));
    }

    #[test]
    fn what_is_shown_reads_back() {
        let text = "listen = \"[::1]:80\"\nshards = 3\n[origin.a]\nbase = \"http://a/\"\n\
             allow_private = [\"10.0.0.0/8\"]\n[library.b]\ndir = \"/srv/a \\\" b\"\n\
             [limits]\ndecode_share = 1\nscan_wait = \"7min\"";
        let first = merged(text);
        let again = merged(&effective(&first, Show::All));
        assert_eq!(again.config, first.config);
    }

    #[test]
    fn secrets_do_not_show() {
        let text = "[admin]\ntoken = \"hush1\"\n[origin.a]\nbase = \"http://a/\"\n\
             headers = { authorization = \"hush2\" }\nkey_headers = { x-key = \"hush4\" }\n\
             key_query = { token = \"hush5\" }\n[signing]\nkeys = { k1 = \"hush3\" }";
        let shown = effective(&merged(text), Show::All);
        assert!(!shown.contains("hush"), "{shown}");
        assert_eq!(shown.matches("<redacted>").count(), 5, "{shown}");
    }

    #[test]
    fn what_is_not_enforced_yet_is_said_wherever_limits_are() {
        let shown = effective(&merged("[limits]\nranges = 9\nconnections = 9"), Show::Changed);
        assert!(shown.contains("ranges = 9       # kithara.toml:2, not enforced yet\n"), "{shown}");
        assert!(shown.contains("connections = 9  # kithara.toml:3\n"), "{shown}");
        let readme = include_str!("../../README.md");
        let (_, lacks) = readme.split_once("## What it does not do yet").unwrap();
        for key in UNENFORCED {
            let name = key.strip_prefix("limits.").unwrap();
            assert!(lacks.contains(&format!("`{name}`")), "{key} is not in README.md");
            assert!(
                Config::default()
                    .setting(&key.split('.').map(str::to_owned).collect::<Vec<_>>())
                    .is_some()
            );
        }
    }

    #[test]
    fn only_what_was_set_shows_when_asked() {
        let shown = effective(&merged("[cache]\nsize = \"1GiB\""), Show::Changed);
        assert_eq!(shown, "[cache]\nsize = \"1GiB\"  # kithara.toml:2\n");
        assert_eq!(effective(&Merged::default(), Show::Changed), "");
    }
}
