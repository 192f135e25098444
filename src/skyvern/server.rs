//! The server itself: its version, whether it takes the key, and whether its search by tag can be trusted.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;

use super::{
    client::{Client, read},
    error::{ApiError, ApiErrorKind},
    lists::RunFilter,
    tag::TAG_KEY,
    transport::is_loopback,
    wire,
};
use crate::ids::WorkflowId;

/// The first version whose run lists are filtered by tag.
const TAG_SEARCH_SINCE: (u64, u64, u64) = (1, 0, 47);

/// A value that no occurrence's key can have, so that nothing is found by it.
const NOBODY: &str = "nobody-7f3a91c2e05b4d68";

/// The organisation that a key belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// `o_…`.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
}

/// Whether runs can be found by tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagSearch {
    /// The filter is honoured: what it does not find is not there (yet).
    Works,
    /// The server is too old, and answers with every run.
    Ignored,
    /// Nothing speaks against it and nothing proves it: the version is not known and the workflow has no runs.
    Unproven,
}

/// What a server tells anybody of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version, such as `1.0.56`; `None` where it does not say (before 1.0.24).
    pub version: Option<String>,
    /// What its clock showed when it answered, cut to the second.
    pub date: Option<DateTime<Utc>>,
}

impl ServerFacts {
    /// How far its clock is ahead of this machine's, at the least, if it was asked and answered at these instants; negative:
    /// behind. `None`: it did not tell the time.
    #[must_use]
    pub fn clock_ahead(&self, asked: DateTime<Utc>, answered: DateTime<Utc>) -> Option<TimeDelta> {
        let server = self.date?;
        // The header is cut to the second.
        let (earliest, latest) = (server - answered, server + TimeDelta::seconds(1) - asked);
        Some(if earliest > TimeDelta::zero() { earliest } else { latest.min(TimeDelta::zero()) })
    }
}

impl Client {
    /// The server's version, such as `1.0.56`; `None` where it does not say (before 1.0.24).
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn server_version(&self) -> Result<Option<String>, ApiError> {
        self.server_facts().await.map(|facts| facts.version)
    }

    /// What the server tells of itself, by one call that needs no key.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn server_facts(&self) -> Result<ServerFacts, ApiError> {
        let answer = self.call(Method::GET, self.url(&["api", "v1", "version"]), false).await;
        let date = answer.as_ref().ok().and_then(|answer| answer.date);
        match self.expect_success(answer).and_then(|answer| read::<wire::Version>(&answer)) {
            Ok(answer) => Ok(ServerFacts { version: Some(answer.version), date }),
            Err(error) if error.http_status == Some(404) && error.kind != ApiErrorKind::Unavailable => {
                Ok(ServerFacts { version: None, date })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the key travels to another machine in the clear.
    #[must_use]
    pub fn shows_the_key(&self) -> bool {
        self.base_url().scheme() == "http" && !is_loopback(self.base_url())
    }

    /// Whether the server takes the key, and whose it is: a cheap call without effect.
    ///
    /// # Errors
    /// `Unauthorized`: it does not.
    pub async fn check_key(&self) -> Result<Option<Organization>, ApiError> {
        let answer: wire::Organizations = self.get(self.url(&["api", "v1", "organizations"]), false).await?;
        let first = answer.organizations.into_iter().next();
        Ok(first.map(|organization| Organization {
            id: organization.organization_id,
            name: organization.organization_name,
        }))
    }

    /// Whether the runs of this workflow can be found by tag: a tag that nobody has must find nothing, and the version must be
    /// one that filters, or else the same list without the filter must not be empty too.
    ///
    /// # Errors
    /// `Unauthorized` also where the organisation may not search by tag.
    pub async fn tag_search(&self, workflow: &WorkflowId) -> Result<TagSearch, ApiError> {
        let version = self.server_version().await?.as_deref().and_then(parse_version);
        if version.is_some_and(|version| version < TAG_SEARCH_SINCE) {
            return Ok(TagSearch::Ignored);
        }
        let tag = Some((TAG_KEY.to_owned(), NOBODY.to_owned()));
        let probe = RunFilter { tag, page_size: 1, ..RunFilter::default() };
        if !self.list_workflow_runs(workflow, &probe).await?.is_empty() {
            return Ok(TagSearch::Ignored);
        }
        if version.is_some() {
            return Ok(TagSearch::Works);
        }
        let all = RunFilter { page_size: 1, ..RunFilter::default() };
        let empty = self.list_workflow_runs(workflow, &all).await?.is_empty();
        Ok(if empty { TagSearch::Unproven } else { TagSearch::Works })
    }
}

/// Reads `1.0.56`, also with a `v` before and a suffix behind.
fn parse_version(text: &str) -> Option<(u64, u64, u64)> {
    let mut numbers = text.trim().trim_start_matches('v').splitn(3, '.');
    let mut number = || {
        let part = numbers.next()?;
        part[..part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len())].parse().ok()
    };
    Some((number()?, number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions() {
        let check = |text: &str, expected| assert_eq!(parse_version(text), expected, "{text}");
        check("1.0.56", Some((1, 0, 56)));
        check("v1.0.47.post1", Some((1, 0, 47)));
        check("1.0.47rc2", Some((1, 0, 47)));
        check("development", None);
        check("2026-11-22", None);
        check("1.0", None);
        check("", None);
    }
}
