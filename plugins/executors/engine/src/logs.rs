//! Logs of containers and tasks as bytes, each stream for itself, and how reading is taken up again.

use berth_executor_api::{ExecutorError, LogStream, Stream as Output, UtcMs};
use bollard::{container::LogOutput, errors::Error};
use bytes::Bytes;
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};

use crate::{EngineError, nanoseconds};

/// One piece of output as the engine has written it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it was written to. With a terminal everything is standard output.
    pub output: Output,
    /// When, in nanoseconds since 1970 by the engine's clock; only where it was asked for.
    pub at: Option<i128>,
    /// What was written.
    pub bytes: Bytes,
}

/// Frames in the order of the engine's log.
pub type Logs = BoxStream<'static, Result<Frame, EngineError>>;

/// Takes a log apart. With `stamped`, every piece begins with its time, as it was asked of the engine.
pub fn demultiplex(
    log: impl Stream<Item = Result<LogOutput, Error>> + Send + 'static,
    stamped: bool,
) -> Logs {
    log.map(move |piece| Ok(frame(piece?, stamped))).boxed()
}

fn frame(piece: LogOutput, stamped: bool) -> Frame {
    let (output, bytes) = match piece {
        LogOutput::StdErr { message } => (Output::Stderr, message),
        LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
            (Output::Stdout, message)
        }
    };
    let (at, bytes) = if stamped { unstamp(bytes) } else { (None, bytes) };
    Frame { output, at, bytes }
}

/// The time that a piece begins with, and the rest. What has no time stays as it is.
fn unstamp(mut bytes: Bytes) -> (Option<i128>, Bytes) {
    let Some(space) = bytes.iter().take(64).position(|byte| *byte == b' ') else { return (None, bytes) };
    let at = bytes.get(..space).and_then(|stamp| std::str::from_utf8(stamp).ok()).and_then(nanoseconds);
    if at.is_some() {
        let _stamp_and_space = bytes.split_to(space + 1);
    }
    (at, bytes)
}

/// How far one stream was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// So many bytes from its beginning.
    pub bytes: u64,
    /// The time of the last frame, and how many frames had it: parts of a long line share one.
    last: Option<(i128, u64)>,
    /// Its times ran backwards, as after a change of the engine's clock; only bytes count.
    unordered: bool,
}

/// How far a log was read, to go on there after the engine was away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    stdout: Position,
    stderr: Position,
    /// What the present reading has seen again.
    again: [Seen; 2],
    /// Whether it began at a time instead of at the beginning.
    by_time: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    bytes: u64,
    /// Frames with the time of the last known one.
    frames: u64,
}

/// How much earlier than the last frame reading begins anew: times of the two streams may overlap.
const OVERLAP_SECONDS: i128 = 2;

impl Cursor {
    /// A reader that has had so many bytes of each stream, and knows no times.
    #[must_use]
    pub fn after_bytes(stdout: u64, stderr: u64) -> Self {
        let at = |bytes| Position { bytes, ..Position::default() };
        Self { stdout: at(stdout), stderr: at(stderr), ..Self::default() }
    }

    /// Begins a reading: the second since 1970 from which the log has to be asked for, 0 for all of it.
    pub fn begin(&mut self) -> i32 {
        self.again = [Seen::default(); 2];
        let known = |position: &Position| match (position.last, position.unordered) {
            (Some((at, _)), false) => Some(at),
            // Of a stream that said nothing yet, nothing can be missed that is older than the other's.
            (None, false) if position.bytes == 0 => Some(i128::MAX),
            _ => None,
        };
        let from = known(&self.stdout).zip(known(&self.stderr)).map(|(one, other)| one.min(other));
        let second = match from {
            Some(at) if at < i128::MAX => (at / 1_000_000_000 - OVERLAP_SECONDS).max(0),
            _ => 0,
        };
        self.by_time = second > 0;
        i32::try_from(second).unwrap_or(0)
    }

    /// What of this frame is new.
    pub fn fresh(&mut self, frame: &Frame) -> Bytes {
        let [out, err] = &mut self.again;
        let (position, seen) = match frame.output {
            Output::Stdout => (&mut self.stdout, out),
            Output::Stderr => (&mut self.stderr, err),
        };
        if self.by_time {
            match (frame.at, position.last) {
                (Some(at), Some((last, _))) if at < last => return Bytes::new(),
                (Some(at), Some((last, frames))) if at == last => {
                    seen.frames += 1;
                    if seen.frames <= frames {
                        return Bytes::new();
                    }
                }
                _ => {}
            }
            position.note(frame, frame.bytes.len());
            return frame.bytes.clone();
        }
        let length = frame.bytes.len() as u64;
        let known = position.bytes.saturating_sub(seen.bytes).min(length);
        seen.bytes += length;
        let known = usize::try_from(known).unwrap_or(frame.bytes.len());
        position.note(frame, frame.bytes.len() - known);
        frame.bytes.slice(known..)
    }

    /// How many bytes of each stream were read.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.stdout.bytes, self.stderr.bytes)
    }
}

impl Position {
    fn note(&mut self, frame: &Frame, fresh: usize) {
        self.bytes += fresh as u64;
        self.last = match (frame.at, self.last) {
            (None, last) => last,
            (Some(at), Some((last, frames))) if at == last => Some((last, frames + 1)),
            (Some(at), Some((last, _))) if at < last && fresh > 0 => {
                self.unordered = true;
                Some((at, 1))
            }
            (Some(at), _) => Some((at, 1)),
        };
    }
}

/// One stream of a log for whoever asked, from a time on where one is given.
#[must_use]
pub fn log_stream(logs: Logs, output: Output, since: Option<UtcMs>, backend: &'static str) -> LogStream {
    let since = since.map(|at| i128::from(at.0) * 1_000_000);
    let wanted = move |frame: &Frame| {
        frame.output == output && since.is_none_or(|since| frame.at.is_none_or(|at| at >= since))
    };
    let pieces = logs.filter_map(move |frame| {
        let piece = match frame {
            Ok(frame) => wanted(&frame).then(|| Ok(Vec::from(frame.bytes))),
            Err(error) => Some(Err(error.for_executor(backend))),
        };
        std::future::ready(piece)
    });
    pieces.boxed()
}

/// The last bytes of a stream that ends. Never keeps more of it than asked for, and one piece.
pub async fn last_bytes(log: LogStream, most: u64) -> LogStream {
    match tail(log, most).await {
        Ok(bytes) => stream::once(std::future::ready(Ok(bytes))).boxed(),
        Err(error) => stream::once(std::future::ready(Err(error))).boxed(),
    }
}

async fn tail(mut log: LogStream, most: u64) -> Result<Vec<u8>, ExecutorError> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut kept = std::collections::VecDeque::new();
    let mut length = 0_usize;
    while let Some(piece) = log.next().await {
        let piece = piece?;
        length += piece.len();
        kept.push_back(piece);
        while let Some(first) = kept.front().map(Vec::len)
            && length - first >= most
        {
            kept.pop_front();
            length -= first;
        }
    }
    let mut bytes: Vec<u8> = kept.into_iter().flatten().collect();
    bytes.drain(..bytes.len().saturating_sub(most));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(text: &str) -> Frame {
        frame(LogOutput::StdOut { message: Bytes::from(text.to_owned()) }, true)
    }

    fn errors(text: &str) -> Frame {
        frame(LogOutput::StdErr { message: Bytes::from(text.to_owned()) }, true)
    }

    /// A log as an engine that has written `frames` gives it from a second on.
    fn read(cursor: &mut Cursor, frames: &[Frame]) -> (i32, String) {
        let from = cursor.begin();
        let asked = i128::from(from) * 1_000_000_000;
        let mut text = String::new();
        for frame in frames.iter().filter(|frame| frame.at.is_none_or(|at| at >= asked)) {
            text.push_str(&String::from_utf8_lossy(&cursor.fresh(frame)));
        }
        (from, text)
    }

    #[test]
    fn a_piece_loses_its_time_and_keeps_everything_else() {
        let frame = stamped("1970-01-01T00:00:09.000000001Z a b\n");
        assert_eq!((frame.at, &frame.bytes[..]), (Some(9_000_000_001), &b"a b\n"[..]));
        let plain = frame_of("no time here");
        assert_eq!((plain.at, &plain.bytes[..]), (None, &b"no time here"[..]));
    }

    fn frame_of(text: &str) -> Frame {
        stamped(text)
    }

    #[test]
    fn reading_goes_on_where_it_stopped_also_within_a_long_line() {
        let frames = [
            stamped("1970-01-01T00:01:40.000000000Z a"),
            stamped("1970-01-01T00:01:50.000000000Z b"),
            stamped("1970-01-01T00:01:50.000000000Z c"),
            errors("1970-01-01T00:01:51.000000000Z !"),
            stamped("1970-01-01T00:01:50.000000000Z d"),
        ];
        let mut cursor = Cursor::default();
        assert_eq!(read(&mut cursor, &frames[..2]), (0, "ab".into()));
        assert_eq!(read(&mut cursor, &frames), (108, "c!d".into()));
        assert_eq!(read(&mut cursor, &frames), (108, String::new()));
        assert_eq!(cursor.bytes(), (4, 1));
    }

    #[test]
    fn a_new_reader_skips_the_bytes_that_another_had() {
        let frames =
            [stamped("1970-01-01T00:01:40.000000000Z abc"), stamped("1970-01-01T00:01:41.000000000Z def")];
        let mut cursor = Cursor::after_bytes(4, 0);
        assert_eq!(read(&mut cursor, &frames[..1]), (0, String::new()));
        let mut cursor = Cursor::after_bytes(4, 0);
        assert_eq!(read(&mut cursor, &frames), (0, "ef".into()));
        assert_eq!(cursor.bytes(), (6, 0));
    }

    #[test]
    fn a_clock_that_was_set_back_loses_nothing() {
        let frames = [
            stamped("1970-01-01T01:00:00.000000000Z a"),
            stamped("1970-01-01T00:01:00.000000000Z b"),
            stamped("1970-01-01T00:01:01.000000000Z c"),
        ];
        let mut cursor = Cursor::default();
        assert_eq!(read(&mut cursor, &frames[..2]), (0, "ab".into()));
        assert_eq!(read(&mut cursor, &frames), (0, "c".into()));
    }

    #[tokio::test]
    async fn the_end_of_a_log_is_found_without_keeping_it() {
        let log = |pieces: &[&str]| {
            let pieces: Vec<_> = pieces.iter().map(|piece| Ok(piece.as_bytes().to_vec())).collect();
            stream::iter(pieces).boxed()
        };
        for (most, end) in [(0, ""), (2, "fg"), (3, "efg"), (5, "cdefg"), (100, "abcdefg")] {
            let mut last = last_bytes(log(&["abc", "d", "efg"]), most).await;
            assert_eq!(last.next().await.unwrap().unwrap(), end.as_bytes(), "{most}");
        }
    }

    #[tokio::test]
    async fn one_stream_is_given_from_a_time_on() {
        let frames = [
            stamped("1970-01-01T00:01:40.000000000Z old"),
            errors("1970-01-01T00:01:50.000000000Z other"),
            stamped("1970-01-01T00:01:50.500000000Z new"),
        ];
        let logs = stream::iter(frames.map(Ok)).boxed();
        let given = log_stream(logs, Output::Stdout, Some(UtcMs(110_000)), "docker");
        let given: Vec<_> = given.map(Result::unwrap).collect().await;
        assert_eq!(given, [b"new"]);
    }
}
