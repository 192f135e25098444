//! A text that cannot be printed: the API key, and every other secret.
//!
//! Not a vault: it lives in memory as long as the process. It only cannot reach a log, an error, or a row by accident.

use std::fmt;

/// A secret text. `Debug` shows `[secret]`; there is no `Display` and no `Serialize`.
/// ```
/// use skycron::secret::Secret;
///
/// let key = Secret::new("sk-123456".to_owned());
/// assert_eq!(format!("{key:?}"), "[secret]");
/// assert_eq!(key.redact("the key sk-123456 is wrong"), "the key [secret] is wrong");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text as it is, without trimming.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Every call site is a place to look at in a review: the value may go into a request, nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` with every appearance of the secret replaced, for texts that came from elsewhere (a server's error body may
    /// repeat what it was sent). Secrets of fewer than 4 characters are not searched for: they would blank out ordinary words.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        if self.0.len() < 4 { text.to_owned() } else { text.replace(&self.0, "[secret]") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_never_shows_the_text() {
        let secret = Secret::new("hunter2-hunter2".to_owned());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[secret] Some([secret])");
        assert_eq!(secret.redact("key=hunter2-hunter2;"), "key=[secret];");
    }
}
