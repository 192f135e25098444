//! Which warnings a schedule gets.
