//! Templates in parameters and titles: texts that say something about the occurrence, so that a backfill of last Tuesday asks
//! for last Tuesday.
//!
//! The language is Jinja's (minijinja). A text without `{{` and `{%` is no template and stays as it is. Pure: the occurrence is
//! handed in, and so are secrets, by whoever is about to send the request; what is stored never goes through here.

use std::{collections::BTreeMap, fmt, sync::Arc};

use chrono::{
    DateTime, TimeDelta, Utc,
    format::{Item, StrftimeItems},
};
use minijinja::{
    Environment, ErrorKind, UndefinedBehavior,
    value::{Object, Serde, Value as Jinja},
};
use serde_json::{Map, Value};

use crate::{
    ids::{OccurrenceKey, ScheduleId},
    schedule::{Timetable, Zone},
    secret::Secret,
};

/// Instructions that one template may take: far more than any reasonable one needs, and far less than a second's worth.
const FUEL_INSTRUCTIONS_MAX: u64 = 50_000;
/// The longest text that a template may make, in bytes.
const RENDERED_BYTES_MAX: usize = 1 << 20;
/// How deep arrays and tables of parameters may be nested.
const DEPTH_MAX: usize = 32;

/// What templates can speak of.
#[derive(Debug, Clone)]
pub struct Occasion {
    /// `occurrence`: the key.
    pub occurrence: String,
    /// `schedule`: the id.
    pub schedule: ScheduleId,
    /// `scheduled_for`: the instant at which it was due.
    pub scheduled_for: DateTime<Utc>,
    /// `previous`: the schedule's occurrence before it; undefined where there is none.
    pub previous: Option<DateTime<Utc>>,
    /// `next`: the one after it; undefined where there is none.
    pub next: Option<DateTime<Utc>>,
    /// Instants are shown in this zone.
    pub zone: Zone,
}

impl Occasion {
    /// What templates can speak of at this occurrence of a schedule with this timetable.
    #[must_use]
    pub fn of(key: &OccurrenceKey, timetable: &Timetable) -> Self {
        Self {
            occurrence: key.to_string(),
            schedule: key.schedule.clone(),
            scheduled_for: key.scheduled_for,
            previous: timetable.previous_before(key.scheduled_for),
            next: timetable.next_after(key.scheduled_for),
            zone: timetable.zone().clone(),
        }
    }
}

/// Secrets by name, for `{{ secrets.name }}`.
pub type Secrets = BTreeMap<String, Secret>;

/// A template that cannot be read, or makes no text. Never shows a secret: it quotes nothing that was rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// What is wrong, as a lowercase fragment.
    pub message: String,
    /// Where in the text, in bytes, if that is known.
    pub span: Option<std::ops::Range<usize>>,
}

/// Whether a text is a template at all.
#[must_use]
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Whether a text anywhere in a value is a template.
#[must_use]
pub fn is_template_in(value: &Value) -> bool {
    match value {
        Value::String(text) => is_template(text),
        Value::Array(items) => items.iter().any(is_template_in),
        Value::Object(fields) => fields.values().any(is_template_in),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Renders every text in these values, however deep; numbers, booleans and names of fields stay as they are.
///
/// # Errors
/// The first template that cannot be rendered, with the name of its parameter.
pub fn render_all(
    values: &Map<String, Value>,
    occasion: &Occasion,
    secrets: &Secrets,
) -> Result<Map<String, Value>, TemplateError> {
    let has_templates = values.values().any(|value| contains_template(value, 0));
    if !has_templates {
        return Ok(values.clone());
    }
    let renderer = Renderer::new(occasion, secrets);
    values
        .iter()
        .map(|(name, value)| {
            let rendered = renderer.value(value, 0).map_err(|error| TemplateError {
                message: format!("the template in {name:?}: {}", error.message),
                span: error.span,
            })?;
            Ok((name.clone(), rendered))
        })
        .collect()
}

/// Renders one text.
///
/// # Errors
/// It is not a template, or speaks of something that is not there.
/// ```
/// use skycron::{
///     ids::OccurrenceKey,
///     schedule::{CronExpression, Fold, Gap, Timetable, Zone, template::{Occasion, Secrets, render}},
/// };
///
/// let timetable = Timetable::cron(CronExpression::parse("0 6 * * *")?, Zone::utc(), Gap::Shift, Fold::Auto)?;
/// let key: OccurrenceKey = "main/orders@2026-11-02T06:00:00Z".parse()?;
/// let text = "orders of {{ previous | date('%Y-%m-%d') }}";
/// assert_eq!(render(text, &Occasion::of(&key, &timetable), &Secrets::new())?, "orders of 2026-11-01");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn render(text: &str, occasion: &Occasion, secrets: &Secrets) -> Result<String, TemplateError> {
    if is_template(text) { Renderer::new(occasion, secrets).text(text) } else { Ok(text.to_owned()) }
}

/// Renders one text that speaks of these facts by name, and of secrets. For what is told about an occurrence, not for its run.
///
/// # Errors
/// As [`render`].
pub fn render_facts(text: &str, facts: &Map<String, Value>, secrets: &Secrets) -> Result<String, TemplateError> {
    if !is_template(text) {
        return Ok(text.to_owned());
    }
    let mut context: BTreeMap<&str, Jinja> =
        facts.iter().map(|(name, value)| (name.as_str(), Jinja::from(Serde(value)))).collect();
    context.insert("secrets", exposed(secrets));
    let renderer = Renderer { environment: environment(), context: Jinja::from(context), names: "" };
    renderer.text(text)
}

fn exposed(secrets: &Secrets) -> Jinja {
    let secrets = secrets.iter().map(|(name, secret)| (name.clone(), secret.expose().to_owned()));
    Jinja::from(secrets.collect::<BTreeMap<_, _>>())
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL_INSTRUCTIONS_MAX));
    // Without it, minijinja would quote the values at hand in its messages, secrets among them.
    environment.set_debug(false);
    environment
}

fn contains_template(value: &Value, depth: usize) -> bool {
    match value {
        Value::String(text) => is_template(text),
        Value::Array(items) => depth < DEPTH_MAX && items.iter().any(|item| contains_template(item, depth + 1)),
        Value::Object(fields) => depth < DEPTH_MAX && fields.values().any(|field| contains_template(field, depth + 1)),
        _ => false,
    }
}

struct Renderer {
    environment: Environment<'static>,
    context: Jinja,
    /// What there is to speak of, to be told to who speaks of something else.
    names: &'static str,
}

impl Renderer {
    fn new(occasion: &Occasion, secrets: &Secrets) -> Self {
        let mut environment = environment();
        environment.add_filter("date", date);
        environment.add_filter("in_zone_utc", |at: Jinja| {
            moment(&at).map(|at| Jinja::from_object(Moment { zone: Zone::utc(), ..*at.as_ref() }))
        });
        environment.add_filter("plus", |at: Jinja, by: &str| shifted(&at, by, 1));
        environment.add_filter("minus", |at: Jinja, by: &str| shifted(&at, by, -1));
        let moment = |at: DateTime<Utc>| Jinja::from_object(Moment { at, zone: occasion.zone.clone() });
        let mut context = BTreeMap::from([
            ("occurrence", Jinja::from(occasion.occurrence.clone())),
            ("schedule", Jinja::from(occasion.schedule.as_str())),
            ("scheduled_for", moment(occasion.scheduled_for)),
            ("secrets", exposed(secrets)),
        ]);
        context.extend(occasion.previous.map(|at| ("previous", moment(at))));
        context.extend(occasion.next.map(|at| ("next", moment(at))));
        let names = "; there are scheduled_for, previous, next, schedule, occurrence and secrets";
        Self { environment, context: Jinja::from(context), names }
    }

    fn value(&self, value: &Value, depth: usize) -> Result<Value, TemplateError> {
        if depth > DEPTH_MAX {
            return Err(TemplateError { message: format!("nested deeper than {DEPTH_MAX}"), span: None });
        }
        Ok(match value {
            Value::String(text) if is_template(text) => Value::String(self.text(text)?),
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.value(item, depth + 1)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => Value::Object(
                fields.iter().map(|(name, field)| Ok((name.clone(), self.value(field, depth + 1)?))).collect::<Result<
                    _,
                    TemplateError,
                >>(
                )?,
            ),
            other => other.clone(),
        })
    }

    fn text(&self, text: &str) -> Result<String, TemplateError> {
        let rendered =
            self.environment.render_str(text, &self.context).map_err(|error| template_error(&error, self.names))?;
        if rendered.len() > RENDERED_BYTES_MAX {
            return Err(TemplateError {
                message: format!("it makes more than {RENDERED_BYTES_MAX} bytes"),
                span: None,
            });
        }
        Ok(rendered)
    }
}

fn template_error(error: &minijinja::Error, names: &str) -> TemplateError {
    let message = match error.kind() {
        ErrorKind::OutOfFuel => format!("it takes more than {FUEL_INSTRUCTIONS_MAX} steps"),
        ErrorKind::UndefinedError => {
            format!("it speaks of something that is not there{names}")
        }
        kind => match error.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
    };
    TemplateError { message, span: error.range() }
}

/// An instant in a template: shown as RFC 3339 in the schedule's zone.
#[derive(Debug)]
struct Moment {
    at: DateTime<Utc>,
    zone: Zone,
}

impl Object for Moment {
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.zone.to_local(self.at).to_rfc3339())
    }
}

fn moment(value: &Jinja) -> Result<Arc<Moment>, minijinja::Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    value.downcast_object::<Moment>().ok_or_else(|| invalid("this filter takes an instant, such as scheduled_for"))
}

fn invalid(detail: impl Into<String>) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, detail.into())
}

/// `scheduled_for | date("%Y-%m-%d")`: the local time of the schedule's zone, in strftime's words.
fn date(value: Jinja, format: &str) -> Result<String, minijinja::Error> {
    let moment = moment(&value)?;
    if StrftimeItems::new(format).any(|item| matches!(item, Item::Error)) {
        return Err(invalid(format!("{format:?} is not a date format; as in \"%Y-%m-%d %H:%M\"")));
    }
    Ok(moment.zone.to_local(moment.at).format(format).to_string())
}

/// `scheduled_for | minus("1day")`: exact time, not calendar days across a clock change.
fn shifted(value: &Jinja, by: &str, sign: i32) -> Result<Jinja, minijinja::Error> {
    let moment = moment(value)?;
    let by = humantime::parse_duration(by)
        .map_err(|_| invalid(format!("{by:?} is not a length of time; as in \"1day\" or \"90min\"")))?;
    let by = TimeDelta::from_std(by).map_err(|_| invalid("that is too long"))?;
    let at = moment.at.checked_add_signed(by * sign).ok_or_else(|| invalid("that is too far"))?;
    Ok(Jinja::from_object(Moment { at, zone: moment.zone.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occasion() -> Occasion {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        Occasion {
            occurrence: "main/daily@2026-11-03T14:00:00Z".to_owned(),
            schedule: ScheduleId::new("daily").unwrap(),
            scheduled_for: at("2026-11-03T14:00:00Z"),
            previous: Some(at("2026-11-02T14:00:00Z")),
            next: None,
            zone: Zone::bundled("America/New_York").unwrap(),
        }
    }

    fn check(text: &str, expected: Result<&str, &str>) {
        let secrets = Secrets::from([("pin".to_owned(), Secret::new("4711-secret".to_owned()))]);
        let rendered = render(text, &occasion(), &secrets).map_err(|error| error.message);
        match (&rendered, expected) {
            (Err(message), Err(part)) => {
                assert!(message.contains(part), "{text}: {message}");
                assert!(!message.contains("4711"), "{message}");
            }
            _ => assert_eq!(rendered.as_deref().map_err(String::as_str), expected, "{text}"),
        }
    }

    #[test]
    fn texts() {
        check("plain { braces }", Ok("plain { braces }"));
        check("{{ scheduled_for }}", Ok("2026-11-03T09:00:00-05:00"));
        check("{{ scheduled_for | date('%Y-%m-%d') }}", Ok("2026-11-03"));
        check("{{ scheduled_for | in_zone_utc | date('%H:%M %Z') }}", Ok("14:00 +00:00"));
        check("{{ scheduled_for | minus('1day') | date('%d') }}/{{ previous | date('%d') }}", Ok("02/02"));
        check("{{ scheduled_for | plus('90min') | date('%H:%M') }}", Ok("10:30"));
        check("{{ schedule }} {{ occurrence }}", Ok("daily main/daily@2026-11-03T14:00:00Z"));
        check("pin={{ secrets.pin }}", Ok("pin=4711-secret"));
        check("{% if next is defined %}more{% else %}last{% endif %}", Ok("last"));
        check("{{ '{{' }}", Ok("{{"));
        check("{{ next | date('%d') }}", Err("not there"));
        check("{{ secrets.pim }}", Err("not there"));
        check("{{ sheduled_for }}", Err("not there"));
        check("{{ scheduled_for", Err("syntax error"));
        check("{{ scheduled_for | date('%Q') }}", Err("not a date format"));
        check("{{ schedule | date('%d') }}", Err("takes an instant"));
        check("{{ scheduled_for | minus('a while') }}", Err("not a length of time"));
        check("{{ secrets.pin | frobnicate }}", Err("unknown filter"));
        check("{{ secrets.pin | date('%d') }}", Err("takes an instant"));
        check("{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}", Err("steps"));
    }

    #[test]
    fn only_texts_change_however_deep() {
        let values =
            serde_json::json!({"a": ["{{ schedule }}", 1, {"b": "{{ schedule }}!", "{{ c }}": true}], "n": null});
        let expected = serde_json::json!({"a": ["daily", 1, {"b": "daily!", "{{ c }}": true}], "n": null});
        let rendered = render_all(values.as_object().unwrap(), &occasion(), &Secrets::new()).unwrap();
        assert_eq!(Value::Object(rendered), expected);
        let wrong = serde_json::json!({"url": "{{ nothing }}"});
        let error = render_all(wrong.as_object().unwrap(), &occasion(), &Secrets::new()).unwrap_err();
        assert!(error.message.starts_with("the template in \"url\":"), "{error}");
    }
}
