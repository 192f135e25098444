//! One POST to an address that is not the API's: where alarms go. With the trust, the bounds and the caution of the client
//! (no redirects, nothing tried again), and connections of its own.

use std::time::Duration;

use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use url::Url;

use super::{
    answer::Said,
    client::describe,
    transport::{Failure, Transport},
};
use crate::secret::Secret;

/// How much of an answer is read; nothing in it matters but its status.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Connections to one address.
const CONNECTIONS_MAX: usize = 4;

/// What became of a POST. Texts are one line, bounded, and without the secrets that were named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// It was taken.
    Taken,
    /// Not now: it may have arrived, and is worth another try.
    NotNow {
        /// Why.
        text: String,
        /// How long the receiver asks to wait.
        retry_after: Option<Duration>,
    },
    /// The receiver says no, and would say so again.
    Refused {
        /// Why.
        text: String,
    },
}

/// Posts to one host.
pub struct Poster {
    transport: Transport,
}

impl std::fmt::Debug for Poster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poster").finish_non_exhaustive()
    }
}

impl Poster {
    /// For the host of this address.
    ///
    /// # Errors
    /// This machine's certificates cannot be used.
    pub fn new(url: &Url, timeout: Duration) -> Result<Self, super::ClientError> {
        let transport = Transport::new(url, timeout / 2, timeout, ANSWER_BYTES_MAX, CONNECTIONS_MAX)?;
        Ok(Self { transport })
    }

    /// Sends one POST. `secrets` are taken out of what the receiver says.
    pub async fn post(
        &self,
        url: Url,
        content_type: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
        secrets: &[&Secret],
    ) -> Posted {
        let mut map = HeaderMap::with_capacity(headers.len() + 1);
        let given = [("content-type", content_type)].into_iter();
        for (name, value) in given.chain(headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))) {
            let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
                return Posted::Refused { text: format!("the header {name} has a value that no header can have") };
            };
            value.set_sensitive(name != CONTENT_TYPE);
            map.insert(name, value);
        }
        match self.transport.exchange(Method::POST, url, map, Some(body)).await {
            Ok(answer) if answer.is_success() => Posted::Taken,
            Ok(answer) => {
                let said = match answer.said(secrets) {
                    // Not the API: its forms mean nothing here.
                    Said::NoRoute => Said::Other("Not Found".to_owned()),
                    said => said,
                };
                let text = describe(answer.status, &said).replacen("the server", "it", 1);
                match answer.status {
                    408 | 425 | 429 | 500.. => Posted::NotNow { text, retry_after: answer.retry_after },
                    300..=399 => Posted::Refused { text: format!("{text}; redirects are not followed") },
                    _ => Posted::Refused { text },
                }
            }
            // Taken, as far as the status says.
            Err(Failure::BodyLost { .. } | Failure::TooLarge { .. }) => Posted::Taken,
            Err(Failure::Connect { text, .. }) => {
                Posted::NotNow { text: format!("no connection: {text}"), retry_after: None }
            }
            Err(Failure::Timeout { .. }) => Posted::NotNow { text: "no answer in time".to_owned(), retry_after: None },
            Err(Failure::Broken { text }) => {
                Posted::NotNow { text: format!("the connection broke: {text}"), retry_after: None }
            }
        }
    }
}
