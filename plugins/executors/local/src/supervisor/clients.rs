//! The executors that are connected: usually one, two while a daemon is being replaced.

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
};

use rustix::event::PollFlags;

use super::{
    Supervisor, log,
    protocol::{Answer, Ask, Frames, Message, PROTOCOL, Request, encode},
};

/// More than this is not kept for an executor that does not read. It may come back and ask.
const MOST_WAITING_BYTES: usize = 64 << 20;

pub(super) struct Client {
    pub stream: UnixStream,
    frames: Frames,
    out: Vec<u8>,
    sent: usize,
    /// It has said hello and hears reports.
    greeted: bool,
    gone: bool,
}

impl Client {
    fn new(stream: UnixStream) -> Self {
        Self { stream, frames: Frames::default(), out: Vec::new(), sent: 0, greeted: false, gone: false }
    }

    pub fn interest(&self) -> PollFlags {
        if self.out.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }

    /// Whether it is to be dropped; then it hears so, whoever else may hold its descriptor.
    pub fn is_gone(&self) -> bool {
        if self.gone {
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        self.gone
    }

    fn send(&mut self, frame: &[u8]) {
        self.out.extend_from_slice(frame);
        self.gone |= self.out.len() - self.sent > MOST_WAITING_BYTES;
    }

    /// Sends as much as is taken at the moment.
    pub fn write(&mut self) {
        while let Some(rest) = self.out.get(self.sent..)
            && !rest.is_empty()
            && !self.gone
        {
            match self.stream.write(rest) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
        self.out.clear();
        self.out.shrink_to(1 << 16);
        self.sent = 0;
    }

    /// Takes what has arrived.
    fn read(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.gone = true,
                Ok(got) => self.frames.extend(buffer.get(..got).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return requests,
                Err(_) => self.gone = true,
            }
            loop {
                match self.frames.next() {
                    Ok(Some(request)) => requests.push(request),
                    Ok(None) => break,
                    Err(error) => {
                        log(format_args!("an executor is cut off: {error}"));
                        self.gone = true;
                        break;
                    }
                }
            }
            if self.gone || !requests.is_empty() {
                return requests;
            }
        }
    }
}

impl Supervisor {
    pub(super) fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client::new(stream));
            }
        }
    }

    /// Reads what this client asks and answers it.
    pub(super) fn serve(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        for Request { id, ask } in client.read() {
            let greets = matches!(&ask, Ask::Hello { protocol: PROTOCOL, .. });
            let answer = match &ask {
                Ask::Hello { protocol, .. } if *protocol != PROTOCOL => Answer::Failed(format!(
                    "the supervisor that runs speaks protocol {PROTOCOL}, not {protocol}; \
                     it ends with the last of its jobs"
                )),
                _ => self.answer(ask),
            };
            // What was done is on record before anybody hears of it.
            if let Err(error) = self.journal.flush() {
                log(format_args!("the journal cannot be written: {error}"));
            }
            let failed = matches!(answer, Answer::Failed(_));
            let Some(client) = self.clients.get_mut(index) else { return };
            client.greeted |= greets && !failed;
            match encode(&Message::Answer { id, answer }) {
                Ok(frame) => client.send(&frame),
                Err(error) => log(format_args!("an answer cannot be written: {error}")),
            }
        }
    }

    pub(super) fn send_to_all(&mut self, message: &Message) {
        match encode(message) {
            Ok(frame) => {
                self.clients
                    .iter_mut()
                    .filter(|client| client.greeted)
                    .for_each(|client| client.send(&frame));
            }
            Err(error) => log(format_args!("reports cannot be written: {error}")),
        }
    }
}
