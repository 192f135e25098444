//! Expressions that are refused: where, with which words, and what was probably meant (`tests/data/refusals.toml`).

use serde::Deserialize;
use skycron::schedule::{CronExpression, interval};

use super::tables::data;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusals {
    row: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    expression: String,
    /// The bytes that are underlined, from and to.
    span: [usize; 2],
    message: String,
    #[serde(default)]
    hint: Option<String>,
    /// The expression that the hint offers.
    #[serde(default)]
    correction: Option<String>,
}

fn check(row: &Row) {
    let error = CronExpression::parse(&row.expression).expect_err(&row.expression);
    assert_eq!(error.to_string(), row.message, "{}", row.expression);
    assert_eq!([error.span.start, error.span.end], row.span, "{}: {error}", row.expression);
    assert_eq!(error.correction, row.correction, "{}: {error}", row.expression);
    assert_eq!(error.hint(), row.hint, "{}: {error}", row.expression);
    assert!(row.expression.get(error.span.clone()).is_some(), "{}: not a slice of it", row.expression);
    if let Some(correction) = &error.correction {
        assert!(CronExpression::parse(correction).is_ok(), "{}: {correction} is refused too", row.expression);
        assert!(error.hint().unwrap().contains(correction));
    }
}

#[test]
fn refusals() {
    let text = std::fs::read_to_string(data("refusals.toml")).unwrap();
    let table: Refusals = toml::from_str(&text).unwrap();
    assert!(table.row.len() > 60, "{} rows", table.row.len());
    table.row.iter().for_each(check);
}

/// What the server was seen to take, and is taken here.
#[test]
fn accepted() {
    for expression in [
        "*/5 * * * *",
        "@hourly",
        "@DAILY",
        "@midnight",
        "@weekly",
        "@monthly",
        "@yearly",
        "@annually",
        "0 0 L * *",
        "0 0 * * L5",
        "0 0 * * 5#1",
        "0 0 * * fri#2",
        "0 0 ? * 1",
        "0 0 1 * ?",
        "0 0 ? * ?",
        "0 9 * * mon-fri",
        "0 0 1 JAN-MAR *",
        "0 0 * * 7",
        "0 0 * * 0-7",
        "0 0 * * 1-7",
        "0 0 * * SUN-SAT",
        "0 0 1,15 * 5",
        "0 0 */2 * 1",
        "0 0 L * 1",
        "0 0 29 2 1",
        "0/15 * * * *",
        "5/10 * * * *",
        "10-30/10,45 * * * *",
        "  0   5 * * *  ",
        "0\t5\t* * *",
        "00 09 * * *",
    ] {
        let expression = CronExpression::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        interval::check(&expression, interval::MIN_INTERVAL).unwrap_or_else(|pair| panic!("{expression}: {pair}"));
    }
}
