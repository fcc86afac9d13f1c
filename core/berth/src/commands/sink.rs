//! Where the output of followed jobs goes: as it is, line by line behind a task's index, or as JSON lines.

use std::io::{self, Write};

use serde_json::json;

/// A line that never ends is passed on in pieces.
const MOST_LINE_BYTES: usize = 64 << 10;

/// Which of a job's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// As the server calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// In which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Byte for byte.
    Raw,
    /// Whole lines behind this.
    Prefixed(String),
    /// One JSON object for each line, for this job.
    Json(String),
}

/// One stream of one job on its way to one of ours.
#[derive(Debug)]
pub struct Sink {
    stream: Stream,
    form: Form,
    to_stderr: bool,
    partial: Vec<u8>,
}

impl Sink {
    /// From a stream to ours of the same name; JSON goes to standard output whichever it was.
    pub fn new(stream: Stream, form: Form) -> Self {
        let to_stderr = stream == Stream::Stderr && !matches!(form, Form::Json(_));
        Self { stream, form, to_stderr, partial: Vec::new() }
    }

    /// To standard output whichever it was.
    pub fn onto_stdout(self) -> Self {
        Self { to_stderr: false, ..self }
    }

    /// The stream.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// What is to be written now that these bytes have come.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.form == Form::Raw {
            return bytes.to_vec();
        }
        let mut out = Vec::with_capacity(bytes.len() + 64);
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= MOST_LINE_BYTES {
                self.end_line(&mut out);
            }
        }
        out
    }

    /// What is left when the stream has ended.
    pub fn finish(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.partial.is_empty() {
            self.end_line(&mut out);
        }
        out
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.partial);
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        match &self.form {
            Form::Raw => out.extend_from_slice(line),
            Form::Prefixed(prefix) => {
                out.extend_from_slice(prefix.as_bytes());
                out.extend_from_slice(line);
            }
            Form::Json(job) => {
                let text = String::from_utf8_lossy(line);
                let object = json!({ "job": job, "stream": self.stream.name(), "text": text });
                out.extend_from_slice(object.to_string().as_bytes());
            }
        }
        out.push(b'\n');
    }

    /// Writes.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub async fn write(&self, bytes: Vec<u8>) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let to_stderr = self.to_stderr;
        // A reader that is slow must not keep the rest from going on.
        let written = tokio::task::spawn_blocking(move || {
            if to_stderr {
                let mut out = io::stderr().lock();
                out.write_all(&bytes)
            } else {
                let mut out = io::stdout().lock();
                out.write_all(&bytes).and_then(|()| out.flush())
            }
        });
        written.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(form: Form, pieces: &[&[u8]]) -> String {
        let mut sink = Sink::new(Stream::Stderr, form);
        let mut out: Vec<u8> = pieces.iter().flat_map(|piece| sink.take(piece)).collect();
        out.extend(sink.finish());
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn raw_output_stays_as_it_is() {
        assert_eq!(through(Form::Raw, &[b"a\nb", b"c"]), "a\nbc");
    }

    #[test]
    fn each_line_gets_its_index_wherever_the_pieces_end() {
        let form = || Form::Prefixed("[7] ".into());
        for pieces in [&[&b"one\ntwo\n\nend"[..]][..], &[b"on", b"e\ntw", b"o\n", b"\ne", b"nd"]] {
            assert_eq!(through(form(), pieces), "[7] one\n[7] two\n[7] \n[7] end\n");
        }
        assert_eq!(through(form(), &[]), "");
    }

    #[test]
    fn a_letter_that_comes_in_two_pieces_is_whole_in_json() {
        let (first, second) = "größer\n".as_bytes().split_at(3);
        let text = through(Form::Json("12".into()), &[first, second]);
        let value: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(value, json!({ "job": "12", "stream": "stderr", "text": "größer" }));
    }

    #[test]
    fn an_endless_line_is_passed_on_in_pieces() {
        let mut sink = Sink::new(Stream::Stdout, Form::Prefixed("> ".into()));
        let piece = vec![b'x'; 10_000];
        let lines: usize =
            (0..100).map(|_| sink.take(&piece).iter().filter(|&&byte| byte == b'\n').count()).sum();
        assert!(lines >= 10 && sink.partial.len() < MOST_LINE_BYTES, "{lines}");
    }
}
