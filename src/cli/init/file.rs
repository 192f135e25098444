//! The text of the file that `init` writes. Pure.

use serde_json::{Map, Value};

use crate::{
    cli::{access::AccessArgs, history::one_line},
    ids::ScheduleId,
    schedule::template::is_template,
    skyvern::{Workflow, WorkflowParameter},
};

/// Characters of a title that become an id.
const ID_CHARS_MAX: usize = 40;
const COMMENT_CHARS_MAX: usize = 100;

/// One schedule to be written.
pub(super) struct Chosen {
    /// Its id.
    pub(super) id: String,
    /// What is started.
    pub(super) workflow: Workflow,
    /// Five fields.
    pub(super) expression: String,
    /// The same in words.
    pub(super) words: Option<String>,
    /// Whose clocks.
    pub(super) zone: String,
    /// What was said about its parameters.
    pub(super) parameters: Map<String, Value>,
}

/// An id from the workflow's title that none of these has: `weekday-report`.
pub(super) fn schedule_id(workflow: &Workflow, taken: &[&str]) -> String {
    let mut id = String::new();
    for c in workflow.title.chars().take(4 * ID_CHARS_MAX) {
        if c.is_ascii_alphanumeric() {
            id.push(c.to_ascii_lowercase());
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
    }
    id.truncate(ID_CHARS_MAX);
    let id = id.trim_matches('-');
    let id = if ScheduleId::new(id).is_ok() { id } else { "workflow" };
    let free = |id: &String| !taken.contains(&id.as_str());
    let numbered = (2..).map(|number| format!("{id}-{number}"));
    std::iter::once(id.to_owned()).chain(numbered).find(free).unwrap_or_default()
}

/// The file.
pub(super) fn text(access: &AccessArgs, chosen: &[Chosen]) -> String {
    let mut text = "\
#:schema ./schedules.schema.json
# The line above is for editors: `skycron schema > schedules.schema.json` makes that file.
#
# What skycron starts, and when. `skycron check --online` tells what is wrong with it, `skycron next` what is due next,
# `skycron run` starts it. A daemon that runs reads it again at HUP.

"
    .to_owned();
    text.push_str(&access.table());
    text.push_str(
        "\n[defaults]\n\
         # What holds for every schedule that does not say otherwise. These are the defaults:\n\
         # overlap = \"skip\"                # due while a run is still going: skip, buffer_one, cancel_running or allow\n\
         # catch_up = \"latest\"             # passed while nothing could fire: latest, all or none\n\
         # catch_up_window = \"24h\"         # how late a start may be\n\
         # run_timeout = \"1h\"              # cancel a run that takes longer; without it none is cancelled\n\
         # retry = { max_attempts = 3 }    # start again after a bad end; without it not\n",
    );
    for schedule in chosen {
        text.push_str(&one(schedule));
    }
    text
}

fn one(chosen: &Chosen) -> String {
    let Chosen { id, workflow, expression, words, zone, parameters } = chosen;
    let title = comment(&workflow.title);
    let words = words.as_deref().map_or_else(String::new, |words| format!("# {}\n", comment(words)));
    let name = if title.is_empty() { String::new() } else { format!("name = {}\n", quoted(&title)) };
    let mut text = format!(
        "\n[[schedule]]\n# It stays: it names the schedule in commands, history and tags.\nid = {}\nworkflow_id = {}\n\
         {words}cron_expression = {}\ntimezone = {}\n{name}# enabled = false\n",
        quoted(id),
        quoted(workflow.id.as_str()),
        quoted(expression),
        quoted(zone),
    );
    let inputs: Vec<&WorkflowParameter> = workflow.parameters.iter().filter(|parameter| parameter.input).collect();
    if !inputs.is_empty() {
        text.push_str("\n[schedule.parameters]\n");
    }
    for parameter in inputs {
        let kind = comment(&parameter.kind);
        let given = parameters.get(&parameter.key);
        let note = match given {
            Some(_) => kind,
            None if parameter.default.is_some() => format!("{kind}; the workflow's default"),
            None => format!("{kind}; not required"),
        };
        let key = key(&parameter.key);
        // The default is only written down where this file would mean the same by it.
        let usable = |value: &&Value| given.is_some() || (!speaks(value) && parameter.unfit(value).is_none());
        match given.or(parameter.default.as_ref()).filter(usable).and_then(in_toml) {
            Some(value) => text.push_str(&format!("# {note}\n{key} = {value}\n")),
            None => text.push_str(&format!("# {note}\n# {key} = \n")),
        }
    }
    text
}

/// Whether some text in a value would be taken for a template here.
fn speaks(value: &Value) -> bool {
    match value {
        Value::String(text) => is_template(text),
        Value::Array(values) => values.iter().any(speaks),
        Value::Object(fields) => fields.values().any(speaks),
        _ => false,
    }
}

/// On one line where TOML has one; `None` for what it has no word for (null).
fn in_toml(value: &Value) -> Option<String> {
    toml::Value::try_from(value).ok().map(|value| value.to_string())
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn key(text: &str) -> String {
    let is_bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    // A quoted key is one line; a text of several lines would not be.
    if is_bare { text.to_owned() } else { Value::from(text).to_string() }
}

fn comment(text: &str) -> String {
    one_line(text, COMMENT_CHARS_MAX).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::{
        config::{Config, Environment},
        ids::WorkflowId,
    };

    fn workflow(title: &str, parameters: &[(&str, &str, Option<Value>)]) -> Workflow {
        let parameter = |(key, kind, default): &(&str, &str, Option<Value>)| WorkflowParameter {
            key: (*key).to_owned(),
            kind: (*kind).to_owned(),
            required: default.is_none() && *kind != "credential_id",
            default: default.clone(),
            input: true,
        };
        Workflow {
            id: WorkflowId::new("wpid_1").unwrap(),
            title: title.to_owned(),
            version: Some(1),
            parameters: parameters.iter().map(parameter).collect(),
            deleted: false,
            has_webhook: false,
        }
    }

    fn chosen(workflow: Workflow, parameters: &Value) -> Chosen {
        Chosen {
            id: schedule_id(&workflow, &[]),
            workflow,
            expression: "0 9 * * 1-5".to_owned(),
            words: Some("At 09:00 on weekdays, UTC".to_owned()),
            zone: "UTC".to_owned(),
            parameters: parameters.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn ids_come_from_titles() {
        let check = |title: &str, taken: &[&str], expected: &str| {
            assert_eq!(schedule_id(&workflow(title, &[]), taken), expected, "{title:?}");
        };
        check("Weekday report (v2)", &[], "weekday-report-v2");
        check("  Müller & Söhne  ", &[], "m-ller-s-hne");
        check("報告", &[], "workflow");
        check("", &["workflow"], "workflow-2");
        check("a", &["a", "a-2"], "a-3");
        check(&"long ".repeat(100), &[], "long-long-long-long-long-long-long-long");
    }

    /// Whatever a workflow declares: the text is read, and the parameters are what was meant.
    #[test]
    fn what_is_written_is_read_back() {
        let check = |parameters: &[(&str, &str, Option<Value>)], given: Value, expected: Value| {
            let workflow = workflow("Two\nlines # \"and\" \u{1b}[2J", parameters);
            let text = text(&AccessArgs::default(), &[chosen(workflow, &given)]);
            let config = Config::parse(Path::new("f"), &text, &Environment::default());
            let config = config.unwrap_or_else(|found| panic!("{:?}\n{text}", found.list));
            assert_eq!(Value::Object(config.schedules[0].parameters.clone()), expected, "{text}");
            assert!(config.warnings.list.is_empty(), "{:?}", config.warnings.list);
        };
        check(&[], json!({}), json!({}));
        check(&[("url", "string", Some(json!("https://a.b")))], json!({}), json!({"url": "https://a.b"}));
        check(&[("url", "string", Some(json!("x")))], json!({"url": "y"}), json!({"url": "y"}));
        check(&[("n", "integer", None)], json!({"n": 7}), json!({"n": 7}));
        check(&[("f", "float", Some(json!(0.5)))], json!({}), json!({"f": 0.5}));
        let deep = json!({"a": [1, "two", {"three": true}], "b c": "\"quoted\"\nlines"});
        check(&[("deep", "json", Some(deep.clone()))], json!({}), json!({"deep": deep}));
        check(&[("odd key\n.x", "string", Some(json!("v")))], json!({}), json!({"odd key\n.x": "v"}));
        // What TOML cannot say, what would be a template here, and what does not fit by itself, stays with the workflow.
        check(&[("n", "json", Some(json!({"a": null})))], json!({}), json!({}));
        check(&[("t", "string", Some(json!("{{ mine }}")))], json!({}), json!({}));
        check(&[("i", "integer", Some(json!("many")))], json!({}), json!({}));
        check(&[("login", "credential_id", None)], json!({}), json!({}));
        // A template that was given is meant.
        check(&[("t", "string", None)], json!({"t": "{{ schedule }}"}), json!({"t": "{{ schedule }}"}));
        let three = json!("'''\"\"\"\\ \u{7f} ü");
        check(&[("t", "string", Some(three.clone()))], json!({}), json!({"t": three}));
    }
}
