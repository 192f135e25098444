//! Plans and results as JSON objects: for programs, and for the way from a daemon to a command. Shapes only.

use serde_json::{Map, Value, json};

use super::{
    apply::{Outcome, StepResult},
    plan::{Blocked, Plan, Remark, Step},
};
use crate::{ids::ServerScheduleId, skyvern::WriteErrorKind, words::words};

words! {
    /// How a step ended.
    End {
        /// Done, and written down.
        Done = "done",
        /// Whoever fires is busy with it; the next apply tries again.
        Later = "later",
        /// The server said no, and will say so again.
        Refused = "refused",
        /// The server could not be used, or did not answer clearly.
        Failed = "failed",
        /// Done at the server, and not written down.
        Unrecorded = "unrecorded",
        /// Not tried, because of a step before it.
        NotTried = "not_tried",
    }
}

impl Outcome {
    /// In one word.
    #[must_use]
    pub fn end(&self) -> End {
        use WriteErrorKind::{LimitReached, NoSchedules, NotDone, NotFound, Over, Refused, Unauthorized, Unknown};
        match self {
            Self::Done => End::Done,
            Self::Later(_) => End::Later,
            Self::NotTried(_) => End::NotTried,
            Self::Unrecorded(_) => End::Unrecorded,
            Self::Failed(error) => match error.kind {
                NotFound | LimitReached | Over | Refused => End::Refused,
                NoSchedules | Unauthorized | NotDone | Unknown => End::Failed,
            },
        }
    }
}

impl Step {
    /// `step`, `schedule`, `workflow_id`, `server_schedule_id`, `reason`, `origin`, and `changes` where there are any.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.object(self.server_id.as_ref()).into()
    }

    fn object(&self, server_id: Option<&ServerScheduleId>) -> Map<String, Value> {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("step", json!(self.deed.word()));
        put("schedule", json!(self.schedule.as_str()));
        put("workflow_id", json!(self.workflow_id.as_str()));
        put("server_schedule_id", json!(server_id.map(ServerScheduleId::as_str)));
        put("reason", json!(self.reason));
        put("origin", json!(self.origin.word()));
        if !self.changes.is_empty() {
            let change = |change: &super::FieldChange| json!({ "field": change.field, "before": change.before, "after": change.after });
            put("changes", self.changes.iter().map(change).collect());
        }
        object
    }
}

impl StepResult {
    /// The step's, with `outcome`, and `message` and `hint` where it was not done.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = self.step.object(self.server_id.as_ref());
        object.insert("outcome".to_owned(), json!(self.outcome.end().word()));
        let (message, hint) = match &self.outcome {
            Outcome::Done => (None, None),
            Outcome::Later(why) | Outcome::NotTried(why) | Outcome::Unrecorded(why) => (Some(why.as_str()), None),
            Outcome::Failed(error) => (Some(error.message.as_str()), Some(error.hint)),
        };
        object.extend(message.map(|message| ("message".to_owned(), json!(message))));
        object.extend(hint.map(|hint| ("hint".to_owned(), json!(hint))));
        object.into()
    }
}

impl Blocked {
    /// `blocked`, `schedule`, `reason`, `hint`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "blocked": true, "schedule": self.schedule.as_str(), "reason": self.reason, "hint": self.hint })
    }
}

impl Remark {
    /// `remark`, `schedule` (null: all), `message`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let schedule = self.schedule.as_ref().map(crate::ids::ScheduleId::as_str);
        json!({ "remark": self.kind.word(), "schedule": schedule, "message": self.message })
    }
}

impl Plan {
    /// One object for each step, each thing that cannot be had, and each remark.
    pub fn to_json(&self) -> impl Iterator<Item = Value> {
        let steps = self.steps.iter().map(Step::to_json);
        let blocked = self.blocked.iter().map(Blocked::to_json);
        steps.chain(blocked).chain(self.remarks.iter().map(Remark::to_json))
    }
}
