//! Values as the database has them: instants and words as text, and back. A text that cannot be read back means that the
//! database was damaged or changed by hand.

use chrono::{DateTime, Utc};
use rusqlite::Row;

use super::HistoryError;
use crate::clock::parse_rfc3339;

/// Reads one column.
pub(super) fn get<T: rusqlite::types::FromSql>(row: &Row<'_>, column: &str) -> Result<T, HistoryError> {
    row.get(column).map_err(|error| match error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => HistoryError::Damaged(format!("column {column}: {error}")),
        other => HistoryError::Sqlite { doing: "read", cause: other },
    })
}

/// Reads a text column as a value.
pub(super) fn parsed<T>(row: &Row<'_>, column: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, HistoryError> {
    optional(row, column, parse)?.ok_or_else(|| HistoryError::Damaged(format!("column {column} is empty")))
}

/// Reads a text column that may be NULL as a value.
pub(super) fn optional<T>(
    row: &Row<'_>,
    column: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, HistoryError> {
    let text: Option<String> = get(row, column)?;
    text.map(|text| parse(&text).ok_or_else(|| HistoryError::Damaged(format!("column {column} has {text:?}"))))
        .transpose()
}

/// Reads an instant.
pub(super) fn instant(row: &Row<'_>, column: &str) -> Result<DateTime<Utc>, HistoryError> {
    parsed(row, column, parse_rfc3339)
}

/// Reads an instant that may be NULL.
pub(super) fn optional_instant(row: &Row<'_>, column: &str) -> Result<Option<DateTime<Utc>>, HistoryError> {
    optional(row, column, parse_rfc3339)
}

/// Reads JSON that may be NULL.
pub(super) fn optional_json<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    column: &str,
) -> Result<Option<T>, HistoryError> {
    optional(row, column, |text| serde_json::from_str(text).ok())
}

/// The longest beginning of `text` that has at most `bytes_max` bytes and does not cut a character in two.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
