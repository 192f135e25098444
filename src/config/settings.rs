//! The checked values of the file that are not schedules. Values and defaults only.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use url::Url;

use super::zones::ZoneRulesChoice;
use crate::{
    engine::alarm::AlarmEvent,
    ids::{ChannelName, Instance},
    secret::Secret,
    words::words,
};

/// Everything that holds for the whole daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `instance`: the first part of every occurrence's key.
    pub instance: Instance,
    /// `zone_rules`.
    pub zone_rules: ZoneRulesChoice,
    /// `min_interval`: two occurrences of one schedule are never closer; five minutes or more.
    pub min_interval: Duration,
    /// `reload_on_change`: the daemon reads the file again by itself when it changes.
    pub reload_on_change: bool,
    /// `[api]`.
    pub api: ApiSettings,
    /// `[history]`.
    pub history: HistorySettings,
    /// `[http]`.
    pub http: HttpSettings,
    /// `[webhook]`; `None`: runs are followed by looking alone.
    pub webhook: Option<WebhookSettings>,
    /// `[mirror]`.
    pub mirror: MirrorSettings,
    /// `[secrets]`: where the secrets are that templates speak of.
    pub secrets: BTreeMap<String, ApiKeySource>,
    /// `[notify]`: where alarms go.
    pub notify: BTreeMap<ChannelName, Channel>,
}

/// Where alarms go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// What is sent there.
    pub kind: ChannelKind,
    /// Where it is.
    pub url: UrlSource,
    /// Plain http is allowed to hosts other than loopback.
    pub allow_plain_http: bool,
    /// From the first byte of a request to the last of its answer.
    pub timeout: Duration,
}

/// What is sent to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelKind {
    /// A ping for each run: at its start, and at its end whether it was well.
    Ping,
    /// A POST for each alarm.
    Webhook {
        /// Which alarms.
        on: BTreeSet<AlarmEvent>,
        /// Headers, each with the template of its value.
        headers: Vec<(String, String)>,
        /// The template of the body; `None`: the alarm as JSON.
        body: Option<String>,
        /// Of the body.
        content_type: String,
    },
}

/// Where an address is that may itself be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlSource {
    /// In the file.
    Here(Secret),
    /// Where the file says.
    At(ApiKeySource),
}

/// How the API is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// Where it is; ends in `/`, so that paths can be joined to it.
    pub base_url: Url,
    /// Where the key is.
    pub api_key: ApiKeySource,
    /// Plain http is allowed to hosts other than loopback: the key travels in the clear.
    pub allow_plain_http: bool,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// From the first byte of a request to the last of its answer.
    pub request_timeout: Duration,
    /// The largest answer that is read.
    pub response_bytes_max: u64,
    /// Requests of all kinds; 0: no limit.
    pub requests_per_second_max: u32,
    /// Starts that wait for their answer at one time.
    pub launches_in_flight_max: u32,
    /// Between two looks at a young run.
    pub poll_interval: Duration,
    /// Between two looks at an old one.
    pub poll_interval_max: Duration,
    /// How long after a start without a clear answer its request may still become a run: a proxy may hold it, and a busy
    /// server waits before it begins. Until then, a run that is not found proves nothing.
    pub settle_grace: Duration,
}

/// Where the API key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiKeySource {
    /// In this variable of the environment.
    Env(String),
    /// In this file.
    File(PathBuf),
    /// In the systemd credential of this name.
    Credential(String),
}

/// How much of the past is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistorySettings {
    /// Ended occurrences older than this are removed.
    pub keep_for: Duration,
    /// Beyond so many rows the oldest ended ones are removed.
    pub rows_max: u64,
    /// Of each stored body (output, errors), in bytes; the rest is cut off.
    pub body_bytes_max: u64,
}

/// Where Skyvern tells that a run has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// How Skyvern reaches this machine; each run adds its own path.
    pub public_url: Url,
    /// Where to listen.
    pub listen: SocketAddr,
}

/// Where the status is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where to listen; `None`: nothing does.
    pub listen: Option<SocketAddr>,
    /// Names by which the server may be asked for, beside addresses and `localhost`.
    pub hosts: Vec<String>,
}

words! {
    /// What the daemon does about a mirrored schedule that was changed at the server.
    #[derive(Default)]
    OnDrift {
        /// It says so, and leaves it.
        #[default]
        Report = "report",
        /// It makes it equal to the file again.
        Restore = "restore",
    }
}

/// Whether and how the server's own schedules are made equal to the file's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorSettings {
    /// The daemon keeps them equal.
    pub enabled: bool,
    /// Copies of schedules that are gone from the file are deleted; else they are kept, disabled.
    pub prune: bool,
    /// What the daemon does about changes that were made at the server.
    pub on_drift: OnDrift,
    /// Between two looks of the daemon.
    pub interval: Duration,
}
