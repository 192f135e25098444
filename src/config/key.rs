//! Reads the API key from where the file says that it is.
//!
//! Apart from reading the file, since `check`, `next` and `history` need no key. No message here repeats what was read.
//!
//! Who may read a key file is a warning: secrets that a container is handed are often open to all, and there is nobody else in
//! it. Who may change one, or the file with the schedules, is another matter: whoever does can have the key sent to a server
//! of their own. Such a file is not used.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    Environment,
    problem::{Code, Problem},
    settings::ApiKeySource,
};
use crate::secret::Secret;

/// No key is longer; whatever is, is another file.
const KEY_BYTES_MAX: u64 = 16 << 10;

impl ApiKeySource {
    /// Reads the API key.
    ///
    /// # Errors
    /// It is not there, or is not a key that the API would take.
    pub fn resolve(&self, environment: &Environment) -> Result<Secret, Problem> {
        let (text, place) = self.read("the API key", environment)?;
        checked(&text, &place)
    }

    /// Reads a secret for templates: any text, without the line break at its end.
    ///
    /// # Errors
    /// It is not there, or is empty.
    pub fn resolve_secret(&self, name: &str, environment: &Environment) -> Result<Secret, Problem> {
        let (text, place) = self.read(&format!("the secret {name:?}"), environment)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() { Err(missing(format!("{place} is empty"))) } else { Ok(Secret::new(text.to_owned())) }
    }

    /// The text, and where it was, for people.
    fn read(&self, what: &str, environment: &Environment) -> Result<(String, String), Problem> {
        match self {
            Self::Env(name) => match environment.get(name).map(|value| value.to_str()) {
                None => Err(missing(format!("{what} is not in the environment: {name} is not set"))
                    .hint(format!("set it ({name}=… skycron run), or say in the file where it is: {{ file = \"…\" }} or {{ credential = \"…\" }}"))),
                Some(None) => Err(bad(&format!("the variable {name}"), "is not text")),
                Some(Some(text)) => Ok((text.to_owned(), format!("the variable {name}"))),
            },
            Self::File(path) => from_file(path, format!("the key file {}", path.display())),
            Self::Credential(name) => {
                let folder = environment.path("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    missing(format!("{what} is not there: systemd passes no credentials, so not {name:?} either"))
                        .hint(format!("run it as a service with LoadCredential={name}:/path/of/the/key"))
                })?;
                from_file(&folder.join(name), format!("the credential {name:?}"))
            }
        }
    }

    /// What is wrong about where the key is, as far as it can be seen without reading it: a key file that is not there
    /// (yet), or that others can read.
    #[must_use]
    pub fn warning(&self) -> Option<Problem> {
        let Self::File(path) = self else { return None };
        match std::fs::metadata(path) {
            Err(error) => Some(
                Problem::error(Code::MissingSecret, format!("the key file {} cannot be read: {error}", path.display()))
                    .warning(),
            ),
            Ok(metadata) => {
                let changes = open_to_changes(&format!("the key file {}", path.display()), path, &metadata);
                changes.map(Problem::warning).or_else(|| exposed(path, &metadata))
            }
        }
    }
}

#[cfg(unix)]
fn exposed(path: &Path, metadata: &std::fs::Metadata) -> Option<Problem> {
    use std::os::unix::fs::PermissionsExt;

    let mode = metadata.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        let path = path.display();
        Problem::error(Code::ExposedSecret, format!("every user of this machine can read the key file {path}"))
            .hint(format!("chmod 600 {path}"))
            .warning()
    })
}

/// The problem of a file that every user of the machine can change.
#[cfg(unix)]
pub(super) fn open_to_changes(place: &str, path: &Path, metadata: &std::fs::Metadata) -> Option<Problem> {
    use std::os::unix::fs::PermissionsExt;

    // Not of a pipe or the like: what was said through it was said once.
    (metadata.is_file() && metadata.permissions().mode() & 0o002 != 0).then(|| {
        Problem::error(Code::ExposedFile, format!("every user of this machine can change {place}"))
            .hint(format!("look at what it says, then chmod o-w {}", path.display()))
    })
}

#[cfg(not(unix))]
pub(super) fn open_to_changes(_place: &str, _path: &Path, _metadata: &std::fs::Metadata) -> Option<Problem> {
    None
}

#[cfg(not(unix))]
fn exposed(_path: &Path, _metadata: &std::fs::Metadata) -> Option<Problem> {
    None
}

fn missing(message: String) -> Problem {
    Problem::error(Code::MissingSecret, message)
}

fn bad(place: &str, what: &str) -> Problem {
    Problem::error(Code::BadValue, format!("{place} {what}"))
}

fn from_file(path: &PathBuf, place: String) -> Result<(String, String), Problem> {
    let unreadable = |error| missing(format!("{place} cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    if let Some(problem) = open_to_changes(&place, path, &file.metadata().map_err(unreadable)?) {
        return Err(problem);
    }
    let mut bytes = Vec::new();
    file.take(KEY_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > KEY_BYTES_MAX {
        return Err(bad(&place, "is too large for a key"));
    }
    let text = String::from_utf8(bytes).map_err(|_| bad(&place, "is not text"))?;
    Ok((text, place))
}

/// The API answers 403 to a key with quotes, blanks or `Bearer` around it, and does not say why.
fn checked(text: &str, place: &str) -> Result<Secret, Problem> {
    let key = text.trim();
    if key.is_empty() {
        return Err(missing(format!("{place} is empty")));
    }
    if key.starts_with(['"', '\'']) || key.ends_with(['"', '\'']) {
        return Err(bad(place, "has the key in quotes").hint("write the key alone"));
    }
    if key.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer ")) {
        return Err(bad(place, "begins with Bearer").hint("write the key alone"));
    }
    if let Some((name, _)) = key.split_once('=')
        && name.ends_with("KEY")
    {
        return Err(bad(place, "holds an assignment").hint("write the key alone, without NAME="));
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            bad(place, "holds blanks or other characters that no key has").hint("write the key alone, on one line")
        );
    }
    Ok(Secret::new(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: Result<&str, &str>) {
        let environment = Environment::from_pairs([("KEY_OF_TEST", value)]);
        let got = ApiKeySource::Env("KEY_OF_TEST".to_owned()).resolve(&environment);
        let got = got.as_ref().map(Secret::expose).map_err(|problem| problem.message.as_str());
        assert_eq!(got, expected, "{value:?}");
    }

    #[test]
    fn a_key_is_one_word() {
        check("eyJ.abc-_", Ok("eyJ.abc-_"));
        check(" eyJ.abc-_\n", Ok("eyJ.abc-_"));
        check("", Err("the API key is not in the environment: KEY_OF_TEST is not set"));
        check(" \n", Err("the variable KEY_OF_TEST is empty"));
        check("\"eyJ\"", Err("the variable KEY_OF_TEST has the key in quotes"));
        check("Bearer eyJ", Err("the variable KEY_OF_TEST begins with Bearer"));
        check("SKYVERN_API_KEY=eyJ", Err("the variable KEY_OF_TEST holds an assignment"));
        check("eyJ.abc==", Ok("eyJ.abc=="));
        check("ey J", Err("the variable KEY_OF_TEST holds blanks or other characters that no key has"));
        check("schlüssel", Err("the variable KEY_OF_TEST holds blanks or other characters that no key has"));
    }

    #[test]
    fn files_and_credentials() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "eyJ.abc\n").unwrap();
        std::fs::write(folder.path().join("large"), "x".repeat(20_000)).unwrap();
        std::fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
        let message =
            |source: &ApiKeySource, environment: &Environment| source.resolve(environment).unwrap_err().message;
        let none = Environment::default();
        let file = |name: &str| ApiKeySource::File(folder.path().join(name));
        assert_eq!(file("key").resolve(&none).unwrap().expose(), "eyJ.abc");
        assert!(message(&file("large"), &none).ends_with("is too large for a key"));
        assert!(message(&file("binary"), &none).ends_with("is not text"));
        assert!(message(&file("absent"), &none).contains("cannot be read: No such file"));

        let credential = ApiKeySource::Credential("key".to_owned());
        let systemd = Environment::from_pairs([("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap())]);
        assert_eq!(credential.resolve(&systemd).unwrap().expose(), "eyJ.abc");
        assert!(message(&credential, &none).contains("systemd passes no credentials"));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_can_read_is_a_warning() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "eyJ.abc").unwrap();
        let source = ApiKeySource::File(path.clone());
        let code_at_mode = |mode: u32| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            source.warning().map(|problem| problem.code)
        };
        assert_eq!(code_at_mode(0o644), Some(Code::ExposedSecret));
        assert_eq!(code_at_mode(0o646), Some(Code::ExposedFile));
        let refused = source.resolve(&Environment::default()).map_err(|problem| problem.code);
        assert_eq!(refused, Err(Code::ExposedFile), "whoever can write it is not asked for a key");
        assert_eq!(code_at_mode(0o660), None);
        assert_eq!(code_at_mode(0o640), None);
        assert_eq!(code_at_mode(0o600), None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(source.warning().map(|problem| problem.code), Some(Code::MissingSecret));
    }
}
