//! A page of jobs as the server wrote it: what only passes it on need not take it apart.

use std::ops::Range;

use hyper::body::Bytes;

use crate::JobList;

/// A page of jobs as text.
#[derive(Clone, Debug)]
pub struct JobsText {
    body: Bytes,
    rows: Range<usize>,
    /// Give this as `before` for the next page; absent on the last one.
    pub next_before: Option<u64>,
}

impl JobsText {
    /// The page in an answer. Only what stands around the jobs is looked at; `None` when that is not as Berth
    /// writes it.
    pub(super) fn read(body: Bytes) -> Option<Self> {
        let head = body.strip_prefix(HEAD)?;
        // Nothing behind the jobs has a bracket.
        let end = head.iter().rposition(|&byte| byte == b']')?;
        let (rows, tail) = head.split_at_checked(end)?;
        let around: JobList = serde_json::from_slice(&[HEAD, tail].concat()).ok()?;
        let blank = |byte: &u8| byte.is_ascii_whitespace();
        let lead = rows.iter().take_while(|byte| blank(byte)).count();
        let trail = rows.iter().rev().take_while(|byte| blank(byte)).count();
        let from = HEAD.len() + lead;
        let rows = from..(HEAD.len() + end).saturating_sub(trail).max(from);
        Some(Self { rows, next_before: around.next_before, body })
    }

    /// The jobs, as they stand between the brackets of a list: JSON objects with commas between them.
    #[must_use]
    pub fn rows(&self) -> &[u8] {
        self.body.get(self.rows.clone()).unwrap_or_default()
    }
}

const HEAD: &[u8] = b"{\"jobs\":[";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, Option<u64>)> {
        let page = JobsText::read(Bytes::copy_from_slice(text.as_bytes()))?;
        Some((String::from_utf8(page.rows().to_vec()).unwrap(), page.next_before))
    }

    #[test]
    fn the_jobs_are_found_between_what_stands_around_them() {
        let row = r#"{"id":1,"name":"a]b","tasks":[{"state":"running","count":1}]}"#;
        let with = |rows: &str, tail: &str| read(&format!("{{\"jobs\":[{rows}]{tail}"));
        assert_eq!(with(row, "}"), Some((row.to_owned(), None)));
        let two = format!("{row},\n{row}");
        assert_eq!(with(&format!("\n{two}\n"), ",\"next_before\":17}\n"), Some((two, Some(17))));
        assert_eq!(with("", "}"), Some((String::new(), None)));
        assert_eq!(
            with(row, ",\"other\":true}"),
            Some((row.to_owned(), None)),
            "a newer server may say more"
        );
        for odd in
            ["", "[]", "{\"jobs\":[", "{ \"jobs\": [] }", "{\"next_before\":1,\"jobs\":[]}", "{\"jobs\":[]"]
        {
            assert_eq!(read(odd), None, "{odd}");
        }
    }
}
