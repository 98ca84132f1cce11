//! The report on a run, in three forms.

mod chart;
mod data;
mod html;
mod space_map;
mod text;

use anyhow::{Context, Result};

pub(crate) use data::{
    Area, Audit, Count, Ending, Hotplug, Machine, Moment, Owned, Process, Report, Resident, Walk, Zone,
};

/// How the report is given, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For reading.
    Text(Place),
    /// For programs.
    Json(Place),
    /// For looking at.
    Html(Place),
    /// Not at all.
    None,
}

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Standard error: standard output is the program's.
    Stderr,
    /// A file.
    File(String),
}

impl std::str::FromStr for Form {
    type Err = String;

    /// Reads `text`, `json`, `html` or `none`, the first three perhaps with `=FILE`.
    fn from_str(argument: &str) -> Result<Self, String> {
        let (form, place) = match argument.split_once('=') {
            Some((_, "")) => return Err("the file after `=` is missing".into()),
            Some((form, file)) => (form, Some(Place::File(file.into()))),
            None => (argument, None),
        };
        match (form, place) {
            ("text", place) => Ok(Self::Text(place.unwrap_or(Place::Stderr))),
            ("json", place) => Ok(Self::Json(place.unwrap_or(Place::Stderr))),
            // A page on a terminal helps nobody.
            ("html", place) => Ok(Self::Html(place.unwrap_or(Place::File("foliant.html".into())))),
            ("none", None) => Ok(Self::None),
            _ => Err("expected text, json, html or none; the first three may add =FILE".into()),
        }
    }
}

/// Gives the report as asked.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn give(report: &Report, form: &Form) -> Result<()> {
    let (body, place) = match form {
        // Whoever asked for a walk wants to see it.
        Form::None => {
            eprint!("{}", text::walks(report));
            return Ok(());
        }
        Form::Text(place) => (text::render(report), place),
        Form::Json(place) => (serde_json::to_string_pretty(report)? + "\n", place),
        Form::Html(place) => (html::render(report), place),
    };
    match place {
        Place::Stderr => {
            eprint!("{body}");
            Ok(())
        }
        Place::File(file) => std::fs::write(file, body).with_context(|| format!("cannot write {file}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_may_name_a_file() {
        assert_eq!("json=a=b".parse(), Ok(Form::Json(Place::File("a=b".into()))));
        assert_eq!("text".parse(), Ok(Form::Text(Place::Stderr)));
        assert!("none=x".parse::<Form>().is_err());
        assert!("html=".parse::<Form>().is_err());
        assert!("xml".parse::<Form>().is_err());
    }
}
