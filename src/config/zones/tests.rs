//! Sources of zone rules, in folders that the tests make.
