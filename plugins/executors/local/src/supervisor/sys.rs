//! The system calls that have no safe wrapper: fork, exec, wait with resource usage, signals.
//!
//! The supervisor has one thread, which is what makes most of these sound.

#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

/// Which side of a fork this is.
pub(super) enum Fork {
    /// The new process.
    Child,
    /// The old one, with the new one's number.
    Parent(i32),
}

/// Splits the process in two. Only ever called by the supervisor, which has one thread; the child may
/// therefore run ordinary code.
pub(super) fn fork() -> io::Result<Fork> {
    // SAFETY: the process has a single thread, so no lock can be held by a thread that is not copied.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Ends the process at once, without running anything that was registered for its end.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// What a child does instead of its parent while the parent waits: see [`fork_sibling`].
type Task<'a> = &'a mut dyn FnMut() -> i32;

/// Room for such a child's calls.
const STACK_BYTES: usize = 1 << 20;

/// Runs `task` in a new process with this one's memory, and waits until that process has become another
/// program or has ended with the code that `task` gave. What `task` writes to memory is seen here.
///
/// It has its own descriptors, directory and user; its parent is this process's parent. Nothing of this
/// process's memory has to be copied for it, which is most of what a fork costs.
pub(super) fn fork_sibling(mut task: Task<'_>) -> io::Result<()> {
    extern "C" fn run(task: *mut libc::c_void) -> libc::c_int {
        // SAFETY: this is the pointer that `clone` was given below; its owner waits meanwhile.
        let task = unsafe { &mut *task.cast::<Task<'_>>() };
        task()
    }
    let mut stack: Vec<u128> = Vec::with_capacity(STACK_BYTES / size_of::<u128>());
    let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: `top` is the aligned end of memory that lives until this process goes on, which is when the
    // child no longer uses it. There is one thread, so that nothing else runs while the child does.
    let pid = unsafe { libc::clone(run, top.cast(), flags, (&raw mut task).cast()) };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A program with its arguments and variables, ready to be executed without further ado.
pub(super) struct Image {
    /// Where the program may be, in the order in which they are tried.
    pub programs: Vec<CString>,
    argv: Vec<CString>,
    _envp: Vec<CString>,
    argv_pointers: Vec<*const libc::c_char>,
    envp_pointers: Vec<*const libc::c_char>,
}

impl Image {
    pub fn new(programs: Vec<CString>, argv: Vec<CString>, envp: Vec<CString>) -> Self {
        let pointers = |all: &[CString]| -> Vec<*const libc::c_char> {
            all.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
        };
        let (argv_pointers, envp_pointers) = (pointers(&argv), pointers(&envp));
        Self { programs, argv, _envp: envp, argv_pointers, envp_pointers }
    }

    /// The name that the program was called by.
    pub fn name(&self) -> &CStr {
        self.argv.first().map_or(c"", |name| name)
    }

    /// Becomes the program at this place; returns only when that failed.
    pub fn execute(&self, program: &CStr) -> io::Error {
        let (argv, envp) = (self.argv_pointers.as_ptr(), self.envp_pointers.as_ptr());
        // SAFETY: both lists end with a null pointer, and the strings they point to are kept beside them.
        unsafe { libc::execve(program.as_ptr(), argv, envp) };
        io::Error::last_os_error()
    }
}

/// A child that has ended and is still waiting to be reaped, so that its number cannot be anyone else's.
pub(super) fn next_ended() -> Option<i32> {
    // SAFETY: all-zero is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is valid for writing.
    let found = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) };
    // SAFETY: after a successful `waitid` the fields of a child's end are what `info` holds.
    let pid = unsafe { info.si_pid() };
    (found == 0 && pid > 0).then_some(pid)
}

/// How a child ended and what it and the descendants it waited for have used.
pub(super) struct Reaped {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub cpu_micros: u64,
    pub memory_peak_bytes: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
}

/// Takes the end of this child; `None` when it has not ended or is not ours.
pub(super) fn reap(pid: i32) -> Option<Reaped> {
    let mut status = 0;
    // SAFETY: all-zero is a valid `rusage`.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both out-pointers are valid for writing.
    if unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut used) } != pid {
        return None;
    }
    let micros = |time: libc::timeval| natural(time.tv_sec) * 1_000_000 + natural(time.tv_usec);
    Some(Reaped {
        code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
        cpu_micros: micros(used.ru_utime) + micros(used.ru_stime),
        memory_peak_bytes: natural(used.ru_maxrss) * 1024,
        read_bytes: natural(used.ru_inblock) * 512,
        written_bytes: natural(used.ru_oublock) * 512,
    })
}

fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// Closes every descriptor beyond the standard three. Called before anything was opened.
pub(super) fn close_inherited() {
    // SAFETY: nothing of this process owns a descriptor above 2 yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

/// The signals that the supervisor reads instead of being interrupted by.
const READ: [i32; 2] = [libc::SIGCHLD, libc::SIGTERM];
/// The signals that it ignores.
const IGNORED: [i32; 3] = [libc::SIGHUP, libc::SIGINT, libc::SIGPIPE];

/// Signals as something to be polled.
pub(super) struct Signals(OwnedFd);

impl Signals {
    /// Blocks the signals and opens their descriptor.
    pub fn open() -> io::Result<Self> {
        // SAFETY: all-zero is a valid `sigset_t`, and all pointers are valid for the calls.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            // Whatever the program before it ignored is nothing for jobs to inherit.
            for signal in 1..=libc::SIGSYS {
                libc::signal(signal, libc::SIG_DFL);
            }
            for signal in READ {
                libc::sigaddset(&raw mut set, signal);
            }
            for signal in IGNORED {
                libc::signal(signal, libc::SIG_IGN);
            }
            if libc::sigprocmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Self(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    /// Takes what waits and says whether SIGTERM was among it.
    pub fn drain(&self) -> bool {
        let mut asked_to_end = false;
        loop {
            // SAFETY: all-zero is a valid `signalfd_siginfo`.
            let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
            let size = size_of::<libc::signalfd_siginfo>();
            // SAFETY: `info` is valid for writing `size` bytes.
            let got = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) };
            if usize::try_from(got) != Ok(size) {
                return asked_to_end;
            }
            asked_to_end |= info.ssi_signo == libc::SIGTERM.unsigned_abs();
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Undoes [`Signals::open`] and what the standard library did, for a program about to be started.
pub(super) fn reset_signals() {
    // SAFETY: all-zero is a valid `sigset_t`, and all pointers are valid for the calls.
    unsafe {
        for signal in IGNORED {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Sends a signal to one process (positive) or a group (negative), and says whether somebody was there.
pub(super) fn kill(target: i32, signal: i32) -> bool {
    // SAFETY: `kill` has no preconditions; the numbers that mean "everybody" are excluded.
    target != 0 && target != -1 && unsafe { libc::kill(target, signal) } == 0
}
