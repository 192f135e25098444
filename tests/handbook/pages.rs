//! Pages in pieces: fenced blocks with their language and who runs them, and inline code.

use std::fs;

use crate::source;

/// The pages whose code is tried.
pub(crate) fn pages() -> Vec<(String, String)> {
    let handbook =
        fs::read_dir(source("docs/src")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> =
        handbook.filter(|name| name.ends_with(".md")).map(|name| format!("docs/src/{name}")).collect();
    names.sort();
    names.insert(0, "README.md".to_owned());
    names
        .into_iter()
        .map(|name| (fs::read_to_string(source(&name)).unwrap(), name))
        .map(|(text, name)| (name, text))
        .collect()
}

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
    /// The line of its fence.
    pub(crate) line: usize,
    /// What a comment right above it says: who runs it instead of this test.
    pub(crate) comment: Option<String>,
}

/// The fenced blocks of a page.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = vec![];
    let (mut open, mut comment) = (false, None);
    for (index, line) in page.lines().enumerate() {
        // A block in a list is indented.
        let bare = line.trim_start();
        if let Some(language) = bare.strip_prefix("```") {
            if !open {
                let language = language.trim().to_owned();
                blocks.push(Block { language, text: String::new(), line: index + 1, comment: comment.take() });
            }
            open = !open;
        } else if open {
            let block = blocks.last_mut().unwrap();
            block.text += line;
            block.text.push('\n');
        } else if let Some(inner) = bare.strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->")) {
            comment = Some(inner.trim().to_owned());
        } else if !bare.is_empty() {
            comment = None;
        }
    }
    assert!(!open, "a block has no end");
    blocks
}

/// The inline code of a page.
pub(crate) fn inline_code(page: &str) -> Vec<String> {
    let mut prose = String::new();
    let mut open = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            open = !open;
        } else if !open {
            prose += line;
            prose.push('\n');
        }
    }
    prose.split('`').skip(1).step_by(2).map(|code| code.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}
