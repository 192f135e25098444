//! What `doctor` finds at the server: only questions are sent, nothing is started.

use std::time::Duration;

use chrono::TimeDelta;

use super::Finding;
use crate::{
    cli::exit::Exit,
    clock::{Clock, SystemClock},
    config::Config,
    daemon::client_options,
    secret::Secret,
    skyvern::{ApiError, Client, TagSearch},
};

/// A person waits for the answer: no longer than this for each call.
const REQUEST_SECONDS_MAX: u64 = 15;
/// Two clocks that differ by this much are worth a look; by the second one, something is wrong.
pub(in crate::cli) const CLOCKS_APART_SECONDS_MIN: i64 = 5;
const CLOCKS_APART_SECONDS_MAX: i64 = 60;

/// Everything about the server. It ends with the first call that brings no answer: the others would not bring one either.
pub(super) async fn look(config: &Config, key: Secret, clock: SystemClock) -> Vec<Finding> {
    let mut options = client_options(&config.settings.api, key);
    options.request_timeout = options.request_timeout.min(Duration::from_secs(REQUEST_SECONDS_MAX));
    let client = match Client::new(&options) {
        Ok(client) => client,
        Err(error) => return vec![Finding::problem("server", Exit::Usage, error.to_string()).hint(error.hint())],
    };
    let asked = clock.now();
    let facts = client.server_facts().await;
    let answered = clock.now();
    let url = client.base_url();
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => return vec![failed("server", format!("{url}: {error}"), &error)],
    };
    let version = facts.version.as_deref().unwrap_or("of unknown version (before 1.0.24)");
    let message = format!("{url} answers: Skyvern {version}");
    let mut found = vec![if client.shows_the_key() {
        let hint = "put the server behind https; plain http is for networks that you trust";
        Finding::warning("server", format!("{message}, over plain http: everybody on the way sees the key")).hint(hint)
    } else {
        Finding::ok("server", message)
    }];
    match client.check_key().await {
        Ok(None) => found.push(Finding::ok("access", "the key is accepted")),
        Ok(Some(organization)) => {
            let name = organization.name.map_or_else(String::new, |name| format!(" ({name})"));
            found.push(Finding::ok(
                "access",
                format!("the key is accepted, for organisation {}{name}", organization.id),
            ));
        }
        Err(error) => found.push(failed("access", error.to_string(), &error)),
    }
    if found.iter().all(|finding| finding.class == Exit::Done) {
        found.extend(tag_search(config, &client).await);
    }
    found.extend(facts.clock_ahead(asked, answered).map(clocks));
    found
}

/// Whether a start without an answer can be looked for.
async fn tag_search(config: &Config, client: &Client) -> Option<Finding> {
    const CHECK: &str = "tag_search";
    let schedule = config.schedules.iter().find(|schedule| schedule.enabled)?;
    Some(match client.tag_search(&schedule.workflow_id).await {
        Ok(TagSearch::Works) => Finding::ok(CHECK, "works: a start that brings no answer is looked for by its tag"),
        Ok(TagSearch::Ignored) => {
            let message = "this server does not search by tag: a start that brings no answer is looked for among the workflow's \
                           runs, and where that does not decide, it stays `unknown` until a person does";
            Finding::warning(CHECK, message).hint("servers from 1.0.47 on search by tag")
        }
        Ok(TagSearch::Unproven) => {
            let message = format!(
                "not known yet: the server does not tell its version, and {} has no runs to search among",
                schedule.workflow_id
            );
            Finding::warning(CHECK, message).hint("look again after its first run")
        }
        Err(error) => failed(CHECK, error.to_string(), &error),
    })
}

fn failed(check: &'static str, message: String, error: &ApiError) -> Finding {
    Finding::problem(check, Exit::Api, message).hint(error.hint)
}

/// The verdict on a clock that is at least so far ahead of this machine's.
fn clocks(ahead: TimeDelta) -> Finding {
    const CHECK: &str = "server_clock";
    let at_least = ahead.abs();
    if at_least < TimeDelta::seconds(CLOCKS_APART_SECONDS_MIN) {
        return Finding::ok(CHECK, "shows the same time as this machine's, as far as can be seen");
    }
    let way = if ahead > TimeDelta::zero() { "ahead of" } else { "behind" };
    let message = format!("the server's clock is {} s {way} this machine's", at_least.num_seconds());
    let finding = if at_least < TimeDelta::seconds(CLOCKS_APART_SECONDS_MAX) {
        Finding::warning(CHECK, message)
    } else {
        Finding::problem(CHECK, Exit::Bad, message)
    };
    finding.hint("let a time service keep both (systemd-timesyncd, chrony): what is due starts by this machine's clock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::Verdict, clock::parse_rfc3339, skyvern::ServerFacts};

    /// Asked at 12:00:00.2, answered at 12:00:00.9.
    fn check(server: &str, verdict: Verdict, part: &str) {
        let at = |time: &str| parse_rfc3339(&format!("2026-11-22T{time}Z")).unwrap();
        let facts = ServerFacts { version: None, date: Some(at(server)) };
        let found = clocks(facts.clock_ahead(at("12:00:00.2"), at("12:00:00.9")).unwrap());
        assert_eq!(found.verdict, verdict, "{found:?}");
        assert!(found.message.contains(part), "{found:?}");
    }

    #[test]
    fn clocks_are_compared_as_far_as_can_be_seen() {
        check("12:00:00", Verdict::Ok, "the same");
        check("12:00:05", Verdict::Ok, "the same");
        check("12:00:06", Verdict::Warning, "5 s ahead of");
        check("12:01:00", Verdict::Warning, "59 s ahead of");
        check("12:01:01", Verdict::Problem, "60 s ahead of");
        check("11:59:55", Verdict::Ok, "the same");
        check("11:59:54", Verdict::Warning, "5 s behind");
        check("11:00:00", Verdict::Problem, "3599 s behind");
    }
}
