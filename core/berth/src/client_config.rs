//! Which server is meant, and with what token.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use berth_api::Target;

/// Where a system's Berth listens.
pub const SYSTEM_SOCKET: &str = "/run/berth/berth.sock";

/// Text that names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a server; write unix:/path/to/berth.sock or http://HOST:PORT")]
pub struct TargetError(String);

/// What the environment says, as far as it matters here.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `BERTH_TOKEN`.
    pub token: Option<String>,
    /// `XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let path = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        Self {
            token: std::env::var("BERTH_TOKEN").ok().filter(|token| !token.trim().is_empty()),
            state_home: path("XDG_STATE_HOME"),
            config_home: path("XDG_CONFIG_HOME"),
            home: path("HOME"),
        }
    }

    /// The folder that keeps the state of this user's own Berth.
    pub fn state_folder(&self) -> Option<PathBuf> {
        let base = self.state_home.clone().or_else(|| Some(self.home.as_ref()?.join(".local/state")))?;
        Some(base.join("berth"))
    }

    /// Where this user's own Berth listens.
    pub fn user_socket(&self) -> Option<PathBuf> {
        Some(self.state_folder()?.join("berth.sock"))
    }

    /// Where this user keeps a token.
    pub fn token_file(&self) -> Option<PathBuf> {
        Some(self.config_folder()?.join("token"))
    }

    /// Where `berth login` keeps a session: a line with the server that it is good for, and one with its secret.
    pub fn session_file(&self) -> Option<PathBuf> {
        Some(self.config_folder()?.join("session"))
    }

    fn config_folder(&self) -> Option<PathBuf> {
        let base = self.config_home.clone().or_else(|| Some(self.home.as_ref()?.join(".config")))?;
        Some(base.join("berth"))
    }

    /// The session with a server, if this user has one there. No other server gets to see it.
    ///
    /// # Errors
    /// When the session's file is there and cannot be read.
    pub fn session_for(&self, url: &str) -> anyhow::Result<Option<String>> {
        let text = read_if_there(self.session_file())?;
        let kept = text.as_deref().and_then(|text| text.split_once('\n'));
        let secret = kept.filter(|(server, _)| *server == url).map(|(_, secret)| secret.trim().to_owned());
        Ok(secret.filter(|secret| !secret.is_empty()))
    }

    /// The server that a text names. A token goes to servers that are reached over the network only: on a
    /// Unix socket the kernel already says who asks.
    ///
    /// # Errors
    /// When the text names no server, or the token's file is there and cannot be read.
    pub fn named(&self, text: &str) -> anyhow::Result<Target> {
        let wrong = || TargetError(text.to_owned());
        let is_place = text.starts_with("unix:") || text.contains('/');
        if !is_place || text.trim_start_matches("unix:").is_empty() {
            return Err(wrong().into());
        }
        let Ok(target) = text.parse::<Target>();
        Ok(match target {
            Target::Http { url, .. } => {
                let token = self.find_token(&url)?;
                Target::Http { url, token }
            }
            socket @ Target::Unix(_) => socket,
        })
    }

    fn find_token(&self, url: &str) -> anyhow::Result<Option<String>> {
        if let Some(token) = &self.token {
            return Ok(Some(token.trim().to_owned()));
        }
        if let Some(session) = self.session_for(url)? {
            return Ok(Some(session));
        }
        let text = read_if_there(self.token_file())?;
        Ok(text.map(|text| text.trim().to_owned()).filter(|token| !token.is_empty()))
    }
}

fn read_if_there(file: Option<PathBuf>) -> anyhow::Result<Option<String>> {
    let Some(file) = file else { return Ok(None) };
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(anyhow::Error::new(error).context(format!("the token in {} cannot be read", file.display())))
        }
    }
}

/// How a socket answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Somebody listens.
    Listens,
    /// There is no such file.
    Absent,
    /// It is there and nobody listens, or it is not for this user.
    Silent(String),
}

/// Asks a socket.
pub fn ask(path: &Path) -> Answer {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Answer::Listens,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Answer::Absent,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Answer::Silent("nobody listens there any more".to_owned())
        }
        Err(error) => Answer::Silent(error.to_string()),
    }
}

/// There is no server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoServer {
    /// The sockets that were tried, and what was found.
    pub tried: Vec<(PathBuf, Answer)>,
}

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no server is running")?;
        self.tried.iter().try_for_each(|(path, answer)| match answer {
            Answer::Silent(why) => write!(f, "\n  {}: {why}", path.display()),
            Answer::Absent | Answer::Listens => write!(f, "\n  {}: not there", path.display()),
        })
    }
}

impl std::error::Error for NoServer {}

/// The server without one being named: the system's where it answers, else the user's own.
///
/// # Errors
/// When neither does.
pub fn usual(around: &Surroundings, ask: impl Fn(&Path) -> Answer) -> Result<Target, NoServer> {
    let mut tried = Vec::new();
    for path in [Some(PathBuf::from(SYSTEM_SOCKET)), around.user_socket()].into_iter().flatten() {
        match ask(&path) {
            Answer::Listens => return Ok(Target::Unix(path)),
            answer => tried.push((path, answer)),
        }
    }
    Err(NoServer { tried })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_home() -> Surroundings {
        Surroundings { home: Some("/home/ann".into()), ..Surroundings::default() }
    }

    #[test]
    fn a_server_is_named_by_a_socket_or_a_url() {
        let named = |text: &str| at_home().named(text).ok();
        let unix = |path: &str| Some(Target::Unix(path.into()));
        assert_eq!(named("unix:/run/b.sock"), unix("/run/b.sock"));
        assert_eq!(named("unix:b.sock"), unix("b.sock"));
        assert_eq!(named("/run/b.sock"), unix("/run/b.sock"));
        assert_eq!(named("http://h:8920"), Some(Target::Http { url: "http://h:8920".into(), token: None }));
        for wrong in ["", "unix:", "h:8920", "localhost"] {
            let error = at_home().named(wrong).unwrap_err().to_string();
            assert!(error.contains("is not a server; write unix:"), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_systems_server_comes_before_ones_own() {
        let everywhere = usual(&at_home(), |_| Answer::Listens);
        assert_eq!(everywhere, Ok(Target::Unix(SYSTEM_SOCKET.into())));
        let own = Path::new("/home/ann/.local/state/berth/berth.sock");
        let only_own = usual(&at_home(), |path| if path == own { Answer::Listens } else { Answer::Absent });
        assert_eq!(only_own, Ok(Target::Unix(own.into())));
    }

    #[test]
    fn without_a_server_it_is_said_where_one_was_looked_for() {
        let stale = |path: &Path| match path.starts_with("/run") {
            true => Answer::Silent("nobody listens there any more".into()),
            false => Answer::Absent,
        };
        let error = usual(&at_home(), stale).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no server is running\n  /run/berth/berth.sock: nobody listens there any more\n  \
             /home/ann/.local/state/berth/berth.sock: not there"
        );
    }

    #[test]
    fn a_socket_is_asked_and_not_only_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        assert_eq!(ask(&path), Answer::Absent);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(ask(&path), Answer::Listens);
        drop(listener);
        assert!(matches!(ask(&path), Answer::Silent(_)), "the file is still there");
    }

    #[test]
    fn the_variable_comes_before_the_session_and_that_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("berth")).unwrap();
        std::fs::write(folder.path().join("berth/token"), "from-file\n").unwrap();
        let mut around =
            Surroundings { config_home: Some(folder.path().to_owned()), ..Surroundings::default() };
        let with = |token: &str| Target::Http { url: "http://h".into(), token: Some(token.into()) };
        assert_eq!(around.named("http://h").unwrap(), with("from-file"));
        std::fs::write(folder.path().join("berth/session"), "http://h\nfrom-login\n").unwrap();
        assert_eq!(around.named("http://h").unwrap(), with("from-login"));
        let elsewhere = Target::Http { url: "http://h:1".into(), token: Some("from-file".into()) };
        assert_eq!(around.named("http://h:1").unwrap(), elsewhere, "a session is for its own server");
        around.token = Some("from-variable".into());
        assert_eq!(around.named("http://h").unwrap(), with("from-variable"));
        assert_eq!(around.named("unix:/s").unwrap(), Target::Unix("/s".into()), "the kernel says who asks");
    }

    #[test]
    fn the_state_folder_follows_the_usual_variables() {
        assert_eq!(at_home().state_folder(), Some("/home/ann/.local/state/berth".into()));
        let named = Surroundings { state_home: Some("/s".into()), ..at_home() };
        assert_eq!(named.user_socket(), Some("/s/berth/berth.sock".into()));
        assert_eq!(Surroundings::default().user_socket(), None);
    }
}
