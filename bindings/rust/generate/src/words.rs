// SPDX-License-Identifier: BSD-3-Clause
//! Reads the words of the header: its lines as the preprocessor leaves them with `ATTN_PLAIN_DECLARATIONS`, but for macros
//! that are numbers, which are kept.

use std::collections::BTreeMap;

/// A word of the header's.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Word(String),
    Mark(char),
    /// The text, and whether there is code before it on its line.
    Comment(String, bool),
    /// A macro that is a number.
    Macro(String, i64),
}

/// The header's lines as the preprocessor leaves them, and the macros that fill structs, by the struct's name.
pub fn preprocess(text: &str) -> Result<(String, BTreeMap<String, String>), String> {
    let mut code = String::new();
    let mut fills = BTreeMap::new();
    let mut taken: Vec<bool> = Vec::new();
    let joined = text.replace("\\\n", " ");
    for line in joined.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let all = taken.iter().all(|&t| t);
        match words.as_slice() {
            ["#ifndef", "ATTN_PLAIN_DECLARATIONS"] => taken.push(false),
            ["#ifndef", _] => taken.push(true),
            ["#ifdef", _] | ["#if", ..] => taken.push(false),
            ["#else"] => {
                let last = taken.pop().ok_or("an #else without #if")?;
                taken.push(!last);
            }
            ["#endif"] => {
                taken.pop().ok_or("an #endif without #if")?;
            }
            [directive, ..] if directive.starts_with('#') && !all => {}
            ["#define", name, value] if value.parse::<i64>().is_ok() => {
                code.push_str(&format!("#{name} {value}\n"));
            }
            ["#define", name, rest @ ..] if name.ends_with("_INIT") => {
                let name = name.trim_end_matches("_INIT").to_lowercase();
                fills.insert(name, rest.join(" "));
            }
            ["#define", "ATTN_API"] | ["#define", "ATTN_ATTN_H"] => {}
            [directive, ..] if directive.starts_with('#') => {
                return Err(format!("an unknown directive: {line}"));
            }
            _ if all => {
                code.push_str(line);
                code.push('\n');
            }
            _ => {}
        }
    }
    Ok((code, fills))
}

/// The text of a comment: of lines with a star what comes after that, others without their indentation.
fn strip(comment: &str) -> String {
    let lines: Vec<&str> = comment
        .lines()
        .map(|line| match line.trim_start().strip_prefix('*') {
            Some(rest) => rest.strip_prefix(' ').unwrap_or(rest).trim_end(),
            None => line.trim(),
        })
        .collect();
    lines.join("\n").trim().to_string()
}

/// The words of what the preprocessor has left.
pub fn tokens(code: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = code;
    let mut alone = true; // nothing but space since the line began
    while let Some(first) = rest.chars().next() {
        if first == '\n' {
            alone = true;
        }
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if let Some(inside) = rest.strip_prefix("/*") {
            let end = inside.find("*/").ok_or("a comment without end")?;
            found.push(Token::Comment(strip(&inside[..end]), !alone));
            rest = &inside[end + 2..];
        } else if first == '#' {
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            let (name, value) = line[1..].split_once(' ').ok_or("a macro without value")?;
            found.push(Token::Macro(
                name.to_string(),
                value.parse().map_err(|_| "a macro that is no number")?,
            ));
            rest = after;
        } else {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
            found.push(if length > 0 {
                Token::Word(rest[..length].to_string())
            } else {
                Token::Mark(first)
            });
            rest = &rest[length.max(first.len_utf8())..];
            alone = false;
        }
    }
    found.retain(|token| *token != Token::Word("ATTN_API".into()));
    Ok(found)
}
