//! The API client: our words out, our words back. The only module (with `sandbox`) that knows HTTP status codes.
//!
//! What came of a call is sorted here, at the edge, into what to do next: a start is [`StartReply::Started`], `Refused`,
//! `NotStarted` or `Unknown`; a change of one of the server's schedules that did not clearly succeed is a [`WriteError`] with
//! the same distinctions; every other call answers with what was asked for or an [`ApiError`] of one of seven kinds. Nothing is
//! tried again in here: one call is one request on the wire, because when and whether to try again is decided by the engine, on
//! the record. (Only a path that the server does not have is followed by its other name, and lists by their further pages.)
//!
//! | file | what it is |
//! |---|---|
//! | `client` | options, the client, the requests that all calls are made of |
//! | `transport` | connections: trust, time-outs, bounds, closing what is idle |
//! | `sorting` | the answer to a start → [`StartReply`]; pure |
//! | `answer` | what a server said, in one line |
//! | `error` | the kinds of failure |
//! | `runs`, `lists`, `schedules/`, `workflows`, `browsers`, `server` | the calls |
//! | `poster` | a POST to another program, for alarms |
//! | `pulse` | how the latest requests were taken |
//! | `tag` | the occurrence's key as a tag of its run |
//! | `wire` | the shapes of the JSON, private, tolerant of what is new |

mod answer;
mod browsers;
mod client;
mod error;
mod lists;
mod poster;
mod pulse;
mod runs;
mod schedules;
mod server;
mod sorting;
mod tag;
mod transport;
mod wire;
mod workflows;

pub use browsers::BrowserState;
pub use client::{Client, ClientOptions};
pub use error::{ApiError, ApiErrorKind, ClientError};
pub use lists::{RunFilter, RunListEntry};
pub use poster::{Posted, Poster};
pub use pulse::{Beat, Pulse, RequestOutcome, RequestPurpose};
pub use runs::{Detail, StartRun};
pub use schedules::{
    DispatchStatus, ScheduleDraft, ScheduleFilter, ScheduleStatus, ServerCadence, ServerSchedule, WriteError,
    WriteErrorKind, scheduled_run_id,
};
pub use server::{Organization, ServerFacts, TagSearch};
pub use sorting::{StartReply, refuses_the_key, refuses_the_webhook};
pub use tag::{TAG_KEY, occurrence_metadata, tag_value};
pub use workflows::{WORKFLOWS_MAX, Workflow, WorkflowParameter};
