//! Runs: start one, look at one, cancel one.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Map, Value};

use super::{
    answer::{Answer, Said},
    client::{Client, read},
    error::{ApiError, ApiErrorKind},
    sorting::{StartReply, sort_start},
    transport::Failure,
    wire,
};
use crate::{
    engine::RunReport,
    ids::{RunId, WorkflowId},
    secret::Secret,
};

/// A start.
#[derive(Debug, Clone, Copy)]
pub struct StartRun<'a> {
    /// The workflow.
    pub workflow_id: &'a WorkflowId,
    /// Its parameters. The server drops those that the workflow does not declare, in silence.
    pub parameters: &'a Map<String, Value>,
    /// Other fields of the request, under the API's names.
    pub run_options: &'a Map<String, Value>,
    /// Pairs that the server turns into tags of the run; they win over `run_metadata` in the options.
    pub run_metadata: &'a BTreeMap<String, String>,
    /// Texts within the parameters that must not come back in an error message.
    pub secrets: &'a [Secret],
}

impl StartRun<'_> {
    fn body(&self) -> Vec<u8> {
        let mut body = self.run_options.clone();
        // Absent, it would mean RESIDENTIAL and override the workflow's own setting.
        body.entry("proxy_location").or_insert(Value::Null);
        body.insert("workflow_id".to_owned(), self.workflow_id.as_str().into());
        body.insert("parameters".to_owned(), Value::Object(self.parameters.clone()));
        let mut metadata = match body.remove("run_metadata") {
            Some(Value::Object(metadata)) => metadata,
            _ => Map::new(),
        };
        metadata.extend(self.run_metadata.iter().map(|(key, value)| (key.clone(), value.as_str().into())));
        if !metadata.is_empty() {
            body.insert("run_metadata".to_owned(), Value::Object(metadata));
        }
        Value::Object(body).to_string().into_bytes()
    }
}

/// How much of a run is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Status and times; the server cuts large values short. For polling.
    Brief,
    /// Everything, once it is over. Larger than the limit: what `Brief` gives, with `truncated`.
    Full,
}

impl Client {
    /// Starts a run: one POST, never repeated in here. A future that is dropped may have started a run.
    pub async fn start_run(&self, start: &StartRun<'_>) -> StartReply {
        let outcome = self.post_start(self.url(&["v1", "run", "workflows"]), start.body()).await;
        let mut secrets = vec![self.key()];
        secrets.extend(start.secrets);
        sort_start(outcome, &secrets)
    }

    /// The API's word on a run. A run whose workflow was deleted, or that a crash left half-made, is found on older paths.
    ///
    /// # Errors
    /// `NotFound`: no path knows it, in Skyvern's own words.
    pub async fn get_run(&self, run: &RunId, detail: Detail) -> Result<RunReport, ApiError> {
        let (answer, truncated) = self.fetch_run(run, detail).await?;
        let mut report = read::<wire::Run>(&answer)?.into_report().ok_or_else(|| no_run(&answer))?;
        report.truncated |= truncated;
        Ok(report)
    }

    /// The parameters that a run was started with, as the server keeps them: defaults filled in, undeclared ones dropped.
    ///
    /// # Errors
    /// As [`Client::get_run`].
    pub async fn run_parameters(&self, run: &RunId) -> Result<Map<String, Value>, ApiError> {
        let (answer, _) = self.fetch_run(run, Detail::Brief).await?;
        Ok(read::<wire::Run>(&answer)?.into_parameters())
    }

    /// Asks the server to cancel a run. A run that is over stays as it is, which is no error.
    ///
    /// # Errors
    /// `NotFound`: no path knows it.
    pub async fn cancel_run(&self, run: &RunId) -> Result<(), ApiError> {
        let answer = self.call(Method::POST, self.url(&["v1", "runs", run.as_str(), "cancel"]), false).await;
        let Some(gone) = self.gone(&answer) else { return self.expect_success(answer).map(|_| ()) };
        // The way for runs that a crash left half-made.
        let older = self.url(&["api", "v1", "workflows", "runs", run.as_str(), "cancel"]);
        let answer = self.call(Method::POST, older, false).await;
        if self.lacks(&answer) { Err(gone) } else { self.expect_success(answer).map(|_| ()) }
    }

    /// The answer that describes the run, and whether it stands for a larger one.
    async fn fetch_run(&self, run: &RunId, detail: Detail) -> Result<(Answer, bool), ApiError> {
        let (answer, truncated) = self.fetch_path(&["v1", "runs", run.as_str()], detail).await;
        let Some(gone) = self.gone(&answer) else {
            return self.expect_success(answer).map(|answer| (answer, truncated));
        };
        for path in
            [["v1", "workflows", "runs", run.as_str()].as_slice(), &["api", "v1", "workflows", "runs", run.as_str()]]
        {
            let (answer, truncated) = self.fetch_path(path, detail).await;
            if !self.lacks(&answer) {
                return self.expect_success(answer).map(|answer| (answer, truncated));
            }
        }
        Err(gone)
    }

    async fn fetch_path(&self, path: &[&str], detail: Detail) -> (Result<Answer, Failure>, bool) {
        let answer = self.call(Method::GET, self.url(path), detail == Detail::Brief).await;
        match answer {
            Err(Failure::TooLarge { .. }) if detail == Detail::Full => {
                (self.call(Method::GET, self.url(path), true).await, true)
            }
            answer => (answer, false),
        }
    }

    /// The error, if the server says in its own words that it does not know the thing.
    fn gone(&self, answer: &Result<Answer, Failure>) -> Option<ApiError> {
        let answer = answer.as_ref().ok().filter(|answer| answer.status == 404)?;
        let error = self.expect_success(Ok(answer.clone())).err()?;
        (error.kind == ApiErrorKind::NotFound).then_some(error)
    }

    /// Whether an older path knows it neither, or is not there at all.
    fn lacks(&self, answer: &Result<Answer, Failure>) -> bool {
        answer.as_ref().is_ok_and(|answer| {
            answer.status == 404 && matches!(answer.said(&[self.key()]), Said::Skyvern(_) | Said::NoRoute)
        })
    }
}

fn no_run(answer: &Answer) -> ApiError {
    ApiError {
        kind: ApiErrorKind::Nonsense,
        http_status: Some(answer.status),
        retry_after: None,
        message: "the server's answer names no run or no status".to_owned(),
        hint: "the answer is not what Skyvern sends: check base_url",
    }
}
