//! Why a command did not do what it was asked, as its caller sees it.

use std::{fmt, process};

use crate::config;

/// What a command ends with. People script against these numbers; the names are `sysexits.h`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Ok = 0,
    /// It went wrong while running, or a check failed.
    Runtime = 1,
    /// The command line is wrong.
    Usage = 2,
    /// An origin cannot be reached (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// A file or device failed (`EX_IOERR`).
    Io = 74,
    /// The configuration is wrong (`EX_CONFIG`).
    Config = 78,
}

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    /// How the process ends.
    pub code: ExitCode,
    /// One sentence.
    pub what: String,
    /// The file and line, variable, flag, address or path it is about.
    pub place: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

impl Failure {
    /// A failure with nothing but its sentence.
    pub fn new(code: ExitCode, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), place: None, hint: None }
    }

    /// The same, about `place`.
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    /// The same, with what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The lines for a person: what, where, hint.
    pub fn report(&self) -> impl fmt::Display + '_ {
        Report(self)
    }
}

struct Report<'a>(&'a Failure);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.0.what)?;
        if let Some(place) = &self.0.place {
            write!(f, "\nwhere: {place}")?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, "\n hint: {hint}")?;
        }
        Ok(())
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        Self { code: ExitCode::Config, what: error.what, place: error.place, hint: error.hint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_people_script_against() {
        use ExitCode::*;
        let codes = [Ok, Runtime, Usage, Unavailable, Io, Config].map(|code| code as u8);
        assert_eq!(codes, [0, 1, 2, 69, 74, 78]);
    }

    #[test]
    fn a_report_has_a_line_for_each_part_that_is_known() {
        let failure = Failure::new(ExitCode::Io, "the disk is full");
        assert_eq!(failure.report().to_string(), "error: the disk is full");
        let failure = failure.at("/srv").hint("make room");
        let report = "error: the disk is full\nwhere: /srv\n hint: make room";
        assert_eq!(failure.report().to_string(), report);
    }

    #[test]
    fn a_bad_configuration_ends_with_78() {
        let error = config::Error { what: "no".into(), place: Some("f:1".into()), hint: None };
        let failure = Failure::from(error);
        assert_eq!((failure.code, failure.place.as_deref()), (ExitCode::Config, Some("f:1")));
    }
}
