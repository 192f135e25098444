//! Asking the server a question from the command line: which server, with which key, and how long a person waits.
//!
//! For commands that only look. What starts runs goes through `daemon`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use tokio::runtime::Runtime;

use super::{context::Context, error::CliError, exit::Exit, problems};
use crate::{
    config::{Config, Environment},
    daemon::client_options,
    skyvern::{ApiError, ApiErrorKind, Client},
};

/// A person waits for the answer: no longer than this for each call.
const REQUEST_SECONDS_MAX: u64 = 30;
/// A server that asks for fewer requests is given this long, so many times.
const WAIT_SECONDS_MAX: u64 = 20;
const WAITS_MAX: usize = 3;

/// Which server, where there is no file yet that says it.
#[derive(Debug, Clone, Default, Args)]
pub struct AccessArgs {
    /// The server's address [else the file's, else Skyvern Cloud's]
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// A file with the API key [else where the file says, $SKYVERN_API_KEY]
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
}

impl AccessArgs {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.base_url.is_none() && self.api_key_file.is_none()
    }

    /// The `[api]` table that says the same.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = "[api]\n".to_owned();
        if let Some(url) = &self.base_url {
            table.push_str(&format!("base_url = {}\n", toml::Value::from(url.as_str())));
            // To type an address with http: is to allow it; on this machine it needs no leave.
            if url.starts_with("http://") && !is_of_this_machine(url) {
                table.push_str("allow_plain_http = true\n");
            }
        }
        table.push_str(&match &self.api_key_file {
            Some(path) => {
                // The file's own paths are read from its folder, and it can be written anywhere.
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                format!("api_key = {{ file = {} }}\n", toml::Value::from(path.to_string_lossy().as_ref()))
            }
            None => "api_key = { env = \"SKYVERN_API_KEY\" }\n".to_owned(),
        });
        table
    }
}

fn is_of_this_machine(url: &str) -> bool {
    url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).is_some_and(|host| {
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// The settings of the file where there is one and nothing else is said, else of the options and the environment.
///
/// # Errors
/// They are wrong; every problem was shown.
pub fn config(args: &AccessArgs, context: &mut Context) -> Result<Config, CliError> {
    if args.is_empty() && context.config_path().is_ok() {
        return context.load_config();
    }
    let path = PathBuf::from("the options");
    let parsed = Config::parse(&path, &args.table(), &context.environment);
    parsed.map_err(|found| problems::as_error(&found, &mut context.output))
}

/// A client for questions.
///
/// # Errors
/// The key is not there, or the address cannot be used.
pub fn client(config: &Config, environment: &Environment) -> Result<Client, CliError> {
    let key = config.settings.api.api_key.resolve(environment).map_err(|problem| {
        let error = CliError::usage(problem.message);
        match problem.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    })?;
    let mut options = client_options(&config.settings.api, key);
    options.request_timeout = options.request_timeout.min(Duration::from_secs(REQUEST_SECONDS_MAX));
    Client::new(&options).map_err(|error| CliError::usage(error.to_string()).hint(error.hint()))
}

/// Where the questions are asked.
///
/// # Errors
/// The system gives none.
pub fn runtime() -> Result<Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Bad, "the runtime cannot be started").source(error))
}

/// A failure to get an answer, as the command's.
#[must_use]
pub fn api_error(error: &ApiError) -> CliError {
    CliError::new(Exit::Api, error.to_string()).hint(error.hint)
}

/// Asks, and asks again after a while where the server wants fewer requests.
///
/// # Errors
/// As the question.
pub async fn patiently<T, F: Future<Output = Result<T, ApiError>>>(ask: impl Fn() -> F) -> Result<T, ApiError> {
    for _ in 0..WAITS_MAX {
        match ask().await {
            Err(error) if error.kind == ApiErrorKind::RateLimited => {
                let most = Duration::from_secs(WAIT_SECONDS_MAX);
                tokio::time::sleep(error.retry_after.unwrap_or(Duration::from_secs(1)).min(most)).await;
            }
            other => return other,
        }
    }
    ask().await
}
