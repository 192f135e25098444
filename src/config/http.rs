//! `[http]`: where the status is served, and to whom. Off unless it says where to listen.

use std::net::SocketAddr;

use super::{
    kinds::{OrNone, Texts},
    problem::{Code, Problem},
    reader::{Reading, shape},
    settings::HttpSettings,
};

/// Names that the server can go by.
const HOSTS_MAX: usize = 100;

shape! {
    /// `[http]` as it is written.
    RawHttp as "http" {
        /// The address and the port on which the status is served, as in `127.0.0.1:8765`.
        listen: OrNone<String> = "none",
        /// Listen on an address that other machines reach: whoever reaches it reads names, outputs and failures of runs.
        allow_remote: bool = false,
        /// Names by which the server may be asked for, besides its address.
        hosts: Texts,
    }
}

/// Checks `[http]`.
pub(super) fn check(raw: &RawHttp, reading: &mut Reading<'_>) -> HttpSettings {
    let allow_remote = raw.allow_remote.as_ref().is_some_and(|at| at.value);
    let text = raw.listen.as_ref().and_then(|at| match &at.value {
        OrNone::None => None,
        OrNone::Some(text) => Some((at, text)),
    });
    let listen = text.and_then(|(at, text)| match text.parse::<SocketAddr>() {
        Ok(address) if allow_remote || address.ip().is_loopback() => Some(address),
        Ok(address) => {
            let message = format!("`listen` is {}, which other machines reach", address.ip());
            let hint = "listen on 127.0.0.1 or [::1] behind a proxy that asks who it is, or set allow_remote = true: whoever \
                        reaches it reads names, outputs and failures of runs";
            reading.add(&at.span, Problem::error(Code::BadValue, message).hint(hint));
            None
        }
        Err(_) => {
            let problem = Problem::error(Code::BadValue, format!("`listen` is not an address: {text:?}"));
            reading.add(&at.span, problem.hint("write an IP address and a port: \"127.0.0.1:8765\", \"[::1]:8765\""));
            None
        }
    });
    if raw.listen.is_none()
        && let Some(key) = raw.hosts.as_ref().map(|at| &at.key).or(raw.allow_remote.as_ref().map(|at| &at.key))
    {
        let problem = Problem::error(Code::Surprise, "[http] without `listen` is off: nothing listens");
        reading.add(&key.clone(), problem.hint("add listen = \"127.0.0.1:8765\"").warning());
    }
    let hosts = raw.hosts.as_ref().map_or_else(Vec::new, |at| {
        if at.value.0.len() > HOSTS_MAX {
            reading.bad(at, &format!("has more than {HOSTS_MAX} names"));
        }
        for (name, span) in at.value.0.iter().filter(|(name, _)| !is_host(name)) {
            let problem =
                Problem::error(Code::BadValue, format!("`hosts` has something that is no name of a host: {name:?}"));
            reading
                .add(span, problem.hint("write it as it stands in a browser, without https:// and without the port"));
        }
        at.value.0.iter().map(|(name, _)| name.clone()).collect()
    });
    HttpSettings { listen, hosts }
}

fn is_host(name: &str) -> bool {
    let part =
        |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
    name.len() <= 253 && name.split('.').all(part)
}
