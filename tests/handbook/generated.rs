//! The reference pages that are made from the code: the keys of the file, the commands, the words.

use std::fmt::Write as _;

use clap::CommandFactory;
use skycron::{
    cli::{args::Cli, exit},
    config::{Key, tables},
    engine::{ReasonCode, Status, Trigger},
};

use crate::is_current;

const NOTE: &str = "<!-- Made from the code by tests/handbook; do not edit. -->\n";

#[test]
fn keys() {
    let mut page = format!(
        "{NOTE}\n# Every key of the file\n\n\
         Durations are texts with a unit: `\"90s\"`, `\"5m\"`, `\"1h 30m\"`, `\"7days\"`. Instants have an offset: \
         `2026-11-02T09:00:00-05:00`.\nA key that is not listed here is refused. The policies may stand in `[defaults]` and in \
         each `[[schedule]]`, where the latter win.\n",
    );
    let tables = tables();
    let shared: Vec<_> = tables.iter().filter(|table| table.name == "defaults").flat_map(|table| &table.keys).collect();
    for table in &tables {
        let title = match table.name {
            "" => "The top of the file".to_owned(),
            "api.api_key" => "`api_key`, and each secret".to_owned(),
            _ => format!("`{}`", table.header()),
        };
        let parent =
            tables.iter().flat_map(|table| &table.keys).find(|key| Some(key.name) == table.name.rsplit('.').next());
        write!(page, "\n## {title}\n\n").unwrap();
        if let Some(parent) = parent {
            writeln!(page, "{}\n", parent.paragraph()).unwrap();
        }
        for key in &table.keys {
            // Said once.
            if table.name == "schedule" && shared.iter().any(|other| other.name == key.name && other.name != "timezone")
            {
                continue;
            }
            let is_table = tables.iter().any(|other| !other.name.is_empty() && other.name == key.name);
            if !is_table {
                write_key(&mut page, key);
            }
        }
        if table.name == "schedule" {
            page += "And every key of `[defaults]`.\n";
        }
    }
    is_current("docs/src/reference/keys.md", &page);
}

fn write_key(page: &mut String, key: &Key) {
    let Key { name, takes, .. } = key;
    // The words follow; and what a duration looks like stands at the head of the page.
    let takes = if key.words.is_empty() { takes.split(" such as ").next().unwrap_or(takes) } else { "one of" };
    writeln!(page, "**`{name}`** · {takes}{}{}  ", limits(key), default(key)).unwrap();
    writeln!(page, "{}\n", key.paragraph()).unwrap();
    for (word, meaning) in &key.words {
        writeln!(page, "- `{word}`: {meaning}").unwrap();
    }
    if !key.words.is_empty() {
        page.push('\n');
    }
}

fn limits(key: &Key) -> String {
    key.bounds.map_or_else(String::new, |(least, most)| {
        format!(", {} to {}", least.trim_matches('"'), most.trim_matches('"'))
    })
}

fn default(key: &Key) -> String {
    key.default.map_or_else(String::new, |default| format!(" · default `{default}`"))
}

/// The help texts, as a terminal of 100 columns shows them.
#[test]
fn commands() {
    let mut page = format!("{NOTE}\n# The commands\n\nWhat `skycron COMMAND --help` prints.\n");
    let mut program = Cli::command().term_width(100);
    program.build();
    write!(page, "\n## `skycron`\n\n```text\n{}\n```\n", help(&program)).unwrap();
    for command in program.get_subcommands() {
        write_command(&mut page, command, "");
    }
    is_current("docs/src/reference/commands.md", &page);
}

fn write_command(page: &mut String, command: &clap::Command, above: &str) {
    let name = format!("{above}{}", command.get_name());
    write!(page, "\n## `{name}`\n\n```text\n{}\n```\n", help(command)).unwrap();
    for inner in command.get_subcommands() {
        write_command(page, inner, &format!("{name} "));
    }
}

fn help(command: &clap::Command) -> String {
    let mut command = command.clone().term_width(100);
    let text = command.render_long_help().to_string();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

#[test]
fn words() {
    let mut page = format!("{NOTE}\n# Statuses, reasons, exit codes\n\nPrograms can rely on these words.\n");
    let mut list = |title: &str, text: &str, words: Vec<(&str, &str)>| {
        write!(page, "\n## {title}\n\n{text}\n\n| word | meaning |\n|---|---|\n").unwrap();
        for (word, meaning) in words {
            writeln!(page, "| `{word}` | {meaning} |").unwrap();
        }
    };
    list(
        "Status of an occurrence",
        "`history`, `show` and the views of the database have it as `status`.",
        Status::ALL.iter().map(|word| (word.word(), word.meaning())).collect(),
    );
    list(
        "Reason",
        "An occurrence that is not as it should be has one: this word, a colon, and a sentence for people.",
        ReasonCode::ALL.iter().map(|word| (word.word(), word.meaning())).collect(),
    );
    list(
        "Trigger",
        "What brought an occurrence about.",
        Trigger::ALL.iter().map(|word| (word.word(), word.meaning())).collect(),
    );
    let codes = exit::HELP.lines().skip(1).map(|line| line.trim().split_once("  ").unwrap());
    list("Exit codes", "The same for every command.", codes.collect());
    is_current("docs/src/reference/words.md", &page);
}
