//! A terminal, as a program sees one: keys go in, what it draws comes out.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::Stdio,
    sync::{Arc, Mutex},
};

use nix::pty::{Winsize, openpty};
use rustix::{
    io::{FdFlags, fcntl_setfd},
    termios::{InputModes, LocalModes, OutputModes, tcgetattr, tcsetwinsize},
};
use tokio::process::{Child, Command};

use super::eventually;

/// A pseudo terminal.
pub struct Terminal {
    /// Where a person would sit.
    person: File,
    /// Where the program is.
    inside: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// One of this size.
    pub fn open(columns: u16, rows: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let both = openpty(&size, None).unwrap();
        let (person, inside) = (both.master, both.slave);
        for side in [&person, &inside] {
            fcntl_setfd(side, FdFlags::CLOEXEC).unwrap();
        }
        let person = File::from(person);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut from, to) = (person.try_clone().unwrap(), Arc::clone(&shown));
        // It ends when nothing has the other side open any more.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut bytes) {
                to.lock().unwrap().extend_from_slice(&bytes[..length]);
            }
        });
        Self { person, inside, shown }
    }

    /// Starts a command in it.
    pub fn run(&self, mut command: Command) -> Child {
        let side = || Stdio::from(self.inside.try_clone().unwrap());
        command.env("TERM", "xterm").stdin(side()).stdout(side()).stderr(side()).kill_on_drop(true);
        command.spawn().unwrap()
    }

    /// Makes it this large, and tells the program in it.
    pub fn resize(&self, columns: u16, rows: u16, program: &Child) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.inside, size).unwrap();
        // It is not its session's terminal, so that the kernel tells it nothing.
        let pid = rustix::process::Pid::from_raw(program.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::WINCH).unwrap();
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.person.write_all(keys.as_bytes()).unwrap();
    }

    /// Everything that was drawn, with the terminal's own codes.
    pub fn drawn(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// What one sees, line by line.
    pub fn screen(&self) -> String {
        let mut screen = Screen::default();
        let drawn = self.drawn();
        let mut rest = drawn.chars();
        while let Some(char) = rest.next() {
            match char {
                '\x1b' if rest.clone().next() == Some('[') => {
                    let code = code_of(&mut rest);
                    screen.obey(&code);
                }
                '\r' => screen.column = 0,
                '\n' => screen.row += 1,
                char => screen.put(char),
            }
        }
        screen.text()
    }

    /// Waits until one sees this.
    pub async fn shows(&self, text: &str) {
        eventually(text, || async { self.screen().contains(text) }).await;
    }

    /// Waits until these bytes have come.
    pub async fn says(&self, code: &str) {
        eventually(code, || async { self.drawn().contains(code) }).await;
    }

    /// How it treats what is typed and drawn.
    pub fn modes(&self) -> (InputModes, OutputModes, LocalModes) {
        let found = tcgetattr(&self.inside).unwrap();
        (found.input_modes, found.output_modes, found.local_modes)
    }
}

/// A code of the terminal, behind its escape: up to the letter that ends it.
fn code_of(rest: &mut std::str::Chars<'_>) -> String {
    let mut code = String::new();
    for char in rest.by_ref().skip(1) {
        code.push(char);
        if char.is_ascii_alphabetic() {
            break;
        }
    }
    code
}

/// As much of a terminal as it takes to read what was drawn.
#[derive(Default)]
struct Screen {
    cells: std::collections::BTreeMap<(usize, usize), char>,
    row: usize,
    column: usize,
}

impl Screen {
    fn obey(&mut self, code: &str) {
        if let Some(place) = code.strip_suffix('H') {
            let mut numbers = place.split(';').map(|number| number.parse::<usize>().unwrap_or(1));
            self.row = numbers.next().unwrap_or(1) - 1;
            self.column = numbers.next().unwrap_or(1) - 1;
        }
        if code == "2J" {
            self.cells.clear();
        }
    }

    fn put(&mut self, char: char) {
        self.cells.insert((self.row, self.column), char);
        self.column += 1;
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let (mut row, mut column) = (0, 0);
        for (&(to_row, to_column), char) in &self.cells {
            while row < to_row {
                text.push('\n');
                (row, column) = (row + 1, 0);
            }
            text.extend(std::iter::repeat_n(' ', to_column - column));
            text.push(*char);
            column = to_column + 1;
        }
        text
    }
}
