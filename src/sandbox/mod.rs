//! A small Skyvern look-alike.
