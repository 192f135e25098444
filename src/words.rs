//! A closed list of words that go into the file, the database or the JSON: an enum, its words, and the way back.
//!
//! One macro, so that no list can have a word in one direction only. Also the one word that is shared by who logs and the log.

/// Makes an enum with `ALL`, `word()`, `meaning()`, `from_word()` and a `Display` that writes the word.
macro_rules! words {
    // The doc comment among the attributes of a word, as one text.
    (@meaning) => { "" };
    (@meaning #[doc = $line:literal] $($rest:tt)*) => {
        concat!($line, $crate::words::words!(@meaning $($rest)*))
    };
    (@meaning #[$($other:tt)*] $($rest:tt)*) => { $crate::words::words!(@meaning $($rest)*) };

    ($(#[$meta:meta])* $name:ident { $($(#[$($variant_meta:tt)*])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$($variant_meta)*])* $variant),+ }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// What the word means, for people: its documentation.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $crate::words::words!(@meaning $(#[$($variant_meta)*])*).trim_start()),+ }
            }

            /// The value of a word; `None` where the list does not have it.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

pub(crate) use words;

/// The target of lines of the log that are worth saying each time, however often: the log folds what repeats, and not these.
pub(crate) const EACH: &str = "skycron::each";
