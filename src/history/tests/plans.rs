//! No question becomes slower as the history grows: each is answered from an index. Counted in SQLite's instructions, not in
//! time, at two sizes; and looked up in the plans, also as they are when SQLite was told of ten million rows (ANALYZE).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::*;
use crate::history::{HistoryError, HistoryFilter, Pieces, Retention, query};

/// A history of so many occurrences: 20 schedules, one failure in fifty, an old stretch, a run and an attempt each.
fn history_of(rows: u32) -> (tempfile::TempDir, Store) {
    let names: Vec<_> = (0..20).map(|n| format!("s{n}")).collect();
    let mut changes: Vec<_> = names.iter().map(|name| defined(name, "00:00:00")).collect();
    changes.push(missed(&key("daily", "01:00:00"), "02:00:00", 3));
    let (dir, store) = stored(&changes);
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO occurrence (instance, schedule, scheduled_for, suffix, workflow_id, trigger, status, decided_at,
                                 attempts, launched_at, finished_at, run_id)
         SELECT 'main', 's' || (i % 20), strftime('%Y-%m-%dT%H:%M:%SZ', 1800000000 + i / 20 * 300, 'unixepoch'), '', 'wpid_1',
                'schedule', iif(i % 50 = 7, 'failed', 'completed'), '2027-01-01T00:00:00.000Z', 1,
                '2027-01-01T00:00:00.000Z', '2027-01-01T00:00:00.000Z', 'wr_' || i
           FROM n;
         INSERT INTO attempt (occurrence, number, begun_at) SELECT id, 1, '2027-01-01T00:00:00.000Z' FROM occurrence;
         INSERT INTO run (occurrence, status, retry_pending, reported_at, truncated)
         SELECT id, 'completed', 0, '2027-01-01T00:00:00.000Z', 0 FROM occurrence;"
    );
    store.connection().execute_batch(&sql).unwrap();
    (dir, store)
}

/// Counts the instructions of a question.
fn cost(connection: &rusqlite::Connection, ask: impl FnOnce()) -> u64 {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let count_one = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        false
    };
    connection.progress_handler(1, Some(count_one)).unwrap();
    ask();
    connection.progress_handler(1, None::<fn() -> bool>).unwrap();
    count.load(Ordering::Relaxed)
}

fn filters() -> Vec<HistoryFilter> {
    let all = HistoryFilter { limit: 50, ..HistoryFilter::default() };
    let late = parse_rfc3339("2027-01-15T09:00:00Z");
    vec![
        all.clone(),
        HistoryFilter { schedules: vec![id("s3")], ..all.clone() },
        HistoryFilter { schedules: (0..20).map(|n| id(&format!("s{n}"))).collect(), ..all.clone() },
        HistoryFilter { statuses: vec![Status::Failed], limit: 2, ..all.clone() },
        HistoryFilter { statuses: vec![Status::Completed, Status::Missed, Status::Pending], ..all.clone() },
        HistoryFilter { statuses: Status::ALL.to_vec(), ..all.clone() },
        HistoryFilter { schedules: vec![id("s3")], statuses: vec![Status::Completed], ..all.clone() },
        HistoryFilter { since: late, until: late, ..all.clone() },
        HistoryFilter { since: late, until: late, schedules: vec![id("s3")], ..all.clone() },
        HistoryFilter { until: late, ..all },
    ]
}

#[test]
fn no_question_becomes_slower_as_the_history_grows() {
    let (small_dir, mut small) = history_of(4_000);
    let (large_dir, mut large) = history_of(40_000);
    let (small_reader, large_reader) = (reader(&small_dir), reader(&large_dir));
    let check = |name: &str, ask: &dyn Fn(&Reader) -> bool| {
        let of = |reader: &Reader| cost(reader.connection(), || assert!(ask(reader), "{name}: an answer"));
        let (small, large) = (of(&small_reader), of(&large_reader));
        assert!(small > 0, "{name}: counted");
        assert!(large <= small + small / 4 + 100, "{name}: {small} instructions for 4,000 rows, {large} for 40,000");
    };
    for filter in filters() {
        check(&format!("{filter:?}"), &|reader| !reader.history(&filter).unwrap().is_empty());
    }
    let daily = "main/s7@2027-01-15T08:00:00Z".parse().unwrap();
    check("show, by key", &|reader| reader.occurrence(&daily).unwrap().is_some());
    check("show, by run", &|reader| reader.run(&run("wr_3000")).unwrap().is_some());
    check("the last runs", &|reader| reader.last_runs().unwrap().len() == 21);
    check("what is not recovered", &|reader| reader.unrecovered(50).unwrap().len() == 1);
    check("the last successes", &|reader| reader.last_successes(50).unwrap().len() == 21);
    let since = parse_rfc3339("2027-01-15T06:00:00Z").unwrap();
    let pieces = Pieces { since, seconds: 3600, count: 6 };
    check("strips", &|reader| !reader.strips(&[id("s3"), id("s4")], &pieces).unwrap().is_empty());
    check("what is open", &|reader| reader.open_occurrences(50).unwrap().is_empty());

    let mut check = |name: &str, ask: &dyn Fn(&mut Store) -> Result<(), HistoryError>| {
        let of = |store: &mut Store| {
            let count = Arc::new(AtomicU64::new(0));
            let counter = Arc::clone(&count);
            let count_one = move || {
                counter.fetch_add(1, Ordering::Relaxed);
                false
            };
            store.connection().progress_handler(1, Some(count_one)).unwrap();
            ask(store).unwrap();
            store.connection().progress_handler(1, None::<fn() -> bool>).unwrap();
            count.load(Ordering::Relaxed)
        };
        let (small, large) = (of(&mut small), of(&mut large));
        assert!(large <= small + small / 4 + 100, "{name}: {small} instructions for 4,000 rows, {large} for 40,000");
    };
    check("memory", &|store| store.memory().map(drop));
    check("a whole life", &|store| store.apply(&completed(&key("daily", "14:00:00"), "wr_1")));
    check("a change of a definition", &|store| store.apply(&[defined("daily", "14:00:00")]));
    let all = Retention { occurrences_max: Some(0), ..Retention::default() };
    check("a slice of retention", &|store| store.prune(&all, 20).map(drop));
    let none = Retention { before: Some(at("00:00:00")), ..Retention::default() };
    check("a slice of retention that finds nothing", &|store| store.prune(&none, 20).map(drop));
}

/// SQLite's plan of a statement, one line for each step.
fn plan(connection: &rusqlite::Connection, sql: &str, values: usize) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let values = rusqlite::params_from_iter(std::iter::repeat_n(rusqlite::types::Null, values));
    statement.query_map(values, |row| row.get::<_, String>("detail")).unwrap().map(Result::unwrap).collect()
}

#[test]
fn every_walk_is_along_an_index() {
    let (dir, store) = stored(&[]);
    // What ANALYZE would write for ten million rows: 1,000 schedules, nearly all completed, 100 rows for each instant.
    let analyzed = "ANALYZE;
        DELETE FROM sqlite_stat1;
        INSERT INTO sqlite_stat1 VALUES
            ('occurrence', 'occurrence_once', '10000000 10000 1 1 1'),
            ('occurrence', 'occurrence_scheduled_for', '10000000 100'),
            ('occurrence', 'occurrence_status', '10000000 3333333 100'),
            ('occurrence', 'occurrence_through', '1000 2'),
            ('occurrence', 'occurrence_run_id', '9000000 1'),
            ('run', NULL, '9000000');
        ANALYZE sqlite_schema;";
    for prepare in ["", analyzed] {
        store.connection().execute_batch(prepare).unwrap();
        let reader = reader(&dir);
        for filter in filters() {
            for (sql, values) in query::history_sql(&filter) {
                let steps = plan(reader.connection(), &sql, values);
                let (first, rest) = steps.split_first().unwrap();
                assert!(first.contains("USING INDEX occurrence_"), "{first}\n{sql}");
                // Ties in the instant may be sorted among themselves; only the few stretches are sorted as a whole.
                for step in rest {
                    let join = step.starts_with("SEARCH r USING INTEGER PRIMARY KEY");
                    let ties = step == "USE TEMP B-TREE FOR LAST TERM OF ORDER BY";
                    let stretches = step == "USE TEMP B-TREE FOR ORDER BY" && first.contains("occurrence_through");
                    assert!(join || ties || stretches, "{step}\n{sql}");
                }
                let expected = if sql.contains("o.through >= ?") {
                    "occurrence_through"
                } else if sql.contains("o.schedule = ?") {
                    "occurrence_once"
                } else if sql.contains(" o.status = ?") {
                    "occurrence_status"
                } else {
                    "occurrence_scheduled_for"
                };
                assert!(first.contains(expected), "{first}\n{sql}");
            }
        }
    }
}
