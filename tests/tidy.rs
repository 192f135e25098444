//! Checks of the source text: what the architecture page promises and neither the compiler nor clippy can hold.
//!
//! Each rule is a function from a file to the problems in it. It runs over the whole tree, and over small made-up files that
//! must be found wrong, so that no rule can go blind unnoticed.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The order of the modules: each may import from those before it. `lib.rs` lists the same names in the same order.
const LAYERS: &[&str] = &[
    "clock",
    "crash_point",
    "ids",
    "mac",
    "pulse",
    "secret",
    "words",
    "schedule",
    "engine",
    "config",
    "skyvern",
    "history",
    "mirror",
    "dispatch",
    "alarm",
    "sandbox",
    "daemon",
    "cli",
];

/// The modules without I/O, tasks, clocks and locks.
const PURE: &[&str] = &[
    "src/schedule/",
    "src/engine/",
    "src/alarm/decide.rs",
    "src/alarm/remember.rs",
    "src/alarm/facts.rs",
    "src/alarm/fold.rs",
];

/// Longer than this, a file has more than one duty. Tests are not counted.
const FILE_LINES_MAX: usize = 600;

/// What only one place may say: the text, where it may stand, and why nowhere else. Tests inside `src` are not held to it.
const ONLY_IN: &[(&[&str], &[&str], &str)] = &[
    (
        &["Utc::now", "Local::now", "SystemTime::now", "Instant::now", "clock_gettime", "clippy::disallowed_methods"],
        &["src/clock.rs"],
        "the present comes from clock::Clock",
    ),
    (
        &[
            "rusqlite",
            "\"SELECT ",
            "\"INSERT ",
            "\"UPDATE ",
            "\"DELETE FROM ",
            "\"CREATE ",
            "\"PRAGMA ",
            "include_str!(\"migrations",
        ],
        &["src/history/"],
        "only the history knows SQL",
    ),
    (&["reqwest", "rustls"], &["src/skyvern/"], "only the client speaks to the API"),
    (
        &["StatusCode", "http_status() =="],
        &["src/skyvern/", "src/sandbox/", "src/daemon/http/"],
        "only those who speak HTTP know status codes",
    ),
    (&["hyper::", "hyper_util", "axum"], &["src/sandbox/", "src/daemon/http/"], "only two places serve HTTP"),
    (&["println!", "print!(", "io::stdout", "io::stderr"], &["src/cli/"], "only the commands print"),
];

/// What the pure modules may not say. The hash collections are among it because their order differs from run to run.
const IMPURE: &[&str] = &[
    "async ",
    ".await",
    "tokio",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::io",
    "std::process",
    "Mutex",
    "RwLock",
    "Atomic",
    "rand::",
    "tracing::",
    "HashMap<",
    "HashSet<",
];

/// What no file may say, tests included.
fn nowhere() -> Vec<(String, &'static str)> {
    // Put together here, so that this file does not contain them.
    let joined = |start: &str, end: &str| format!("{start}{end}");
    vec![
        (joined("#[al", "low("), "write #[expect(…, reason = \"…\")], which warns once it is not needed"),
        (joined("#![al", "low("), "write #![expect(…, reason = \"…\")], which warns once it is not needed"),
        (joined("TO", "DO"), "do it, or say what is missing in a sentence"),
        (joined("FIX", "ME"), "mend it, or say what is wrong in a sentence"),
        (joined("db", "g!("), "left from a search for a mistake"),
        (joined("/ro", "ot/"), "a path of one machine"),
        (joined("/wo", "rk/"), "a path of one machine"),
    ]
}

// --- the rules -------------------------------------------------------------------------------------------------------

/// A source file: where it is, what it says, and what of that is not a test.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let is_test = path.ends_with("/tests.rs") || path.contains("/tests/") || path.starts_with("tests/");
        // A module's own tests stand at its end. They may reach for what the module itself must not (a sandbox to talk to).
        let code = if is_test { "" } else { text.split("#[cfg(test)]\nmod ").next().unwrap_or_default() };
        Self { path: path.to_owned(), text: text.to_owned(), code: code.to_owned() }
    }

    /// The lines of the code that are not comments, numbered from 1.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.code).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn problem(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn opens_with_its_duty(file: &Source) -> Vec<String> {
    let first = file.text.lines().next().unwrap_or_default();
    if first.starts_with("//! ") {
        vec![]
    } else {
        vec![file.problem(1, "say in a `//!` what the file is for and what it is not")]
    }
}

fn has_one_duty(file: &Source) -> Vec<String> {
    let lines = file.code.lines().count();
    if lines <= FILE_LINES_MAX {
        vec![]
    } else {
        vec![file.problem(lines, format!("{lines} lines; at most {FILE_LINES_MAX}"))]
    }
}

/// The layer that a file belongs to; `None` for `lib.rs` and `main.rs`, which hold everything together.
fn layer_of(path: &str) -> Option<usize> {
    let name = path.strip_prefix("src/")?.split(['/', '.']).next()?;
    LAYERS.iter().position(|layer| *layer == name)
}

/// The modules that follow a `crate::`: one name, or several in braces. Names below the first level do not matter.
fn names_after_crate(rest: &str) -> Vec<String> {
    let identifier = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![identifier(rest)] };
    let mut names = vec![];
    let mut depth = 1;
    let mut at_name = true;
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => at_name = true,
            c if at_name && !c.is_whitespace() => {
                names.push(identifier(&group[index..]));
                at_name = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn imports_from_above(file: &Source) -> Vec<String> {
    let Some(own) = layer_of(&file.path) else { return vec![] };
    let code: String = file.code_lines().flat_map(|(_, line)| [line, "\n"]).collect();
    let mut problems = vec![];
    for (at, needle) in code.match_indices("crate::") {
        // `$crate::` of a macro, and a longer name that ends so.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        for name in names_after_crate(&code[at + needle.len()..]) {
            if LAYERS.iter().position(|layer| *layer == name).is_some_and(|other| other > own) {
                problems
                    .push(format!("{}: `{}` may not use `crate::{name}`, which is below it", file.path, LAYERS[own]));
            }
        }
    }
    problems
}

fn keeps_to_its_place(file: &Source) -> Vec<String> {
    let mut problems = vec![];
    for (needles, places, why) in ONLY_IN {
        if places.iter().any(|place| file.path.starts_with(place)) {
            continue;
        }
        for (line, text) in file.code_lines() {
            for needle in needles.iter().filter(|needle| text.contains(**needle)) {
                problems.push(file.problem(line, format!("`{needle}` belongs to {}: {why}", places.join(" and "))));
            }
        }
    }
    problems
}

fn is_pure(file: &Source) -> Vec<String> {
    if !PURE.iter().any(|place| file.path.starts_with(place)) {
        return vec![];
    }
    let mut problems = vec![];
    for (line, text) in file.code_lines() {
        for needle in IMPURE.iter().filter(|needle| text.contains(**needle)) {
            problems.push(file.problem(line, format!("`{}` in a module that is pure", needle.trim())));
        }
    }
    problems
}

fn says_nothing_forbidden(file: &Source) -> Vec<String> {
    let forbidden = nowhere();
    let mut problems = vec![];
    for (line, text) in numbered(&file.text) {
        for (needle, why) in forbidden.iter().filter(|(needle, _)| text.contains(needle.as_str())) {
            problems.push(file.problem(line, format!("`{needle}`: {why}")));
        }
        if cites_a_number(text) {
            problems
                .push(file.problem(line, "a bare issue number says nothing to a reader: give the URL or the reason"));
        }
    }
    problems
}

/// The word, in one or several, in any case, and then a number with or without its hash.
fn cites_a_number(text: &str) -> bool {
    let text = text.to_lowercase();
    text.match_indices("issue").any(|(at, word)| {
        let rest = text[at + word.len()..].trim_start_matches('s');
        rest.starts_with(' ') && rest.trim_start_matches([' ', '#']).starts_with(|c: char| c.is_ascii_digit())
    })
}

/// The names of the `mod` lines, in their order.
fn modules(lib: &str) -> Vec<&str> {
    lib.lines()
        .filter_map(|line| line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod ")))
        .filter_map(|rest| rest.strip_suffix(';'))
        .collect()
}

fn lists_the_layers(file: &Source) -> Vec<String> {
    if file.path != "src/lib.rs" {
        return vec![];
    }
    let listed = modules(&file.text);
    let expected: Vec<_> = LAYERS.iter().copied().filter(|layer| listed.contains(layer)).collect();
    if listed == expected {
        vec![]
    } else {
        vec![file.problem(1, format!("modules {listed:?}, expected {expected:?}"))]
    }
}

/// `0001_words.sql`, `0002_…`: numbered without a hole, since a database remembers how many it has had.
fn migrations_are_contiguous(names: &[&str]) -> Vec<String> {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    let wrong = |(index, name): (usize, &&str)| {
        let expected = format!("{:04}_", index + 1);
        (!name.starts_with(&expected)).then(|| format!("migration {name}: expected a name that begins with {expected}"))
    };
    sorted.iter().enumerate().filter_map(wrong).collect()
}

type Rule = fn(&Source) -> Vec<String>;

const RULES_FOR_SOURCES: &[Rule] = &[
    opens_with_its_duty,
    has_one_duty,
    imports_from_above,
    keeps_to_its_place,
    is_pure,
    says_nothing_forbidden,
    lists_the_layers,
];

// --- the tree --------------------------------------------------------------------------------------------------------

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder of the project, as paths from the project's root.
fn files_below(folder: &str) -> Vec<String> {
    let mut found = vec![];
    let mut open = vec![root().join(folder)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "__pycache__") {
                open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        } else {
            found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

fn read(path: impl AsRef<Path>) -> String {
    let path: PathBuf = root().join(path);
    // Lossy: among the tests' data are files that are no text, and a path in one of them would still be found.
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

#[track_caller]
fn expect_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn sources() {
    let paths: Vec<_> =
        ["src", "tests"].into_iter().flat_map(files_below).filter(|path| path.ends_with(".rs")).collect();
    assert!(paths.len() > 15, "only {paths:?} were found");
    let problems: Vec<_> = paths
        .iter()
        .map(|path| Source::new(path, &read(path)))
        .flat_map(|file| RULES_FOR_SOURCES.iter().flat_map(move |rule| rule(&file)).collect::<Vec<_>>())
        .collect();
    expect_none(&problems);
}

#[test]
fn other_files() {
    let below =
        ["src", "tests", "systemd", ".ci"].into_iter().flat_map(files_below).filter(|path| !path.ends_with(".rs"));
    // Zone files are no text.
    let below = below.filter(|path| !path.starts_with("tests/data/zoneinfo/"));
    let beside = ["README.md", "CHANGELOG.md", "schedules.example.toml", "Cargo.toml", ".clippy.toml", ".deny.toml"];
    let problems: Vec<_> = below
        .chain(beside.map(str::to_owned))
        .flat_map(|path| says_nothing_forbidden(&Source::new(&path, &read(&path))))
        .collect();
    expect_none(&problems);
}

#[test]
fn migrations() {
    let paths: Vec<_> = files_below("src/history").into_iter().filter(|path| path.ends_with(".sql")).collect();
    let names: Vec<_> = paths.iter().filter_map(|path| path.rsplit('/').next()).collect();
    expect_none(&migrations_are_contiguous(&names));
    let rust: String = files_below("src/history").iter().filter(|path| path.ends_with(".rs")).map(read).collect();
    for name in names {
        assert!(rust.contains(name), "{name} is not in the list of migrations");
    }
}

/// The two commands of the README, each on a line of its own: `.ci/run` takes the second from there.
#[test]
fn readme_has_its_two_commands() {
    let readme = read("README.md");
    for start in ["cargo run --release -- demo", "cargo test"] {
        let lines = readme.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(lines, 1, "lines of README.md that begin with {start:?}");
    }
    assert!(read(".ci/run").contains("'^cargo test' README.md"), ".ci/run takes its test command from README.md");
}

#[test]
fn changelog_has_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(read("CHANGELOG.md").lines().any(|line| line.starts_with("## ") && line.contains(version)), "{version}");
}

#[test]
fn licences() {
    for (file, first) in [("LICENSE-MIT", "MIT License"), ("LICENSE-APACHE", "Apache License")] {
        assert!(read(file).trim_start().starts_with(first), "{file}");
        assert!(read(file).contains("The skycron authors"), "{file}");
    }
}

// --- proof that each rule can fail -----------------------------------------------------------------------------------

#[track_caller]
fn check(rule: Rule, path: &str, text: &str, expected: Option<&str>) {
    let problems = rule(&Source::new(path, text));
    match expected {
        None => expect_none(&problems),
        Some(part) => assert!(
            problems.len() == 1 && problems[0].contains(part),
            "{path}: expected one problem with {part:?}, found {problems:?}\n{text}"
        ),
    }
}

#[test]
fn rules_find_what_they_are_for() {
    let long = "//! Long.\n".to_owned() + &"fn x() {}\n".repeat(FILE_LINES_MAX);

    check(opens_with_its_duty, "src/a.rs", "//! Adds.\n", None);
    check(opens_with_its_duty, "src/a.rs", "use std::fs;\n", Some("//!"));

    check(has_one_duty, "src/a.rs", "//! Short.\n", None);
    check(has_one_duty, "src/a.rs", &long, Some("601 lines"));
    check(has_one_duty, "src/a/tests.rs", &long, None);
    check(has_one_duty, "src/a.rs", &format!("//! Short.\n#[cfg(test)]\nmod tests {{\n{long}}}"), None);

    check(
        imports_from_above,
        "src/engine/queue.rs",
        "use crate::{ids::RunId, schedule::{Timetable, policy::Gap}};",
        None,
    );
    check(imports_from_above, "src/engine/queue.rs", "use crate::history::Store;", Some("crate::history"));
    check(
        imports_from_above,
        "src/engine/queue.rs",
        "use crate::{\n    ids::{RunId},\n    cli,\n};",
        Some("crate::cli"),
    );
    check(imports_from_above, "src/ids.rs", "fn f() -> crate::schedule::Gap {}", Some("crate::schedule"));
    check(imports_from_above, "src/ids.rs", "/// See [`crate::schedule`].\nfn f() {}", None);
    check(imports_from_above, "src/skyvern/tests.rs", "use crate::sandbox::Sandbox;", None);
    check(imports_from_above, "src/lib.rs", "use crate::cli::run;", None);

    check(keeps_to_its_place, "src/clock.rs", "Utc::now()", None);
    check(keeps_to_its_place, "src/daemon/mod.rs", "let now = Utc::now();", Some("src/clock.rs"));
    check(keeps_to_its_place, "src/history/store.rs", "execute(\"SELECT 1\")", None);
    check(keeps_to_its_place, "src/cli/history.rs", "execute(\"SELECT 1\")", Some("src/history/"));
    check(keeps_to_its_place, "src/dispatch/mod.rs", "if status == StatusCode::NOT_FOUND {", Some("src/skyvern/"));
    check(keeps_to_its_place, "src/daemon/mod.rs", "println!(\"ready\");", Some("src/cli/"));

    check(is_pure, "src/engine/mod.rs", "//! Contains no async code.\nfn handle() {}", None);
    check(is_pure, "src/engine/mod.rs", "pub async fn handle() {}", Some("async"));
    check(is_pure, "src/schedule/zone.rs", "use std::fs;", Some("std::fs"));
    check(is_pure, "src/daemon/mod.rs", "pub async fn handle() {}", None);

    for (needle, _) in nowhere() {
        check(says_nothing_forbidden, "src/a.rs", &format!("//! A.\n{needle}x)]\n"), Some(needle.as_str()));
        check(says_nothing_forbidden, "tests/a.rs", &format!("//! A.\n{needle}x)]\n"), Some(needle.as_str()));
    }
    let number = 2;
    check(says_nothing_forbidden, "src/a.rs", &format!("// See issue {number}."), Some("number"));
    check(says_nothing_forbidden, "src/a.rs", &format!("// See issue #{number}."), Some("number"));
    check(says_nothing_forbidden, "src/a.rs", "// https://github.com/o/r/issues/12: the issue was a fold.", None);

    check(lists_the_layers, "src/lib.rs", "pub mod clock;\npub mod ids;\nmod words;\npub mod cli;", None);
    check(lists_the_layers, "src/lib.rs", "pub mod engine;\npub mod schedule;", Some("expected"));
    check(lists_the_layers, "src/lib.rs", "pub mod clock;\npub mod utils;", Some("utils"));

    assert!(migrations_are_contiguous(&["0002_b.sql", "0001_a.sql"]).is_empty());
    assert_eq!(migrations_are_contiguous(&["0001_a.sql", "0003_b.sql"]).len(), 1);
}
