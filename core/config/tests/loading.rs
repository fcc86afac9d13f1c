//! What a file, the environment and the defaults come to.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{fs, path::Path, time::Duration};

use berth_config::{
    Config, KnownPlugins, Loaded, Loader, LogFormat, Origin, PolicySource, Problems, Store, Surroundings,
    load, reference, schema,
};
use tempfile::TempDir;

/// A file in a folder of its own.
struct Site {
    folder: TempDir,
    env: Vec<(String, String)>,
}

impl Site {
    fn new(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("berth.toml"), text).unwrap();
        Self { folder, env: Vec::new() }
    }

    fn var(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn load(&self) -> Result<Loaded, Problems> {
        let known = support::known();
        let file = self.path().join("berth.toml");
        let loader = Loader::new(&known).file(&file).env(self.env.clone().into_iter());
        loader.surroundings(Surroundings { root: true, state_home: None }).load()
    }

    fn config(&self) -> Config {
        self.load().unwrap().config
    }
}

fn defaults(surroundings: Surroundings) -> Config {
    Loader::new(&support::known()).surroundings(surroundings).load().unwrap().config
}

#[test]
fn without_a_file_one_machine_runs_jobs_first_come_first_served() {
    let config = defaults(Surroundings { root: true, state_home: None });
    assert_eq!(config.cluster.name, "berth");
    assert_eq!(config.cluster.state, Path::new("/var/lib/berth"));
    assert_eq!(config.server.socket, Path::new("/run/berth/berth.sock"));
    assert_eq!((config.server.socket_mode, config.server.listen.len()), (0o666, 0));
    assert_eq!(config.jobs.directory, Path::new("/var/lib/berth/jobs"));
    assert_eq!(config.jobs.default_cpu_millis, 1000);
    assert_eq!((config.jobs.default_time, config.jobs.grace), (None, Duration::from_secs(10)));
    assert_eq!(config.store, Store::Sqlite { path: "/var/lib/berth/berth.db".into() });
    assert_eq!(config.scheduler.source, PolicySource::Shipped("fifo".into()));
    assert_eq!(config.scheduler.limits.memory_bytes, 512 << 20);
    assert!(config.scheduler.grants.is_empty());
    assert_eq!(config.auth.policy.grants.iter().collect::<Vec<_>>(), ["accounts", "log", "passwords"]);
    assert!(config.network.is_none() && config.watchers.is_empty());
    assert_eq!(config.executors.len(), 1);
    assert_eq!(config.default_executor().unwrap().kind, "local");
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn without_root_everything_is_in_the_state_folder_of_the_user() {
    let config = defaults(Surroundings { root: false, state_home: Some("/home/ada/.local/state".into()) });
    assert_eq!(config.cluster.state, Path::new("/home/ada/.local/state/berth"));
    assert_eq!(config.server.socket, Path::new("/home/ada/.local/state/berth/berth.sock"));
    assert_eq!(config.server.socket_mode, 0o600);
    let known = support::known();
    let homeless = Loader::new(&known).surroundings(Surroundings { root: false, state_home: None }).load();
    assert!(homeless.unwrap_err().to_string().contains("neither XDG_STATE_HOME nor HOME"));
}

#[test]
fn an_embedded_server_keeps_everything_in_one_folder_and_needs_no_plugins_named() {
    let config = Config::for_user(Path::new("/home/ada/run"));
    assert_eq!(config.cluster.state, Path::new("/home/ada/run"));
    assert_eq!(config.server.socket, Path::new("/home/ada/run/berth.sock"));
    assert_eq!(config.jobs.directory, Path::new("/home/ada/run/jobs"));
    assert_eq!(config.store, Store::Sqlite { path: "/home/ada/run/berth.db".into() });
}

#[test]
fn variables_override_the_file_and_only_those_with_two_underscores() {
    let site =
        Site::new("[jobs]\ngrace = \"10s\"\ndefault-cpus = 4\n[scheduler.settings]\nhalf_life = \"7d\"\n")
            .var("BERTH__JOBS__GRACE", "01:30:00")
            .var("BERTH__JOBS__DEFAULT_MEMORY", "2G")
            .var("BERTH_JOBS__DEFAULT_CPUS", "8")
            .var("BERTH_JOB_ID", "12")
            .var("BERTH__CLUSTER__NAME", "true")
            .var("BERTH__SERVER__LISTEN", "[\"127.0.0.1:1\", \"[::1]:2\"]")
            .var("BERTH__SERVER__SOCKET_MODE", "660")
            .var("BERTH__SCHEDULER__LIMITS__STRIKES", "7")
            .var("BERTH__SCHEDULER__SETTINGS__HALF_LIFE", "14d")
            .var("BERTH__SCHEDULER__SETTINGS__WEIGHTS__AGE", "0.5")
            .var("BERTH__EXECUTORS__PRETEND__KIND", "fake")
            .var("BERTH__EXECUTORS__PRETEND__RUN_MS", "5")
            .var("BERTH__EXECUTORS__PRETEND__RUN_TIME", "3m")
            .var("BERTH__EXECUTORS__LOCAL", "{ default = true, cpus = 0.5 }")
            .var("BERTH__WATCHERS__LIFESPAN__POLICY", "max-lifespan")
            .var("BERTH__WATCHERS__LIFESPAN__EVERY", "5m");
    let config = site.config();
    assert_eq!(config.jobs.grace, Duration::from_secs(5400));
    assert_eq!(config.jobs.default_memory_bytes, 2 << 30);
    assert_eq!(config.jobs.default_cpu_millis, 4000);
    assert_eq!(config.cluster.name, "true");
    assert_eq!(config.server.listen, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
    assert_eq!(config.server.socket_mode, 0o660);
    assert_eq!(config.scheduler.limits.strikes, 7);
    let settings = [("half_life", "14d"), ("weights.age", "0.5")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(config.scheduler.settings, settings);
    let pretend = config.executors.iter().find(|executor| executor.name == "pretend").unwrap();
    assert_eq!((pretend.own.whole("run_ms"), pretend.own.text("run-time")), (Some(5), Some("3m")));
    assert_eq!(pretend.own.duration("run-time"), Some(Duration::from_secs(180)));
    let local = config.default_executor().unwrap();
    assert_eq!((local.name.as_str(), local.own.cpu_millis("cpus")), ("local", Some(500)));
    let watcher = config.watchers.first().unwrap();
    assert_eq!((watcher.name.as_str(), watcher.every), ("lifespan", Duration::from_secs(300)));
}

#[test]
fn a_variable_changes_the_watcher_of_that_name() {
    let text = "[[watchers]]\nname = \"a\"\npolicy = \"max-lifespan\"\n\
                [[watchers]]\nname = \"b-c\"\npolicy = \"max-lifespan\"\n";
    let config = Site::new(text).var("BERTH__WATCHERS__B_C__EVERY", "2m").config();
    let seen: Vec<_> =
        config.watchers.iter().map(|watcher| (watcher.name.as_str(), watcher.every.as_secs())).collect();
    assert_eq!(seen, [("a", 30), ("b-c", 120)]);
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let site = Site::new(
        "[cluster]\nstate = \"here\"\n[scheduler]\npolicy = \"mine.wasm\"\n[executors.local]\nspool = \"here\"\n",
    );
    fs::create_dir(site.path().join("here")).unwrap();
    fs::write(site.path().join("mine.wasm"), "").unwrap();
    let config = site.config();
    assert_eq!(config.cluster.state, site.path().join("here"));
    assert_eq!(config.jobs.directory, site.path().join("here/jobs"));
    assert_eq!(config.server.socket, site.path().join("here/berth.sock"));
    assert_eq!(config.scheduler.source, PolicySource::File(site.path().join("mine.wasm")));
    assert_eq!(config.executors[0].own.path("spool"), Some(site.path().join("here")));
}

#[test]
fn jobs_that_name_no_executor_go_to_the_first_of_the_file() {
    for text in [
        "[executors.zoo]\nkind = \"fake\"\n[executors.local]\n",
        "executors.zoo.kind = \"fake\"\nexecutors.local.kind = \"local\"\n",
        "executors = { zoo = { kind = \"fake\" }, local = {} }\n",
    ] {
        let config = Site::new(text).config();
        let names: Vec<_> = config.executors.iter().map(|one| (one.name.as_str(), one.default)).collect();
        assert_eq!(names, [("zoo", true), ("local", false)], "{text}");
    }
}

#[test]
fn settings_of_a_policy_become_pairs_of_text() {
    let site = Site::new(
        "[scheduler.settings]\nage = 1\nshare = 0.25\non = true\nname = \"a b\"\nlist = [\"x\", 2]\n\
         [scheduler.settings.deep.down]\nkey = \"v\"\n[[scheduler.settings.rules]]\nuser = \"ada\"\n",
    );
    let pairs = site.config().scheduler.settings;
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected = [
        ("age", "1"),
        ("deep.down.key", "v"),
        ("list.0", "x"),
        ("list.1", "2"),
        ("name", "a b"),
        ("on", "true"),
        ("rules.0.user", "ada"),
        ("share", "0.25"),
    ];
    assert_eq!(pairs, expected);
}

#[test]
fn what_is_shown_says_who_set_it_and_means_the_same_when_it_is_read_again() {
    let text = "[jobs]\nlongest-time = \"2d\"\n[scheduler.settings]\n\"odd key\" = 1\n\
                [[watchers]]\nname = \"a\"\npolicy = \"max-lifespan\"\n\
                [[watchers]]\nname = \"b\"\npolicy = \"max-lifespan\"\n[executors.local]\nlabels = { rack = \"7\" }\n";
    let site = Site::new(text).var("BERTH__JOBS__GRACE", "1m").var("BERTH__CLUSTER__STATE", "/");
    let first = site.load().unwrap();
    let file = site.path().join("berth.toml");
    let origin = |path: &str| first.effective.origin(path).unwrap().clone();
    assert_eq!(origin("jobs.longest-time"), Origin::File { path: file.clone(), line: 2, column: 1 });
    assert_eq!(origin("jobs.grace"), Origin::Variable("BERTH__JOBS__GRACE".into()));
    assert_eq!(origin("jobs.default-cpus"), Origin::Default);
    assert_eq!(first.effective.origin("jobs.default-time"), None);
    let shown = first.effective.to_toml();
    let line = shown.lines().find(|line| line.starts_with("longest-time")).unwrap();
    assert!(line.ends_with(&format!("# {}:2", file.display())), "{line}");

    // The default directory of jobs is there only once Berth has made it.
    let shown = shown.replace("\"/jobs\"", "\"/\"");
    let again = Site::new(&shown).load().unwrap_or_else(|problems| panic!("{problems}\n{shown}"));
    let mut expected = first.config;
    expected.jobs.directory = "/".into();
    assert_eq!(again.config, expected);
    assert!(again.effective.iter().all(|setting| setting.origin != Origin::Default));
}

#[test]
fn no_secret_is_shown() {
    let site = Site::new(
        "[auth.settings]\nbind-password = \"hunter2\"\n[auth.settings.tokens]\nada = \"hunter2\"\n",
    );
    let loaded = site.load().unwrap();
    assert!(loaded.config.auth.policy.settings.iter().all(|(_, value)| value == "hunter2"));
    assert!(!loaded.effective.to_toml().contains("hunter2"));
    assert!(!loaded.effective.to_json().to_string().contains("hunter2"));

    let wrong = Site::new("[auth]\npasword = \"hunter2\"\n").var("BERTH__AUTH__SECRET", "hunter2");
    let problems = wrong.load().unwrap_err();
    assert!(problems.iter().count() == 2, "{problems}");
    for said in [
        problems.render(false),
        problems.render(true),
        problems.to_json().to_string(),
        format!("{problems:?}"),
    ] {
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn problems_are_data_too() {
    let problems = Site::new("[jobs]\ngrase = 1\n").load().unwrap_err().to_json();
    let first = &problems[0];
    assert_eq!(first["severity"], "error");
    assert_eq!((&first["at"]["file"]["line"], &first["at"]["file"]["column"]), (&2.into(), &1.into()));
    assert_eq!((&first["text"], &first["label"]), (&"grase".into(), &"did you mean `grace`?".into()));
}

#[test]
fn a_coloured_report_says_the_same() {
    let problems = Site::new("[jobs]\ngrase = 1\n").load().unwrap_err();
    let (plain, coloured) = (problems.render(false), problems.render(true));
    assert!(!plain.contains('\u{1b}') && coloured.contains('\u{1b}'));
    assert!(coloured.contains("did you mean `grace`?"));
}

#[test]
fn a_missing_file_is_an_error_and_no_file_is_none() {
    let known = support::known();
    let nowhere = load(Some(Path::new("no/such/berth.toml")), std::iter::empty(), &known).unwrap_err();
    assert!(nowhere.to_string().contains("no/such/berth.toml does not exist"), "{nowhere}");
    let home = [("HOME".to_owned(), "/home/ada".to_owned())];
    assert!(load(None, home.into_iter(), &known).is_ok());
}

#[test]
fn many_problems_are_counted_rather_than_all_shown() {
    let text: String = (0..80).map(|n| format!("zebra{n} = 1\n")).collect();
    let said = Site::new(&text).load().unwrap_err().to_string();
    assert!(said.ends_with("and 30 more"), "{said}");
}

#[test]
fn the_commented_file_has_every_key_and_changes_nothing() {
    let known = support::known();
    let text = reference(&known);
    let config = Site::new(&text).config();
    assert_eq!(config, defaults(Surroundings { root: true, state_home: None }));
    let schema = schema(&known);
    for (section, schema) in schema["properties"].as_object().unwrap() {
        let keys = schema.get("properties").or_else(|| schema["items"].get("properties"));
        for key in keys.and_then(|keys| keys.as_object()).into_iter().flatten().map(|(key, _)| key) {
            let found = text.contains(&format!("# {key} = ")) || text.contains(&format!("[{section}.{key}]"));
            assert!(found, "{section}.{key}");
        }
    }
    for line in ["# [executors.fake]", "# [[watchers]]", "# enforce = \"asked\"", "# grace = \"10s\""] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
}

#[test]
fn the_schema_describes_every_key_and_knows_no_null() {
    let schema = schema(&support::known());
    let mut undescribed = Vec::new();
    look(&schema, "", &mut undescribed);
    assert!(undescribed.is_empty(), "{undescribed:?}");
    assert!(!schema.to_string().contains("null"));
    assert_eq!(schema["properties"]["jobs"]["properties"]["grace"]["default"], "10s");
    assert_eq!(schema["properties"]["watchers"]["items"]["required"], serde_json::json!(["name", "policy"]));
    let kinds = schema["properties"]["executors"]["additionalProperties"]["anyOf"].as_array().unwrap();
    assert_eq!(kinds[0]["properties"]["enforce"]["default"], "asked");
}

fn look(schema: &serde_json::Value, path: &str, undescribed: &mut Vec<String>) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        if property["description"].as_str().is_none_or(str::is_empty) {
            undescribed.push(path.clone());
        }
        look(property, &path, undescribed);
        look(&property["items"], &path, undescribed);
    }
}

fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/config/berth.toml");
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_example_is_right() {
    let loaded = Site::new(&example()).load().unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.config.default_executor().unwrap().name, "local");
}

#[test]
fn a_file_that_was_cut_off_anywhere_is_read_or_refused_but_never_a_panic() {
    let whole = example();
    let mut refused = 0;
    for end in (0..whole.len()).step_by(5).filter(|&end| whole.is_char_boundary(end)) {
        if let Err(problems) = Site::new(&whole[..end]).load() {
            refused += 1;
            assert!(!problems.render(true).is_empty());
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn plugins_that_nobody_has_are_refused_by_name() {
    let folder = Site::new("[scheduler]\npolicy = \"fifo\"\n[executors.local]\n");
    let file = folder.path().join("berth.toml");
    let problems = load(Some(&file), std::iter::empty(), &KnownPlugins::default()).unwrap_err().to_string();
    assert!(problems.contains("no policy for scheduler is called \"fifo\""), "{problems}");
    assert!(problems.contains("no kind is called \"local\""), "{problems}");
}
