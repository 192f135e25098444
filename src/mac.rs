//! HMAC-SHA256: whether bytes come from who holds the key. Compared in constant time, so that an answer's time tells nothing.
//!
//! Not for deciding what a message means.

use std::fmt::Write;

use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use subtle::ConstantTimeEq;

/// Bytes of a key and of a mark.
pub const BYTES: usize = 32;

/// A key that marks and checks. `Debug` does not show it.
#[derive(Clone)]
pub struct Mac(hmac::Key);

impl std::fmt::Debug for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mac")
    }
}

impl Mac {
    /// With this key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The mark of a message, in hex.
    #[must_use]
    pub fn mark(&self, message: &[u8]) -> String {
        hex(hmac::sign(&self.0, message).as_ref())
    }

    /// Begins a message that comes in pieces.
    #[must_use]
    pub fn begin(&self) -> Marking {
        Marking(hmac::Context::with_key(&self.0))
    }

    /// Whether this is the mark of the message.
    #[must_use]
    pub fn is_mark(&self, message: &[u8], mark: &str) -> bool {
        let mut marking = self.begin();
        marking.add(message);
        marking.is_mark(mark)
    }
}

/// A message that comes in pieces.
pub struct Marking(hmac::Context);

impl Marking {
    /// Its next piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Whether this, in hex, is the mark of the whole.
    #[must_use]
    pub fn is_mark(self, mark: &str) -> bool {
        let made = self.0.sign();
        unhex(mark).is_some_and(|mark| bool::from(made.as_ref().ct_eq(&mark)))
    }
}

/// A new key that nobody can guess.
///
/// # Errors
/// The system gives no random bytes.
pub fn random_key() -> std::io::Result<[u8; BYTES]> {
    let mut key = [0; BYTES];
    SystemRandom::new().fill(&mut key).map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
    Ok(key)
}

/// Bytes in hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of a key or a mark in hex; `None`: it is none.
#[must_use]
pub fn unhex(text: &str) -> Option<[u8; BYTES]> {
    let text = text.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; BYTES];
    if text.len() != BYTES * 2 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks() {
        // RFC 4231, test case 2.
        const MARK: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let mac = Mac::new(b"Jefe");
        let message = b"what do ya want for nothing?";
        assert_eq!(mac.mark(message), MARK);
        let check = |mark: &str, expected: bool| assert_eq!(mac.is_mark(message, mark), expected, "{mark:?}");
        check(MARK, true);
        check(&MARK.to_uppercase(), true);
        check(&MARK.replace("5b", "5c"), false);
        check(&MARK[..62], false);
        check(&format!("{MARK}00"), false);
        check("", false);
        check(&"z".repeat(64), false);
        assert!(!Mac::new(b"other").is_mark(message, MARK));
        let mut pieces = mac.begin();
        message.chunks(5).for_each(|piece| pieces.add(piece));
        assert!(pieces.is_mark(MARK));
    }

    #[test]
    fn keys_are_not_alike() {
        let (one, two) = (random_key().unwrap(), random_key().unwrap());
        assert_ne!(one, two);
        assert_eq!(unhex(&hex(&one)), Some(one));
    }
}
