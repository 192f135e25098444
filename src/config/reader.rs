//! From the TOML tree to raw shapes: which keys a table has, and of which type each value is. Unknown keys and wrong types
//! become problems; what was read well goes on to the checks, so that one pass over the file finds everything.
//!
//! What a value means is decided by the files that declare the shapes.

use std::{collections::HashSet, ops::Range};

use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Key, keys,
    problem::{Code, LineIndex, Place, Problem, Severity},
};
use crate::{ids::ChannelName, schedule::template::Secrets};

/// A value with its place, and the place of its key.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub value: T,
    pub span: Range<usize>,
    pub key: Range<usize>,
}

/// A problem whose place is still in bytes.
#[derive(Debug)]
struct Draft {
    problem: Problem,
    span: Option<Range<usize>>,
    related: Option<(Range<usize>, &'static str)>,
}

/// What is known while the file is read: its text, and the problems so far.
#[derive(Debug)]
pub(super) struct Reading<'t> {
    pub text: &'t str,
    /// The id of the schedule that is being read.
    pub schedule: Option<Box<str>>,
    /// The name of the key whose value is being read.
    pub key: String,
    /// Keys of the schedule that is being read which are there and could not be used, or were meant by one that is
    /// unknown: they are not missing as well.
    pub unused: Vec<String>,
    /// Templates of the schedule that is being read, each with its place.
    pub templates: Vec<(String, Range<usize>)>,
    /// Stand-ins for the secrets that templates can speak of.
    pub secrets: Secrets,
    /// The channels that alarms can go to.
    pub channels: Vec<ChannelName>,
    drafts: Vec<Draft>,
    hidden: Vec<Range<usize>>,
}

impl<'t> Reading<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            schedule: None,
            key: String::new(),
            unused: Vec::new(),
            templates: Vec::new(),
            secrets: Secrets::new(),
            channels: Vec::new(),
            drafts: Vec::new(),
            hidden: Vec::new(),
        }
    }

    /// Adds a problem at a place.
    pub(super) fn add(&mut self, span: &Range<usize>, problem: Problem) {
        self.add_related(span, problem, None);
    }

    /// Adds a problem at a place, with another place that matters.
    pub(super) fn add_related(
        &mut self,
        span: &Range<usize>,
        problem: Problem,
        related: Option<(Range<usize>, &'static str)>,
    ) {
        let schedule = problem.schedule.clone().or_else(|| self.schedule.clone());
        self.drafts.push(Draft { problem: Problem { schedule, ..problem }, span: Some(span.clone()), related });
    }

    /// Adds the problem of a value whose type does not fit the key that is being read.
    pub(super) fn wrong_type(&mut self, span: &Range<usize>, expected: &str, value: &DeValue<'_>, hint: Option<&str>) {
        let message = format!("`{}` takes {expected}, and this is {}", self.key, described(value));
        let problem = Problem::error(Code::WrongType, message);
        self.add(span, Problem { hint: hint.map(str::to_owned), ..problem });
    }

    /// Adds the problem of a value that its key does not take: `what` follows the key's name.
    pub(super) fn bad<T>(&mut self, at: &At<T>, what: &str) {
        let problem = Problem::error(Code::BadValue, format!("`{}` {what}", self.name(&at.key)));
        self.add(&at.span, problem);
    }

    /// The name of a key, from its place.
    pub(super) fn name(&self, key: &Range<usize>) -> &'t str {
        self.text.get(key.clone()).unwrap_or("the key").trim_matches(['"', '\''])
    }

    /// What lies there may be a secret: it is blanked out wherever the text is shown.
    pub(super) fn hide(&mut self, span: &Range<usize>) {
        self.hidden.push(span.clone());
    }

    /// The same for everything that is inside a value; the span of a table is its header alone.
    pub(super) fn hide_value(&mut self, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => table.iter().for_each(|(_, inner)| self.hide_value(inner)),
            DeValue::Array(array) => array.iter().for_each(|inner| self.hide_value(inner)),
            _ => self.hide(&value.span()),
        }
    }

    /// Whether a key is there after all, though its value could not be used.
    pub(super) fn is_unused(&self, key: &str) -> bool {
        self.unused.iter().any(|unused| unused == key)
    }

    /// Whether there is anything to tell so far.
    pub(super) fn has_problems(&self) -> bool {
        !self.drafts.is_empty()
    }

    /// Whether any error was found so far.
    pub(super) fn has_errors(&self) -> bool {
        self.drafts.iter().any(|draft| draft.problem.severity == Severity::Error)
    }

    /// Leaves out what only follows from the syntax errors: other problems on their lines, and keys that are missing
    /// because their line could not be read.
    pub(super) fn drop_consequences_of_syntax_errors(&mut self) {
        let index = LineIndex::new(self.text);
        let line = |draft: &Draft| draft.span.as_ref().map(|span| index.place(span).line);
        let broken: HashSet<_> =
            self.drafts.iter().filter(|draft| draft.problem.code == Code::Syntax).map(line).collect();
        if broken.is_empty() {
            return;
        }
        // Below a header that could not be read, keys are taken for those of the table before.
        let header_is_broken = broken
            .iter()
            .flatten()
            .any(|line| self.text.lines().nth(line - 1).is_some_and(|text| text.trim_start().starts_with('[')));
        let mut told = HashSet::new();
        self.drafts.retain(|draft| match draft.problem.code {
            Code::Syntax => told.insert(line(draft)),
            Code::MissingKey | Code::Conflict | Code::Surprise => false,
            Code::UnknownKey if header_is_broken => false,
            _ => !broken.contains(&line(draft)),
        });
    }

    /// The problems in the order of their places, and the text with secrets blanked out; `None`: there is nothing to blank out.
    pub(super) fn finish(self) -> (Vec<Problem>, Option<String>) {
        // The index of a large text is large, and most files have nothing to tell.
        let index = LineIndex::new(if self.drafts.is_empty() { "" } else { self.text });
        let place = |span: &Range<usize>| -> Place { index.place(span) };
        let mut list: Vec<Problem> = self
            .drafts
            .into_iter()
            .map(|draft| Problem {
                place: draft.span.as_ref().map(place),
                related: draft.related.as_ref().map(|(span, what)| Box::new((place(span), *what))),
                ..draft.problem
            })
            .collect();
        list.sort_by_key(|problem| problem.place.as_ref().map_or(0, |place| place.span.start));
        (list, (!self.hidden.is_empty()).then(|| blank_out(self.text, &self.hidden)))
    }
}

/// Every character of the ranges becomes as many `*` as it has bytes; line breaks stay.
fn blank_out(text: &str, ranges: &[Range<usize>]) -> String {
    let mut blanked = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        let hidden = character != '\n' && ranges.iter().any(|range| range.contains(&at));
        if hidden {
            blanked.extend(std::iter::repeat_n('*', character.len_utf8()));
        } else {
            blanked.push(character);
        }
    }
    blanked
}

/// A type that a value of the file can have.
pub(super) trait FromToml: Sized {
    /// What the key takes, to follow "expected".
    const EXPECTED: &'static str;

    /// Reads the value, or says what is wrong with it.
    fn from_toml(value: &DeValue<'_>, span: &Range<usize>, reading: &mut Reading<'_>) -> Option<Self>;

    /// What a JSON Schema says of the value. It may let through what [`Self::from_toml`] refuses, never the other way round.
    fn schema() -> Value;

    /// Where only certain words are possible: each with its meaning.
    fn words() -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
}

/// A key with its value, on the way to its shape.
pub(super) struct Entry<'a, 't> {
    pub key: &'a Spanned<std::borrow::Cow<'t, str>>,
    pub value: &'a Spanned<DeValue<'t>>,
}

impl Entry<'_, '_> {
    /// Reads the value as this type.
    pub(super) fn read<T: FromToml>(&self, reading: &mut Reading<'_>) -> Option<At<T>> {
        let span = self.value.span();
        reading.key.clear();
        reading.key.push_str(self.key.get_ref());
        let value = T::from_toml(self.value.get_ref(), &span, reading);
        if value.is_none() {
            reading.unused.push(self.key.get_ref().to_string());
        }
        Some(At { value: value?, span, key: self.key.span() })
    }
}

/// A table whose keys are known.
pub(super) trait Shape: Default {
    /// Its name in [`keys`].
    const TABLE: &'static str;

    /// Its keys, with those of its parts.
    fn keys() -> Vec<Key>;

    /// What its JSON Schema says beyond the keys: which are required, which exclude each other.
    fn rules() -> Value;

    /// Takes a value in; `false` if the key is not one of this shape.
    fn set(&mut self, entry: &Entry<'_, '_>, reading: &mut Reading<'_>) -> bool;
}

/// Reads a table as a shape; every key that it does not have is a problem.
pub(super) fn read_shape<S: Shape>(table: &DeTable<'_>, reading: &mut Reading<'_>) -> S {
    let mut shape = S::default();
    for (key, value) in table {
        let entry = Entry { key, value };
        if !shape.set(&entry, reading) {
            let span = key.span();
            if keys::may_hold_a_secret(S::TABLE, key.get_ref()) {
                reading.hide_value(value);
            }
            let (problem, meant) = keys::unknown(S::TABLE, key.get_ref());
            reading.unused.extend(meant);
            reading.add(&span, problem);
        }
    }
    shape
}

/// What a value is, in words.
fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// Declares a shape: a struct with one optional field for each key, the list of its keys, and the way from a table to it.
///
/// A key is `name: Type [least, most] = default`, the last two where there are such, under its documentation. Parser, JSON
/// Schema and handbook come from this one place; that bounds and default are those in force is held by a test.
macro_rules! shape {
    (
        $(#[$meta:meta])*
        $name:ident as $table:literal {
            $($(#[doc = $doc:literal])* $field:ident: $kind:ty $([$least:tt, $most:tt])? $(= $default:tt)?,)*
        }
        $(with { $($part:ident: $shape:ty,)* })?
        $(rules $rules:tt)?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default)]
        pub(super) struct $name {
            $($(#[doc = $doc])* pub $field: Option<$crate::config::reader::At<$kind>>,)*
            $($(pub $part: $shape,)*)?
        }

        impl $crate::config::reader::Shape for $name {
            const TABLE: &'static str = $table;

            fn keys() -> Vec<$crate::config::Key> {
                let own = vec![$($crate::config::Key {
                    name: stringify!($field),
                    doc: concat!($($doc, "\n"),*),
                    takes: <$kind as $crate::config::reader::FromToml>::EXPECTED,
                    words: <$kind as $crate::config::reader::FromToml>::words(),
                    bounds: [$((stringify!($least), stringify!($most)))?].first().copied(),
                    default: [$(stringify!($default))?].first().copied(),
                    schema: <$kind as $crate::config::reader::FromToml>::schema(),
                }),*];
                own.into_iter()$($(.chain(<$shape as $crate::config::reader::Shape>::keys()))*)?.collect()
            }

            fn rules() -> serde_json::Value {
                [$(serde_json::json!($rules))?].into_iter().next().unwrap_or_else(|| serde_json::json!({}))
            }

            fn set(
                &mut self,
                entry: &$crate::config::reader::Entry<'_, '_>,
                reading: &mut $crate::config::reader::Reading<'_>,
            ) -> bool {
                match entry.key.get_ref().as_ref() {
                    $(stringify!($field) => {
                        self.$field = entry.read(reading);
                        true
                    })*
                    _ => false $($(|| self.$part.set(entry, reading))*)?,
                }
            }
        }
    };
}

pub(super) use shape;

#[cfg(test)]
mod tests {
    use super::blank_out;

    #[test]
    fn secrets_are_blanked_out_byte_for_byte() {
        let text = "a = 'ä\nb'\nc";
        let blanked = blank_out(text, std::slice::from_ref(&(4..10)));
        assert_eq!(blanked, "a = ***\n**\nc");
        assert_eq!(blanked.len(), text.len());
    }
}
